"""Samplers of densities with a known log Z: python -m benchmarks diffusion

    gmm25 | funnel-easy | many-well   each by methods of 2402.05098, and by tempered SMC

The table has log Z - ELBO, log Z by importance sampling less log Z, EUBO - log Z, modes found and
the 2-Wasserstein distance, of 2,000 samples each. `--steps`, `--batch` and `--num-steps` set the
budget; the published one is 25,000 steps of 300 trajectories of 100 steps.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import jax_side, trainer
from gfnjax import training
from gfnjax.envs.diffusion_tasks import LANGEVIN, SEARCH, TargetName
from gfnjax.metrics import densities
from gfnjax.rewards.densities import Modal, modes_found
from gfnjax.run.build import describe, initial_state
from gfnjax.run.choices import configure
from gfnjax.run.evaluation import make_evaluator

TARGETS = "gmm25", "funnel-easy", "many-well"
FL = {"objective": "fl-subtb", "fl-subtb": {"lambda_": 2.0}, "exploration_std": 0.0}
FL |= {"exploration_share": None, "log_z_learning_rate": 0.0}
NO_EXPLORATION = {"exploration_std": 0.0, "exploration_share": None}
METHODS: dict[str, dict[str, Any]] = {
    "pis": {"objective": "pis", **NO_EXPLORATION},
    "tb": NO_EXPLORATION,
    "tb-exploration": {},
    "vargrad-exploration": {"objective": "vargrad"},
    "fl-subtb": FL,
    "fl-subtb-langevin": FL | LANGEVIN,
    "tb-exploration-langevin": LANGEVIN,
    "tb-search": SEARCH,
    "tb-both": SEARCH | LANGEVIN,
    "vargrad-both": {"objective": "vargrad"} | SEARCH | LANGEVIN,
}
# log R of many-well falls like -x^4: where a drift or a variance that is learned has left the wells
# squared residuals overflow, after some 200 steps at the usual rate.
TAME: dict[str, dict[str, Any]] = {
    "fl-subtb": {"max_grad_norm": 10.0, "drift": {"variance_range": 0.0}},
    "fl-subtb-langevin": {"max_grad_norm": 10.0, "learning_rate": 3e-4},
}
SMC_STEPS = 10


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    densities.wasserstein(np.zeros((1, 1)), np.zeros((1, 1)))  # is POT there?
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for target in options.targets:
            for method in options.methods:
                begin = time.perf_counter()
                found = (_smc if method == "smc" else _train)(target, method, options, seed)
                about = {"target": target, "method": method, "seed": seed}
                record = about | found | {"seconds": time.perf_counter() - begin}
                print(_line(record), flush=True)
                if options.output:
                    with options.output.open("a") as file:
                        print(json.dumps(record | jax_side.about() | trainer.host()), file=file)
                jax.clear_caches()
    return 0


def _train(target: str, method: str, options: Any, seed: int) -> dict[str, Any]:
    """What `gfnjax train diffusion` does, without files."""
    budget = {"steps": options.steps, "batch_size": options.batch, "num_steps": options.num_steps}
    settings = METHODS[method]
    if target == "many-well":
        settings = settings | TAME.get(method, {})
    config = configure("diffusion", target=target, seed=seed, **budget, **settings)
    gfn = describe(config)
    evaluator = make_evaluator(config, gfn)
    state = initial_state(config, gfn)
    begin = time.perf_counter()
    try:
        state, _ = training.train(gfn, state, options.steps, chunk_size=options.steps)
    except training.NonFiniteError as error:
        return {"diverged": str(error), "modes": None, **budget}
    seconds = time.perf_counter() - begin
    found = evaluator.evaluate(state, None)
    truth = found["true_log_z"]
    return {
        "elbo_gap": truth - found["elbo"],
        "importance_error": found["importance_log_z"] - truth,
        "eubo_gap": found["eubo"] - truth,
        "modes": found.get("modes_found"),
        "num_modes": found.get("num_modes"),
        "wasserstein": found["wasserstein"],
        "floor": found["wasserstein_floor"],
        "training_seconds": seconds,
        **budget,
    }


def _smc(target: str, method: str, options: Any, seed: int) -> dict[str, Any]:
    """Adaptive tempered SMC of BlackJAX with HMC moves, from the Gaussian where samplers start."""
    import blackjax
    from blackjax.smc import resampling

    env = describe(configure("diffusion", target=target)).env
    reward, dim, std = env.reward, env.dim, float(env.variance) ** 0.5

    def log_prior(x: Any) -> Any:
        return -((x / std) ** 2).sum() / 2 - dim * (np.log(std) + np.log(2 * np.pi) / 2)

    sampler = blackjax.adaptive_tempered_smc(
        log_prior,
        lambda x: reward(x) - log_prior(x),
        blackjax.hmc.build_kernel(),
        blackjax.hmc.init,
        {
            "step_size": jnp.array([0.1]),
            "inverse_mass_matrix": jnp.ones((1, dim)),
            "num_integration_steps": jnp.array([10]),
        },
        resampling.systematic,
        0.9,
        num_mcmc_steps=SMC_STEPS,
    )
    key = jax.random.key(seed)
    start_key, key, exact_key = jax.random.split(key, 3)
    state = sampler.init(std * jax.random.normal(start_key, (options.particles, dim)))
    step = jax.jit(sampler.step)
    log_z = 0.0
    while float(_exponent(state)) < 1:
        key, move_key = jax.random.split(key)
        state, info = step(move_key, state)
        log_z += float(info.log_likelihood_increment)
    x = np.asarray(state.particles)
    count = min(len(x), 1_000)
    exact = np.asarray(reward.sample(exact_key, 2 * count))
    return {
        "importance_error": log_z - reward.log_z,
        "modes": float(modes_found(reward, x)) if isinstance(reward, Modal) else None,
        "num_modes": len(reward.shares) if isinstance(reward, Modal) else None,
        "wasserstein": densities.wasserstein(x[:count], exact[:count]),
        "floor": densities.wasserstein(exact[:count], exact[count:]),
        "particles": options.particles,
    }


def _exponent(state: Any) -> Any:
    return getattr(state, "tempering_param", getattr(state, "lmbda", None))


def _line(record: dict[str, Any]) -> str:
    def shown(name: str, form: str = "8.3f") -> str:
        value = record.get(name)
        return f"{'-':>8}" if value is None else format(value, form)

    about = f"{record['target']:12} {record['method']:24} seed {record['seed']}  "
    if "diverged" in record:
        return about + record["diverged"]
    modes = "-" if record["modes"] is None else f"{record['modes']:.0f}/{record['num_modes']:.0f}"
    return (
        f"{about}ELBO gap {shown('elbo_gap')}  log Z error {shown('importance_error')}  "
        f"EUBO gap {shown('eubo_gap')}  modes {modes:>6}  W2 {shown('wasserstein')} "
        f"(floor {shown('floor', '.3f')})  {record['seconds']:6.0f} s"
    )


def _parse(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks diffusion", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--targets", nargs="+", choices=get_args(TargetName), default=TARGETS)
    methods = [*METHODS, "smc"]
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--num-steps", type=int, default=50, help="T of the motion")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--particles", type=int, default=2_000, help="of SMC")
    parser.add_argument("--output", type=Path, help="append records to this file, JSON lines")
    return parser.parse_args(arguments)
