"""A user's own package on the command line: registered, trained, resumed, drawn and listed."""

import csv
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import gfnjax
from gfnjax import registry
from gfnjax.cli import commands
from gfnjax.run.config import UsageError

ROOT = Path(gfnjax.__file__).parents[1]
TINY = "--batch-size 4 --chunk-size 2 --steps 2 --log-every 1"

KNAPSACK = '''
"""Fill a knapsack: things in any order, as long as they fit."""

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

import gfnjax
from gfnjax import registry


class State(NamedTuple):
    taken: jax.Array
    stopped: jax.Array


@struct.dataclass
class Env:
    size: int = struct.field(pytree_node=False, default=4)
    room: int = struct.field(pytree_node=False, default=99)

    @property
    def num_actions(self):
        return self.size + 1

    @property
    def num_backward_actions(self):
        return self.size + 1

    @property
    def max_steps(self):
        return self.size + 1

    @property
    def num_states(self):
        return 2 ** (self.size + 1)

    def _weights(self):
        return jnp.arange(1, self.size + 1, dtype=jnp.int32)

    def initial_state(self):
        return State(jnp.zeros(self.size, bool), jnp.zeros((), bool))

    def step(self, state, action):
        hit = jnp.arange(self.size, dtype=jnp.int32) == action
        taken = jnp.where(state.stopped, state.taken, state.taken | hit)
        return State(taken, state.stopped | (action == self.size))

    def backward_step(self, state, action):
        hit = jnp.arange(self.size, dtype=jnp.int32) == action
        return State(state.taken & ~hit, state.stopped & (action != self.size))

    def forward_mask(self, state):
        load = jnp.where(state.taken, self._weights(), 0).sum()
        fits = ~state.taken & (load + self._weights() <= self.room)
        return jnp.append(fits, True) & ~state.stopped

    def backward_mask(self, state):
        return jnp.append(state.taken & ~state.stopped, state.stopped)

    def backward_action(self, state, action):
        return action

    def forward_action(self, state, action):
        return action

    def is_terminal(self, state):
        return state.stopped

    def observe(self, state):
        return state.taken.astype(float)

    def log_reward(self, state):
        return 0.5 * state.taken.astype(float).sum()

    def state_index(self, state):
        bits = jnp.append(state.taken, state.stopped).astype(jnp.int32)
        return (bits << jnp.arange(self.size + 1, dtype=jnp.int32)).sum()

    def state_at(self, index):
        bits = (index >> jnp.arange(self.size + 1, dtype=jnp.int32)) & 1
        return State(bits[:-1] == 1, bits[-1] == 1)


DEFAULTS = {"steps": 3, "network": "shelf", "shelf": {"depth": 2, "wide": True}}


@registry.environment("knapsack", defaults=DEFAULTS)
@dataclass(frozen=True)
class Knapsack:
    """Fill a knapsack with things."""

    size: int = 4
    """things there are"""
    room: int = 99
    """weight that fits"""

    def make(self):
        return Env(self.size, self.room)


class Network(nn.Module):
    size: int
    depth: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            x = nn.tanh(nn.Dense(8)(x))
        heads = nn.Dense(2 * self.size + 1)(x)
        return gfnjax.PolicyOutput(heads[: self.size], heads[self.size : -1], heads[-1])


@registry.network("shelf")
@dataclass(frozen=True)
class Shelf:
    """A network of one's own."""

    depth: int = 1
    scale: float = 1.0
    wide: bool = False

    def make(self, env):
        return gfnjax.from_flax(Network(env.num_actions, self.depth))
'''

BALANCE = '''
from dataclasses import dataclass

import gfnjax
from gfnjax import registry
from gfnjax.objectives.trajectory_balance import trajectory_balance


@registry.objective("my-balance")
@dataclass(frozen=True)
class MyBalance(gfnjax.Objective):
    """Trajectory balance of another scale."""

    scale: float = 1.0
    """of the residual"""
    epsilon: float = 0.0
    name: str = "none"

    def residuals(self, scores):
        values, weights = trajectory_balance(scores)
        return gfnjax.Residuals(self.scale * values, weights)
'''

NEWEST = '''
from dataclasses import dataclass

import jax.numpy as jnp

from gfnjax import registry
from gfnjax.replay import Replay


@registry.replay("newest")
@dataclass(frozen=True)
class Newest(Replay):
    """The newest ones, over and over."""

    depth: int = 2

    def draw(self, buffer, key, num_samples):
        back = 1 + jnp.arange(num_samples, dtype=jnp.int32) % self.depth
        return (buffer.cursor - back) % self.capacity
'''

DIARY = '''
from dataclasses import dataclass
from pathlib import Path

from gfnjax import registry


@registry.logger("diary")
@dataclass(frozen=True)
class Diary:
    """Lines in a file."""

    file: Path = Path("diary.txt")
    loud: bool = True

    def make(self, config, run, step):
        return Writer(run.path / self.file, self.loud)


class Writer:
    def __init__(self, path, loud):
        self.path, self.loud = path, loud

    def write(self, record):
        with open(self.path, "a") as file:
            file.write(f"{record['step']}{'!' if self.loud else ''} ")

    def close(self):
        with open(self.path, "a") as file:
            file.write("closed ")
'''


def run(*arguments):
    return commands.main([word for a in arguments for word in str(a).split()])


def forget():
    """As in a new process."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_lab", "other_lab")]:
        del sys.modules[name]
    registry.forget_unloaded()


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder with the package `my_lab`, from where commands are given."""
    package = tmp_path / "lab" / "my_lab"
    package.mkdir(parents=True)
    files = {"knapsack": KNAPSACK, "balance": BALANCE, "newest": NEWEST, "diary": DIARY}
    for name, text in {**files, "__init__": ""}.items():
        (package / f"{name}.py").write_text(text)
    (package / "all.py").write_text("\n".join(f"import my_lab.{name}" for name in files))
    monkeypatch.chdir(package.parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield package.parent
    forget()


@pytest.mark.long
@pytest.mark.parametrize(
    ("module", "flags", "part", "expected"),
    [
        ("knapsack", "knapsack --size 3 --scale 2", "env", {"size": 3, "room": 99}),
        (
            "balance",
            "hypergrid --side 4 --hidden-sizes 8 --objective my-balance --my-balance.scale 2",
            "objective",
            {"scale": 2.0, "epsilon": 0.0, "name": "none"},
        ),
        (
            "newest",
            "hypergrid --side 4 --hidden-sizes 8 --replay newest --capacity 9 --depth 1",
            "replay",
            {"capacity": 9, "unique": False, "depth": 1},
        ),
        (
            "diary",
            "hypergrid --side 4 --hidden-sizes 8 --logger diary --no-loud",
            "loggers",
            {"file": "diary.txt", "loud": False},
        ),
    ],
)
def test_trained_resumed_drawn_and_loaded(lab, capsys, module, flags, part, expected):
    assert run(f"--import my_lab.{module} train {flags} {TINY} --output run") == 0
    config = json.loads((lab / "run" / "config.json").read_text())
    assert config["plugins"] == [f"my_lab.{module}"]
    found = config[part]
    found = found[0] if part == "loggers" else found
    assert (found if part == "env" else found["options"]) == expected

    forget()
    assert run("resume run --steps 4") == 0
    assert "steps      4 in" in capsys.readouterr().out

    forget()
    for picture in (lab / "run" / "pictures").iterdir():
        picture.unlink()
    assert run("plot run") == 0
    assert (lab / "run" / "pictures" / "curves.png").exists()

    forget()
    trained = gfnjax.load("run")
    assert trained.evaluate()["total_variation"] < 1
    assert trained.sample(5).length.shape == (5,)
    assert trained.config.plugins == (f"my_lab.{module}",)
    if module == "diary":
        assert (lab / "run" / "diary.txt").read_text() == "1 2 2 closed 3 4 4 closed "


@pytest.mark.long
def test_all_of_them_together_and_flags_wherever_they_stand(lab):
    flags = "--objective=my-balance --network shelf --replay newest --logger diary --logger diary"
    numbers = "--my_balance.scale=2 --my-balance.epsilon 0.5 --epsilon .1 --shelf.depth 1"
    more = "--newest.depth 1 --no-wide --shelf-scale 3 --replay-capacity 20 --name a-b"
    command = f"train knapsack {flags} {numbers} {more} {TINY} --output run"
    assert run(command, "--import my_lab.all") == 0
    config = json.loads((lab / "run" / "config.json").read_text())
    assert config["training"]["epsilon"] == 0.1
    assert config["objective"]["options"] == {"scale": 2.0, "epsilon": 0.5, "name": "a-b"}
    assert config["network"]["options"] == {"depth": 1, "scale": 3.0, "wide": False}
    assert config["replay"]["options"] == {"capacity": 20, "unique": False, "depth": 1}
    names = "knapsack", "balance", "shelf", "newest", "diary"
    assert len(config["loggers"]) == 1
    assert config["plugins"] == [f"my_lab.{name}" for name in names if name != "shelf"]


@pytest.mark.slow
def test_its_defaults_suit_an_environment(lab, capsys):
    assert run("train knapsack --import my_lab.all --output run --batch-size 2") == 0
    config = json.loads((lab / "run" / "config.json").read_text())
    assert config["training"]["steps"] == 3
    assert config["network"] == {
        "name": "shelf",
        "options": {"depth": 2, "scale": 1.0, "wide": True},
    }
    capsys.readouterr()
    assert run("train knapsack --import my_lab.all --objective my-balance --help") == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: gfnjax train knapsack")
    assert "Fill a knapsack with things." in out
    for words in ("--size INT", "things there are", "--shelf.scale", "--my-balance.epsilon"):
        assert words in out


def test_list_names_them_and_where_they_are_from(lab, capsys):
    assert run("list --import my_lab.all") == 0
    out = capsys.readouterr().out
    assert re.search(r"^  knapsack +Fill a knapsack with things\. \[my_lab\.knapsack\]$", out, re.M)
    assert "--size 4" in out
    assert "(tb, shelf, learned backward policy, batch 16, 3 steps)" in out
    assert re.search(r"my-balance +Trajectory balance of another scale\. \[my_lab\.balance\]", out)
    assert "--scale 1.0  --my-balance.epsilon 0.0" in out
    for name in ("shelf", "newest", "diary"):
        assert re.search(rf"^  {name} .*\[my_lab\.\w+\]$", out, re.M)
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--import nowhere train hypergrid", "nowhere cannot be imported: ModuleNotFoundError"),
        ("list --import my_lab.broken", "my_lab.broken cannot be imported: RuntimeError: no luck"),
        ("list --import my_lab.syntax", "my_lab.syntax cannot be imported: SyntaxError"),
        ("list --import my_lab.quits", "my_lab.quits cannot be imported: SystemExit"),
        ("list --import", "--import must be followed by a name"),
        (
            "list --import my_lab.clash",
            "environment 'hypergrid' is registered twice, by gfnjax.envs.hypergrid.HypergridConfig "
            "and by my_lab.clash.Grid",
        ),
        ("list --import my_lab.thawed", "Thawed must be a frozen dataclass"),
        ("train knapsack", "there is no environment 'knapsack'"),
        ("train napsack --import my_lab.all", "no environment 'napsack'; did you mean knapsack?"),
        (
            "train hypergrid --import my_lab.all --size 3",
            "--size is a flag of environment permutations or",
        ),
        ("train hypergrid --import my_lab.all --depth 3", "is a flag of network shelf"),
        (
            "train knapsack --import my_lab.all --replay newest --depth 3",
            "--depth is a flag of more than one part: write --shelf.depth or --newest.depth",
        ),
        ("train knapsack --import my_lab.all --size x", "--size"),
        (
            "train knapsack --import my_lab.all --room 3",
            "the states of environment knapsack cannot be listed: state 5 cannot be reached",
        ),
        ("train knapsack --import my_lab.fails --network bad", "network bad fails: KeyError"),
        (
            "train hypergrid --import my_lab.fails --objective odd",
            "objective odd: --objective must",
        ),
        (
            "train hypergrid --import my_lab.fails --network narrow",
            "my_lab.fails registers fails",
        ),
        ("train hypergrid --import my_lab.fails --objective typo", "AttributeError: 'Scores' obj"),
        ("train wrong --import my_lab.fails", "Wrong.make() must return an environment, got int"),
    ],
)
def test_what_cannot_work_is_one_line_and_code_2(lab, capsys, arguments, message):
    files = {
        "broken": "raise RuntimeError('no luck\\nat all')",
        "syntax": "def",
        "quits": "import sys; sys.exit('bye')",
        "clash": "from dataclasses import dataclass\nfrom gfnjax import registry\n"
        "@registry.environment('hypergrid')\n@dataclass(frozen=True)\nclass Grid: pass",
        "thawed": "from dataclasses import dataclass\nfrom gfnjax import registry\n"
        "@registry.environment('thawed')\n@dataclass\nclass Thawed: pass",
        "fails": """
            from dataclasses import dataclass
            import gfnjax
            from gfnjax import registry
            import my_lab.knapsack

            @registry.network("bad")
            @dataclass(frozen=True)
            class Bad:
                def make(self, env):
                    return {}["x"]

            @registry.network("narrow")
            @dataclass(frozen=True)
            class Narrow:
                def make(self, env):
                    return gfnjax.from_flax(my_lab.knapsack.Network(2, 1))

            @registry.objective("typo")
            @dataclass(frozen=True)
            class Typo(gfnjax.Objective):
                def residuals(self, scores):
                    return scores.log_zed

            @registry.objective("odd")
            @dataclass(frozen=True)
            class Odd:
                def make(self):
                    return 3

            @registry.environment("wrong")
            @dataclass(frozen=True)
            class Wrong:
                def make(self):
                    return 3
            """,
    }
    for name, text in files.items():
        (lab / "my_lab" / f"{name}.py").write_text(textwrap.dedent(text))
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gfnjax: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (lab / "runs").exists()


@pytest.mark.long
def test_a_run_whose_module_is_gone_says_so(lab, capsys):
    assert run(f"--import my_lab.balance train hypergrid --objective my-balance --side 4 {TINY} "
               "--hidden-sizes 8 --output run") == 0  # fmt: skip
    capsys.readouterr()
    forget()
    (lab / "my_lab" / "balance.py").write_text("import nothing_like_this")
    for command in ("resume run", "plot run"):
        assert run(command) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "run needs a module: the plug-in my_lab.balance cannot be imported" in err
        assert "nothing_like_this" in err
    with pytest.raises(UsageError, match=r"my_lab\.balance cannot be imported"):
        gfnjax.load("run")
    # The module is there, and has something else.
    (lab / "my_lab" / "balance.py").write_text("")
    assert run("resume run") == 2
    assert "there is no objective 'my-balance'" in capsys.readouterr().err


def install(folder, name, value):
    """What `pip install` leaves of a package with an entry point."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[gfnjax.plugins]\n{name} = {value}\n")


@pytest.mark.long
def test_an_installed_package_is_found_by_its_entry_point(lab, tmp_path):
    install(lab, "my-lab", "my_lab.all")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{lab}"}

    def gfnjax_(*arguments):
        command = [sys.executable, "-m", "gfnjax", *" ".join(arguments).split()]
        return subprocess.run(
            command, env=environment, cwd=elsewhere, capture_output=True, text=True, check=False
        )

    flags = "--objective my-balance --my-balance.scale 2 --output run"
    done = gfnjax_("train knapsack", flags, TINY)
    assert done.returncode == 0, done.stderr
    config = json.loads((elsewhere / "run" / "config.json").read_text())
    assert config["plugins"] == ["my_lab.knapsack", "my_lab.balance"]
    done = gfnjax_("resume run --steps 4")
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "run" / "pictures" / "curves.png").exists()


def test_entry_points_that_fail_are_in_nobodys_way(lab, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(lab))
    other = lab / "other_lab"
    other.mkdir()
    (other / "__init__.py").write_text("")
    (other / "broken.py").write_text("raise RuntimeError('no luck')")
    (other / "clash.py").write_text(
        "from dataclasses import dataclass\nfrom gfnjax import registry\n"
        "@registry.environment('knapsack')\n@dataclass(frozen=True)\nclass Sack: pass"
    )
    install(lab, "my-lab", "my_lab.all")
    install(lab, "other-broken", "other_lab.broken")
    install(lab, "other-clash", "other_lab.clash")

    assert run("list") == 0
    out, err = capsys.readouterr()
    assert "knapsack" in out
    broken, clash = sorted(err.splitlines())
    words = "(entry point other_lab.broken) cannot be imported: RuntimeError: no luck"
    assert broken == f"gfnjax: warning: the plug-in other-broken {words}"
    both = "my_lab.knapsack.Knapsack", "other_lab.clash.Sack"
    assert all(name in clash for name in both)

    assert run("train chess") == 2
    err = capsys.readouterr().err
    assert err.startswith("gfnjax: there is no environment 'chess'")
    assert words in err
    assert err.count("\n") == 1

    assert run("train knapsack --output run") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert all(name in err for name in both)
    assert not (lab / "run").exists()


@pytest.mark.long
def test_what_plugins_have_is_swept(lab, capsys):
    vary = "--vary size=2,3 --vary my_balance.scale=1,2 --objective my-balance"
    both = "--import my_lab.knapsack --import my_lab.balance"
    assert run(f"{both} sweep knapsack {vary} {TINY} --seeds 2 --output swept") == 0
    described = json.loads((lab / "swept" / "sweep.json").read_text())
    assert described["plugins"] == ["my_lab.knapsack", "my_lab.balance"]
    # A size shapes a program, a scale does not.
    assert described["rounds"] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with open(lab / "swept" / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    name = next(column for column in rows[0] if "scale" in column)
    assert {(row["size"], row[name]) for row in rows} == {
        (a, b) for a in "23" for b in ("1.0", "2.0")
    }

    forget()
    assert run("resume swept") == 0
    assert "is finished" in capsys.readouterr().out
