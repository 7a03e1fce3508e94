"""Numbers that suit a kind of machine, measured in docs/performance.md.

Results do not depend on them. On CPU a dead row costs as much as a live one, and what leaves the
caches is slow. On GPU rows are nearly free, and a loop whose number of iterations is not known
waits for the host each time around.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import jax


class Tuning(NamedTuple):
    """How states are visited and evaluated.

    Attributes:
        packed_batch: from this batch size on a rollout evaluates live states only; None for never.
        least_rows: states evaluated at a time when scoring: this many for small batches,
        most_rows: for large ones, and four a trajectory in between.
        most_numbers: what is said of them, numbers in all, at most.
        product_features: where an MLP looks features up, the gradient is a product with all of
            them for up to this many for each that is on, and a scatter for more.
        steps_at_once: of a rollout, in a row, until it sees whether every trajectory has ended.
        numbers_at_once: parameters, in all, of the members of a sweep that are computed in one
            operation, instead of one after another; None for as many as there are.
        recompute: what the layers of a language model come to is computed again in derivatives,
            instead of kept; compiled for CPU that takes a third longer and saves no memory.
    """

    packed_batch: int | None
    least_rows: int
    most_rows: int
    most_numbers: int
    product_features: int = 0
    steps_at_once: int = 1
    numbers_at_once: int | None = None
    recompute: bool = False

    def rows(self, batch_size: int, numbers: int) -> int:
        """States at a time for a batch of trajectories, where a state is told that many numbers."""
        rows = min(max(4 * batch_size, self.least_rows), self.most_rows)
        return min(rows, max(self.most_numbers // numbers, 96))


CPU = Tuning(
    packed_batch=256,
    least_rows=192,
    most_rows=1024,
    most_numbers=2**21,
    numbers_at_once=2**15,
)
GPU = Tuning(
    packed_batch=None,
    least_rows=16_384,
    most_rows=16_384,
    most_numbers=2**24,
    product_features=2_048,
    steps_at_once=8,
    recompute=True,
)

# Not measured: as a CPU, but that whatever has a batch of members is done at once, and little kept.
TPU = CPU._replace(numbers_at_once=None, recompute=True)


_PLATFORM: ContextVar[str | None] = ContextVar("platform", default=None)


def tuning() -> Tuning:
    """For the backend that JAX computes on by default, or that of `suited_to`."""
    platform = _PLATFORM.get() or jax.default_backend()
    return {"gpu": GPU, "tpu": TPU}.get(platform, CPU)


@contextmanager
def suited_to(platform: str) -> Iterator[None]:
    """What is traced within suits this platform: "cpu", "gpu", "tpu", of a machine not here."""
    token = _PLATFORM.set(platform)
    try:
        yield
    finally:
        _PLATFORM.reset(token)
