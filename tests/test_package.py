"""The package as a whole: its public names, what importing it does, what is shipped with it."""

import os
import re
import subprocess
import sys
import types
from importlib import resources
from pathlib import Path

import gfnjax

ROOT = Path(gfnjax.__file__).parents[1]


def run_python(code: str) -> subprocess.CompletedProcess:
    """A fresh interpreter without the test suite's device settings."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_all_is_what_exists():
    names = gfnjax.__all__
    assert names == sorted(set(names))
    imported = {
        name
        for name, value in vars(gfnjax).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert imported <= set(names)
    assert all(hasattr(gfnjax, name) for name in names)


def test_about_fifty_public_names():
    assert 36 <= len(gfnjax.__all__) <= 55


def test_every_public_name_is_documented():
    for name in gfnjax.__all__:
        assert (getattr(gfnjax, name).__doc__ or "").strip(), name


def test_importing_starts_no_backend():
    # An array made at import time would start the backend and fix the number of devices.
    result = run_python(
        """
import importlib, pkgutil
import jax, gfnjax
from jax._src import xla_bridge

for module in pkgutil.walk_packages(gfnjax.__path__, "gfnjax."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        assert not xla_bridge._backends, module.name
jax.config.update("jax_num_cpu_devices", 3)
assert jax.device_count() == 3
"""
    )
    assert result.returncode == 0, result.stderr


def test_importing_leaves_the_configuration_of_jax_alone():
    result = run_python(
        """
import jax
before = dict(jax.config.values)
import gfnjax
assert dict(jax.config.values) == before
"""
    )
    assert result.returncode == 0, result.stderr


def test_type_information_is_shipped():
    assert resources.files("gfnjax").joinpath("py.typed").is_file()


def test_version():
    major, minor, patch = gfnjax.__version__.split(".")
    assert all(part.isdigit() for part in (major, minor, patch))


def test_the_version_is_the_same_everywhere():
    version = gfnjax.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"version = {{{version}}}" in (ROOT / "docs" / "cite.md").read_text()
    date = re.search(r'\ndate-released: "(.+)"\n', (ROOT / "CITATION.cff").read_text())
    assert date is not None
    assert f"\n## {version} ({date[1]})\n" in (ROOT / "CHANGELOG.md").read_text()
