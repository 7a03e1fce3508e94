"""Time to quality: distances, goals, and the race that ends at them."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import gfnjax
from benchmarks import convergence, curves, measures, processes, race
from benchmarks.tasks import TASKS, gflownet
from gfnjax.envs.dags import DAGs
from gfnjax.envs.sequences import FixedSequence
from gfnjax.metrics import exact


def random_logits(env, rows):
    size = len(rows), env.num_actions
    return np.random.default_rng(0).normal(size=size).astype(np.float32)


def masked(env, rows, logits):
    allowed = jax.vmap(lambda row: env.forward_mask(measures.state_of(env, row)))(jnp.asarray(rows))
    return np.where(allowed, logits, -np.inf)


def ends(allowed, step, start, logits):
    """`{object: probability}` of a policy: visits passed on from state to state, in plain Python.

    `step(state, action)` is the next state, or None where the state itself is the object;
    `allowed(state)` lists actions, none where a state is an object.
    """
    visits, found = {start: 1.0}, {}
    while visits:
        after = {}
        for state, probability in visits.items():
            actions = allowed(state)
            if not actions:
                found[state] = found.get(state, 0.0) + probability
                continue
            weights = np.exp(np.array([logits(state)[action] for action in actions], float))
            for action, share in zip(actions, weights / weights.sum(), strict=True):
                child, into = step(state, action), after
                if child is None:
                    child, into = state, found
                into[child] = into.get(child, 0.0) + probability * share
        visits = after
    return found


def grid_moves(side):
    def allowed(cell):
        return [a for a, x in enumerate(cell) if x < side - 1] + [len(cell)]

    def step(cell, action):
        if action == len(cell):
            return None
        return tuple(x + (i == action) for i, x in enumerate(cell))

    return allowed, step


def letter_moves(length, alphabet_size):
    def allowed(word):
        return range(2 * alphabet_size) if len(word) < length else ()

    def step(word, action):
        letter = (action % alphabet_size,)
        return word + letter if action < alphabet_size else letter + word

    return allowed, step


def graph_moves(num_nodes):
    def leads(edges, start, end):
        return start == end or any(u == start and leads(edges, v, end) for u, v in edges)

    def allowed(edges):
        pairs = [divmod(a, num_nodes) for a in range(num_nodes**2)]
        free = [not leads(edges, v, u) and (u, v) not in edges for u, v in pairs]
        return [*np.flatnonzero(free).tolist(), num_nodes**2]

    def step(edges, action):
        return None if action == num_nodes**2 else edges | {divmod(action, num_nodes)}

    return allowed, step


def edges_of(adjacency):
    return frozenset(map(tuple, np.argwhere(adjacency).tolist()))


WEIGHTS = np.array([1.3, 0.3, -0.4], np.float32)
# Environment, metric, moves in plain Python, and how a row of a gauge is read there.
SMALL = {
    "grid": (
        gfnjax.Hypergrid(2, 3, gfnjax.Corners(0.1, 0.5, 2.0)),
        "total_variation",
        grid_moves(3),
        lambda row: tuple(row.tolist()),
    ),
    "letters": (
        FixedSequence(3, 2, lambda tokens: tokens.astype(float) @ WEIGHTS, both_ends=True),
        "total_variation",
        letter_moves(3, 2),
        lambda row: tuple(row[row >= 0].tolist()),
    ),
    "graphs": (
        DAGs(3, lambda adjacency: adjacency.astype(float)[0] @ WEIGHTS),
        "jsd",
        graph_moves(3),
        edges_of,
    ),
}


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_distances_are_those_of_plain_python(name, uniform):
    env, metric, (allowed, step), read = SMALL[name]
    gauge = measures.make_gauge(env, metric)
    logits = random_logits(env, gauge.states) * (not uniform)
    of_state = {read(row): line for row, line in zip(gauge.states, logits, strict=True)}
    found = ends(allowed, step, read(np.asarray(env.initial_state()[0])), of_state.get)
    states = map(env.state_at, range(env.num_states))
    rewards = {
        read(np.asarray(state[0])): np.exp(float(env.log_reward(state)))
        for state in states
        if env.is_terminal(state)
    }

    assert set(found) <= set(rewards)
    q = np.array(list(rewards.values())) / sum(rewards.values())
    p = np.array([found.get(key, 0.0) for key in rewards])
    middle = (p + q) / 2
    expected = {
        "total_variation": np.abs(p - q).sum() / 2,
        "jsd": ((p * np.log(p / middle)).sum() + (q * np.log(q / middle)).sum()) / 2,
    }[metric]
    assert gauge.distance(masked(env, gauge.states, logits)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_logits_of_other_actions_are_refused(name):
    env, metric, _, _ = SMALL[name]
    gauge = measures.make_gauge(env, metric)
    logits = masked(env, gauge.states, random_logits(env, gauge.states))
    wrong = logits.copy()
    wrong[0, 1] = -np.inf
    with pytest.raises(ValueError, match="other actions"):
        gauge.distance(wrong)
    with pytest.raises(ValueError, match="other actions"):
        gauge.distance(logits[:, :-1])


def test_a_measure_for_each_task_of_theirs():
    assert set(measures.MEASURES) <= set(TASKS)
    for measure in measures.MEASURES.values():
        assert list(measure.goals) == sorted(measure.goals, reverse=True)
        assert measure.metric in exact.ExactMetrics._fields


def curve(library, seed, points, start=None):
    return {
        "task": "grid-tb",
        "library": library,
        "version": "1.2",
        "seed": seed,
        "log_z_start": start,
        "distance": "TV",
        "goals": (0.2, 0.1),
        "curve": points,
    }


OURS_TWICE = [
    curve("gfnjax", 0, [(100, 1.0, 0.3), (200, 2.0, 0.15), (300, 3.0, 0.16), (400, 4.0, 0.09)]),
    curve("gfnjax", 1, [(100, 1.5, 0.15), (200, 2.5, 0.08)]),
    curve("gfnjax", 2, [(100, 1.25, 0.18), (1_200, 12.3456, 0.12)]),
]
FROM_ZERO = [curve("gfnjax", seed, [(1_000, 9.0, 0.5)], "zero") for seed in range(3)]
SLOW = [curve("torchgfn", seed, [(10, 123.0, 0.4 - 0.11 * seed)]) for seed in range(3)]


@pytest.mark.parametrize(
    ("goal", "expected"),
    [(0.5, (1.0, 100)), (0.2, (2.0, 200)), (0.155, (2.0, 200)), (0.1, (4.0, 400))],
)
def test_a_goal_is_reached_at_the_first_measurement_below_it(goal, expected):
    assert curves.reached(OURS_TWICE[0], goal) == expected


def test_a_goal_that_is_not_reached_takes_for_ever():
    assert curves.reached(OURS_TWICE[0], 0.09) == (np.inf, np.inf)


def test_goals_as_a_table():
    empty, head, rule, *rows = curves.table(OURS_TWICE + FROM_ZERO + SLOW).split("\n")
    assert empty == ""
    assert head == "| grid-tb, 3 seeds | TV < 0.2: s, steps | TV < 0.1: s, steps | at last |"
    assert rule == "| --- | --- | --- | --- |"
    assert rows == [
        "| gfnjax 1.2 | 1.5 (1.25 to 2), 100 | 4 (2.5 to >12), 400 "
        "| 0.09 (0.08 to 0.12) after 400 |",
        "| gfnjax 1.2, log Z from 0 | - | - | 0.5 (0.5 to 0.5) after 1,000 |",
        "| torchgfn 1.2 | >123 (123 to >123) | - | 0.29 (0.18 to 0.4) after 10 |",
    ]


def test_curves_as_a_picture(tmp_path):
    elsewhere = [{**record, "task": "dag"} for record in OURS_TWICE]
    curves.plot(OURS_TWICE + SLOW + FROM_ZERO + elsewhere, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], 50),
        ([(100, 10.0, 0.5)], 50),
        ([(1_000, 10.0, 0.5)], 100),  # a tenth of those so far
        ([(1_000, 98.0, 0.5)], 0),  # less than 3% of the budget is left
        ([(1_000, 96.0, 0.5)], 42),  # 4 s of steps of .096 s
        ([(10, 101.0, 0.5)], 0),
    ],
)
def test_steps_until_the_next_measurement(points, expected):
    options = convergence._parse(["--budget", "100"])
    assert race.next_chunk(points, options, 50) == expected


def test_competitors_are_measured_until_they_arrive_or_have_spent_their_budget(
    monkeypatch, tmp_path, capsys
):
    """All take .01 s a step and stay uniform."""
    started = []

    def start(library, task, *flags):
        about = {"library": library, "task": task, "version": "1.2"}
        started.append((library, *flags))
        return processes.Worker(None, about | {"log_z_start": flags[3] if flags[3:] else None})

    def ask(worker, **question):
        if "run" in question:
            return {"seconds": question["run"] / 100}
        env = gflownet("grid-8x8").env
        rows = np.load(question["states"])
        np.save(question["logits"], masked(env, rows, np.zeros((len(rows), env.num_actions))))
        return {}

    stopped = []
    monkeypatch.setattr(processes, "start", start)
    monkeypatch.setattr(processes, "ask", ask)
    monkeypatch.setattr(processes, "stop", stopped.append)
    paths = tmp_path / "curves.jsonl", tmp_path / "curves.png"
    given = "--task grid-8x8 --peers --log-z-start both --budget 1 --seeds 2 --output {} --plot {}"

    assert convergence.main(given.format(*paths).split()) == 0

    zeros = [("gfnjax", "--seed", "0", "--log-z-start", x) for x in ("batch", "zero")]
    assert started[:4] == [*zeros, ("gfnx", "--seed", "0"), ("torchgfn", "--seed", "0")]
    assert len(started) == len(stopped) == 8
    records = [json.loads(line) for line in paths[0].read_text().splitlines()]
    assert [record["seed"] for record in records] == [0] * 4 + [1] * 4
    (value,) = {value for record in records for _, _, value in record["curve"]}
    assert all(
        record["curve"] == [[25 * i, pytest.approx(0.25 * i), value] for i in range(1, 5)]
        for record in records
    )
    assert 0.1 < value < 1
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("\n| gfnjax 1.2, log Z from 0 | ") == 1


def test_the_posterior_has_no_log_z_to_start(monkeypatch):
    monkeypatch.setattr(processes, "start", lambda *given: given)
    options = convergence._parse(["--log-z-start", "both"])
    assert race.start(options, "dag", 3) == [
        ("gfnjax", "dag", "--seed", "3", "--log-z-start", "batch")
    ]


@pytest.mark.slow
@pytest.mark.skipif(
    not (processes.ENVIRONMENTS / "gfnx" / "bin" / "python").exists(), reason="gfnx is not there"
)
@pytest.mark.parametrize("name", ["grid-8x8", "tfbind8", "dag"])
def test_gfnx_has_the_same_states_actions_and_rewards(name, tmp_path):
    env = gflownet(name).env
    rows = measures.make_gauge(env, measures.MEASURES[name].metric).states
    rows = np.random.default_rng(0).permutation(rows)[:200]
    np.save(tmp_path / "states.npy", rows)
    module = "benchmarks.peers.gfnx_check"
    files = tmp_path / "states.npy", tmp_path / "children.npz"
    subprocess.run(
        [processes.python_of("gfnx"), "-m", module, name, *files], cwd=processes.ROOT, check=True
    )
    theirs = np.load(files[1])

    def step(row):
        state = measures.state_of(env, row)
        children = jax.vmap(env.step, (None, 0))(state, jnp.arange(env.num_actions))
        rewards = jax.vmap(env.log_reward)(children), jax.vmap(env.is_terminal)(children)
        return env.forward_mask(state), children[0], *rewards

    allowed, children, log_reward, terminal = map(np.asarray, jax.vmap(step)(jnp.asarray(rows)))
    np.testing.assert_array_equal(theirs["children"][allowed], children[allowed])
    found, ended = theirs["log_reward"][allowed], terminal[allowed]
    np.testing.assert_array_equal(~np.isnan(found), ended)
    assert ended.any()
    assert np.ptp((found - log_reward[allowed])[ended]) < 1e-3  # posteriors up to a constant
