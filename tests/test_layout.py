"""The shape of the package: imports point down, files are small."""

import ast
import statistics
from pathlib import Path

import pytest

import gfnjax

ROOT = Path(gfnjax.__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "gfnjax").rglob("*.py")
}
# What a part of the package must not know of: those that come later here.
ORDER = (
    "registry",
    "types",
    "spread",
    "actions",
    "distributions",
    "language",
    "envs",
    "rollout",
    "scoring",
    "replay",
    "policies",
    "model",
    "objectives",
    "samplers",
    "learning",
    "gflownet",
    "algorithms",
    "sweeps",
    "run",
    "plot",
    "reproduce",
    "cli",
)


def imports(name):
    """The modules of the package that a module imports, at the top or in a function."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gfnjax"):
            for each in node.names:
                whole = f"{node.module}.{each.name}"
                found.add(whole if whole in FILES else node.module)
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names if each.name in FILES}
    return found - {name}


GRAPH = {name: imports(name) & FILES.keys() for name in FILES}


def test_no_imports_in_a_circle():
    done, under_way = set(), []

    def visit(name):
        if name in under_way:
            raise AssertionError(" -> ".join([*under_way[under_way.index(name) :], name]))
        if name not in done:
            under_way.append(name)
            for other in sorted(GRAPH[name]):
                visit(other)
            under_way.pop()
            done.add(name)

    for name in sorted(GRAPH):
        visit(name)


@pytest.mark.parametrize("part", ORDER)
def test_imports_point_down(part):
    above = ORDER[ORDER.index(part) + 1 :]
    for name, others in GRAPH.items():
        if name.split(".")[1:2] == [part]:
            wrong = [x for x in others if x.split(".")[1:2] and x.split(".")[1] in above]
            assert not wrong, f"{name} imports {wrong}"


def test_only_heavy_libraries_are_imported_for_their_types_alone():
    hidden = {name for name, path in FILES.items() if "TYPE_CHECKING" in path.read_text()}
    assert {name.rpartition(".")[0] for name in hidden} <= {"gfnjax.plot"}


def test_files_are_small():
    lengths = {name: len(path.read_text().splitlines()) for name, path in FILES.items()}
    assert max(lengths.values()) <= 400, max(lengths, key=lengths.get)
    assert statistics.median(lengths.values()) <= 130
