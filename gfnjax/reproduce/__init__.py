"""Tables of the literature that fit two cores: `gfnjax reproduce NAME`."""

from gfnjax.arguments import suggest
from gfnjax.reproduce.backward_policies import BACKWARD_POLICIES
from gfnjax.reproduce.base import Published, Reproduction, Row
from gfnjax.reproduce.bits import BITS
from gfnjax.reproduce.dag import DAG
from gfnjax.reproduce.hypergrid import HYPERGRID
from gfnjax.reproduce.phylogeny import PHYLOGENY
from gfnjax.reproduce.sets import SETS
from gfnjax.run.config import UsageError

REPRODUCTIONS = {
    each.name: each for each in (HYPERGRID, SETS, BACKWARD_POLICIES, DAG, PHYLOGENY, BITS)
}


def find(name: str) -> Reproduction:
    """The reproduction of a name.

    Raises:
        UsageError: if there is none.
    """
    if name not in REPRODUCTIONS:
        known = ", ".join(REPRODUCTIONS)
        hint = suggest(name, REPRODUCTIONS) or f", only {known}"
        raise UsageError(f"there is no reproduction {name!r}{hint}")
    return REPRODUCTIONS[name]


__all__ = ["REPRODUCTIONS", "Published", "Reproduction", "Row", "find"]
