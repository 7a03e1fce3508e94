"""The forest network: relabelling the species permutes what it says."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.phylogeny import phylogeny
from gfnjax.policies.base import check_output
from gfnjax.policies.forest import ForestConfig, forest_policy
from gfnjax.testing import diamond

SEQUENCES = {"a": "ACGTA?", "b": "ACGTTC", "c": "TCG-AA", "d": "TGGNCA", "e": "CGG-CA"}
PAIRS = list(itertools.combinations(range(5), 2))


@pytest.mark.slow
@pytest.mark.parametrize("read_sets", [True, False])
def test_relabelled_species(key, read_sets):
    """Merge the same two species, closing slot 3 or slot 4; then compare pair by pair."""
    order = [4, 1, 0, 2, 3]  # species k of the second environment is species order[k] of the first
    names = list(SEQUENCES)
    first = phylogeny(SEQUENCES)
    second = phylogeny({names[k]: SEQUENCES[names[k]] for k in order})
    policy = forest_policy(first, width=8, num_heads=2, num_layers=2, read_sets=read_sets)
    params = policy.init(key, policy.observe(first, first.initial_state()))
    check_output(policy, params, first)
    one = first.step(first.initial_state(), jnp.int32(PAIRS.index((1, 3))))  # b with d
    two = second.step(second.initial_state(), jnp.int32(PAIRS.index((1, 4))))
    ours, theirs = (policy.evaluate(params, e, s) for e, s in ((first, one), (second, two)))
    np.testing.assert_allclose(ours.log_flow, theirs.log_flow, atol=1e-5)
    for k, (i, j) in enumerate(PAIRS):
        if {i, j} & {4}:
            continue  # closed in the second environment
        pair = tuple(sorted((order[i], order[j])))
        logit = ours.forward_logits[PAIRS.index(pair)]
        np.testing.assert_allclose(theirs.forward_logits[k], logit, atol=1e-5)
    assert float(jnp.std(ours.forward_logits)) > 1e-3


@pytest.mark.slow
def test_closed_slots_are_not_seen(key):
    env = phylogeny(SEQUENCES)
    policy = forest_policy(env, width=8, num_heads=2, num_layers=2)
    state = env.step(env.initial_state(), jnp.int32(PAIRS.index((0, 2))))
    view = env.observe(state)
    params = policy.init(key, view)
    changed = view._replace(sets=view.sets.at[2].set(1.0))
    one, two = (policy.apply(params, v) for v in (view, changed))
    np.testing.assert_allclose(one.log_flow, two.log_flow, atol=1e-6)
    still_open = np.array([2 not in pair for pair in PAIRS])
    np.testing.assert_allclose(
        one.forward_logits[still_open], two.forward_logits[still_open], atol=1e-6
    )
    seen = policy.apply(params, view._replace(sets=view.sets.at[1].set(1.0)))
    assert float(jnp.abs(one.log_flow - seen.log_flow)) > 1e-4


def test_needs_a_phylogeny():
    with pytest.raises(TypeError, match="needs a Phylogeny, got TabularDAG"):
        forest_policy(diamond())


def test_impossible_sizes_are_named():
    with pytest.raises(ValueError, match="num_layers must be at least 1"):
        forest_policy(phylogeny(SEQUENCES), num_layers=0)


def test_the_flag_leaves_the_columns_out():
    env = phylogeny(SEQUENCES)
    made = ForestConfig(8, 2, 1, read_sets=False).make(env)
    assert made == forest_policy(env, 8, 2, 1, read_sets=False)
    assert made != ForestConfig(8, 2, 1).make(env)
