"""Rewards of molecules by properties that RDKit computes, on the host."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gfnjax.chemistry.building import to_smiles
from gfnjax.chemistry.properties import check_property, scaled_property
from gfnjax.chemistry.rdkit import rdkit
from gfnjax.chemistry.states import MoleculeState
from gfnjax.chemistry.vocabulary import Vocabulary
from gfnjax.errors import require
from gfnjax.rewards.host import HostReward, host

CACHED = 2**17  # molecules; some 50 MB


@dataclass(frozen=True)
class PropertyScore:
    """log R of a batch of molecules in NumPy; made by `property_reward`.

    Attributes:
        vocabulary: of the blocks.
        name: of the property.
        exponent: of the property's reward.
        floor: its least value.
    """

    vocabulary: Vocabulary
    name: str
    exponent: float
    floor: float

    def __call__(self, states: MoleculeState) -> np.ndarray:
        """`[B]` log R of `[B, ...]` states, finished or not."""
        values = [self._value(state) for state in _rows(states)]
        return self.exponent * np.log(np.maximum(self.floor, np.asarray(values, np.float64)))

    def _value(self, state: MoleculeState) -> float:
        keys = (state.blocks.tobytes(), state.parent.tobytes(), state.position.tobytes())
        smiles = _smiles(self.vocabulary, *keys)
        return _scaled(self.name, smiles) if smiles else 0.0


def property_reward(
    vocabulary: Vocabulary, name: str, exponent: float = 1.0, floor: float = 1e-4
) -> HostReward:
    """log R(x) = exponent * log max(floor, r(x)) of one `MoleculeState`, with r in [0, 1].

    r is QED ("qed"), (10 - SA) / 9 of the synthetic accessibility ("sa"), clip((300 - MW) / 700
    + 1, 0, 1) of the molecular weight ("mw"), or exp(-(logP - 2.5)^2 / 2) ("logp"). A molecule
    that still grows has the value of what is there; one without blocks, or with more bonds at an
    atom than RDKit admits, has the floor.

    RDKit computes on the host, some 2 ms for the QED of a molecule, .5 for the others; the last
    131,072 molecules are remembered. Rewards of equal arguments are equal, and share compiled code.

    Raises:
        ValueError: for an unknown name, or unless floor > 0 and the exponent is finite.
        ModuleNotFoundError: without RDKit.
    """
    check_property(name)
    exponent, floor = float(exponent), float(floor)
    require(math.isfinite(exponent), "exponent", "must be finite", exponent)
    require(0 < floor < math.inf, "floor", "must be positive", floor)
    rdkit(f"the reward {name}")
    return host(PropertyScore(vocabulary, name, exponent, floor))


def _rows(states: MoleculeState) -> Iterator[MoleculeState]:
    """The states of a batch, one after the other."""
    arrays = [np.asarray(array) for array in states]
    return (MoleculeState(*row) for row in zip(*arrays, strict=True))


@lru_cache(maxsize=CACHED)
def _smiles(vocabulary: Vocabulary, blocks: bytes, parent: bytes, position: bytes) -> str:
    """Canonical SMILES of a state given by the bytes of its arrays; empty if it is no molecule."""
    rows: list[Any] = [np.frombuffer(each, np.int32) for each in (blocks, parent, position)]
    rows.append(np.bool_(False))  # whether it has stopped changes nothing
    try:
        return to_smiles(MoleculeState(*rows), vocabulary)
    except rdkit("molecules").MolSanitizeException:
        return ""


@lru_cache(maxsize=CACHED)
def _scaled(name: str, smiles: str) -> float:
    # By SMILES: the same number for a molecule in whatever order its atoms come.
    return scaled_property(name, smiles)
