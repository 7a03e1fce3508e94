"""A GFlowNet beside MCMC, PPO and SAC: python benchmarks/baselines.py [--side 8] [--budget 100000]

All are given the same number of environment transitions. Total variation is exact for policies.
For Markov chains it is that of all objects visited in the second half, beside the noise floor of
as many independent draws from the target. Modes are the cells of the highest reward among
1,000 objects drawn afterwards.
"""

import argparse
import math
from functools import partial

import jax
import numpy as np

import gfnjax
from gfnjax import GFlowNet, Hyperparameters, UniformBackward, terminal_states
from gfnjax.algorithms import MarkovChains, RewardPPO, RewardSAC, mars, metropolis_hastings
from gfnjax.metrics import exact, modes, sampled, state_graph
from gfnjax.training import init, run_chunk

HIDDEN = (64, 64)
NUM_SAMPLES = 1_000
CHUNK = 50


def learners(env: gfnjax.Hypergrid) -> dict[str, GFlowNet]:
    policy = gfnjax.mlp_policy(env, HIDDEN)

    def describe(objective: gfnjax.Objective, rate: float = 1e-3, **options) -> GFlowNet:
        rates = Hyperparameters(learning_rate=rate)
        options = {"backward": UniformBackward(), "hyperparameters": rates, **options}
        return GFlowNet(env, policy, objective, **options)

    sac = partial(RewardSAC, critic=policy)
    return {
        "TB": describe(gfnjax.TrajectoryBalance()),
        "PPO, log R": describe(RewardPPO(), num_updates=4),
        "PPO, R": describe(RewardPPO(returns="reward"), num_updates=4),
        "PPO, log R, entropy 1": describe(RewardPPO(entropy_weight=1.0), num_updates=4),
        "SAC, log R, alpha .2": describe(sac(), target_rate=0.05),
        "SAC, log R, alpha 1": describe(sac(temperature=1.0), target_rate=0.05),
    }


def found_modes(env: gfnjax.Hypergrid, best: np.ndarray, trajectories: gfnjax.Trajectory) -> int:
    index = jax.vmap(env.state_index)(terminal_states(trajectories))
    return int(modes.modes_visited(index, best).sum())


@jax.jit
def exact_distance(
    gfn: GFlowNet, states: state_graph.StateGraph, params: gfnjax.Params
) -> exact.ExactMetrics:
    table = exact.policy_table(gfn.model, params)
    return exact.evaluate(states, table.log_pf)


def run_learner(gfn: GFlowNet, states, best, budget: int, seed: int) -> dict[str, float]:
    state, spent = init(gfn, jax.random.key(seed)), 0.0
    while spent < budget:
        state, info = run_chunk(gfn, state, CHUNK, CHUNK)
        spent += float(info.length.sum()) * gfn.batch_size
    sample = jax.jit(type(gfn).sample, static_argnums=3)
    drawn = sample(gfn, state.params, jax.random.key(seed + 1_000), NUM_SAMPLES)
    return {
        "tv": float(exact_distance(gfn, states, state.params).total_variation),
        "floor": 0.0,
        "modes": found_modes(gfn.env, best, drawn),
        "log_reward": float(drawn.log_reward.mean()),
    }


@jax.jit
def _moves(chains: MarkovChains, state):
    def move(state, _):
        state, info = chains.step(state)
        return state, (jax.vmap(chains.proposal.env.state_index)(state.memory), info.transitions)

    return jax.lax.scan(move, state, None, length=CHUNK)


def run_chains(chains: MarkovChains, states, best, budget: int, seed: int) -> dict[str, float]:
    env = chains.proposal.env
    state, visited, spent = chains.init(jax.random.key(seed)), [], 0
    while spent < budget:
        state, (index, transitions) = _moves(chains, state)
        visited.append(np.asarray(index))
        spent += int(transitions.sum())
    late = np.concatenate(visited[len(visited) // 2 :]).reshape(-1)
    log_q = np.asarray(exact.target_distribution(states)[0])
    share = np.bincount(late, minlength=env.num_states) / late.size
    sample = jax.jit(type(chains).sample, static_argnums=3)
    drawn = sample(chains, state, jax.random.key(seed + 1_000), NUM_SAMPLES)
    return {
        "tv": float(np.abs(share - np.exp(log_q)).sum() / 2),
        "floor": float(sampled.noise_floor(log_q, late.size)),
        "modes": found_modes(env, best, drawn),
        "log_reward": float(drawn.log_reward.mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", type=int, default=8)
    parser.add_argument("--budget", type=int, default=100_000)
    arguments = parser.parse_args()
    env = gfnjax.Hypergrid(2, arguments.side, gfnjax.corners("standard"))
    states = state_graph.build_graph(env)
    log_reward = np.where(states.terminal, states.log_reward, -np.inf)
    best = np.flatnonzero(np.isclose(log_reward, log_reward.max()))
    target = np.exp(np.asarray(exact.target_distribution(states)[0]))
    log_soft = exact.log_path_counts(states) + states.log_reward
    log_soft = np.where(states.terminal, log_soft, -np.inf)
    soft = np.exp(log_soft - np.logaddexp.reduce(log_soft))
    print(
        f"E[log R] under R/Z is {float(target @ states.log_reward):.3f}; {best.size} modes. What "
        "maximises log R + entropy ends in x in proportion to R(x) times the number of ways to x: "
        f"total variation {np.abs(soft - target).sum() / 2:.4f}, "
        f"mean log R {float(soft @ states.log_reward):.3f}.\n"
    )
    print("| method | mean TV | range | noise floor | modes | mean log R |")
    print("|---|---|---|---|---|---|")
    policy = gfnjax.mlp_policy(env, HIDDEN)
    methods = {name: partial(run_learner, gfn) for name, gfn in learners(env).items()}
    methods["Metropolis-Hastings"] = partial(run_chains, metropolis_hastings(env))
    restarts = metropolis_hastings(env, num_back=env.max_steps)
    methods["Metropolis-Hastings, back to s_0"] = partial(run_chains, restarts)
    methods["MARS"] = partial(run_chains, mars(env, policy))
    for name, run in methods.items():
        rows = [run(states, best, arguments.budget, seed) for seed in range(arguments.seeds)]
        column = {k: np.array([row[k] for row in rows], float) for k in rows[0]}
        tv, floor = column["tv"], column["floor"].mean()
        print(
            f"| {name} | {tv.mean():.4f} | {tv.min():.4f} to {tv.max():.4f} | "
            f"{'' if math.isclose(floor, 0) else f'{floor:.4f}'} | {column['modes'].mean():.1f} | "
            f"{column['log_reward'].mean():.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
