"""Install gfnx and torchgfn: python -m benchmarks peers [LIBRARY ...]

Each gets a virtual environment of its own under benchmarks/.venvs, with pinned versions; gfnx has
the JAX that gfnjax runs on. Both ask for a NumPy older than that JAX accepts, but run on newer
ones, hence `--no-deps`. On Linux torch comes with what it needs for GPUs, of which nothing is used
here; PIP_EXTRA_INDEX_URL may name an index of smaller builds.
"""

import argparse
import subprocess
import venv
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from benchmarks.processes import ENVIRONMENTS, python_of

# What to install with dependencies, and then without.
PACKAGES = {
    "gfnx": (
        "flax optax chex equinox flashbax jax-tqdm jaxtyping matplotlib networkx omegaconf",
        "gfnx==0.0.1",
    ),
    "torchgfn": (
        "torch==2.13.0 dill einops linear-attention-transformer numpy tensordict torch_geometric",
        "torchgfn==2.4.1",
    ),
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks peers", description=__doc__.splitlines()[0]
    )
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=" ".join(PACKAGES))
    for library in parser.parse_args(arguments).libraries or PACKAGES:
        install(library)
    return 0


def install(library: str) -> None:
    """Into a new environment, or into the one that is there."""
    environment = ENVIRONMENTS / library
    if not environment.exists():
        venv.create(environment, symlinks=True, with_pip=True)
    packages, itself = PACKAGES[library]
    pip = [str(python_of(library)), "-m", "pip", "install"]
    extra = _same_jax() if library == "gfnx" else []
    subprocess.run([*pip, *extra, *packages.split()], check=True)
    subprocess.run([*pip, "--no-deps", itself], check=True)


def _same_jax() -> list[str]:
    """The versions here, plug-ins for GPUs included."""
    names = "jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin"
    pins = []
    for name in names:
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        extra = "[with-cuda]" if "plugin" in name else ""
        pins.append(f"{name}{extra}=={found}")
    return pins
