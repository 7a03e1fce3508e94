"""log p(x) of molecules, exact: all ways to build them, added up.

A state t with root r is built through the trees between r and t: with S over sub-trees that hold r,

    P(S) = sum over leaves j of S, j != r, of  P(S - j) P_F(j | S - j),     P(empty) = 1,

and p(t) = P(t) P_F(stop | t). A molecule is all its states. Those with the same root and entries,
and stems at the same atoms up to automorphisms, have the same probability for a policy that does
not tell atoms apart which automorphisms exchange, as `fragment_policy`; one of each is looked at:

    p(x) = sum over kinds of states of  (number of states of the kind) p(t).
"""

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax import masking, packing
from gfnjax.chemistry import symmetry
from gfnjax.chemistry.states import MoleculeState, num_blocks
from gfnjax.envs.base import source_state
from gfnjax.envs.conditional import Conditional, ConditionalState
from gfnjax.envs.molecules import Molecules
from gfnjax.errors import ArgumentError, require
from gfnjax.identity import classes
from gfnjax.model import Model, require_model
from gfnjax.policies.fragments import rules_of
from gfnjax.shapes import check_states
from gfnjax.state import Params
from gfnjax.types import Array

MAX_WRITINGS = 4_096
AT_ONCE = 16
TOLERANCE = 1e-3


def log_prob(model: Model, params: Params, states: Any) -> np.ndarray:
    """`[n]` nats, log p(x) of the molecules of terminal states `[n, ...]`, on the host.

    Costs some thousand evaluations of the policy a molecule of eight blocks. Whether the policy
    tells states apart is looked at for some of them.

    Args:
        model: environment and policies, such as `gfn.model`: of `Molecules`, under a condition or
            an exponent too.
        params: of the policies.
        states: of the environment.

    Raises:
        ValueError: if these are no batch of terminal states, if one can be written down in more
            than 4,096 ways with different roots and entries, or if the policy tells states apart
            that automorphisms exchange: use `state_log_prob` then, and add up the states.
    """
    require_model(model)
    rules = rules_of(model.env)
    _check_terminal(model, states)
    inner = states.inner if isinstance(model.env, Conditional) else states
    found = _in_parts(len(inner.blocks), lambda part: _writings(rules, _rows(inner, part)))
    rows, log_number, chosen, (first, last) = _kinds(rules, inner, *found)

    def values(which: np.ndarray, automorphisms: np.ndarray) -> np.ndarray:
        """log p of one state of each of these kinds."""

        def some(part: np.ndarray) -> Array:
            kinds = which[part]
            root, entries = (x[kinds] for x in chosen)
            molecules = _rows(inner, rows[kinds])
            written = _rewritten(rules, molecules, root, entries, automorphisms[kinds])
            given = _rows(states, rows[kinds])
            given = given._replace(inner=written) if isinstance(model.env, Conditional) else written
            return _state_log_prob(model, params, given, classes(model))

        return _in_parts(len(which), some)

    of_kinds = values(np.arange(len(rows)), first)
    # Some of those that have another state to compare with.
    others = np.flatnonzero((first != last).any(axis=1))
    others = others[:: max(len(others) // AT_ONCE, 1)][:AT_ONCE]
    if others.size and not np.allclose(of_kinds[others], values(others, last), *(TOLERANCE,) * 2):
        raise ArgumentError(
            "model.policy",
            "tells states of one molecule apart that automorphisms exchange",
            "use fragment_policy, or add up state_log_prob over all states of a molecule",
        )
    total = np.full(len(inner.blocks), -np.inf)
    np.logaddexp.at(total, rows, of_kinds + log_number)
    return total


def state_log_prob(model: Model, params: Params, states: Any) -> np.ndarray:
    """`[n]` nats, log p(t) of terminal states `[n, ...]`, for any policy.

    Raises:
        ValueError: as `log_prob`.
    """
    require_model(model)
    rules_of(model.env)
    _check_terminal(model, states)
    kinds = classes(model)

    def some(part: np.ndarray) -> Array:
        return _state_log_prob(model, params, _rows(states, part), kinds)

    return _in_parts(len(jax.tree.leaves(states)[0]), some)


def _in_parts(count: int, fn: Any) -> Any:
    """What `fn` gives for the numbers below `count`, a few at a time.

    The last ones are repeated, for a batch of another size would be another program.
    """
    parts = []
    for start in range(0, count, AT_ONCE):
        part = np.minimum(np.arange(start, start + AT_ONCE), count - 1)
        parts.append(jax.tree.map(np.asarray, fn(part)))
    return jax.tree.map(lambda *x: np.concatenate(x)[:count], *parts)


def _check_terminal(model: Model, states: Any) -> None:
    check_states("states", states, source_state(model.env))
    require(len(jax.tree.leaves(states)[0]) > 0, "states", "must hold at least one", "none")
    ended = np.asarray(jax.vmap(model.env.is_terminal)(states))
    if not ended.all():
        raise ArgumentError(
            "states", f"must be terminal, got one that is not, number {int(np.argmin(ended))}"
        )


def _rows(tree: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x)[rows], tree)


@jax.jit
def _writings(rules: Molecules, states: MoleculeState) -> symmetry.Writings:
    return jax.vmap(lambda state: symmetry.writings(state, rules.fragments))(states)


@jax.jit
def _rewritten(
    rules: Molecules, states: MoleculeState, root: Array, entries: Array, automorphisms: Array
) -> MoleculeState:
    def one(state: MoleculeState, root: Array, entry: Array, way: Array) -> MoleculeState:
        other = symmetry.rewritten(state, root, entry, way, rules.fragments)
        # One state of a molecule may have a stem left where another has none.
        other = other._replace(stopped=jnp.zeros((), bool))
        return other._replace(stopped=~rules.is_terminal(other))

    return jax.vmap(one)(states, root, entries, automorphisms)


Kinds = tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray], list[np.ndarray]]


def _kinds(
    rules: Molecules, states: MoleculeState, ways: np.ndarray, log_automorphisms: np.ndarray
) -> Kinds:
    """All kinds of states: `[k]` row of the molecule, log of how many, root and entries `[B]`;
    and two choices of automorphisms `[B]` that give states of the kind.
    """
    found: list[tuple] = []
    blocks = np.asarray(states.blocks)
    for row, size in enumerate((blocks >= 0).sum(axis=1)):
        for root in range(size):
            options = [
                _options(rules, int(blocks[row, j]), j == root, ways[row, root, j])
                for j in range(size)
            ]
            number = np.prod([len(each) for each in options], dtype=float)
            if number > MAX_WRITINGS:
                problem = f"has {number:,.0f} kinds of states for one molecule, number {row}"
                raise ArgumentError("states", problem, f"{MAX_WRITINGS:,} are possible")
            for chosen in itertools.product(*options):
                entries, count, first, last = (list(x) for x in zip(*chosen, strict=True))
                log_number = np.log(count).sum() - log_automorphisms[row]
                found.append((row, log_number, root, *map(_filled(ways), (entries, first, last))))
    rows, log_number, root, entries, first, last = (np.asarray(x) for x in zip(*found, strict=True))
    return rows, log_number, (root.astype(np.int32), entries), [first, last]


def _filled(ways: np.ndarray) -> Any:
    """What is said of the blocks there are, with zeros for the empty slots."""
    return lambda values: np.pad(np.int32(values), (0, ways.shape[1] - len(values)))


def _options(
    rules: Molecules, block: int, is_root: bool, ways: np.ndarray
) -> list[tuple[int, int, int, int]]:
    """Entry, number of ways, first and last automorphism of each way to write down a block."""
    fragments = jax.tree.map(np.asarray, rules.fragments)
    kind = fragments.kinds[block]
    group = [tuple(row) for row in fragments.symmetries[kind] if row[0] >= 0]
    options = []
    for e, entry in enumerate(fragments.entries[kind]):
        classes_of: dict[int, list[int]] = {}
        for q in np.flatnonzero(ways[e]) if entry >= 0 else ():
            key = min(_images(group, group[q], fragments.sites[entry], is_root))
            classes_of.setdefault(key, []).append(int(q))
        for members in classes_of.values():
            options.append((e, int(ways[e, members].sum()), members[0], members[-1]))
    return options


def _images(
    group: list[tuple[int, ...]], element: tuple[int, ...], sites: np.ndarray, is_root: bool
) -> list[int]:
    """What an automorphism becomes by those that leave an entry as it is, by their numbers."""
    used = sites[sites >= 0].tolist()
    found = []
    for other in group:
        same = sorted(other[site] for site in used) == sorted(used)
        if same and (is_root or other[used[0]] == used[0]):
            found.append(group.index(tuple(other[x] if x >= 0 else -1 for x in element)))
    return found


class _Tree(NamedTuple):
    """Part of a molecule: `kept` `[B]` bool of the slots of `whole`."""

    whole: Any
    kept: Array


@partial(jax.jit, static_argnums=3)
def _state_log_prob(model: Model, params: Params, states: Any, kinds: tuple[type, ...]) -> Array:
    """`[n]` by dynamic programming over the parts of each molecule, `2^B` of them at most."""
    inner = states.inner if isinstance(model.env, Conditional) else states
    max_blocks = inner.blocks.shape[1]
    bits = np.arange(2**max_blocks)[:, None] >> np.arange(max_blocks) & 1
    kept = jnp.asarray(bits, bool)
    live = jax.vmap(lambda state: jax.vmap(partial(_is_tree, state))(kept))(inner)
    num_states, num_parts = live.shape
    rows = _Tree(
        jax.tree.map(lambda x: jnp.repeat(x, num_parts, axis=0), states),
        jnp.tile(kept, (num_states, 1)),
    )
    count = num_states * num_parts
    steps = packing.evaluate_live(
        partial(_log_steps, model, params), rows, live.reshape(-1), packing.chunk_of(count)
    )
    steps = jnp.where(live.reshape(-1)[:, None], steps, masking.FILL)
    steps = steps.reshape(num_states, num_parts, max_blocks + 1)
    return jax.vmap(partial(_add_up, bits))(steps, inner)


def _is_tree(state: MoleculeState, kept: Array) -> Array:
    """Whether some blocks are a molecule by themselves: every one with its parent, or none."""
    attached = state.parent >= 0
    fine = ~attached | kept[state.parent]
    return jnp.where(kept, (state.blocks >= 0) & fine, True).all()


def _log_steps(model: Model, params: Params, tree: _Tree) -> Array:
    """`[B + 1]` log P_F of adding each block to a part, `FILL` where it cannot be, and of stopping.

    The probability of stopping is 1 where there is nothing else.
    """
    env: Any = model.env
    conditional = isinstance(env, Conditional)
    rules = rules_of(env)
    whole = tree.whole.inner if conditional else tree.whole
    part = _part(whole, tree.kept)
    state = ConditionalState(part, tree.whole.condition) if conditional else part
    output = model.policy.evaluate(params.policy, env, state)
    log_pf = masking.log_softmax(output.forward_logits, env.forward_mask(state))
    slots = jnp.arange(tree.kept.size, dtype=jnp.int32)

    def add(slot: Array) -> Array:
        kept = tree.kept | (slots == slot)
        at = (tree.kept & (slots < slot)).sum(dtype=jnp.int32)
        action = rules.forward_action(_part(whole, kept), at)
        possible = ~tree.kept[slot] & _is_tree(whole, kept)
        return jnp.where(possible, log_pf[action], masking.FILL)

    stop = jnp.where(rules.is_terminal(part), 0.0, log_pf[rules.stop])
    return jnp.append(jax.vmap(add)(slots), stop)


def _part(whole: MoleculeState, kept: Array) -> MoleculeState:
    """Some blocks as a molecule."""
    order = jnp.argsort(~kept, stable=True)
    slot = jnp.cumsum(kept, dtype=jnp.int32) - 1
    there = kept[order]
    parent = jnp.where(whole.parent >= 0, slot[whole.parent], -1)
    columns = whole.blocks, parent, whole.position
    blocks, parent, position = (jnp.where(there, x[order], -1) for x in columns)
    return MoleculeState(blocks, parent, position, jnp.zeros((), bool))


def _add_up(bits: np.ndarray, steps: Array, state: MoleculeState) -> Array:
    """`[]` log p(t) from the steps `[2^B, B + 1]` out of each part."""
    num_parts, max_blocks = bits.shape
    without = np.arange(num_parts)[:, None] ^ (1 << np.arange(max_blocks))
    taken = steps[without, np.arange(max_blocks)[None]]
    taken = jnp.where(jnp.asarray(bits, bool), taken, masking.FILL)
    source = jnp.arange(num_parts) == 0

    def extend(_: Array, reached: Array) -> Array:
        before = jnp.maximum(reached[without] + taken, masking.FILL)
        total = jnp.maximum(jax.nn.logsumexp(before, axis=1), masking.FILL)
        return jnp.where(source, 0.0, total)

    start = jnp.where(source, 0.0, jnp.full(num_parts, masking.FILL, steps.dtype))
    reached = jax.lax.fori_loop(0, max_blocks, extend, start)
    whole = (1 << num_blocks(state)) - 1
    return reached[whole] + steps[whole, -1]
