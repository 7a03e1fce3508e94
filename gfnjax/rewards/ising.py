"""Ising couplings, energies, and samples of the Ising model by parallel tempering."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from gfnjax.envs.drawing import Panel
from gfnjax.errors import ArgumentError
from gfnjax.shapes import check_alike, check_shape
from gfnjax.types import Array


@struct.dataclass
class IsingReward:
    """log R(x) = x^T J x; each pair of neighbours counts twice.

    Attributes:
        couplings: `[n, n]` J, symmetric with zeros on the diagonal. A leaf: it can be learned.
    """

    couplings: Array

    def __call__(self, spins: Array) -> Array:
        check_shape("spins", spins, self.couplings.shape[:1], "[n]")
        spins = spins.astype(self.couplings.dtype)
        return spins @ self.couplings @ spins

    def panel(self) -> Panel:
        """The couplings, to be drawn."""
        return Panel(np.asarray(self.couplings), "spin", "spin", "coupling")


def lattice_adjacency(side: int) -> np.ndarray:
    """`[side^2, side^2]` 0/1: neighbours on a square lattice with wrap-around.

    Raises:
        ValueError: if `side` is below 2.
    """
    if side < 2:
        raise ArgumentError("side", f"must be at least 2, got {side}")
    site = np.arange(side**2).reshape(side, side)
    adjacency = np.zeros((side**2, side**2))
    for axis in (0, 1):
        adjacency[site, np.roll(site, 1, axis)] = 1
        adjacency[np.roll(site, 1, axis), site] = 1
    return adjacency


def lattice(side: int, sigma: float) -> IsingReward:
    """The reward with J = sigma A, A the adjacency of the lattice."""
    return IsingReward(jnp.asarray(sigma * lattice_adjacency(side), jnp.result_type(float)))


def lattice_log_z(side: int, sigma: float) -> float:
    """log Z of `lattice(side, sigma)` = log trace T^side, T the transfer matrix between two rows.

    T[x, y] = exp(2 sigma (x . y + (x . Cx + y . Cy) / 2)), C shifting a row by one: each pair of
    neighbours counts twice, and once for two spins, where both ways round lead to the same
    neighbour. Host, double precision (Kramers and Wannier, 1941).

    Raises:
        ValueError: if `side` is below 2.
    """
    adjacency = lattice_adjacency(side)
    # On a torus of side 2 both ways round lead to the same neighbour, which counts once.
    bond = 2 * sigma if adjacency.sum() == 4 * side**2 else sigma
    rows = 2 * (np.arange(2**side)[:, None] >> np.arange(side) & 1) - 1
    within = bond * (rows * np.roll(rows, 1, axis=1)).sum(axis=1)
    log_t = bond * rows @ rows.T + (within[:, None] + within[None]) / 2
    # Symmetric: log trace T^side from the eigenvalues, the largest set to 1.
    top = log_t.max()
    values = np.linalg.eigvalsh(np.exp(log_t - top))
    largest = np.abs(values).max()
    return float(side * (top + np.log(largest)) + np.log(((values / largest) ** side).sum()))


def neg_log_rmse(couplings: Array, truth: Array) -> Array:
    """`[]` -log of the root mean square error over all entries; larger is better."""
    check_alike(couplings=couplings, truth=truth)
    return -jnp.log(jnp.mean((couplings - truth) ** 2)) / 2


def sample_ising(
    key: Array,
    couplings: Array,
    num_samples: int,
    num_sweeps: int = 100,
    num_temperatures: int = 8,
) -> Array:
    """Independent samples of P(x) ~ exp(x^T J x) by parallel tempering.

    Every sample ends a chain of its own. A chain holds replicas at inverse temperatures
    b = 1, ..., 0, evenly spaced; a sweep redraws each spin given the others,
    P(x_i = 1) = sigmoid(2 b ((J + J^T) x)_i), and then exchanges neighbouring replicas a, b with
    probability min(1, exp((b_a - b_b) (log R(x_b) - log R(x_a)))). The replica at b = 0 starts
    anew every sweep, so modes are visited whatever the sign of J (Geyer, 1991).

    Args:
        key: a typed PRNG key.
        couplings: `[n, n]` J.
        num_samples: chains to run.
        num_sweeps: length of each chain.
        num_temperatures: replicas a chain, at least 2.

    Returns:
        `[num_samples, n]` int32 of -1 and +1.

    Raises:
        ValueError: if a count is out of range.
    """
    if num_samples < 1 or num_sweeps < 1 or num_temperatures < 2:
        numbers = {"num_samples": num_samples, "num_sweeps": num_sweeps}
        wrong = [name for name, number in numbers.items() if number < 1]
        raise ArgumentError(
            [*wrong, "num_temperatures"][0],
            "must be at least 1 and num_temperatures at least 2, got "
            f"{num_samples}, {num_sweeps} and {num_temperatures}",
            subject="{num_samples} and {num_sweeps}",
        )
    num_spins = couplings.shape[0]
    check_shape("couplings", couplings, (num_spins, num_spins), "[n, n]")
    pairs = (couplings + couplings.T) * (1 - jnp.eye(num_spins, dtype=couplings.dtype))
    betas = jnp.linspace(1, 0, num_temperatures, dtype=couplings.dtype)

    def sweep(spins: Array, key: Array) -> tuple[Array, None]:
        gibbs_key, swap_key, parity_key = jax.random.split(key, 3)
        spins = _gibbs_sweep(gibbs_key, pairs, betas, spins)
        odd = jax.random.randint(parity_key, (), 0, 2)
        return _exchange(swap_key, pairs, betas, spins, odd), None

    start_key, key = jax.random.split(key)
    shape = num_samples, num_temperatures, num_spins
    start = jax.random.rademacher(start_key, shape, couplings.dtype)
    spins, _ = lax.scan(sweep, start, jax.random.split(key, num_sweeps))
    return spins[:, 0].astype(jnp.int32)


def _gibbs_sweep(key: Array, pairs: Array, betas: Array, spins: Array) -> Array:
    """Redraw all spins `[B, R, n]`, one after the other."""
    num_spins = spins.shape[-1]
    noise = jax.random.logistic(key, (num_spins, *spins.shape[:2]), spins.dtype)

    def update(site: Array, spins: Array) -> Array:
        log_odds = 2 * betas[None] * (spins @ pairs[site])
        return spins.at[..., site].set(jnp.where(log_odds > noise[site], 1, -1).astype(spins.dtype))

    return lax.fori_loop(0, num_spins, update, spins)


def _exchange(key: Array, pairs: Array, betas: Array, spins: Array, odd: Array) -> Array:
    """Exchange replicas (0, 1), (2, 3), ... or, where `odd`, (1, 2), (3, 4), ..."""
    num_replicas = betas.size
    log_reward = jnp.einsum("bri,ij,brj->br", spins, pairs, spins) / 2
    replica = jnp.arange(num_replicas, dtype=jnp.int32)
    partner = jnp.where(replica % 2 == odd, replica + 1, replica - 1)
    partner = jnp.where((partner < 0) | (partner >= num_replicas), replica, partner)
    gain = (betas - betas[partner])[None] * (log_reward[:, partner] - log_reward)
    # Both sides of a pair read the same draw, the one of the lower replica.
    draws = jnp.log(jax.random.uniform(key, log_reward.shape, spins.dtype))
    accept = draws[:, jnp.minimum(replica, partner)] < gain
    source = jnp.where(accept, partner[None], replica[None])
    return jnp.take_along_axis(spins, source[..., None], axis=1)
