"""gfnx's environments and rewards for the tasks it has, and networks that fit them.

gfnx reads its data from files that its package does not bring; here they are those of gfnjax.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import gfnx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.data import dag_data, data_file, tfbind8_file
from benchmarks.peers import gfnx_networks as networks
from benchmarks.settings import (
    ATTENTION,
    BITS,
    DAG_NODES,
    DAG_WIDTH,
    ISING_SIGMA,
    SETTINGS,
    TREES,
    grid,
    ising_side,
)


class Problem(NamedTuple):
    """`apply(network, observations [N, ...])` gives `Outputs`."""

    env: Any
    env_params: Any
    network: eqx.Module
    apply: Callable[[Any, Any], networks.Outputs]


def _by_row(network: Any, observations: jax.Array) -> networks.Outputs:
    return jax.vmap(network)(observations)


def _num_actions(env: Any) -> tuple[int, int]:
    return env.action_space.n, env.backward_action_space.n


def hypergrid(name: str, env_key: jax.Array, key: jax.Array) -> Problem:
    num_dims, side, rewards = grid(name)
    reward = gfnx.GeneralHypergridRewardModule(*rewards)
    env = gfnx.HypergridEnvironment(reward, dim=num_dims, side=side)
    hidden = SETTINGS[name].hidden_sizes
    network = networks.MLP(env.observation_space.shape[0], _num_actions(env), hidden, key)
    return Problem(env, env.init(env_key), network, _by_row)


def bits(name: str, env_key: jax.Array, key: jax.Array) -> Problem:
    reward = gfnx.BitseqRewardModule(BITS.num_bits, BITS.word_size, BITS.num_modes, BITS.beta)
    env = gfnx.BitseqEnvironment(reward, BITS.num_bits, BITS.word_size)
    network = networks.Words(env.ntoken, env.nchar, env.max_length, ATTENTION, key)
    return Problem(env, env.init(env_key), network, _by_row)


class TableMixin:
    """A reward whose table is read from gfnjax's file instead of gfnx's pickle."""

    def init(self, rng_key: jax.Array, dummy_state: Any) -> dict[str, jax.Array]:
        del rng_key, dummy_state
        return {"rewards": jnp.asarray(self.table().reshape(-1), jnp.float32)}


class TFBind8Reward(TableMixin, gfnx.TFBind8RewardModule):
    """The same 65,536 rewards."""

    def table(self) -> np.ndarray:
        score = np.load(tfbind8_file())["score"].astype(float)
        scaled = self.reward_scale * (score / score.max()) ** self.reward_exponent
        return np.maximum(scaled, self.min_reward)


class QM9SmallReward(TableMixin, gfnx.QM9SmallRewardModule):
    """The same 161,051 rewards."""

    def table(self) -> np.ndarray:
        score = np.load(data_file("qm9_small.npz"))["score"].astype(float)
        score = np.maximum(score, self.min_reward)
        return self.reward_scale * (score / score.max()) ** self.reward_exponent


def _table(name: str, env: Any, env_key: jax.Array, key: jax.Array) -> Problem:
    """One-hot letters, as published, without the columns of tokens that never come up."""
    num_kinds = env.nchar + 1
    sizes = env.max_length * num_kinds, _num_actions(env), SETTINGS[name].hidden_sizes
    network = networks.MLP(*sizes, key)

    def apply(network: Any, observations: jax.Array) -> networks.Outputs:
        letters = jnp.minimum(observations[:, 1:], env.nchar)
        rows = jax.nn.one_hot(letters, num_kinds).reshape(len(letters), -1)
        return _by_row(network, rows)

    return Problem(env, env.init(env_key), network, apply)


def tfbind8(name: str, env_key: jax.Array, key: jax.Array) -> Problem:
    return _table(name, gfnx.TFBind8Environment(TFBind8Reward()), env_key, key)


def qm9_small(name: str, env_key: jax.Array, key: jax.Array) -> Problem:
    return _table(name, gfnx.QM9SmallEnvironment(QM9SmallReward()), env_key, key)


class AMPReward(gfnx.EqxProxyAMPRewardModule):
    """The published proxy with its weights from gfnjax's file, named as gfnx names them."""

    def __init__(self) -> None:
        self.reward_exponent, self.min_reward = 1.0, 1e-6

    def init(self, rng_key: jax.Array, dummy_state: Any) -> dict[str, Any]:
        weights = np.load(data_file("amp/proxy_weights.npz"))
        num_tokens, _ = weights[".encoder.embedder_block.token_embedder.weight"].shape
        # More tokens than gfnx has; its own last one is the padding.
        encoder_params = {
            "pad_id": len(gfnx.utils.PROTEINS_FULL_ALPHABET) - 1,
            "vocab_size": num_tokens,
            "max_length": dummy_state.tokens.shape[-1],
            "embedding_size": ATTENTION.width,
            "hidden_size": ATTENTION.width,
            "intermediate_size": ATTENTION.feed_forward,
            "num_layers": 4,
            "num_heads": ATTENTION.num_heads,
            "dropout_rate": 0.0,
        }
        model = gfnx.networks.EqxTransformerRewardModel(encoder_params, 1, key=rng_key)
        params, self.model_static = eqx.partition(model, eqx.is_array)

        def read(path: Any, like: jax.Array) -> jax.Array:
            array = weights[jax.tree_util.keystr(path)]
            assert array.shape == like.shape
            return jnp.asarray(array)

        return {"model_params": jax.tree_util.tree_map_with_path(read, params)}


def amp(name: str, env_key: jax.Array, key: jax.Array) -> Problem:
    env = gfnx.AMPEnvironment(AMPReward())
    sizes = env.ntoken, env.action_space.n, env.max_length + 1, env.pad_token, ATTENTION
    return Problem(env, env.init(env_key), networks.Letters(*sizes, key), _by_row)


def dag(name: str, env_key: jax.Array, key: jax.Array) -> Problem:
    """The BGe posterior of the same data."""
    from gfnx.reward.dag_likelihood import BGeScore
    from gfnx.reward.dag_prior import UniformDAGPrior

    likelihood = BGeScore(jnp.asarray(dag_data(DAG_NODES), jnp.float32))
    reward = gfnx.DAGRewardModule(prior=UniformDAGPrior(DAG_NODES), likelihood=likelihood)
    env = gfnx.DAGEnvironment(reward, DAG_NODES)
    network = networks.Graph(DAG_NODES, DAG_WIDTH, key)
    return Problem(env, env.init(env_key), network, _by_row)


def phylogeny(name: str, env_key: jax.Array, key: jax.Array) -> Problem:
    """Every column of the alignment on its own: gfnx does not merge those that look the same."""
    folder = data_file(f"phylo/{TREES.dataset}.json").parent
    env_options, reward_options = gfnx.utils.get_phylo_initialization_args(TREES.dataset, folder)
    env = gfnx.PhyloTreeEnvironment(gfnx.PhyloTreeRewardModule(**reward_options), **env_options)
    num_inputs = env.sequence_length * env.bits_per_seq_elem
    network = networks.Forest(env.num_nodes, num_inputs, TREES, key)
    return Problem(env, env.init(env_key), network, _by_row)


def ising(name: str, env_key: jax.Array, key: jax.Array) -> Problem:
    side = ising_side(name)
    env = gfnx.IsingEnvironment(gfnx.IsingRewardModule(), dim=side**2)
    env_params = env.init(env_key)
    couplings = ISING_SIGMA * _adjacency(side)
    reward_params = env_params.reward_params.replace(J=jnp.asarray(couplings, jnp.float32))
    hidden = SETTINGS[name].hidden_sizes
    network = networks.MLP(side**2, _num_actions(env), hidden, key)
    return Problem(env, env_params.replace(reward_params=reward_params), network, _by_row)


def _adjacency(side: int) -> np.ndarray:
    """Neighbours on a square lattice that wraps around."""
    site = np.arange(side**2).reshape(side, side)
    adjacency = np.zeros((side**2, side**2))
    for axis in (0, 1):
        adjacency[site, np.roll(site, 1, axis)] = adjacency[np.roll(site, 1, axis), site] = 1
    return adjacency


PROBLEMS: dict[str, Callable[[str, jax.Array, jax.Array], Problem]] = {
    "grid-tb": hypergrid,
    "grid-db": hypergrid,
    "grid-subtb": hypergrid,
    "grid-8x8": hypergrid,
    "bits": bits,
    "tfbind8": tfbind8,
    "qm9-small": qm9_small,
    "amp": amp,
    "dag": dag,
    "phylogeny": phylogeny,
    "ising-6": ising,
    "ising-10": ising,
}
