"""What every library trains a problem with, in plain numbers: the published settings of the field.

Nothing is imported here, so that a peer's environment need not have gfnjax's dependencies. Where
the settings of gfnx's baselines are cut down for all libraries alike, the comment says how.
"""

from typing import Literal, NamedTuple

Objective = Literal["tb", "db", "subtb", "mdb", "fl-db"]


class Settings(NamedTuple):
    """One problem's.

    Attributes:
        objective: its short name.
        network: in words, for tables.
        hidden_sizes: of an MLP.
        activation: of an MLP.
        batch_size: trajectories a step.
        learning_rate: of the network; (peak, final, warm-up steps, all steps) of a cosine.
        log_z_learning_rate: of log Z, where it is learned apart from the network.
        weight_decay: of the network, by AdamW; Adam without.
        epsilon: of a uniformly random action: at first, at last, and the steps in between.
        learned_backward: whether P_B is learned; uniform otherwise.
        huber: whether residuals cost Huber's loss instead of their square.
    """

    objective: Objective = "tb"
    network: str = "MLP 256-256"
    hidden_sizes: tuple[int, ...] = (256, 256)
    activation: Literal["relu", "leaky_relu"] = "relu"
    batch_size: int = 16
    learning_rate: float | tuple[float, float, int, int] = 1e-3
    log_z_learning_rate: float = 0.1
    weight_decay: float = 0.0
    epsilon: tuple[float, float, int] = (0.0, 0.0, 1)
    learned_backward: bool = True
    huber: bool = False


class Grid(NamedTuple):
    """A hypergrid with R0, R1, R2 in its corners."""

    num_dims: int = 4
    side: int = 20
    rewards: tuple[float, float, float] = (1e-3, 0.5, 2.0)


class Attention(NamedTuple):
    """Sizes of a transformer, as gfnx's baselines have them."""

    width: int = 64
    num_heads: int = 8
    num_layers: int = 3
    feed_forward: int = 64


class Bits(NamedTuple):
    """Bit strings near hidden modes."""

    num_bits: int = 120
    word_size: int = 8
    num_modes: int = 60
    beta: float = 3.0


class Trees(NamedTuple):
    """Sizes of the network for phylogenetic trees; the sequences pass `embedder` first."""

    dataset: str = "DS1"
    embedder: tuple[int, ...] = (256, 256, 128)
    attention: Attention = Attention(32, 8, 6, 128)
    heads: tuple[int, ...] = (256, 256, 256)


GRIDS = {"grid-8x8": Grid(2, 8, (0.1, 0.5, 2.0))}
GRID = Grid()
BITS = Bits()
ATTENTION = Attention()
TREES = Trees()
# The published Ising runs learn the couplings too; here they are given.
ISING_SIGMA = 0.1
DAG_NODES, DAG_WIDTH = 5, 128
MOLECULE_WIDTH, MOLECULE_ROUNDS, MOLECULE_BETA = 64, 3, 10.0
SUBTB_LAMBDA = 0.9

_GRID_EPSILON = (0.1, 0.0, 30_000)
_TRANSFORMER = "transformer of 3 layers, width 64"

SETTINGS: dict[str, Settings] = {
    "grid-tb": Settings(epsilon=_GRID_EPSILON),
    "grid-db": Settings("db", epsilon=_GRID_EPSILON),
    "grid-subtb": Settings("subtb", epsilon=_GRID_EPSILON),
    "grid-8x8": Settings(epsilon=_GRID_EPSILON),
    "bits": Settings(
        network=_TRANSFORMER,
        log_z_learning_rate=0.05,
        weight_decay=1e-5,
        epsilon=(1e-3, 1e-3, 50_000),
        learned_backward=False,
    ),
    "bits-left-to-right": Settings(
        network=f"causal {_TRANSFORMER}",
        log_z_learning_rate=0.05,
        weight_decay=1e-5,
        epsilon=(1e-3, 1e-3, 50_000),
        learned_backward=False,
    ),
    "tfbind8": Settings(learning_rate=5e-4, log_z_learning_rate=0.05, epsilon=(1.0, 0.0, 50_000)),
    "qm9-small": Settings(learning_rate=5e-4, log_z_learning_rate=0.05),
    # Peptides grow at one end: P_B is 1 whatever is learned.
    "amp": Settings(
        network=f"causal {_TRANSFORMER}",
        log_z_learning_rate=0.64,
        weight_decay=1e-4,
        epsilon=(1e-2, 1e-2, 50_000),
        learned_backward=False,
    ),
    # gfnx bootstraps from a network that is replaced every 1,000 steps; here there is none.
    "dag": Settings(
        "mdb",
        network="graph network, width 128",
        batch_size=128,
        learning_rate=1e-4,
        epsilon=(1.0, 0.1, 50_000),
        learned_backward=False,
        huber=True,
    ),
    # Without the target network and the dropout of the published runs.
    "phylogeny": Settings(
        "fl-db",
        network="MLP of sequences, transformer of 6 layers, width 32",
        batch_size=32,
        learning_rate=(3e-4, 1e-5, 5_000, 100_000),
        epsilon=(1.0, 0.0, 50_000),
        learned_backward=False,
        huber=True,
    ),
    **{
        f"ising-{side}": Settings(
            network="MLP 256-256-256-256",
            hidden_sizes=(256,) * 4,
            batch_size=256,
            learning_rate=1e-2,
            log_z_learning_rate=1e-3,
        )
        for side in (6, 10)
    },
    "set-medium": Settings("fl-db", activation="leaky_relu"),
    "molecules": Settings(
        network="graph network of 3 rounds, width 64",
        epsilon=(0.05, 0.05, 1),
        learned_backward=False,
        huber=True,
    ),
}


def ising_side(name: str) -> int:
    """The side of the lattice of a problem called `ising-SIDE`."""
    return int(name.rpartition("-")[2])


def grid(name: str) -> Grid:
    """The grid of a problem called `grid-...`."""
    return GRIDS.get(name, GRID)
