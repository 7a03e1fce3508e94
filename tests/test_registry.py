"""What can be registered, and what is said of what cannot."""

import dataclasses
import pkgutil
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

import gfnjax
from gfnjax import registry
from gfnjax.options import Option, field_help, from_plain, is_plain, options_of, to_plain
from gfnjax.run.config import UsageError


@pytest.fixture(autouse=True)
def entries(monkeypatch):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


@dataclass(frozen=True)
class Knapsack:
    """Fill a knapsack.

    With things.
    """

    size: int = 10
    """things"""

    def make(self):
        return gfnjax.Hypergrid(2, self.size)


def test_the_entry_says_what_the_class_does():
    assert registry.environment("knapsack")(Knapsack) is Knapsack
    entry = registry.find("environment", "knapsack")
    assert (entry.cls, entry.summary, entry.module) == (Knapsack, "Fill a knapsack.", __name__)
    assert entry.is_plugin
    assert entry.options == (Option("size", int, 10, "things"),)
    assert entry.make(size=3) == Knapsack(3)
    with pytest.raises(TypeError, match="environment knapsack has no option 'sise'; did you mean"):
        entry.make(sise=3)
    assert registry.names("environment")[-1] == "knapsack"
    assert not registry.find("objective", "tb").is_plugin


def test_a_file_of_objectives_needs_no_other_that_names_it():
    modules = pkgutil.iter_modules(gfnjax.objectives.__path__, "gfnjax.objectives.")
    assert {module.name for module in modules} <= sys.modules.keys()
    source = Path(gfnjax.objectives.__file__).parent
    registered = {entry.module for entry in registry.entries("objective")}
    for file in source.glob("*.py"):
        if "@registry.objective" in file.read_text():
            assert f"gfnjax.objectives.{file.stem}" in registered


def test_other_values_and_fixed_ones():
    registry.environment("small", summary="few", values={"size": 2})(Knapsack)
    registry.environment("one", fixed={"size": 1})(Knapsack)
    small, one = (registry.find("environment", name) for name in ("small", "one"))
    assert (small.summary, small.options[0].default, small.make()) == ("few", 2, Knapsack(2))
    assert (one.options, one.make()) == ((), Knapsack(1))
    with pytest.raises(registry.RegistrationError, match="Knapsack has no field 'sise'"):
        registry.environment("bad", fixed={"sise": 1})(Knapsack)


@pytest.mark.parametrize("kind", ["environment", "objective", "network", "replay", "logger"])
@pytest.mark.parametrize(
    "cls",
    [
        type("Plain", (), {}),
        dataclass(type("Thawed", (), {})),
        type("Child", (Knapsack,), {}),  # of a frozen dataclass, but none itself
        lambda: None,
    ],
)
def test_what_is_no_frozen_dataclass_is_refused_in_one_sentence(kind, cls):
    with pytest.raises(registry.RegistrationError) as caught:
        getattr(registry, kind)("thing")(cls)
    assert "must be a frozen dataclass" in str(caught.value)
    assert f"@registry.{kind}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "my_thing", "-x", "two words", "x.y", "--x", "x-", "1st"])
def test_a_name_must_be_a_word_of_a_flag(name):
    with pytest.raises(registry.RegistrationError, match="letters, digits and dashes"):
        registry.environment(name)(Knapsack)


def module(name, monkeypatch):
    """A module that registers a knapsack of its own."""
    made = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    code = """
from dataclasses import dataclass
from gfnjax import registry
@registry.environment("knapsack")
@dataclass(frozen=True)
class Mine:
    size: int = 1
"""
    exec(code, made.__dict__)
    return lambda: exec(code, made.__dict__)


def test_a_clash_names_both_and_a_module_may_be_loaded_again(monkeypatch):
    again = module("lab_a", monkeypatch)
    again()
    assert registry.find("environment", "knapsack").module == "lab_a"
    with pytest.raises(registry.ClashError) as caught:
        module("lab_b", monkeypatch)
    assert "'knapsack' is registered twice, by lab_a.Mine and by lab_b.Mine" in str(caught.value)
    assert (caught.value.kind, caught.value.name) == ("environment", "knapsack")
    # Of another kind the same name is another name.
    registry.network("knapsack")(Knapsack)


def test_what_a_failed_import_has_registered_is_forgotten(monkeypatch):
    module("lab_a", monkeypatch)
    monkeypatch.delitem(sys.modules, "lab_a")
    registry.forget_unloaded()
    assert "knapsack" not in registry.names("environment")
    module("lab_b", monkeypatch)


def test_an_unknown_name_is_told_from_what_looks_like_it():
    with pytest.raises(ValueError, match="there is no network 'mpl'; did you mean mlp"):
        registry.find("network", "mpl")


@dataclass(frozen=True)
class Base:
    """Fields of many types.

    Attributes:
        path: a file,
            of any kind.
        callback: none of anybody's business.
    """

    path: Path | None = None
    callback: object = None


@dataclass(frozen=True)
class Fields(Base):
    """More of them."""

    lambda_: float = 0.5
    """a weight"""
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, str] = (1, "a")
    name: Literal["a", "b"] = "a"
    flag: Annotated[bool, "yes"] = False
    start: float | Literal["batch"] = "batch"
    hidden: int = dataclasses.field(default=3, init=False)


def test_plain_fields_are_options():
    options = {option.field: option for option in options_of(Fields)}
    assert list(options) == ["path", "lambda_", "sizes", "pair", "name", "flag", "start"]
    assert options["lambda_"].word == "lambda"
    assert options["path"].help == "a file, of any kind."
    assert options["lambda_"].help == "a weight"
    assert field_help(Fields)["callback"] == "none of anybody's business."


@pytest.mark.parametrize(
    ("hint", "values"),
    [
        (int, [3, -1]),
        (float, [0.5, 3, float("inf")]),
        (bool, [True, False]),
        (str, ["", "a b"]),
        (Path, [Path("a/b")]),
        (Path | None, [Path("a/b"), None]),
        (tuple[int, ...], [(), (1, 2)]),
        (tuple[int, str], [(1, "a")]),
        (tuple[tuple[float, ...], ...], [((1.0,), ())]),
        (Literal["a", 1, True, None], ["a", 1, True, None]),
        (float | Literal["batch"], [0.5, "batch"]),
        (int | None, [3, None]),
    ],
)
def test_plain_values_come_back_exactly(hint, values):
    assert is_plain(hint)
    for value in values:
        found = from_plain("x", hint, to_plain(value))
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (int, 0.5, "a whole number"),
        (int, True, "a whole number"),
        (int, "3", "a whole number"),
        (float, "3", "a number"),
        (float, False, "a number"),
        (bool, 1, "true or false"),
        (str, 3, "a text"),
        (tuple[int, ...], 3, "a list"),
        (tuple[int, ...], [1, "a"], "a list"),
        (tuple[int, int], [1], "a list"),
        (Literal["a", "b"], "c", "one of a, b"),
        (int | None, "x", "a whole number or null"),
    ],
)
def test_values_of_another_type_are_named(hint, value, words):
    with pytest.raises(TypeError, match=f"size must be {words}, got "):
        from_plain("size", hint, value)


def test_what_no_flag_can_give_needs_a_default():
    made = dataclasses.make_dataclass("Needy", [("env", object)], frozen=True)
    with pytest.raises(TypeError, match=r"Needy\.env must have a default, or a type that a flag"):
        options_of(made)
    assert not any(map(is_plain, (object, list[int], dict, gfnjax.Objective, int | object)))


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"stepz": 3}, "there is no setting 'stepz'; did you mean steps"),
        ({"steps": "many"}, "steps must be a whole number, got 'many'"),
        ({"network": "nope"}, "there is no network 'nope'"),
        ({"mlp": {"width": 3}}, "mlp has no option 'width'"),
        ({"mlp": 3}, "there is no setting 'mlp'"),
        (
            {"hidden_sizes": (9,)},
            "'hidden_sizes' is an option of mlp: write {'mlp': {'hidden",
        ),
        ({"nope": {"width": 3}}, "there is no setting 'nope'"),
    ],
)
def test_defaults_that_do_not_exist_are_named(defaults, message):
    registry.environment("knapsack", defaults=defaults)(Knapsack)
    with pytest.raises(UsageError, match=message):
        gfnjax.run.configure("knapsack")


def test_defaults_of_an_environment_reach_its_runs():
    defaults = {"steps": 7, "window": 2, "objective": "subtb", "subtb": {"lambda_": 0.5}}
    defaults |= {"network": "mlp", "graph": {"width": 9}}
    registry.environment("knapsack", defaults=defaults)(Knapsack)
    config = gfnjax.run.configure("knapsack")
    assert (config.training.steps, config.sampling.window) == (7, 2)
    assert config.objective.options == gfnjax.SubTrajectoryBalance(0.5)
    assert gfnjax.run.configure("knapsack", network="graph").network.options.width == 9
    assert config.plugins == (__name__,)
