"""The texts that a run has learned to write: a sample of them after each prompt, as a table."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gfnjax.chemistry.exports import write_table
from gfnjax.gflownet import GFlowNet
from gfnjax.run.evaluation.base import evaluation_keys, target_model
from gfnjax.run.trained import Contains
from gfnjax.run.writing import Samples, after, prompts_of, text_rules, write
from gfnjax.training import RunState

# As an evaluation usually takes: what is compiled serves both.
NUM_SAMPLES = 32
MAX_PROMPTS = 4


class FoundTexts(NamedTuple):
    """A sample of texts, prompt by prompt, the best of each first, equal ones once.

    Attributes:
        prompts: what each of n was written after.
        texts: without the prompt and what stops it.
        log_r: `[n]` nats, at the temperature of the reward in force.
        log_q: `[n]` nats, of the policy.
        count: `[n]` how often each came.
    """

    prompts: list[str]
    texts: list[str]
    log_r: np.ndarray
    log_q: np.ndarray
    count: np.ndarray


def find_texts(gfn: Any, state: RunState, num_samples: int = NUM_SAMPLES) -> FoundTexts | None:
    """Sample what was trained, after the first few prompts.

    Args:
        gfn: what was trained.
        state: of its training; the sample follows from it.
        num_samples: texts after each prompt.

    Returns:
        None if its environment is none of texts.
    """
    if isinstance(gfn, Contains):
        gfn, state = gfn.trained(state)
    rules = text_rules(gfn.env) if isinstance(gfn, GFlowNet) else None
    if rules is None:
        return None
    model = target_model(gfn.at(state))
    rows: list[tuple[str, str, float, float, int]] = []
    for number in range(min(rules.num_prompts, MAX_PROMPTS)):
        key = evaluation_keys(state, number).picture
        one = replace(model, env=after(model.env, number))
        found = jax.tree.map(np.asarray, write(one, state.params, key, num_samples))
        prompt, texts = prompts_of(rules, [number])[0], rules.texts(found.states)
        rows += [(prompt, *row) for row in _distinct(texts, found)]
    prompts, texts, *numbers = zip(*rows, strict=True)
    return FoundTexts(list(prompts), list(texts), *map(np.asarray, numbers))


def _distinct(texts: list[str], found: Samples) -> list[tuple[str, float, float, int]]:
    """Text, log R, log q and count, the best first."""
    first: dict[str, int] = {}
    for i in np.lexsort((-found.log_q, -found.log_reward)):
        first.setdefault(texts[i], int(i))
    return [
        (text, float(found.log_reward[i]), float(found.log_q[i]), texts.count(text))
        for text, i in first.items()
    ]


def write_texts(folder: Path, found: FoundTexts) -> list[Path]:
    """Write `texts.csv`."""
    path = folder / "texts.csv"
    columns: dict[str, Any] = {"prompt": found.prompts, "text": found.texts}
    columns |= {name: getattr(found, name).tolist() for name in ("log_r", "log_q", "count")}
    write_table(path, columns)
    return [path]
