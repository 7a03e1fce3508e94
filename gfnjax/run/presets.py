"""Named environments with the settings they train well with.

To offer another environment on the command line, write a task (see `gfnjax.run.tasks`) and add an
entry to `PRESETS`: `gfnjax train` and `gfnjax list` follow.

The settings are those of the literature, but for the number of steps, which suits two CPU cores
and a few minutes; schedules shrink with it.
"""

from dataclasses import dataclass
from typing import Any, Generic

from gfnjax.run import tasks
from gfnjax.run.config import Config, E, Sampling, Training, UsageError, from_dict


@dataclass(frozen=True)
class Preset(Generic[E]):
    """`summary` in a few words, `env` with its default sizes, and the settings that suit it."""

    summary: str
    env: E
    training: Training = Training()
    sampling: Sampling = Sampling()


PRESETS: dict[str, Preset[Any]] = {
    "hypergrid": Preset(
        "walk through a grid and stop anywhere; the modes are in the corners",
        tasks.HypergridConfig(),
        Training(steps=2_500, batch_size=32),
    ),
    "hypergrid-20x4": Preset(
        "the grid of side 20 in 4 dimensions that papers report (160,000 objects)",
        tasks.HypergridConfig(num_dims=4, side=20, preset="easy"),
        Training(steps=6_250, chunk_size=1_250, epsilon=0.1, epsilon_share=0.48),
    ),
    "set": Preset(
        "choose 20 of 30 (small), 60 of 80 or 80 of 100 elements, R a product; log Z is known",
        tasks.SetConfig(),
        Training(steps=3_000, activation="leaky_relu"),
    ),
    # The literature moves log Z, about 80 nats, at a rate of .05 in 50,000 steps.
    "bits": Preset(
        "write 120 bits, 8 at a time in any order, near one of 60 modes",
        tasks.BitsConfig(),
        Training(
            steps=1_000,
            chunk_size=100,
            backward="uniform",
            log_z_learning_rate=0.5,
            epsilon=1e-3,
            network="transformer",
        ),
    ),
    "bits-left-to-right": Preset(
        "write 120 bits, 8 at a time from left to right, near one of 60 modes",
        tasks.LeftToRightBitsConfig(),
        Training(
            steps=1_000,
            chunk_size=100,
            backward="uniform",
            log_z_learning_rate=0.5,
            epsilon=1e-3,
            network="causal",
        ),
    ),
    "tfbind8": Preset(
        "DNA of 8 nucleotides that binds a transcription factor, R a table (65,536 objects)",
        tasks.TFBind8Config(),
        Training(
            steps=20_000,
            chunk_size=1_000,
            learning_rate=5e-4,
            log_z_learning_rate=5e-2,
            epsilon=1.0,
            epsilon_share=0.05,
        ),
    ),
    "qm9-small": Preset(
        "molecules of 5 out of 11 blocks, R a table (161,051 objects); needs its data file",
        tasks.QM9SmallConfig(),
        Training(steps=20_000, chunk_size=2_000, learning_rate=5e-4, log_z_learning_rate=5e-2),
    ),
    "amp": Preset(
        "antimicrobial peptides of up to 60 amino acids, R a network; needs its data file",
        tasks.AMPConfig(),
        Training(
            steps=400,
            chunk_size=50,
            backward="uniform",
            log_z_learning_rate=0.64,
            epsilon=1e-2,
            network="causal",
        ),
    ),
    # The literature trains a graph network for 100,000 steps of batch 128 at 1e-4; with 5 nodes an
    # MLP gets there sooner (`--network graph` is there for more).
    "dag": Preset(
        "the posterior over Bayesian networks, of synthetic data or your own (--data)",
        tasks.DAGConfig(),
        Training(
            objective="mdb",
            backward="uniform",
            regression="huber",
            steps=8_000,
            chunk_size=500,
            batch_size=64,
            learning_rate=3e-3,
            final_learning_rate=6e-5,
            epsilon=1.0,
            final_epsilon=0.1,
            epsilon_share=0.5,
        ),
    ),
    "phylogeny": Preset(
        "trees by parsimony, of DS1 to DS8 (data files) or your own sequences (--sequences)",
        tasks.PhylogenyConfig(),
        # Flows of detailed balance start hundreds of nats off; the batch's own log Z does not. The
        # literature has six layers.
        Training(
            objective="vargrad",
            backward="uniform",
            regression="huber",
            steps=1_000,
            chunk_size=100,
            batch_size=32,
            learning_rate=3e-4,
            final_learning_rate=1e-5,
            epsilon=1.0,
            epsilon_share=0.5,
            network="forest",
            width=32,
            num_layers=2,
        ),
    ),
    # The literature trains four layers for 20,000 steps at rates of 1e-2 and 1e-3 for log Z, which
    # then moves by 2 nats in 2,000 steps.
    "ising": Preset(
        "spins on a square lattice; log Z is known to side 10",
        tasks.IsingConfig(),
        Training(
            steps=3_000,
            batch_size=64,
            learning_rate=3e-3,
            final_learning_rate=3e-5,
        ),
    ),
    "ising-learned": Preset(
        "EB-GFN: learn the couplings of a lattice from samples, with a GFlowNet as sampler",
        tasks.LearnedIsingConfig(),
        Training(backward="uniform", batch_size=64, hidden_sizes=(128, 128)),
    ),
}


def default_config(name: str) -> Config[Any]:
    """The configuration of a preset as it is.

    Raises:
        UsageError: for an unknown name.
    """
    if name not in PRESETS:
        raise UsageError(f"environment must be one of {', '.join(PRESETS)}, got {name!r}")
    preset = PRESETS[name]
    return Config(name, preset.env, preset.training, sampling=preset.sampling)


def config_from_dict(values: dict[str, Any]) -> Config[Any]:
    """The inverse of `gfnjax.run.config.to_dict`.

    Raises:
        UsageError: for values that describe no configuration.
    """
    default = default_config(str(values.get("environment")))
    return from_dict(values, type(default.env))
