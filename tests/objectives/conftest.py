import jax.numpy as jnp
import numpy as np
import pytest

from gfnjax import Scores


@pytest.fixture
def two():
    """Two trajectories, of lengths 2 and 3, with numbers that are easy to add up.

    Their transitions have log F + log P_F - log F' - log P_B of .2, .9 and .4, .15, 1.15; with
    log Z = 1.2 their trajectory-balance residuals are .1 and 1.9.
    """
    return Scores(
        log_pf=jnp.array([[-0.5, -1.0, 0.0], [-0.2, -0.4, -0.6]]),
        log_pb=jnp.array([[0.0, -0.7, 0.0], [-0.1, -0.3, -0.5]]),
        log_flow=jnp.array([[2.2, 1.5, 0.3, 0.0], [1.0, 0.5, 0.25, -1.0]]),
        log_reward=jnp.array([0.3, -1.0]),
        log_z=jnp.array([1.2, 1.2]),
        mask=jnp.array([[True, True, False], [True, True, True]]),
        length=jnp.array([2, 3], jnp.int32),
        complete=jnp.array([True, True]),
        log_inflow=jnp.array([[0.0, 1.7, 0.6, 0.0], [0.0, 0.4, 0.25, -0.5]]),
    )


@pytest.fixture(scope="session")
def random_scores():
    """`[B, T]` scores of random lengths, in NumPy's double precision."""

    def make(seed, batch=4, horizon=6):
        rng = np.random.default_rng(seed)
        length = rng.integers(1, horizon + 1, size=batch).astype(np.int32)
        mask = np.arange(horizon)[None] < length[:, None]
        draw = lambda *shape: rng.normal(size=shape)  # noqa: E731
        log_reward = draw(batch)
        log_flow = np.where(np.pad(mask, ((0, 0), (0, 1))), draw(batch, horizon + 1), 0)
        log_flow[np.arange(batch), length] = log_reward
        return Scores(
            log_pf=np.where(mask, -np.abs(draw(batch, horizon)), 0),
            log_pb=np.where(mask, -np.abs(draw(batch, horizon)), 0),
            log_flow=log_flow,
            log_reward=log_reward,
            log_z=log_flow[:, 0],
            mask=mask,
            length=length,
            complete=np.ones(batch, bool),
            log_inflow=np.where(np.pad(mask, ((0, 0), (1, 0))), draw(batch, horizon + 1), 0),
        )

    return make
