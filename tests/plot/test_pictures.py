import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfnjax
from gfnjax import run
from gfnjax.envs.drawing import Panel, Renderable
from gfnjax.envs.graph_building import BuiltGraph, GraphBuilding
from gfnjax.envs.hypergrid import Hypergrid, HypergridState
from gfnjax.envs.ising import Ising, IsingState
from gfnjax.envs.tempered import tempered
from gfnjax.plot import curves, pictures, style
from gfnjax.policies import UniformBackward, uniform_policy
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError
from gfnjax.run.directory import RunDirectory
from gfnjax.run.evaluation import Distributions, make

ROOT = Path(gfnjax.__file__).parents[1]
PNG = b"\x89PNG\r\n\x1a\n"


def record(kind, step, **values):
    return {"kind": kind, "step": step, **values}


RECORDS = [
    record("evaluation", 0, total_variation=0.5, true_log_z=2.0, log_z=0.0),
    *(record("train", s, loss=1 / s, log_z=2 - 1 / s, length=3.0 + s) for s in range(1, 9)),
    record("train", 9, loss=float("nan"), log_z=2.0, length=3.0),
    record("evaluation", 9, total_variation=0.01, true_log_z=2.0, log_z=2.0),
]


def panel(seed, *shape):
    values = np.random.default_rng(seed).random(shape)
    return Panel(values / values.sum(), "x", "y" if len(shape) == 2 else "")


def title(ax):
    return ax.get_title(loc="left")


def test_smoothing_is_a_moving_average():
    values = np.array([4.0, 0.0, 2.0, 6.0])
    np.testing.assert_allclose(curves.smooth(values, 1), values)
    np.testing.assert_allclose(curves.smooth(values, 3), [2, 2, 8 / 3, 4])
    np.testing.assert_allclose(curves.smooth(values, 99), [3] * 4)


def test_learning_curves_show_what_was_logged():
    axes = {title(ax): ax for ax in pictures.learning_curves(RECORDS).axes}
    assert set(axes) == {"loss", "log Z", "exact total variation", "mean trajectory length"}

    raw, smoothed = axes["loss"].lines
    # A loss that was not finite is left out, not drawn as zero.
    np.testing.assert_allclose(raw.get_xydata(), [(s, 1 / s) for s in range(1, 9)])
    assert smoothed.get_linewidth() > raw.get_linewidth()
    assert axes["loss"].get_yscale() == "log"
    assert [line.get_ydata()[-1] for line in axes["log Z"].lines] == [2.0, 2.0]
    assert axes["log Z"].get_legend().get_texts()[1].get_text() == "truth 2.000"
    np.testing.assert_allclose(
        axes["exact total variation"].lines[0].get_xydata(), [(0, 0.5), (9, 0.01)]
    )


def test_a_notebook_shows_a_figure_without_pyplot():
    figure = pictures.learning_curves(RECORDS)
    assert figure._repr_png_().startswith(PNG)


def test_own_figures_may_have_the_style():
    import matplotlib

    with matplotlib.rc_context():
        style.use()
        assert {name: matplotlib.rcParams[name] for name in style.STYLE} == style.STYLE


def test_without_exact_metrics_the_elbo_is_drawn():
    records = [
        record("train", 1, loss=1.0, log_z=0.1, length=1.0),
        record("evaluation", 1, elbo=-2.0, log_z=0.1),
        record("evaluation", 2, elbo=-1.0, log_z=0.2),
    ]
    axes = {title(ax): ax for ax in pictures.learning_curves(records).axes}
    np.testing.assert_allclose(axes["ELBO"].lines[0].get_ydata(), [-2.0, -1.0])
    assert axes["log Z"].get_legend() is None


@pytest.mark.parametrize("count", [1, 3])
def test_target_and_learned_share_one_scale(count):
    learned = tuple(panel(s, 4, 5) for s in range(count))
    target = tuple(panel(s + 10, 4, 5) for s in range(count))

    figure = pictures.distributions(pictures.Views(learned, target), "after 9 steps: TV 0.1")

    images = [ax.images[0] for ax in figure.axes if ax.images]
    for image, expected in zip(images, target + learned, strict=True):
        np.testing.assert_array_equal(image.get_array(), expected.values)
    top = max(p.values.max() for p in target + learned)
    assert {image.get_clim() for image in images} == {(0.0, top)}
    assert [title(ax) for ax in figure.axes if ax.images][0 : 2 * count : count] == [
        "target",
        "learned",
    ]
    assert figure.get_suptitle() == "after 9 steps: TV 0.1"


def test_one_dimension_is_drawn_as_bars():
    views = pictures.Views((panel(0, 6),), (panel(1, 6),))
    for figure in (pictures.distributions(views, ""), pictures.summary(RECORDS, views)):
        target, learned = [ax for ax in figure.axes if ax.patches]
        for ax, expected in ((target, views.target), (learned, views.learned)):
            heights = [bar.get_height() for bar in ax.patches]
            np.testing.assert_array_equal(heights, expected[0].values)
        assert target.get_ylim() == learned.get_ylim()


def test_the_summary_names_the_quality():
    views = pictures.Views((panel(0, 3, 3),), (panel(1, 3, 3),))
    figure = pictures.summary(RECORDS, views)
    assert [title(ax) for ax in figure.axes if ax.images] == ["target", "learned, exact TV 0.0100"]
    alone = pictures.summary(RECORDS, views._replace(target=None))
    assert [title(ax) for ax in alone.axes if ax.images] == ["learned, exact TV 0.0100"]


@pytest.mark.parametrize(("num_dims", "names"), [(1, ["x1"]), (2, ["x1x2"]), (5, None)])
def test_the_hypergrid_renders_marginals(num_dims, names):
    env = Hypergrid(num_dims, 3)
    rng = np.random.default_rng(0)
    position = rng.integers(0, 3, size=(40, num_dims))
    weights = rng.dirichlet(np.ones(40))

    panels = env.render(HypergridState(position, np.ones(40, bool)), weights)

    assert isinstance(env, Renderable)
    pairs = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3)]
    assert len(panels) == (1 if num_dims <= 2 else len(pairs))
    for (i, j), drawn in zip(pairs, panels, strict=False):
        if num_dims == 1:
            expected = [weights[position[:, 0] == x].sum() for x in range(3)]
        else:
            at = [
                [(position[:, i] == x) & (position[:, j] == y) for x in range(3)] for y in range(3)
            ]
            expected = [[weights[cell].sum() for cell in row] for row in at]
            assert (drawn.x_label, drawn.y_label) == (f"$x_{i + 1}$", f"$x_{j + 1}$")
        np.testing.assert_allclose(drawn.values, expected)


def test_of_samples_the_fittest_are_drawn_and_some_as_they_came():
    env = Ising(2, lambda spins: spins.sum().astype(float))
    spins = jnp.array([[-1] * 4, [1, -1, -1, -1], [1] * 4, [-1] * 4, [1] * 3 + [-1], [1] * 4])
    figure = pictures.objects(env, Distributions(IsingState(spins), np.ones(6) / 6, None), "found")
    assert [title(ax) for ax in figure.axes] == [
        "4 of 4 spins up\nfittest: log R = 4",
        "3 of 4 spins up\nfittest: log R = 2",
        "0 of 4 spins up\na sample: log R = -4",
        "1 of 4 spins up\na sample: log R = -2",
    ]
    assert figure.get_suptitle() == "found"


def test_the_reward_is_that_in_force():
    env = tempered(Ising(2, lambda spins: spins.sum().astype(float)), lambda step: 1.0 + step)
    gfn = gfnjax.GFlowNet(env, uniform_policy(env), gfnjax.TrajectoryBalance(), UniformBackward())
    state = gfn.init(jax.random.key(0))._replace(step=jnp.int32(2))
    shown = pictures._environment(gfn, state)
    assert float(shown.log_reward(IsingState(jnp.ones(4, jnp.int32)))) == 12.0
    assert pictures._environment(object(), None) is None


def test_the_likeliest_objects_are_those_of_all_their_states():
    env = GraphBuilding(2, num_node_classes=2)
    # The third graph is the second one, its nodes in another order.
    nodes = jnp.array([[0, 0], [0, 1], [1, 0]])
    states = BuiltGraph(nodes, jnp.full((3, 1), -1), jnp.ones(3, bool))
    found = Distributions(states, np.array([0.4, 0.3, 0.3]), np.array([0.5, 0.2, 0.3]))
    figure = pictures.objects(env, found, "")
    assert [title(ax) for ax in figure.axes] == [
        "2 nodes, 0 edges\nP = 0.6 (target 0.5)",
        "2 nodes, 0 edges\nP = 0.4 (target 0.5)",
    ]


class Quiet:
    def update(self, status):
        pass

    def close(self):
        pass


TINY = {"steps": 4, "batch_size": 4, "chunk_size": 4, "log_every": 1}


@pytest.mark.long
def test_what_has_just_been_trained_is_drawn_as_it_is(tmp_path, monkeypatch):
    config = configure("hypergrid", side=4, hidden_sizes=(8,), **TINY)
    outcome = run.start(config, tmp_path / "run", Quiet())
    again = [path.read_bytes() for path in pictures.draw(tmp_path / "run")]
    monkeypatch.setattr(pictures, "load", None)
    monkeypatch.setattr(RunDirectory, "read_config", None)
    assert [path.read_bytes() for path in pictures.draw(outcome)] == again


@pytest.mark.slow
def test_the_pictures_of_a_run_are_drawn_from_its_files(tmp_path, monkeypatch):
    config = configure("hypergrid", side=4, hidden_sizes=(8,), **TINY)
    run.start(config, tmp_path / "run", Quiet())

    for limit in (make.MAX_STATES, 1):
        monkeypatch.setattr(make, "MAX_STATES", limit)
        paths = pictures.draw(tmp_path / "run")
        assert [p.name for p in paths] == ["curves.png", "distribution.png", "summary.png"]
        for path in paths:
            assert path.parent == tmp_path / "run" / "pictures"
            content = path.read_bytes()
            assert content.startswith(PNG)
            assert 5_000 < len(content) < 200_000
            path.unlink()


@pytest.mark.long
@pytest.mark.parametrize("limit", [make.MAX_STATES, 1])
def test_markov_chains_have_pictures_too(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(make, "MAX_STATES", limit)
    run.start(configure("hypergrid", side=4, objective="mh", **TINY), tmp_path / "run", Quiet())
    paths = pictures.draw(tmp_path / "run")
    assert [p.name for p in paths] == ["curves.png", "distribution.png", "summary.png"]
    records = RunDirectory(tmp_path / "run").read_metrics()
    figure = pictures.learning_curves(records)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    quality = "total variation of objects visited" if limit > 1 else "mean log reward of objects"
    assert titles[:2] == ["acceptance", "mean log reward"]
    assert titles[2].startswith(quality)


def test_there_must_be_something_to_draw(tmp_path):
    with pytest.raises(UsageError, match="no such run"):
        pictures.draw(tmp_path / "nowhere")
    directory = RunDirectory(tmp_path)
    directory.write_config(configure("hypergrid"))
    with pytest.raises(UsageError, match="nothing to draw yet"):
        pictures.draw(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    "backend",
    [
        "module://matplotlib_inline.backend_inline",  # of a notebook's kernel, and its shells
        "module://does_not_exist",
        "not_installed_here",
        "qtagg",
        "",
    ],
)
def test_no_backend_of_pyplot_is_asked_for(backend, tmp_path):
    records = [r for r in RECORDS if r.get("loss", 0.0) < 2]  # not NaN, which has no literal
    code = f"""
import os, sys
from gfnjax.plot import pictures
figure = pictures.learning_curves({records!r})
figure.savefig("curves.png")
assert "matplotlib.pyplot" not in sys.modules
assert os.environ["MPLBACKEND"] == {backend!r}
"""
    environment = {**os.environ, "MPLBACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_importing_the_library_starts_neither_matplotlib_nor_a_backend():
    code = """
import json, sys
import gfnjax, gfnjax.cli
from jax._src import xla_bridge
# The last one would warn, in a notebook, that its bars cannot be shown there.
loaded = [name in sys.modules for name in ("matplotlib", "tqdm.auto")]
print(json.dumps([*loaded, xla_bridge.backends_are_initialized()]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False, False, False]
