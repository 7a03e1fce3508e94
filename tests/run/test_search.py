import dataclasses
import math
import os
import signal
import sqlite3
import sys

import pytest

from gfnjax.errors import MissingExtraError
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError
from gfnjax.run.sweeps import session
from gfnjax.run.sweeps.directory import SweepDirectory
from gfnjax.run.sweeps.search import Search, search
from gfnjax.run.sweeps.studies.sampling import make_pruner
from gfnjax.run.sweeps.studies.spaces import Spaced
from gfnjax.run.sweeps.table import read
from gfnjax.sweeps.points import log_uniform, uniform

optuna = pytest.importorskip("optuna")

TINY = {"side": 4, "batch_size": 4, "hidden_sizes": (8,), "chunk_size": 4, "steps": 8}
RATES = log_uniform(1e-4, 1e-1)


class Silent:
    def update(self, status):
        pass

    def close(self):
        pass


def make(values, **settings):
    return configure("hypergrid", **{**TINY, **settings, **values})


def wanted(**changes):
    usual = {"make": make, "spaces": {"learning_rate": RATES}, "trials": 6, "population": 3}
    return Search(**{**usual, **changes})


def go(path, name="out", study="study.db", **changes):
    return search(wanted(**changes), path / study, path / name, display=Silent())


def trials(outcome):
    return [(t.number, t.state.name, t.params, t.value) for t in outcome.study.trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return go(tmp_path_factory.mktemp("search"), seeds=(0, 1))


def test_populations_are_trained_as_one_program_each(whole):
    assert whole.ending == "finished"
    assert whole.counts == (6, 0, 0, 0)
    for number, first in ((1, 0), (2, 3)):
        config, rounds = whole.folder.population(number).read_sweep()
        assert rounds == [[0, 1, 2, 3, 4, 5]]
        assert config.seeds == (0, 1)
        rates = [point.config.training.learning_rate for point in config.points]
        asked = [t.params["learning_rate"] for t in whole.study.trials[first : first + 3]]
        assert rates == asked
        assert len(set(rates)) == 3


def test_a_study_is_told_means_over_seeds(whole):
    for trial in whole.study.trials:
        rows = [row for row in whole.table.rows if row["trial"] == trial.number]
        assert {row["learning_rate"] for row in rows} == {trial.params["learning_rate"]}
        assert {row["seed"] for row in rows} == {0, 1}
        assert trial.intermediate_values.keys() == {4, 8}
        for step, value in trial.intermediate_values.items():
            values = [row["total_variation"] for row in rows if row["step"] == step]
            assert value == pytest.approx(sum(values) / 2)
        assert trial.value == pytest.approx(trial.intermediate_values[8])
    assert whole.best_value == min(trial.value for trial in whole.study.trials)
    assert whole.best == whole.study.best_params


def test_all_results_are_in_one_table(whole):
    table = read(whole.folder.table_file)
    assert table.varied == ("trial", "learning_rate")
    assert {row["trial"] for row in table.rows} == set(range(6))
    assert len(table.members()) == 12
    assert len(table.rows) == 12 * 3


@pytest.mark.long
def test_a_second_search_of_the_same_seed_asks_the_same(whole, tmp_path):
    assert trials(go(tmp_path, seeds=(0, 1), trials=3)) == trials(whole)[:3]
    (tmp_path / "other").mkdir()
    other = go(tmp_path / "other", seeds=(2,), trials=3)
    assert {t.params["learning_rate"] for t in other.study.trials}.isdisjoint(
        t.params["learning_rate"] for t in whole.study.trials
    )


@pytest.mark.slow
@pytest.mark.parametrize("population", [1, 2])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(
    whole, tmp_path, monkeypatch, population
):
    save, chunks = session.save, []

    def stop(*args):
        save(*args)
        chunks.append(args)
        if len(chunks) == 2 + 3 * (population - 1):  # after the first of two chunks
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(session, "save", stop)
    stopped = go(tmp_path, seeds=(0, 1))
    assert (stopped.ending, stopped.signal) == ("interrupted", signal.SIGTERM)
    assert stopped.counts == (3 * (population - 1), 0, 0, 3)
    monkeypatch.undo()
    finished = go(tmp_path, seeds=(0, 1))
    for a, b in zip(trials(finished), trials(whole), strict=True):
        assert a[:3] == b[:3]
        assert a[3] == pytest.approx(b[3], abs=1e-6)
    again = go(tmp_path, seeds=(0, 1))
    assert again.ending == "nothing to do"
    assert trials(again) == trials(finished)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (optuna.study.Study, "ask"),
        (optuna.study.Study, "tell"),
        (optuna.trial.Trial, "suggest_float"),
        (SweepDirectory, "write_sweep"),
    ],
)
def test_whatever_a_search_dies_of_it_goes_on(whole, tmp_path, monkeypatch, cls, name):
    plain, calls = getattr(cls, name), []

    def die(*args, **kwargs):
        calls.append(args)
        if len(calls) == (1 if cls is SweepDirectory else 2):
            raise RuntimeError("killed")
        return plain(*args, **kwargs)

    monkeypatch.setattr(cls, name, die)
    with pytest.raises(RuntimeError, match="killed"):
        go(tmp_path, seeds=(0, 1), trials=3)
    monkeypatch.undo()
    finished = go(tmp_path, seeds=(0, 1), trials=3)
    assert trials(finished) == trials(whole)[:3]


def test_a_trial_that_nobody_owns_is_given_up(tmp_path, monkeypatch):
    plain, calls = optuna.trial.Trial.set_user_attr, []

    def die(*args):
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return plain(*args)

    monkeypatch.setattr(optuna.trial.Trial, "set_user_attr", die)
    with pytest.raises(RuntimeError, match="killed"):
        go(tmp_path, trials=3)
    monkeypatch.undo()
    finished = go(tmp_path, trials=3)
    states = [trial.state.name for trial in finished.study.trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert {row["trial"] for row in finished.table.rows} == {0, 2, 3}


@pytest.mark.long
def test_a_pruned_trial_stops(tmp_path):
    # At the first visit the policies that have learned nothing have a TV of 0.41 and more.
    pruner = optuna.pruners.ThresholdPruner(upper=0.4)
    spaces = {"learning_rate": [1e-5, 0.1]}
    found = go(tmp_path, spaces=spaces, pruner=pruner, trials=6, population=6, seeds=(0, 1))
    states = {t.params["learning_rate"]: t.state.name for t in found.study.trials}
    assert states == {1e-5: "PRUNED", 0.1: "COMPLETE"}
    assert 0 < found.counts.pruned < found.counts.finished == 6
    for rows in found.table.members().values():
        bad = rows[0]["learning_rate"] == 1e-5
        assert [row["step"] for row in rows] == ([0, 4] if bad else [0, 4, 8])
        assert rows[-1]["status"] == ("pruned" if bad else "finished")
    for trial in found.study.trials:
        assert list(trial.intermediate_values) == ([4] if trial.state.name == "PRUNED" else [4, 8])


def test_median_and_hyperband_are_given_the_steps_of_a_run():
    hyperband = make_pruner("hyperband", 4, 100)
    assert (hyperband._min_resource, hyperband._max_resource) == (4, 100)
    assert isinstance(make_pruner("median", 4, 8), optuna.pruners.MedianPruner)


@pytest.mark.slow
def test_a_trial_that_diverges_is_the_worst_and_breaks_nothing(tmp_path):
    found = go(tmp_path, spaces={"learning_rate": [1e38, 1e-2]}, trials=4, population=4)
    values = {t.params["learning_rate"]: t.value for t in found.study.trials}
    assert values.keys() == {1e38, 1e-2}
    table = [row["total_variation"] for row in found.table.rows if "total_variation" in row]
    assert values[1e38] == max(table) > values[1e-2]
    assert found.counts == (4, 0, 0, 0)
    assert found.best == {"learning_rate": 1e-2}
    lost = [t.user_attrs.get("diverged") for t in found.study.trials]
    assert {1, None} == set(lost)


@pytest.mark.slow
def test_where_all_diverge_a_search_ends(tmp_path):
    found = go(tmp_path, spaces={"learning_rate": [1e38]}, metric="loss", trials=2, population=2)
    assert [t.value for t in found.study.trials] == [math.inf] * 2


@pytest.mark.long
def test_ranges_are_in_order_and_keep_to_their_values(tmp_path):
    rates = Spaced((1e-4, 1e-3, 1e-2, 1e-1), log=True)
    spaces = {"learning_rate": rates, "epsilon": [0.0, 0.5], "hidden_sizes": [(8,), (4, 4)]}
    spaces |= {"batch_size": Spaced((4,)), "log_z_learning_rate": uniform(0.1, 0.2)}
    found = go(tmp_path, spaces=spaces, trials=2, population=2)
    for trial in found.study.trials:
        assert trial.params["learning_rate"] in rates.values
        assert trial.distributions["learning_rate"].log
        assert trial.params["hidden_sizes"] in ("8", "4 4")
    assert isinstance(found.best["hidden_sizes"], tuple)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"make": lambda v: make(v, side=5)}, "settings.env.side is 4 there, 5 here"),
        ({"spaces": {"learning_rate": [0.1]}}, "spaces.learning_rate is log-uniform"),
        ({"spaces": {"epsilon": [0.1]}}, "spaces.epsilon is here alone"),
        ({"metric": "kl"}, "metric is total_variation there, kl here"),
        ({"metric": "total_variation:high"}, "high is False there, True here"),
        ({"seeds": (0, 1, 2)}, "seeds is"),
        (
            {"make": lambda v: make(v, epsilon=0.1 * (v["learning_rate"] > 0.01))},
            "what is trained at other values differs",
        ),
        ({"make": lambda v: configure("bits", **v)}, "environment is hypergrid there"),
    ],
)
def test_a_study_of_another_search_is_refused(whole, tmp_path, change, message):
    changed = wanted(**{"seeds": (0, 1), **change})
    study = whole.folder.path.parent / "study.db"
    with pytest.raises(UsageError, match="is of another search") as caught:
        search(changed, study, tmp_path / "out")
    assert message in str(caught.value)


def test_what_is_no_study_is_refused(tmp_path, whole):
    file = tmp_path / "study.db"
    file.write_text("no database at all, however long it may be")
    with pytest.raises(UsageError, match="must be an SQLite file of Optuna"):
        go(tmp_path)
    file.unlink()
    sqlite3.connect(file).execute("create table mine (x)").connection.close()
    with pytest.raises(UsageError, match="it has other tables"):
        go(tmp_path)
    with pytest.raises(UsageError, match="must be in a folder that exists"):
        go(tmp_path, study="nowhere/study.db")
    with pytest.raises(UsageError, match="must be an SQLite file"):
        go(tmp_path.parent, "new", study=tmp_path.name)
    storage = f"sqlite:///{tmp_path / 'theirs.db'}"
    optuna.create_study(storage=storage).add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(UsageError, match="was not made by gfnjax search"):
        go(tmp_path, study="theirs.db")
    storage = f"sqlite:///{tmp_path / 'turned.db'}"
    optuna.create_study(storage=storage, direction="maximize").set_user_attr(
        "gfnjax", whole.study.user_attrs["gfnjax"]
    )
    with pytest.raises(UsageError, match="its direction is maximize, yet low values are good"):
        go(tmp_path, study="turned.db", seeds=(0, 1))


def test_folders_of_others_are_refused(tmp_path, whole):
    with pytest.raises(UsageError, match="has a part of the search in"):
        search(wanted(), tmp_path / "new.db", whole.folder.path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(UsageError, match="must be a new or empty folder"):
        go(tmp_path, "mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "total_variatoin"}, "did you mean total_variation"),
        ({"sampler": "cmaes"}, "sampler must be tpe or random"),
        ({"pruner": "mean"}, "pruner must be one of median"),
        ({"spaces": {"steps": [4, 8]}}, "steps is one for all members"),
    ],
)
def test_mistakes_are_refused_before_a_study_is_made(tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        go(tmp_path, **change)
    assert not list(tmp_path.glob("out/search.json"))


@pytest.mark.parametrize("change", [{"trials": 0}, {"population": 0}, {"spaces": {}}])
def test_a_search_has_trials_and_spaces(change):
    with pytest.raises(ValueError, match="must"):
        dataclasses.replace(wanted(), **change)


def test_without_optuna_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r'pip install "gfnjax\[optuna\]"'):
        go(tmp_path)
