"""What a run has found on graphs: best of some solutions, beside greed, chance and HiGHS."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gfnjax.chemistry.exports import write_table
from gfnjax.envs.graph_tasks import GraphConfig
from gfnjax.envs.tempered import Tempered, tempered
from gfnjax.gflownet import GFlowNet
from gfnjax.metrics.graph_baselines import greedy_solutions, random_solutions
from gfnjax.metrics.graph_optimum import optimum
from gfnjax.metrics.graph_search import local_search_solutions
from gfnjax.metrics.graph_solutions import gap, sample_solutions, summarise
from gfnjax.policies.node_network import problem_of
from gfnjax.run.evaluation.base import evaluation_keys, target_model
from gfnjax.run.trained import Contains
from gfnjax.training import RunState

MAX_GRAPHS = 64
SUMMARY = "solutions.json"
# What baselines are called in a table and in a sentence.
NAMES = {"greedy": "greedy", "local_search": "local search", "chance": "chance"}

Columns = dict[str, list[Any]]


def find_solutions(env_config: Any, gfn: Any, state: RunState) -> Columns | None:
    """A column a number, a row a graph held out; of a single graph, one row.

    `best`, `mean`, `distinct` and `distinct_best` of the policy's solutions, `seconds` for them;
    the best of as many of `greedy`, of `local_search` and of `chance`; `optimum`, None where
    the solver has found nothing, `bound` and `proven`.

    Args:
        env_config: options of the environment.
        gfn: what was trained.
        state: of its training; the sample follows from it.

    Returns:
        None if these are no graph problems.
    """
    if not isinstance(env_config, GraphConfig):
        return None
    key = evaluation_keys(state).picture
    if isinstance(gfn, Contains):
        gfn, state = gfn.trained(state)
    if not isinstance(gfn, GFlowNet):
        return None
    model, num = target_model(gfn.at(state)), env_config.num_solutions
    problem = env_config.reported()
    env = model.env
    if isinstance(env, Tempered):
        problem = tempered(problem, env.reward_exponent)
    model = replace(model, env=problem)
    # Compiled once before the clock is read.
    first, key = jax.random.split(key)
    sample_solutions(model, state.params, first, num)
    started = time.perf_counter()
    parts, scores = sample_solutions(model, state.params, key, num)
    seconds = (time.perf_counter() - started) / len(parts)
    columns: Columns = {}
    for found, score in list(zip(parts, scores, strict=True))[:MAX_GRAPHS]:
        row = {**summarise(found, score)._asdict(), "seconds": seconds}
        _append(columns, row)
    for row in baselines(env_config.problem, problem_of(problem), num, env_config.solver_seconds):
        _append(columns, row)
    return columns


def baselines(problem: str, env: Any, num: int, solver_seconds: float) -> list[dict[str, Any]]:
    """A row a graph of a `GraphProblem`: the best of `num` by each baseline, and the optimum."""
    rng, rows = np.random.default_rng(0), []
    for adjacency, size in list(zip(env.adjacency, env.num_nodes, strict=True))[:MAX_GRAPHS]:
        graph = np.asarray(adjacency)[:size, :size]
        row: dict[str, Any] = {"nodes": int(size), "edges": int(graph.sum()) // 2}
        row["greedy"] = int(greedy_solutions(problem, graph, num, rng).scores.max())
        row["local_search"] = int(local_search_solutions(problem, graph, num, rng).scores.max())
        row["chance"] = int(random_solutions(problem, graph, num, rng).scores.max())
        if solver_seconds > 0:
            found = optimum(problem, graph, solver_seconds)
            row |= {"optimum": found.score, "bound": found.bound, "proven": found.proven}
            row["solver_seconds"] = found.seconds
        rows.append(row)
    return rows


def summary_of(columns: Columns, num: int) -> dict[str, Any]:
    """The means of all columns by name, and how far the best of `num` are from others."""
    means: dict[str, Any] = {"num_graphs": len(columns["best"]), "num_solutions": num}
    for name, column in columns.items():
        known = [float(x) for x in column if x is not None]
        means[name] = float(np.mean(known)) if known else None
    proven = [i for i, sure in enumerate(columns.get("proven", ())) if sure]
    means["num_proven"] = len(proven)
    if proven:
        best, known = ([columns[name][i] for i in proven] for name in ("best", "optimum"))
        means["gap_to_proven"] = gap(best, known)
    means["gap_to_greedy"] = gap(columns["best"], columns["greedy"])
    return means


def write_solutions(folder: Path, columns: Columns, num: int) -> list[Path]:
    """Write `solutions.csv`, and their summary into `solutions.json`."""
    table, summary = folder / "solutions.csv", folder / SUMMARY
    write_table(table, columns)
    means = summary_of(columns, num)
    summary.write_text(json.dumps(means, indent=2) + "\n", encoding="utf-8")
    return [table, summary]


def told(folder: Path) -> str | None:
    """The `sentence` of what `write_solutions` has written there; None if nothing."""
    if not (folder / SUMMARY).exists():
        return None
    return sentence(json.loads((folder / SUMMARY).read_text(encoding="utf-8")))


def sentence(found: dict[str, Any]) -> str:
    """A summary in words."""
    others = [f"{name} {found[k]:.2f}" for k, name in NAMES.items() if k in found]
    graphs = "the graph" if found["num_graphs"] == 1 else f"{found['num_graphs']} graphs held out"
    alike = f"{found['distinct']:.1f} different, {found['distinct_best']:.1f} of them best"
    best = (
        f"best of {found['num_solutions']} {found['best']:.2f} (mean {found['mean']:.2f}, {alike})"
    )
    parts = [f"{best}, on {graphs}", f"best of as many by {', '.join(others)}"]
    if found["num_proven"]:
        share = f"{found['num_proven']} of {found['num_graphs']}"
        parts.append(
            f"{100 * found['gap_to_proven']:.1f}% below the optimum where proven ({share})"
        )
    return "; ".join(parts)


def _append(columns: Columns, row: dict[str, Any]) -> None:
    for name, value in row.items():
        columns.setdefault(name, []).append(value)
