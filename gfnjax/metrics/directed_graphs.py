"""What a distribution over directed graphs says: marginals, and distances to a true graph.

Graphs are `[n, d, d]` bool, `graphs[i, u, v]` the edge u -> v, with `log_weights` `[n]`: the
log-probabilities of an enumeration (`masking.FILL` where there is none), or None for samples,
which all count alike. Weights need not be normalised. Other shapes are a `ValueError`.
"""

import jax
import jax.numpy as jnp

from gfnjax.shapes import check_alike, check_shape
from gfnjax.types import Array


def edge_marginals(graphs: Array, log_weights: Array | None = None) -> Array:
    """`[d, d]` P(u -> v is an edge)."""
    _check(graphs, log_weights)
    return _mean(graphs, log_weights)


def path_marginals(graphs: Array, log_weights: Array | None = None) -> Array:
    """`[d, d]` P(there is a directed path from u to v)."""
    _check(graphs, log_weights)
    return _mean(paths(graphs), log_weights)


def markov_blanket_marginals(graphs: Array, log_weights: Array | None = None) -> Array:
    """`[d, d]` P(v is in the Markov blanket of u); symmetric."""
    _check(graphs, log_weights)
    return _mean(markov_blankets(graphs), log_weights)


def paths(graphs: Array) -> Array:
    """`[..., d, d]` whether a directed path of at least one edge leads from u to v."""
    for _ in range(max(graphs.shape[-1] - 1, 1).bit_length()):
        graphs = graphs | _compose(graphs, graphs)
    return graphs


def markov_blankets(graphs: Array) -> Array:
    """`[..., d, d]` whether v is a parent, a child or another parent of a child of u."""
    transposed = jnp.swapaxes(graphs, -1, -2)
    blankets = graphs | transposed | _compose(graphs, transposed)
    return blankets & ~jnp.eye(graphs.shape[-1], dtype=bool).reshape(
        (1,) * (graphs.ndim - 2) + graphs.shape[-2:]
    )


def expected_shd(graphs: Array, truth: Array, log_weights: Array | None = None) -> Array:
    """`[]` mean structural Hamming distance to `truth` `[d, d]`.

    The number of node pairs whose edge is missing, extra or reversed; a reversal counts once.
    """
    _check(graphs, log_weights)
    check_shape("truth", truth, graphs.shape[1:], "[d, d]")
    wrong = graphs != truth[None]
    pairs = jnp.triu(wrong | jnp.swapaxes(wrong, -1, -2), k=1)
    return _mean(pairs, log_weights).sum()


def auroc(marginals: Array, truth: Array) -> Array:
    """`[]` area under the ROC curve of `marginals` `[d, d]` for the edges of `truth` `[d, d]`.

    The probability that a true edge has a larger marginal than an absent one, ties counting half,
    over ordered pairs of different nodes. NaN where `truth` has no edges, or all of them.
    """
    check_alike(2, marginals=marginals, truth=truth)
    off_diagonal = ~jnp.eye(truth.shape[0], dtype=bool)
    present = (truth & off_diagonal).reshape(-1)
    absent = (~truth & off_diagonal).reshape(-1)
    difference = marginals.reshape(-1, 1) - marginals.reshape(1, -1)
    comparable = present[:, None] & absent[None, :]
    wins = jnp.where(comparable, (jnp.sign(difference) + 1) / 2, 0.0)
    return wins.sum() / comparable.sum().astype(wins.dtype)


def _check(graphs: Array, log_weights: Array | None) -> None:
    check_shape("graphs", graphs, (None, None, None), "[n, d, d]")
    if log_weights is not None:
        check_shape("log_weights", log_weights, graphs.shape[:1], "[n]")


def _mean(features: Array, log_weights: Array | None) -> Array:
    values = features.astype(jnp.result_type(float))
    if log_weights is None:
        return values.mean(axis=0)
    return jnp.tensordot(jax.nn.softmax(log_weights), values, axes=1)


def _compose(first: Array, second: Array) -> Array:
    """Whether some w has first[u, w] and second[w, v]."""
    return (first[..., :, :, None] & second[..., None, :, :]).any(axis=-2)
