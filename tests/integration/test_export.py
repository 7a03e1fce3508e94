"""What is trained by default can be exported, for machines of all kinds, before there is one."""

import importlib.util

import jax
import numpy as np
import pytest
from jax import export

from gfnjax import registry
from gfnjax.data import published
from gfnjax.run.build import describe
from gfnjax.run.choices import configure

SERIALISES = importlib.util.find_spec("flatbuffers") is not None
PLATFORMS = ("cpu", "cuda", "tpu")
DATA = {
    "amp": "amp/proxy_weights.npz",
    "molecules": "seh/proxy_weights.npz",
    "phylogeny": "phylo/DS1.json",
    "qm9-small": "qm9_small.npz",
}
# Fewer of what a program has many of: numbers to draw, parents to list, rounds that are alike.
SMALLER = {
    "dag": {"num_nodes": 3, "num_samples": 20},
    "ising-learned": {"num_data": 64},
    "molecules": {"fragments": {"num_rounds": 1}},
}
PRESETS = [
    pytest.param(entry.name, variant, id=" ".join(filter(None, (entry.name, variant))))
    for entry in registry.entries("environment")
    if not entry.is_plugin
    for variant in entry.variants or (None,)
    # Others have a language model, whose weights would all be constants of the program.
    if entry.name != "text" or variant == "bigram"
]


def exported(gfn):
    """The step as a function of arrays: the classes of states are ours, and need not be known."""
    state = jax.eval_shape(gfn.init, jax.random.key(0))
    leaves, structure = jax.tree.flatten(state)

    @jax.jit
    def step(leaves):
        return jax.tree.leaves(gfn.step(structure.unflatten(leaves)))

    return leaves, export.export(step, platforms=PLATFORMS)(leaves)


@pytest.mark.long
@pytest.mark.parametrize(("name", "variant"), PRESETS)
def test_the_step_of_every_preset(name, variant):
    if name in DATA and not published.available(DATA[name]):
        pytest.skip(f"needs {DATA[name]}: set GFNJAX_DATA")
    gfn = describe(configure(name, variant=variant, **SMALLER.get(name, {})))
    leaves, program = exported(gfn)
    assert program.platforms == PLATFORMS
    # A state of the same form comes out, then what is told of the step.
    forms = [(x.shape, x.dtype) for x in leaves]
    assert [(x.shape, x.dtype) for x in program.out_avals][: len(forms)] == forms
    assert len(program.out_avals) > len(forms)
    if not SERIALISES:
        return
    read = export.deserialize(program.serialize())
    assert read.platforms == PLATFORMS
    assert read.in_avals == program.in_avals  # the PRNG key among them
    assert read.mlir_module_serialized == program.mlir_module_serialized


@pytest.mark.long
@pytest.mark.skipif(not SERIALISES, reason="programs are written with flatbuffers")
def test_what_was_exported_is_the_step(key):
    gfn = describe(configure("hypergrid", num_dims=2, side=3, batch_size=4))
    state = jax.jit(gfn.init)(key)
    program = export.deserialize(exported(gfn)[1].serialize())
    found = program.call(jax.tree.leaves(state))
    expected = jax.tree.leaves(jax.jit(gfn.step)(state))
    for a, b in zip(found, expected, strict=True):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)  # for several platforms in one
