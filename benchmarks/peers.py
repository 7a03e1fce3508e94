"""gfnjax beside its peers on one problem: python benchmarks/peers.py [--steps N]

Trajectory balance on the 20^4 grid (easy reward), batch 16, an MLP of two hidden layers of 256
shared by P_F and a learned P_B, Adam, epsilon from 0.1 towards 0. Every library trains its own
run in the same process, a chunk each in turn, so that ratios hold on a noisy machine. The peers
are driven through their public interfaces, in the way their documentation recommends, with no
logging or metrics inside the loop. What is not installed is left out. Both peers ask for a NumPy
older than JAX 0.10 accepts but run on newer ones, hence --no-deps:

    pip install . equinox flashbax jax-tqdm jaxtyping networkx omegaconf
    pip install torch==2.13.0 dill einops linear-attention-transformer tensordict torch_geometric
    pip install --no-deps gfnx==0.0.1 torchgfn==2.4.1

After the timed steps comes one more chunk (6,250 steps in all by default), then the exact total
variation between R / Z and the terminating distribution of each policy. "First step" is the time
from construction to the end of a first step, compilation included; it is not counted elsewhere.
"""

import argparse
import importlib
import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gfnjax
from gfnjax import GFlowNet, Hypergrid, Hyperparameters, masking
from gfnjax.envs.hypergrid import HypergridState
from gfnjax.metrics import exact, state_graph
from gfnjax.training import init, run_chunk

ROUNDS = 24
PEERS = {"gfnx_step": "Gfnx", "torchgfn_step": "TorchGfn"}


class Problem(NamedTuple):
    """What every library trains; `chunk` is the number of steps between two measurements."""

    chunk: int
    num_dims: int = 4
    side: int = 20
    rewards: tuple[float, float, float] = (1e-3, 0.5, 2.0)
    batch_size: int = 16
    width: int = 256
    learning_rate: float = 1e-3
    log_z_learning_rate: float = 0.1
    epsilon: float = 0.1
    decay_steps: int = 30_000


class Trainer(Protocol):
    """One library's run of the problem, made by `(problem, seed)`."""

    name: str
    version: str

    def run(self, num_steps: int) -> float:
        """Train for up to `problem.chunk` steps, wait for it; the mean trajectory length."""
        ...

    def forward_logits(self, positions: np.ndarray) -> np.ndarray:
        """Logits `[N, num_dims + 1]`, stop last, of the policy in the cells `[N, num_dims]`."""
        ...


class Gfnjax:
    """Ourselves."""

    name = "gfnjax"
    version = gfnjax.__version__

    def __init__(self, problem: Problem, seed: int) -> None:
        reward = gfnjax.Corners(*problem.rewards)
        env = Hypergrid(num_dims=problem.num_dims, side=problem.side, reward=reward)
        hyperparameters = Hyperparameters(
            learning_rate=problem.learning_rate,
            log_z_learning_rate=problem.log_z_learning_rate,
            epsilon=optax.linear_schedule(problem.epsilon, 0.0, problem.decay_steps),
        )
        self.gfn = GFlowNet(
            env,
            gfnjax.mlp_policy(env, (problem.width, problem.width)),
            gfnjax.TrajectoryBalance(),
            hyperparameters=hyperparameters,
            batch_size=problem.batch_size,
        )
        self.chunk = problem.chunk
        self.state = init(self.gfn, jax.random.key(seed))

    def run(self, num_steps: int) -> float:
        self.state, info = run_chunk(self.gfn, self.state, num_steps, self.chunk)
        return float(info.length.mean())

    def forward_logits(self, positions: np.ndarray) -> np.ndarray:
        def row(position: jax.Array) -> jax.Array:
            state = HypergridState(position, jnp.zeros((), bool))
            params = self.state.params.policy
            return self.gfn.policy.evaluate(params, self.gfn.env, state).forward_logits

        return np.asarray(jax.jit(jax.vmap(row))(positions))


class Record(NamedTuple):
    """A trainer and what was measured: a row `(seconds, CPU seconds, mean length)` a chunk."""

    trainer: Trainer
    first_step: float
    chunks: list[tuple[float, float, float]]

    def mean(self, num_chunks: int | None = None) -> np.ndarray:
        return np.mean(self.chunks[:num_chunks], axis=0)

    def seconds(self) -> float:
        return sum(seconds for seconds, *_ in self.chunks)


def installed(problem: Problem, seed: int) -> Iterator[Record]:
    """Every library that can be imported, after one step."""
    makers = [Gfnjax]
    for module, name in PEERS.items():
        try:
            makers.append(getattr(importlib.import_module(module), name))
        except ImportError as error:
            print(f"{name} is left out: {error}")
    for maker in makers:
        start = time.perf_counter()
        trainer = maker(problem, seed)
        trainer.run(1)
        yield Record(trainer, time.perf_counter() - start, [])


def run_round(records: list[Record], chunk: int, budget: float) -> None:
    """A chunk each, for those that have not used up their budget of seconds."""
    for record in records:
        if record.seconds() < budget:
            start = time.perf_counter(), time.process_time()
            length = record.trainer.run(chunk)
            end = time.perf_counter(), time.process_time()
            record.chunks.append((end[0] - start[0], end[1] - start[1], length))


def total_variation(env: Hypergrid, states: state_graph.StateGraph, trainer: Trainer) -> float:
    """Exact, by dynamic programming over all states; terminal ones follow the cells."""
    num_cells = env.side**env.num_dims
    cells = jax.vmap(env.state_at)(jnp.arange(num_cells, dtype=jnp.int32))
    logits = jnp.asarray(trainer.forward_logits(np.asarray(cells.position)))
    logits = jnp.pad(logits, ((0, num_cells), (0, 0)))
    log_pf = masking.log_softmax(logits, states.forward_mask)
    return float(exact.evaluate(states, log_pf).total_variation)


def report(records: list[Record], problem: Problem) -> None:
    env = Hypergrid(problem.num_dims, problem.side, gfnjax.Corners(*problem.rewards))
    states = state_graph.build_graph(env)
    total = (ROUNDS + 1) * problem.chunk
    print(
        "\n| library | version | it/s | gfnjax is faster by | CPU ms/it | mean length | "
        f"first step, s | window, steps | exact TV after {total:,} | training until then, s |"
        "\n|" + "---|" * 10
    )
    ours = records[0]
    for record in records:
        rounds = min(len(record.chunks), ROUNDS)
        seconds, cpu, length = record.mean(rounds)
        ratio = seconds / ours.mean(rounds)[0]
        quality = "- | -"
        if len(record.chunks) > ROUNDS:
            variation = total_variation(env, states, record.trainer)
            quality = f"{variation:.3f} | {record.seconds():.1f}"
        print(
            f"| {record.trainer.name} | {record.trainer.version} | {problem.chunk / seconds:.1f} | "
            f"{ratio:.2f} | {1e3 * cpu / problem.chunk:.2f} | {length:.1f} | "
            f"{record.first_step:.1f} | {rounds * problem.chunk:,} | {quality} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6_000, help=f"timed, at least {ROUNDS}")
    parser.add_argument("--budget", type=float, default=900.0, help="training seconds a library")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.steps < ROUNDS:
        parser.error(f"--steps must be at least {ROUNDS}, got {arguments.steps}")
    problem = Problem(chunk=arguments.steps // ROUNDS)
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, 20^4 grid, MLP 2x256, batch 16")
    records = list(installed(problem, arguments.seed))
    for _ in range(ROUNDS + 1):
        run_round(records, problem.chunk, arguments.budget)
    report(records, problem)


if __name__ == "__main__":
    main()
