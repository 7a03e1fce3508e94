"""What a reward in NumPy costs: training steps a second on the 8x8 grid, alternating.

python benchmarks/host_reward.py
"""

import time

import jax
import numpy as np

import gfnjax


def corners(position: np.ndarray, side: int) -> np.ndarray:
    """`gfnjax.corners("standard")` of a batch of cells."""
    offset = np.abs(position / (side - 1) - 0.5)
    corner, ring = (offset > 0.25).all(1), ((offset > 0.3) & (offset < 0.4)).all(1)
    return np.log(0.1 + 0.5 * corner + 2 * ring)


def prepare(reward, batch_size: int, num_steps: int):
    """A compiled function that runs `num_steps`, and the state it starts from."""
    env = gfnjax.Hypergrid(2, 8, reward)
    gfn = gfnjax.GFlowNet(
        env, gfnjax.mlp_policy(env), gfnjax.TrajectoryBalance(), batch_size=batch_size
    )

    @jax.jit
    def run(state):
        return jax.lax.scan(lambda s, _: (gfn.step(s)[0], None), state, None, length=num_steps)[0]

    return run, jax.block_until_ready(run(gfn.init(jax.random.key(0))))


def main(num_steps: int = 200, repeats: int = 7) -> None:
    """Print medians of steps a second."""
    rewards = {"device": gfnjax.corners("standard"), "host": gfnjax.rewards.host(corners)}
    for batch_size in (16, 256):
        runs = {name: prepare(reward, batch_size, num_steps) for name, reward in rewards.items()}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(repeats):
            for name, (run, state) in runs.items():
                start = time.perf_counter()
                jax.block_until_ready(run(state))
                times[name].append(time.perf_counter() - start)
        speeds = {name: num_steps / np.median(seconds) for name, seconds in times.items()}
        print(f"batch {batch_size}:", {name: f"{s:.0f} steps/s" for name, s in speeds.items()})


if __name__ == "__main__":
    main()
