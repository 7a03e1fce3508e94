import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax.envs.dags import DAGs
from gfnjax.envs.hypergrid import Hypergrid
from gfnjax.policies.base import check_output
from gfnjax.policies.graph_network import NeighbourSum, graph_policy

ENV = DAGs(4, lambda adjacency: adjacency.sum().astype(jnp.result_type(float)))


@pytest.fixture
def params(key):
    return graph_policy(ENV, width=8).init(key, ENV.observe(ENV.initial_state()))


def test_it_fits_the_environment(params):
    check_output(graph_policy(ENV, width=8), params, ENV)
    assert graph_policy(ENV, width=8) is graph_policy(ENV, width=8)


def test_relabelled_nodes_give_relabelled_logits(params):
    """Permuting the graph and the names of the nodes permutes the logits of edges."""
    policy = graph_policy(ENV, width=8)
    order = jnp.array([2, 0, 3, 1])
    adjacency = jnp.zeros((4, 4)).at[0, 1].set(1.0).at[1, 2].set(1.0)
    nodes = params["params"]["nodes"]
    renamed = {**params["params"], "nodes": {**nodes, "names": nodes["names"][order]}}
    plain = policy.apply(params, adjacency)
    moved = policy.apply({"params": renamed}, adjacency[order][:, order])
    for name in ("forward_logits", "backward_logits"):
        logits = getattr(plain, name)
        expected = logits[:16].reshape(4, 4)[order][:, order]
        got = getattr(moved, name)
        np.testing.assert_allclose(got[:16].reshape(4, 4), expected, atol=1e-5)
        np.testing.assert_allclose(got[16], logits[16], atol=1e-5)
    np.testing.assert_allclose(moved.log_flow, plain.log_flow, atol=1e-5)


def test_edges_and_their_direction_matter(params):
    policy = graph_policy(ENV, width=8)
    forth = policy.apply(params, jnp.zeros((4, 4)).at[0, 1].set(1.0))
    back = policy.apply(params, jnp.zeros((4, 4)).at[1, 0].set(1.0))
    none = policy.apply(params, jnp.zeros((4, 4)))
    for a, b in ((forth, back), (forth, none)):
        # Also the logit of an edge between two nodes that the change does not touch.
        assert abs(a.forward_logits[11] - b.forward_logits[11]) > 1e-4
        assert abs(a.log_flow - b.log_flow) > 1e-4


def test_both_ends_of_an_edge_hear_of_it_and_nobody_else(params):
    nodes = {"params": params["params"]["nodes"]}
    empty = NeighbourSum(8).apply(nodes, jnp.zeros((4, 4)))
    joined = NeighbourSum(8).apply(nodes, jnp.zeros((4, 4)).at[0, 1].set(1.0))
    changed = np.abs(np.asarray(joined - empty)).max(axis=1) > 1e-4
    np.testing.assert_array_equal(changed, [True, True, False, False])


@pytest.mark.slow
def test_gradients_reach_every_parameter(params):
    policy = graph_policy(ENV, width=8)

    def loss(params):
        output = policy.apply(params, jnp.zeros((4, 4)).at[0, 1].set(1.0))
        logits = jax.nn.log_softmax(output.forward_logits)[3]
        return logits + jax.nn.log_softmax(output.backward_logits)[1] + output.log_flow

    for path, grad in jax.tree_util.tree_leaves_with_path(jax.grad(loss)(params)):
        assert jnp.abs(grad).max() > 0, path


def test_errors():
    with pytest.raises(TypeError, match="graph_policy needs a DAGs environment, got Hypergrid"):
        graph_policy(Hypergrid())
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        graph_policy(ENV, width=0)
