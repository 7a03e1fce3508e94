"""Strict numerics for every test: several virtual devices, no silent dtype or rank promotion."""

import functools
import gc
import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # of programs of the command line too

import tempfile
from pathlib import Path

import hypothesis
import jax
import pytest
from jax._src import compiler
from jax._src.interpreters import mlir
from jax.experimental.key_reuse import _core as key_reuse

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update(
    "jax_compilation_cache_dir", str(Path(tempfile.gettempdir()) / "gfnjax-jax-cache")
)
# Many tests compile the same: small operations, and steps that differ in nothing but numbers.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
# Nobody reads where in a program of a test an operation stood, and to look it up takes time.
jax.config.update("jax_traceback_in_locations_limit", 0)
# To make a context takes as long as to lower a small program into it: one serves a module's tests.
_make_context = mlir.make_ir_context
_shared_context = functools.cache(_make_context)


def _context():
    # What is lowered while something else is would become a part of it.
    return _shared_context() if mlir.ir.Context.current is None else _make_context()


mlir.make_ir_context = _context
gc.set_threshold(100_000)  # traced programs are many objects, of which few are ever garbage

hypothesis.settings.register_profile(
    "gfnjax", deadline=None, max_examples=15, derandomize=True, print_blob=True
)
hypothesis.settings.load_profile("gfnjax")

# Keys from which a test may start as many runs as it likes, to compare them. Within a run, and of
# keys that a test derives, a second use is an error.
ROOTS: dict[int, jax.Array] = {}
_consume = key_reuse.KeyReuseSignature.update_consumption


def _consume_all_but_roots(signature, args_in, args_out):
    _consume(signature, args_in, args_out)
    for arg in args_in:
        if id(arg) in ROOTS:
            arg._consumed = False


key_reuse.KeyReuseSignature.update_consumption = _consume_all_but_roots


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What is long is slow, too."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")


@pytest.fixture
def key():
    root = jax.random.key(0)
    ROOTS[id(root)] = root
    yield root
    del ROOTS[id(root)]


# What makes faster code and takes most of the time of compiling it.
QUICK = {"xla_cpu_use_fusion_emitters": False}
_compile_options = compiler.get_compile_options


def _quick_options(*args, env_options_overrides=None, **kwargs):
    return _compile_options(
        *args, env_options_overrides=QUICK | (env_options_overrides or {}), **kwargs
    )


def _knows_quick_options():
    try:
        jax.jit(lambda x: x + 1.0, compiler_options=QUICK).lower(1.0).compile()
    except Exception:  # another version of the compiler
        return False
    return True


@pytest.fixture(scope="session")
def quick_options():
    if not _knows_quick_options():
        return _compile_options
    # Processes that tests start compile alike: their runs are compared bit for bit.
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
    return _quick_options


@pytest.fixture(autouse=True)
def effort_of_the_compiler(request, quick_options):
    """Most programs of tests run once, and take far longer to compile than to run."""
    optimised = "optimised" in request.keywords
    jax.config.update("jax_disable_most_optimizations", not optimised)
    compiler.get_compile_options = _compile_options if optimised else quick_options


def _forget_programs():
    """A process may map only so much memory: thousands of compiled programs are too many.

    To forget takes as long as a test, and what is forgotten is traced and lowered again.
    """
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > 25_000:
        jax.clear_caches()


@pytest.fixture(scope="module", autouse=True)
def forget_programs_of_a_module():
    yield
    _shared_context.cache_clear()
    _forget_programs()


@pytest.fixture(autouse=True)
def forget_programs_of_a_slow_test(request):
    """A page of the documentation compiles as much as a module."""
    yield
    if "slow" in request.keywords:
        _forget_programs()


@pytest.fixture
def x64():
    """Double precision, for identities that hold to 1e-6 and beyond."""
    with jax.enable_x64(True):
        yield
