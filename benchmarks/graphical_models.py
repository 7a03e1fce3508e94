"""Outcomes on Ising models: python benchmarks/graphical_models.py ising

Each prints one line a seed: what was reached, after how many steps, in how many seconds (of wall
time and of the process, compilation and evaluation included).

    ising   error of log Z on the 4 x 4 lattice, sigma = .2
    ebgfn   -log RMSE of couplings learned from samples of the 4 x 4 lattice, sigma = .2
"""

import argparse
import time

import jax
import jax.numpy as jnp
import optax
from jax import lax

import gfnjax
from gfnjax import GFlowNet, Hyperparameters
from gfnjax.algorithms.ebgfn import EnergyGFlowNet
from gfnjax.envs.ising import Ising, IsingState
from gfnjax.metrics.sampled import log_weights
from gfnjax.rewards.ising import IsingReward, lattice, neg_log_rmse, sample_ising

LOG_Z = 14.56109
SIGMA = 0.2


def ising(seed: int, num_steps: int) -> dict[str, float]:
    """Trajectory balance with a learned backward policy.

    The learned log Z ends below the truth by half the loss, the variance of the log weights.
    """
    env = Ising(4, lattice(4, SIGMA))
    gfn = GFlowNet(
        env,
        gfnjax.mlp_policy(env, (256, 256)),
        gfnjax.TrajectoryBalance(),
        batch_size=128,
        hyperparameters=Hyperparameters(
            learning_rate=optax.cosine_decay_schedule(3e-3, num_steps),
            log_z_learning_rate=optax.cosine_decay_schedule(1e-1, num_steps),
        ),
    )
    state, history = gfnjax.train(gfn, jax.random.key(seed), num_steps)
    samples = jax.jit(gfn.sample, static_argnums=2)(state.params, jax.random.key(seed), 4_000)
    weights = jax.jit(log_weights)(gfn.model, state.params, samples)
    estimate = jax.nn.logsumexp(weights) - jnp.log(weights.size)
    return {
        "log Z error": abs(float(state.params.log_z) - LOG_Z),
        "of the estimate from 4,000 weighted samples": abs(float(estimate) - LOG_Z),
        "loss": float(history.info.loss[-100:].mean()),
    }


def ebgfn(seed: int, num_steps: int) -> dict[str, float]:
    """Couplings from 4,000 samples, starting from none."""
    data_key, key = jax.random.split(jax.random.key(seed))
    truth = lattice(4, SIGMA).couplings
    data = IsingState(jax.jit(sample_ising, static_argnums=2)(data_key, truth, 4000))
    env = Ising(4, IsingReward(jnp.zeros_like(truth)))
    gfn = GFlowNet(
        env,
        gfnjax.mlp_policy(env, (128, 128)),
        gfnjax.TrajectoryBalance(),
        backward=gfnjax.UniformBackward(),
        batch_size=64,
        hyperparameters=Hyperparameters(learning_rate=1e-3),
    )
    rate = optax.cosine_decay_schedule(2e-3, num_steps, alpha=0.01)
    description = EnergyGFlowNet(
        gfn,
        data,
        num_back=8,
        optimizer=lambda scale: optax.adam(lambda t: scale * rate(t)),
        learning_rate=1.0,
    )

    @jax.jit
    def run(state):
        return lax.scan(lambda s, _: description.step(s), state, length=num_steps)

    state, info = jax.block_until_ready(run(description.init(key)))
    return {
        "-log RMSE": float(neg_log_rmse(state.reward.couplings, truth)),
        "acceptance": float(info.acceptance[-100:].mean()),
    }


OUTCOMES = {"ising": (ising, 5_000), "ebgfn": (ebgfn, 2_000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outcome", choices=OUTCOMES)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    measure, steps = OUTCOMES[arguments.outcome]
    steps = arguments.steps or steps
    for seed in range(arguments.seeds):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = measure(seed, steps)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in result.items())
        print(f"seed {seed}: {numbers} ({steps} steps, {wall:.0f} s, CPU {cpu:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
