"""Graph problems: python -m benchmarks graph-problems exact | generalise [options]

exact       all four problems on graphs whose sets can be listed: the exact total variation after
            training, beside that of the uniform policy
generalise  random graphs of 100 nodes: best of 20 on graphs held out, beside greed, local search,
            chance and the optimum of HiGHS, how many solutions differ, and seconds

What learns from transitions (db, fl-db, subtb, fl-subtb) needs flows of every state, and these
larger steps: --rate 1e-2, with --separate-flow. At 3e-3 fl-db is far behind, perhaps because log
F~, what is still to come, falls by 12 nats along a cut of the 3x3 grid where log F falls by one.
Trajectory balance needs neither, and is ahead.

generalise learns on graphs of --train-nodes nodes and reports others of --nodes; on large ones
--gradient-states bounds the work of a step. What smaller graphs teach carries over for independent
sets and cuts of Barabasi-Albert graphs; it does not for dominating sets, nor for independent sets
of Erdos-Renyi graphs, where greed or local search stay ahead.
"""

import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp
import optax

import gfnjax
from gfnjax import GFlowNet, Hyperparameters, UniformBackward, masking
from gfnjax.data import graphs
from gfnjax.envs.graph_problems import graph_problem
from gfnjax.envs.graph_tasks import GraphConfig
from gfnjax.metrics import exact
from gfnjax.metrics.state_graph import StateGraph, build_graph
from gfnjax.objectives.forward_looking import ForwardLooking
from gfnjax.policies.node_network import node_policy
from gfnjax.run.graphs import find_solutions, sentence, summary_of
from gfnjax.samplers import Groups, OnPolicy, Subsampled

PROBLEMS = "independent-set", "clique", "dominating-set", "max-cut"
LISTED = {
    "petersen": graphs.petersen(),
    "cube": graphs.cube(),
    "cycle-12": graphs.cycle(12),
    "grid-3x3": graphs.grid(3, 3),
    "grid-4x4": graphs.grid(4, 4),
}
BETAS = {"independent-set": 4.0, "clique": 4.0, "dominating-set": 2.0, "max-cut": 1.0}
OBJECTIVES = {
    "tb": gfnjax.TrajectoryBalance(),
    "tb-flow": gfnjax.TrajectoryBalance(log_z="flow"),
    "subtb": gfnjax.SubTrajectoryBalance(0.9),
    "fl-db": ForwardLooking(gfnjax.DetailedBalance()),
    "fl-subtb": ForwardLooking(gfnjax.SubTrajectoryBalance(0.9)),
    "db": gfnjax.DetailedBalance(),
    "vargrad-group": gfnjax.LogPartitionVariance(log_z="group"),
}


GROUP = 8  # trajectories of one graph, where they are compared


def network(env, options: argparse.Namespace):
    return node_policy(env, options.width, options.layers, separate_flow=options.separate_flow)


def describe(env, policy, objective: str, options: argparse.Namespace) -> GFlowNet:
    steps, sampler = options.steps, OnPolicy()
    if objective == "vargrad-group":
        sampler = Groups(GROUP, tempered_share=0.0)
    if options.gradient_states is not None:
        sampler = Subsampled(options.gradient_states, sampler)
    return GFlowNet(
        env,
        policy,
        OBJECTIVES[objective],
        backward=UniformBackward(),
        sampler=sampler,
        batch_size=options.batch,
        hyperparameters=Hyperparameters(
            learning_rate=optax.cosine_decay_schedule(options.rate, steps, alpha=0.02),
            epsilon=optax.linear_schedule(options.epsilon, 0.0, steps // 2),
        ),
    )


def distance(states: StateGraph, log_pf: jax.Array) -> float:
    return float(exact.evaluate(states, log_pf).total_variation)


def listed(options: argparse.Namespace) -> None:
    print("| problem | graph | states | objects | beta | uniform TV | TV | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for problem in options.problems:
        for name in options.graphs:
            env = graph_problem(problem, LISTED[name], BETAS[problem])
            states = build_graph(env)
            mask = states.forward_mask
            chance = distance(states, masking.log_softmax(jnp.zeros(mask.shape), mask))
            policy = network(env, options)
            gfn = describe(env, policy, options.objective, options)
            start = time.perf_counter()
            state, _ = gfnjax.train(gfn, jax.random.key(options.seed), options.steps)
            seconds = time.perf_counter() - start
            found = distance(states, exact.policy_table(gfn.model, state.params).log_pf)
            sizes = f"{states.num_states} | {int(states.terminal.sum())}"
            print(
                f"| {problem} | {name} | {sizes} | {BETAS[problem]:g} | {chance:.4f} | "
                f"{found:.4f} | {seconds:.0f} |",
                flush=True,
            )


def generalise(options: argparse.Namespace) -> None:
    for problem in options.problems:
        config = GraphConfig(
            problem,
            options.family,
            num_nodes=options.train_nodes,
            held_out_nodes=options.nodes,
            num_graphs=options.train_graphs,
            held_out=options.held_out,
            probability=0.3,
            num_links=4,
            beta=options.beta or (4.0 if problem == "max-cut" else 8.0),
            solver_seconds=options.solver_seconds,
        )
        env = config.make()
        policy = network(env, options)
        gfn = describe(env, policy, options.objective, options)
        report = partial(find_solutions, config, gfn)
        state = gfn.init(jax.random.key(options.seed))
        print(f"{problem}, untrained: {sentence(summary_of(report(state), 20))}", flush=True)
        start = time.perf_counter()
        state, _ = gfnjax.train(gfn, jax.random.key(options.seed), options.steps)
        seconds = time.perf_counter() - start
        found = summary_of(report(state), 20)
        print(f"{problem}, {options.steps} steps in {seconds:.0f} s: {sentence(found)}; "
              f"{found['seconds']:.2f} s a graph", flush=True)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="graph-problems", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=("exact", "generalise"))
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=PROBLEMS)
    parser.add_argument("--graphs", nargs="+", choices=LISTED, default=("petersen", "grid-3x3"))
    parser.add_argument("--objective", choices=OBJECTIVES, default=None)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=32, help="trajectories a step")
    parser.add_argument(
        "--rate",
        type=float,
        default=None,
        help="learning rate, falls to a 50th; 3e-3 (exact), 2e-3 (generalise)",
    )
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=("er", "ba"), default="ba")
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--train-graphs", type=int, default=200)
    parser.add_argument("--held-out", type=int, default=16)
    parser.add_argument("--beta", type=float, default=None, help="8; of cuts 4")
    parser.add_argument("--train-nodes", type=int, default=40)
    parser.add_argument("--gradient-states", type=int, default=None)
    parser.add_argument("--separate-flow", action="store_true")
    parser.add_argument("--epsilon", type=float, default=None, help="0.1 (exact), 0 (generalise)")
    parser.add_argument("--solver-seconds", type=float, default=10.0)
    options = parser.parse_args(arguments)
    usual = {"objective": "tb", "epsilon": 0.1, "rate": 3e-3}
    if options.part == "generalise":
        usual = {"objective": "vargrad-group", "epsilon": 0.0, "rate": 2e-3}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    {"exact": listed, "generalise": generalise}[options.part](options)


if __name__ == "__main__":
    main()
