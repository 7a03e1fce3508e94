"""How likely the texts of a policy are, and how different: at several temperatures of decoding."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfnjax.chemistry.exports import write_table
from gfnjax.envs.tempered import exponent_in_force
from gfnjax.gflownet import GFlowNet
from gfnjax.metrics.texts import ngram_diversity
from gfnjax.rewards.language import Continuation, Infilling, Rationale
from gfnjax.run.evaluation.base import evaluation_keys
from gfnjax.run.trained import Contains
from gfnjax.run.writing import after, text_rules, write
from gfnjax.training import RunState

NUM_SAMPLES = 32
MAX_PROMPTS = 2
TEMPERATURES = 0.5, 0.75, 1.0, 1.5
# Of so many texts of the language model the likeliest is kept.
BEST_OF = 4
TRAINED, BASE = "trained", "language model"
BEST = f"{BASE}, best of {BEST_OF}"


class Point(NamedTuple):
    """What one way to sample comes to, the mean over prompts.

    Attributes:
        who: which policy.
        temperature: of its tokens.
        log_likelihood: nats a text, log R at an exponent of 1: what the language model says.
        diversity: 1 - |A & B| / |A | B| of the pairs of tokens in two texts, the mean of all.
    """

    who: str
    temperature: float
    log_likelihood: float
    diversity: float


def find_frontier(gfn: Any, state: RunState) -> list[Point] | None:
    """Points of what was trained, and of the language model that it started from.

    At step 0 a policy with low-rank additions is the language model, so that one program samples
    both. None where log R is not what a language model says, or the policy did not start from one.
    """
    if isinstance(gfn, Contains):
        gfn, state = gfn.trained(state)
    rules = text_rules(gfn.env) if isinstance(gfn, GFlowNet) else None
    likely = Continuation | Infilling | Rationale
    if rules is None or rules.model is None or not isinstance(rules.reward, likely):
        return None
    if not hasattr(gfn.policy, "prefill") or gfn.policy.frozen is None:
        return None
    model = gfn.at(state).model
    keys = jax.random.split(jax.random.key(0))
    first = model.init(*keys)  # whatever the key: what is added is zero
    points = []
    for who, params in ((TRAINED, state.params), (BASE, first)):
        for temperature in TEMPERATURES:
            found = _sampled(model, params, state, temperature)
            points.append(Point(who, temperature, *_summary(found)))
            if who == BASE and temperature == 1:
                kept = [_best(rows, log_p) for rows, log_p in found]
                points.append(Point(BEST, temperature, *_summary(kept)))
    return points


Sampled = list[tuple[list[tuple[int, ...]], np.ndarray]]


def _sampled(model: Any, params: Any, state: Any, temperature: float) -> Sampled:
    """After each of a few prompts the texts, as tokens, and log R of each at an exponent of 1."""
    rules: Any = text_rules(model.env)
    exponent = float(exponent_in_force(model.env))
    found = []
    for number in range(min(rules.num_prompts, MAX_PROMPTS)):
        one = model.replace(env=after(model.env, number))
        key = evaluation_keys(state, number).picture
        samples = write(one, params, key, NUM_SAMPLES, jnp.asarray(temperature))
        tokens = np.asarray(samples.states.tokens)
        rows = [tuple(row[row >= 0].tolist()) for row in tokens]
        found.append((rows, np.asarray(samples.log_reward, np.float64) / exponent))
    return found


def _best(
    rows: list[tuple[int, ...]], log_p: np.ndarray
) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Of each few texts in a row the likeliest."""
    few = log_p.reshape(-1, BEST_OF)
    kept = few.argmax(axis=1) + BEST_OF * np.arange(len(few))
    return [rows[i] for i in kept], log_p[kept]


def _summary(found: Sampled) -> tuple[float, float]:
    likelihood = np.mean([log_p.mean() for _, log_p in found])
    diversity = np.mean([ngram_diversity(rows, 2).jaccard for rows, _ in found])
    return float(likelihood), float(diversity)


def write_frontier(folder: Path, points: list[Point]) -> list[Path]:
    """Write `frontier.csv`."""
    path = folder / "frontier.csv"
    write_table(path, {name: [getattr(p, name) for p in points] for name in Point._fields})
    return [path]
