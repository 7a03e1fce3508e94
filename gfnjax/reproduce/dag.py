"""The posterior over Bayesian networks of five variables, exact divergence."""

from gfnjax.reproduce.base import Published, Reproduction, Row
from gfnjax.reproduce.measures import Seconds, Value

SOURCE = (
    "2202.13903, abstract (plots within); the number is that of the example of torchgfn, one data "
    "set of 100 samples, BGe, exploration and replay"
)
PUBLISHED = {
    "bge": Published("accurate; .02 (torchgfn)", SOURCE),
    "linear-gaussian": Published("accurate", SOURCE),
}
SCORES = {"bge": "BGe", "linear-gaussian": "linear Gaussian"}
# Mean, and two standard deviations of a seed or more.
EXPECTED = {
    "bge-0": (0.0094, 0.002),
    "bge-1": (0.0002, 0.0002),
    "linear-gaussian-0": (0.0058, 0.0015),
}


def _row(score: str, data_seed: int) -> Row:
    name, label = f"{score}-{data_seed}", f"{SCORES[score]}, data {data_seed}"
    settings = {"score": score, "data_seed": data_seed}
    return Row(name, "dag", settings, 3, "d = 5", label, PUBLISHED[score], *EXPECTED[name])


DAG = Reproduction(
    name="dag",
    title="The posterior over Bayesian networks",
    papers=("2202.13903",),
    rows=(_row("bge", 0), _row("bge", 1), _row("linear-gaussian", 0)),
    measures=(
        Value("jsd", "exact JSD (nats)", 4),
        Value("part_error", "largest error of an edge", 4),
        Value("total_variation", "exact TV", 4),
        Seconds(),
    ),
    curves=("jsd", "part_error"),
    minutes=15,
    note=(
        "the paper's code has a linear transformer and 100,000 steps of batch 32 at rate 1e-5; "
        "here 8,000 steps of batch 64, an MLP and a rate that falls from 3e-3. It judges graphs "
        "that were sampled; ours is the divergence from all 29,281 graphs. How far off a run ends "
        "depends on the data: a posterior that is peaked is harder."
    ),
)
