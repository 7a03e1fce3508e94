"""Molecules at equal numbers: what is counted, and how records are shown and found again."""

import sys
from argparse import Namespace
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import molecule_log, molecule_report, molecules
from benchmarks.molecule_methods import METHODS
from benchmarks.molecule_runs import Run
from gfnjax.chemistry.states import MoleculeState
from gfnjax.metrics.molecule_log import MoleculeLog

pytest.importorskip("rdkit")


def visits():
    """Pairs and triples of small fragments as states, some twice, and a value of each."""
    from gfnjax.chemistry.building import to_smiles
    from gfnjax.chemistry.vocabulary import vocabulary
    from gfnjax.envs.molecule_tasks import molecules as environment

    words = vocabulary(["C", "CO", "c1ccccc1", "N"], [[0, 0], [0, 1], [0, 1, 2, 3], [0, 0]])
    env = environment(lambda state: 0.0, words, max_blocks=3)
    step, masked, one = jax.jit(env.step), jax.jit(env.forward_mask), jax.jit(env.canonical)
    states = []
    rng = np.random.default_rng(0)
    for _ in range(60):
        state = env.initial_state()
        while (allowed := np.flatnonzero(masked(state))).size:
            state = step(state, np.int32(rng.choice(allowed)))
        states.append(one(state))
    batch = jax.tree.map(lambda *x: np.stack([np.asarray(each) for each in x]), *states)
    smiles = [to_smiles(state, words) for state in states]
    values = np.array([hash_of(each) for each in smiles])
    return words, batch, smiles, values


def hash_of(text):
    return 6.0 + (sum(map(ord, text)) % 97) / 40


@pytest.mark.slow
def test_few_molecules_pass_rdkit_and_no_curve_changes(monkeypatch):
    monkeypatch.setattr(molecule_log, "TOP", (2, 5))
    words, batch, smiles, values = visits()
    seen = molecule_log.Visited(words)
    for start in range(0, 60, 20):
        part = jax.tree.map(lambda x, start=start: x[start : start + 20], batch)
        seen.add(part, values[start : start + 20], most=50)
    everything = MoleculeLog()
    everything.add(smiles[:50], values[:50], canonical=True)

    found = seen.curves(50)

    assert seen.num_visited == 50
    at = found["visited"]
    expected = everything.curves(at, top=(2, 5), thresholds=molecule_log.THRESHOLDS)
    for name in expected.keys() - {"visited", "distinct"}:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    np.testing.assert_allclose(found["mean"][0], values[: at[0]].mean(), rtol=1e-6)
    np.testing.assert_allclose(found["mean"][-1], values[at[-2] : 50].mean(), rtol=1e-6)
    assert len(seen.log) < len(everything)


def record(method, seed, best, settings=None):
    curves = {name: [0.0, best] for name in molecule_report.METRICS}
    curves |= {"visited": [1, 10], "distinct": [1, 9], "mean": [1.0, 2.0]}
    return {
        "method": method,
        "seed": seed,
        "molecules": 10,
        "settings": settings or {},
        "curves": curves,
        "proxy_calls_ahead": 3,
        "seconds": {"training": 2.0},
    }


def test_a_table_of_medians():
    records = [record("tb", seed, float(seed)) for seed in range(3)]
    records.append(record("tb", 0, 7.0, {"beta": 2}))
    lines = molecule_report.table(records).splitlines()
    assert lines[3].startswith("| tb | 3 | 10 | 1.00 (0.00 to 2.00) |")
    assert lines[4].startswith("| tb (2) | 1 | 10 | 7.00 |")
    assert "| *GFlowNet, published* |  | 100,000 | 8.36 | 8.21 | 7.98 | 0.44 |" in lines[5]


def test_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    records = [record("tb", 0, 1.0), record("fm", 0, 2.0)]
    molecule_report.plot(records, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def options_of(output, **changes):
    options = {
        "output": output, "methods": ["tb", "fm"], "seeds": 2, "first_seed": 0, "molecules": 10,
        "seconds": 1.0, "set": [], "label": None, "plot": None, "visits_only": False,
        "throughput": None,
    }  # fmt: skip
    return Namespace(**options | changes)


def ran(number):
    rows = np.zeros((number, 3), np.int8)
    facts = {"seconds": {"training": 2.0}, "proxy_calls_ahead": 3, "batch_size": 4}
    states = MoleculeState(rows, rows - 1, rows, np.ones(number, bool))
    return Run(states, np.arange(number, dtype=np.float32), facts)


def test_visits_are_kept_as_they_are(tmp_path):
    before = ran(5)
    before.save(tmp_path / "folder" / "visits.npz")
    after = Run.load(tmp_path / "folder" / "visits.npz")
    jax.tree.map(np.testing.assert_array_equal, before[:2], after[:2])
    assert after.facts == before.facts
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["visits.npz"]


def test_what_would_be_counted_wrongly_is_refused(tmp_path):
    for word in ("window=4", 'reward=["qed"]', "replay=fifo"):
        with pytest.raises(SystemExit, match=word.partition("=")[0]):
            molecules.compare(options_of(tmp_path, set=["batch_size=8", word]))


def test_what_has_been_run_is_not_run_again(tmp_path, monkeypatch, capsys):
    calls, lengths = [], []

    def run(method, seeds, number, seconds):
        calls.append((method.name, tuple(seeds)))
        return [ran(lengths.pop() if lengths else number) for _ in seeds]

    def summary(found, number):
        assert len(found.proxy) >= number
        return {"curves": record("", 0, 1.0)["curves"], "best": []}

    monkeypatch.setattr(molecules, "run", run)
    monkeypatch.setattr(molecules, "summary", summary)
    molecules.compare(options_of(tmp_path, visits_only=True))
    assert molecules.read(tmp_path / molecules.RECORDS) == []
    molecules.compare(options_of(tmp_path))
    assert len(molecules.read(tmp_path / molecules.RECORDS)) == 4
    molecules.compare(options_of(tmp_path, seeds=3))
    molecules.compare(options_of(tmp_path, set=["batch_size=8"]))
    assert calls == [(n, s) for s in ((0, 1), (2,), (0, 1)) for n in ("tb", "fm")]
    assert "| tb (2) | 2 |" in capsys.readouterr().out
    assert METHODS["tb"].settings["batch_size"] != 8

    # Too few visits, since time was up, are no record; they are enough for a smaller number.
    lengths[:] = [7]
    molecules.compare(options_of(tmp_path, methods=["random"], seeds=1))
    assert "stopped after 7 molecules" in capsys.readouterr().out
    molecules.compare(options_of(tmp_path, methods=["random"], seeds=1, molecules=7))
    assert calls[6:] == [("random", (0,))]
    assert "| random | 1 | 7 |" in capsys.readouterr().out
