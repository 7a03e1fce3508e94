"""Bit strings near 60 hidden modes: how many are found by when."""

from gfnjax.reproduce.base import Reproduction, Row
from gfnjax.reproduce.measures import Goal, Seconds, Until, Value

# Two nats a bit, as in the code of 2310.12934: log R = -beta distance / num_bits.
SETTINGS = {"beta": 240.0, "chunk_size": 250, "log_z_learning_rate": 0.5, "count_modes": True}
# Modes seen in training: mean, and two standard deviations of a seed or more.
EXPECTED = {
    "left-to-right-tb": (26, 7),
    "left-to-right-db": (21, 4),
    "left-to-right-subtb": (22, 4),
}
SEEN = Goal({"modes_seen": 15}, least=True)


def _row(order: str, objective: str, label: str, steps: int, **options: float) -> Row:
    environment = "bits" if order == "any-order" else "bits-left-to-right"
    settings = SETTINGS | {"objective": objective, "steps": steps} | options
    name = f"{order}-{objective}"
    expected, tolerance = EXPECTED.get(name, (None, 0.0))
    return Row(
        name,
        environment,
        settings,
        panel=order,
        line=label,
        expected=expected,
        tolerance=tolerance,
    )


BITS = Reproduction(
    name="bits",
    title="Modes of bit sequences",
    papers=("2201.13259", "2310.12934"),
    rows=(
        _row("left-to-right", "tb", "TB", 6_000),
        _row("left-to-right", "db", "DB", 6_000),
        _row("left-to-right", "subtb", "SubTB(1.9)", 6_000, lambda_=1.9),
        _row("any-order", "tb", "TB", 1_500),
    ),
    measures=(
        Value("modes_seen", "modes that training came near to, of 60", 1),
        Until(SEEN, "steps to 15 of them"),
        Value("modes_found", "modes found at the end by 2,000 samples", 1),
        Value("mode_distance", "bits from the nearest mode", 1),
        Seconds(),
    ),
    curves=("modes_seen", "modes_found", "mode_distance"),
    minutes=30,
    note=(
        "as in the papers a mode counts from the first object of training within 30 bits of it, "
        "exploration included. They train for 50,000 steps, here 6,000 and 1,500. The code of "
        "2310.12934 has two nats a bit, log R = -2 d, hence beta = 240 here: an exact sampler is "
        "14.3 bits from the nearest mode, log Z is 19.3, 15.2 for a single mode. TB comes to that "
        "distance, but to one mode or two, as its log Z of 15.1 says too, and forgets the others "
        "that it had come near to: 2,000 samples at the end tell that. With "
        "log R = -3 d / 120, as `gfnjax train bits` has it, an exact sampler comes that near to "
        "a mode 2.4 times in a million draws: modes found then say that a sampler is off."
    ),
)
