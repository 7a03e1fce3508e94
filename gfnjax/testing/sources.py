"""What `check_environment` asks of sources, and of a `RandomSource` environment besides."""

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import masking
from gfnjax.actions import actions_of, usual
from gfnjax.envs.base import (
    Enumerable,
    Environment,
    PartialReward,
    RandomSource,
    at_source,
    log_partial_reward_of,
    source_state,
)
from gfnjax.testing.claims import each, equal, first, require
from gfnjax.types import Array, PyTree

# Up to here the probabilities of all s_1 are added up.
MAX_LISTED = 100_000


def is_source(env: Environment, state: PyTree) -> Array:
    """`[]` bool, whether a state is s_0, or one of those that look like it."""
    if isinstance(env, RandomSource):
        return at_source(env, state) & equal(env.observe(state), env.observe(source_state(env)))
    return equal(state, source_state(env))


def check_sources(env: RandomSource, key: Array, num_sources: int) -> None:
    """Drawn sources must hide what they enter, have no parents, and one certain action."""
    sources = jax.device_get(jax.jit(jax.vmap(env.draw_source))(jax.random.split(key, num_sources)))
    form = jax.tree.map(lambda x: (x.shape[1:], x.dtype), sources)
    expected = jax.tree.map(lambda x: (x.shape, x.dtype), source_state(env))
    require(
        form == expected,
        f"draw_source must return a state like initial_state: {expected}, got {form}",
    )

    def look(state: PyTree) -> dict[str, Array]:
        nominal, mask = source_state(env), env.forward_mask(state)
        child = env.step(state, usual(actions_of(env), mask))
        index = {}
        if isinstance(env, Enumerable):
            one = env.state_index(state) == env.state_index(nominal)
            index = {"state_index: must be the same of every source; it is not of": one}
        if isinstance(env, PartialReward):
            values = log_partial_reward_of(env, state), log_partial_reward_of(env, nominal)
            index["log_partial_reward: must be the same of every source; it is not of"] = equal(
                *values
            )
        return {
            "draw_source: a drawn source has no parents; backward_mask allows one in": at_source(
                env, state
            ),
            "forward_mask: a source must allow one action, which enters; it does not in": (
                mask.sum() == 1
            ),
            "step: a source must enter a state that is not terminal; it does not from": (
                ~env.is_terminal(child)
            ),
            "observe: must be the same of every source, for log F(s_0) is one number; it is not "
            "of": equal(env.observe(state), env.observe(nominal)),
            "log_source: must be finite; it is not of": jnp.isfinite(env.log_source(state)),
            **index,
        }

    for broken, kept in each(look)(sources).items():
        require(kept, f"{broken} {first(~kept, sources)}")
    if isinstance(env, Enumerable) and env.num_states <= MAX_LISTED:
        total = _total(env)
        require(
            abs(total - 1) < 1e-3,
            f"log_source: the probabilities of all first states must sum to 1, not to {total:.6g}",
        )


def _total(env: Enumerable) -> float:
    """The sum of mu over all states that s_0 may enter."""
    undos = jnp.arange(env.num_backward_actions, dtype=jnp.int32)

    def drawn(index: Array) -> Array:
        assert isinstance(env, RandomSource)
        state = env.state_at(index)
        parents = jax.vmap(env.backward_step, (None, 0))(state, undos)
        home = env.backward_mask(state) & jax.vmap(lambda s: at_source(env, s))(parents)
        log_mu = jnp.where(home, jax.vmap(env.log_source)(parents), masking.FILL)
        return jnp.exp(log_mu).sum()

    return float(each(drawn)(np.arange(env.num_states, dtype=np.int32)).sum())
