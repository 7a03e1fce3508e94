"""What a key/value cache pays: python benchmarks/causal.py [--quick] [--batch 16]

Trajectory balance on antimicrobial peptides (60 letters), the same causal transformer twice: as a
`CausalPolicy`, one token a step and one pass to score a trajectory; and as an ordinary `Policy`
evaluated on every prefix from scratch. Measured in one process, alternating. Without the data
file of the AMP reward a plain count of letters stands in.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

import gfnjax
from gfnjax import GFlowNet, Policy, TrainState
from gfnjax.envs.amp import VariableSequence, antimicrobial_peptides
from gfnjax.policies.causal import CausalPolicy, causal_transformer_policy
from gfnjax.training import init, run_chunk


def environment() -> VariableSequence:
    try:
        return antimicrobial_peptides()
    except FileNotFoundError:
        print("No AMP weights (set GFNJAX_DATA): the reward counts lysines instead.")
        return VariableSequence(60, 20, lambda tokens: 0.1 * (tokens == 11).sum().astype(float))


def on_every_prefix(policy: CausalPolicy) -> Policy:
    """The same function of the state, without a memory; the letters are read off the state."""

    nothing = jnp.zeros(0)  # to be seen of where a trajectory starts

    def observe(env, state):
        return state.tokens

    def init(key, tokens):
        return policy.init(key, (nothing, jnp.pad(tokens + 1, (1, 1))))

    def apply(params, tokens):
        outputs = policy.unroll(params, nothing, jnp.pad(tokens + 1, (1, 1)))
        return jax.tree.map(lambda x: x[(tokens >= 0).sum()], outputs)

    return Policy(init, apply, observe)


def stop_bias(state: TrainState, bias: float) -> TrainState:
    """The same run with the stop action made rarer or more frequent."""
    policy = state.params.policy["params"]
    dense = policy["heads"]["Dense_0"]
    dense = {**dense, "bias": dense["bias"].at[20].set(bias)}
    policy = {"params": {**policy, "heads": {**policy["heads"], "Dense_0": dense}}}
    return state._replace(params=state.params._replace(policy=policy))


def seconds_per_step(gfn: GFlowNet, state: TrainState, num_steps: int) -> tuple[float, float]:
    start = time.perf_counter()
    _, info = run_chunk(gfn, state, num_steps, num_steps)
    return (time.perf_counter() - start) / num_steps, float(info.length.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the steps")
    parser.add_argument("--batch", type=int, default=16, help="trajectories per step")
    options = parser.parse_args()
    repeats, cached_steps, prefix_steps = (2, 5, 1) if options.quick else (5, 20, 2)
    env = environment()
    causal = causal_transformer_policy(env)
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, batch {options.batch}\n")
    print("| stop bias | mean length | cached it/s | every prefix it/s | ratio |")
    print("|---|---|---|---|---|")
    objective = gfnjax.TrajectoryBalance()
    cached = GFlowNet(env, causal, objective, batch_size=options.batch)
    prefix = GFlowNet(env, on_every_prefix(causal), objective, batch_size=options.batch)
    for bias in (0.0, -6.0):
        state = stop_bias(init(cached, jax.random.key(0)), bias)
        run_chunk(cached, state, 1, cached_steps)
        run_chunk(prefix, state, 1, prefix_steps)
        rows = []
        for _ in range(repeats):
            ours, length = seconds_per_step(cached, state, cached_steps)
            theirs, _ = seconds_per_step(prefix, state, prefix_steps)
            rows.append((length, ours, theirs))
        length, ours, theirs = np.median(np.array(rows), axis=0)
        print(
            f"| {bias:.0f} | {length:.1f} | {1 / ours:.1f} | {1 / theirs:.2f} | "
            f"{theirs / ours:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
