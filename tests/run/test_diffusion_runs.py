"""Samplers of densities as runs on disk."""

import numpy as np
import pytest

from gfnjax import run
from gfnjax.cli import main
from gfnjax.envs.tempered import tempered
from gfnjax.plot import pictures
from gfnjax.run.build import describe
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError
from gfnjax.run.evaluation.densities import is_known
from gfnjax.samplers import LangevinSearch

SMALL = {"steps": 2, "chunk_size": 1, "batch_size": 4, "num_steps": 3, "evaluation_samples": 64}
SMALL |= {"drift": {"width": 8, "variance_range": 4.0}}


@pytest.mark.long
@pytest.mark.parametrize("target", ["gmm25", "many-well"])
def test_a_run_measures_and_draws(target, tmp_path):
    dim = {} if target == "gmm25" else {"dim": 4}
    outcome = run.start(configure("diffusion", target=target, **SMALL, **dim), tmp_path / "run")
    found = outcome.evaluation
    assert found["elbo"] < found["true_log_z"] < found["eubo"]
    assert 0 < found["effective_share"] <= 1
    assert found["wasserstein"] > 0 < found["wasserstein_floor"]
    assert found["modes_found"] <= found["num_modes"] == (25 if target == "gmm25" else 4)
    names = {path.stem for path in pictures.draw(outcome)}
    assert names >= {"curves", "distribution", "summary", "samples"}
    assert ("wells" in names) == (target == "many-well")


@pytest.mark.slow
def test_the_command_warns_of_modes_that_are_missing(tmp_path, capsys):
    words = "train diffusion --steps 2 --chunk-size 2 --batch-size 4 --num-steps 3 --width 8"
    assert (
        main([*words.split(), "--evaluation-samples", "64", "--output", str(tmp_path / "a")]) == 0
    )
    said = capsys.readouterr().out
    assert "bounds     log Z - ELBO" in said
    assert "distance   W2" in said
    assert "25 modes are missed" in said
    assert "2.7078" in said


def test_of_a_tempered_target_exact_samples_are_of_another():
    env = describe(configure("diffusion", **SMALL)).env
    assert is_known(env)
    assert not is_known(tempered(env, 2.0))


def test_variants_describe_what_they_say():
    plain = describe(configure("diffusion", **SMALL))
    assert plain.hyperparameters.exploration_std(np.int32(0)) == pytest.approx(0.2)
    assert plain.hyperparameters.exploration_std(np.int32(1)) == pytest.approx(0.0)
    both = describe(configure("diffusion", variant="both", **SMALL))
    assert isinstance(both.sampler.local_search, LangevinSearch)
    assert describe(configure("diffusion", variant="pis", **SMALL)).objective.pathwise


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "gmm25", "dim": 3}, "dim must be 2 for gmm25"),
        ({"target": "funnel", "mean": 1.0}, "mean does nothing without target gaussian"),
        ({"target": "many-well", "dim": 3}, "dim must be even"),
        ({"epsilon": 0.1}, "epsilon must be 0"),
        ({"langevin_search": 1}, "langevin_search must be 0, or at least 2"),
        ({"langevin_search": 5, "local_search": 1}, "cannot be used together with local_search"),
        ({"objective": "fm"}, "sums over all actions"),
        ({"network": "drift", "objective": "soft-dqn"}, "sums over all actions"),
        ({"exploration_share": 2.0}, "exploration_share must be in"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(settings, message):
    with pytest.raises(UsageError, match=message):
        describe(configure("diffusion", **settings))


def test_other_environments_have_no_use_for_it():
    with pytest.raises(UsageError, match="exploration_std must be 0"):
        describe(configure("hypergrid", exploration_std=0.1))
    with pytest.raises(UsageError, match=r"LangevinSearch needs points of R\^d"):
        describe(configure("hypergrid", langevin_search=10))
    with pytest.raises(UsageError, match="env must be a Diffusion"):
        describe(configure("hypergrid", network="drift"))
