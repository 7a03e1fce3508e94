"""The molecules that a run has learned to make: a sample of them, best first, and its tables."""

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.chemistry.building import to_smiles
from gfnjax.chemistry.exports import scaffold_table, write_scaffolds, write_sdf, write_table
from gfnjax.chemistry.rdkit import rdkit
from gfnjax.chemistry.states import MoleculeState
from gfnjax.chemistry.vocabulary import Vocabulary
from gfnjax.envs.base import Environment, canonical_of, object_reward_of
from gfnjax.envs.conditional import Conditional
from gfnjax.errors import ArgumentError
from gfnjax.gflownet import GFlowNet
from gfnjax.metrics.molecule_probability import log_prob
from gfnjax.policies.fragments import rules_of
from gfnjax.rewards.host import HostReward
from gfnjax.rewards.properties import PropertyScore
from gfnjax.rewards.seh import SEHReward
from gfnjax.rollout import terminal_states
from gfnjax.run.evaluation.base import evaluation_keys
from gfnjax.run.molecule_summary import summarise
from gfnjax.run.trained import Contains, sampled
from gfnjax.training import RunState
from gfnjax.types import Array

NUM_SAMPLES = 512
# Each takes some thousand evaluations of the policy, a tenth of a second for eight blocks, and
# twice as much for a block more.
NUM_LIKELIHOODS = 64
NUM_BEST_LIKELIHOODS = 12
MAX_LIKELIHOOD_BLOCKS = 10


class FoundMolecules(NamedTuple):
    """n distinct molecules of a sample, best first, in NumPy.

    Attributes:
        vocabulary: what their blocks are entries of.
        states: `[n, ...]` a state of each.
        paths: `[n, T + 1, ...]` how it was built: from nothing to that state, which is repeated.
        smiles: n canonical ones, empty where RDKit admits no such molecule; None without RDKit.
        values: `[n]` of each reward by its name, without exponent: the proxy of "seh", R else.
        log_r: `[n]` nats, log R at the condition of the sample, exponent included.
        log_p: `[n]` nats, NaN but of the first ones and of some all along; None where not known.
    """

    vocabulary: Vocabulary
    states: MoleculeState
    paths: MoleculeState
    smiles: list[str] | None
    values: dict[str, np.ndarray]
    log_r: np.ndarray
    log_p: np.ndarray | None

    @property
    def scores(self) -> np.ndarray:
        """`[n]` the value of a single reward; log R if there are several."""
        return self.log_r if len(self.values) > 1 else next(iter(self.values.values()))


def find_molecules(gfn: Any, state: RunState) -> FoundMolecules | None:
    """Sample what was trained, at one condition: of temperatures the highest, else the centre.

    Args:
        gfn: what was trained.
        state: of its training; the sample follows from it.

    Returns:
        None if its environment is none of molecules.
    """
    if not _is_of_molecules(gfn.env):
        return None
    key = evaluation_keys(state).picture
    if isinstance(gfn, Contains):
        gfn, state = gfn.trained(state)
    gfn = gfn.at(state) if isinstance(gfn, GFlowNet) else gfn
    if isinstance(gfn.env, Conditional):
        gfn = dataclasses.replace(gfn, env=gfn.env.at(_condition(gfn.env)))
    return _judged(gfn, state, sampled(gfn, state, key, NUM_SAMPLES))


def write_tables(folder: Path, found: FoundMolecules) -> list[Path]:
    """Write `molecules.json` and `molecules.csv`; with RDKit `molecules.sdf` and `scaffolds.csv`.

    What there is.
    """
    tree = {
        name: [" ".join(map(str, row[row >= 0])) for row in column]
        for name, column in zip(("blocks", "parent", "position"), found.states[:3], strict=True)
    }
    numbers = {**found.values, "log_r": found.log_r}
    columns = {name: column.tolist() for name, column in numbers.items()}
    if found.log_p is not None:
        columns["log_p"] = [None if np.isnan(x) else float(x) for x in found.log_p]
    numbers_file, table = folder / "molecules.json", folder / "molecules.csv"
    summary = summarise(found.smiles, found.values, found.log_r, found.log_p)
    numbers_file.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    if found.smiles is None:
        write_table(table, {**tree, **columns})
        return [numbers_file, table]
    write_table(table, {"smiles": found.smiles, **tree, **columns})
    good = [i for i, smiles in enumerate(found.smiles) if smiles]
    smiles = [found.smiles[i] for i in good]
    write_sdf(folder / "molecules.sdf", smiles, {k: x[good] for k, x in numbers.items()})
    write_scaffolds(folder / "scaffolds.csv", scaffold_table(smiles, found.scores[good]))
    return [numbers_file, table, folder / "molecules.sdf", folder / "scaffolds.csv"]


def _is_of_molecules(env: Environment) -> bool:
    try:
        rules_of(env)
    except TypeError:
        return False
    return True


def _condition(env: Conditional) -> Array:
    if len(env.envs) > 1:
        return env.conditions.centre()
    # Of a reward temperature, where molecules are best.
    spread = env.conditions.spread()
    return spread[jnp.argmax(spread[:, 0])]


def _judged(gfn: Any, state: Any, trajectories: Any) -> FoundMolecules:
    env, last = gfn.env, terminal_states(trajectories)
    rules, conditional = rules_of(env), isinstance(env, Conditional)
    inner, paths = (
        jax.tree.map(np.asarray, x.inner if conditional else x) for x in (last, trajectories.states)
    )
    log_r, values = _judgements(env, last)
    smiles = _smiles(inner, rules.vocabulary)
    best = _distinct(np.argsort(-log_r, kind="stable"), _names(rules, inner, smiles))
    return FoundMolecules(
        rules.vocabulary,
        _rows(inner, best),
        _rows(paths, best),
        None if smiles is None else [smiles[i] for i in best],
        {name: value[best] for name, value in values.items()},
        log_r[best],
        _log_p(gfn, state, last, best),
    )


def _log_p(gfn: Any, state: Any, states: Any, best: np.ndarray) -> np.ndarray | None:
    """`[n]` exact log-probabilities of the molecules of some `best` states, NaN of the others.

    None if they are not to be had.
    """
    if not isinstance(gfn, GFlowNet) or rules_of(gfn.env).max_blocks > MAX_LIKELIHOOD_BLOCKS:
        return None
    # The first are drawn; how they agree with log R takes some of all kinds.
    first, n = NUM_BEST_LIKELIHOODS, len(best)
    spread = np.linspace(first, n - 1, NUM_LIKELIHOODS - first).astype(int)
    rows = np.unique(
        np.concatenate([np.arange(min(first, n)), spread if n > first else spread[:0]])
    )
    found = np.full(n, np.nan)
    try:
        found[rows] = log_prob(gfn.model, state.params, _rows(states, best[rows]))
    except ArgumentError:  # a policy that tells states of one molecule apart
        return None
    return found


def _judgements(env: Any, states: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """`[n]` log R of terminal states, and the value of each reward by its name."""
    conditional = isinstance(env, Conditional)
    values: dict[str, Any] = {}
    for i, each in enumerate(env.envs if conditional else (rules_of(env),)):
        name, value = _named(each.reward)
        values[name if name not in values else f"{name}_{i + 1}"] = value

    # In one program, for a proxy takes long to compile.
    @jax.jit
    @jax.vmap
    def judge(state: Any) -> tuple[Array, list[Array]]:
        inner = state.inner if conditional else state
        return object_reward_of(env, state), [value(inner) for value in values.values()]

    log_r, found = jax.tree.map(np.asarray, judge(states))
    return log_r, dict(zip(values, found, strict=True))


def _named(reward: Any) -> tuple[str, Any]:
    """What a reward is called, and its value of one state before any exponent."""
    if isinstance(reward, SEHReward):
        return "seh", reward.proxy
    name, exponent = "reward", 1.0
    if isinstance(reward, HostReward) and isinstance(reward.fn, PropertyScore):
        name, exponent = reward.fn.name, reward.fn.exponent
    return name, lambda state: jnp.exp(reward(state) / exponent)


def _smiles(states: MoleculeState, vocabulary: Vocabulary) -> list[str] | None:
    try:
        rdkit("SMILES")
    except ModuleNotFoundError:
        return None
    return [_smiles_of(_rows(states, i), vocabulary) for i in range(len(states.blocks))]


def _smiles_of(state: MoleculeState, vocabulary: Vocabulary) -> str:
    try:
        return to_smiles(state, vocabulary)
    except ValueError:  # more bonds at an atom than RDKit admits
        return ""


def _names(rules: Any, states: MoleculeState, smiles: list[str] | None) -> list[Any]:
    """Equal for equal molecules."""
    if smiles is not None and all(smiles):
        return smiles
    alike = jax.tree.map(np.asarray, jax.jit(jax.vmap(partial(canonical_of, rules)))(states))
    own = [tuple(row.tobytes() for row in rows) for rows in zip(*alike[:3], strict=True)]
    return own if smiles is None else [s or name for s, name in zip(smiles, own, strict=True)]


def _distinct(order: np.ndarray, names: Sequence[Any]) -> np.ndarray:
    """The first place in `order` of each name."""
    first: dict[Any, int] = {}
    for i in order:
        first.setdefault(names[i], int(i))
    return np.asarray(list(first.values()), np.int64)


def _rows(tree: Any, rows: Any) -> Any:
    return jax.tree.map(lambda x: x[rows], tree)
