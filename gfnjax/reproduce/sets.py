"""Forward-looking objectives on the published sets, to their full 10,000 steps."""

from gfnjax.reproduce.base import Published, Reproduction, Row
from gfnjax.reproduce.measures import Goal, Until, Value

OBJECTIVES = {"tb": "TB", "db": "DB", "subtb": "SubTB", "fl-db": "FL-DB", "fl-subtb": "FL-SubTB"}
SEEDS = {"small": 5, "medium": 5, "large": 3}
STARTS = {"0": 0.0, "batch": "batch"}
SOURCE = "2302.01687, its experiments on sets (curves; its own code leaves the last flow free)"
CLAIMS = {
    "tb": "last",
    "db": "before TB",
    "fl-db": "before DB",
    "fl-subtb": "before SubTB",
}
CLOSE = Goal({"log_z_error": 0.5, "part_error": 0.05})


def _row(variant: str, objective: str, start: str) -> Row:
    claim = CLAIMS.get(objective)
    return Row(
        f"{variant}-{objective}-{start}",
        "set",
        {
            "variant": variant,
            "objective": objective,
            "log_z_init": STARTS[start],
            "steps": 10_000,
        },
        SEEDS[variant],
        f"{variant}, log Z from {start if start == '0' else 'a batch'}",
        OBJECTIVES[objective],
        None if claim is None else Published(claim, SOURCE),
    )


SETS = Reproduction(
    name="sets",
    title="Forward-looking balance on sets",
    papers=("2302.01687",),
    rows=tuple(
        _row(variant, objective, start)
        for variant in SEEDS
        for start in STARTS
        for objective in OBJECTIVES
    ),
    measures=(
        Until(CLOSE, "steps to log Z within .5 and marginals within .05"),
        Until(CLOSE, "seconds to the same", seconds=True),
        Value("log_z_error", "error of log Z at the end"),
        Value("part_error", "of a marginal at the end"),
    ),
    curves=("log_z_error", "part_error"),
    minutes=600,
    note=(
        "the paper's flows of terminal states are free in its code, ours are anchored at R; it "
        "draws the mean reward of the best 100 sets found, which a sampler that prefers good "
        "sets too much wins, ours is the distance from the exact log Z and marginals. Log Z and "
        "all flows start at 0 there and, by default, at a batch's estimate here. Marginals are "
        "of 6,000 samples. Seconds are those of the machine at the time, other jobs included."
    ),
)
