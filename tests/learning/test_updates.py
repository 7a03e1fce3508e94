"""Optimisers: each group of parameters by its own, at the rate in force, in its own precision."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gfnjax
from gfnjax import (
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    Hyperparameters,
    TrajectoryBalance,
    from_flax,
    mlp_policy,
    tabular_policy,
)
from gfnjax.algorithms import RewardSAC, Teacher
from gfnjax.objectives import LEDGFN, GAFlowNet
from gfnjax.policies import LikelihoodBackward
from gfnjax.policies.ensemble import EnsemblePolicy
from gfnjax.testing import diamond

ENV = diamond()
POLICY = tabular_policy(ENV)
TB = TrajectoryBalance()
STILL = Hyperparameters(0.0, 0.0, backward_learning_rate=0.0)


def describe(objective=TB, policy=POLICY, env=ENV, **options):
    taught_by = options.pop("taught_by", None)
    gfn = GFlowNet(env, policy, objective, **options)
    return gfn if taught_by is None else Teacher(gfn, taught_by)


def size(tree):
    return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(tree))


def moved(before, after):
    return size(jax.tree.map(lambda x, y: x - y, before, after))


def steps(gfn, state, count):
    return jax.jit(lambda s: jax.lax.fori_loop(0, count, lambda _, s: gfn.step(s)[0], s))(state)


REMEMBERING = {
    "whole": optax.inject_hyperparams(optax.adam),
    "by-name": lambda rate: optax.inject_hyperparams(optax.sgd)(learning_rate=rate),
    "another-name": lambda rate: optax.inject_hyperparams(lambda speed: optax.sgd(2 * speed))(rate),
    "in-a-chain": lambda rate: optax.chain(
        optax.clip(1.0), optax.inject_hyperparams(optax.adamw)(rate, weight_decay=0.1)
    ),
    "every-other-step": lambda rate: optax.MultiSteps(
        optax.inject_hyperparams(optax.sgd)(rate), 2
    ).gradient_transformation(),
}


@pytest.mark.parametrize("name", REMEMBERING)
def test_a_rate_that_an_optimiser_remembers_follows_the_schedule(name, key):
    schedule = optax.piecewise_constant_schedule(0.1, {4: 0.0})
    rates = Hyperparameters(schedule, schedule)
    gfn = describe(
        optimizer=REMEMBERING[name], log_z_optimizer=REMEMBERING[name], hyperparameters=rates
    )
    start = gfn.init(key)
    middle = steps(gfn, start, 4)
    assert moved(start.params.policy, middle.params.policy) > 0.05
    assert moved(start.params.log_z, middle.params.log_z) > 0.02
    end = steps(gfn, middle, 6)
    assert moved(middle.params, end.params) == 0


def test_what_does_not_come_from_the_rate_stays_as_it_was_set(key):
    gfn = describe(optimizer=optax.inject_hyperparams(optax.adam))
    state = gfn.init(key)
    state.opt_state.policy.hyperparams["b1"] = jnp.float32(0.5)
    held = steps(gfn, state, 2).opt_state.policy.hyperparams
    assert float(held["b1"]) == 0.5
    assert float(held["learning_rate"]) == np.float32(1e-3)


def decay(rate):
    return optax.adamw(rate, weight_decay=0.1)


def test_weight_decay_leaves_log_z_and_the_start_of_the_flows_alone(key):
    # adamw moves a parameter without gradient by rate x decay x parameter.
    rates = Hyperparameters(1.0, 1.0)
    shifted = ENV.replace(log_rewards=jnp.full(5, 24.9))
    gfn = describe(env=shifted, optimizer=decay, hyperparameters=rates)
    state = gfn.init(key)
    zeros = jax.tree.map(jnp.zeros_like, state.params)
    params, _ = gfn.update(state, zeros)
    assert float(state.params.log_z) > 20
    np.testing.assert_array_equal(params.log_z, state.params.log_z)
    np.testing.assert_array_equal(params.log_flow_start, state.params.log_flow_start)
    ones = jax.tree.map(jnp.ones_like, state.params)
    params, _ = gfn.update(state._replace(params=ones), zeros)
    np.testing.assert_allclose(jax.tree.leaves(params.policy)[0], 0.9, rtol=1e-6)


@pytest.mark.long
def test_weight_decay_leaves_what_is_never_trained_alone(key):
    rates = Hyperparameters(1.0, 1.0, backward_learning_rate=1.0)
    ga = describe(GAFlowNet(hidden_sizes=(4,)), optimizer=decay, hyperparameters=rates)
    state = ga.init(key)
    after = steps(ga, state, 3).params.objective
    assert moved(state.params.objective["random"], after["random"]) == 0
    assert moved(state.params.objective["predictor"], after["predictor"]) > 0.1

    sac = RewardSAC(critic=POLICY, temperature=0.2)
    gfn = describe(sac, optimizer=decay, hyperparameters=rates, target_rate=0.1)
    state = gfn.init(key)
    after = steps(gfn, state, 3).params.objective
    np.testing.assert_array_equal(after.log_temperature, state.params.objective.log_temperature)
    learned = RewardSAC(critic=POLICY, temperature=0.2, target_entropy=0.5)
    gfn = describe(learned, optimizer=decay, hyperparameters=rates, target_rate=0.1)
    state = gfn.init(key)
    after = steps(gfn, state, 3).params.objective
    assert moved(after.log_temperature, state.params.objective.log_temperature) > 0.1


@pytest.mark.slow
def test_weight_decay_moves_an_average_through_its_network_only(key):
    rates = Hyperparameters(backward_learning_rate=0.0)
    backward = LikelihoodBackward(mlp_policy(ENV, (4,)), target_rate=0.25)
    gfn = describe(backward=backward, optimizer=decay, hyperparameters=rates)
    state = gfn.init(key)
    after = steps(gfn, state, 3).params.backward
    assert moved(after.network, state.params.backward.network) == 0
    np.testing.assert_allclose(moved(after.average, state.params.backward.average), 0, atol=1e-6)


class Own(nn.Module):
    """What a user writes: no dtype, or one of half the precision."""

    dtype: type | None = None

    @nn.compact
    def __call__(self, x):
        param_dtype = jnp.float32 if self.dtype is None else self.dtype
        dense = lambda n: nn.Dense(n, dtype=self.dtype, param_dtype=param_dtype)  # noqa: E731
        x = nn.relu(dense(16)(x.astype(param_dtype)))
        return gfnjax.PolicyOutput(dense(3)(x), dense(3)(x), dense(1)(x)[0])


GRID = Hypergrid(2, 4)


@pytest.mark.long
@pytest.mark.parametrize("dtype", [None, jnp.bfloat16, jnp.float16], ids=str)
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"target_rate": 0.1, "max_grad_norm": 1.0, "num_updates": 2},
        {"backward": LikelihoodBackward(from_flax(Own(jnp.bfloat16)), target_rate=0.5)},
        {"taught_by": from_flax(Own(jnp.float16))},
    ],
    ids=["plain", "target", "backward", "teacher"],
)
def test_a_users_module_of_any_precision_trains(dtype, double, options, key):
    with jax.enable_x64(double), jax.numpy_dtype_promotion("standard"):
        gfn = describe(DetailedBalance(), from_flax(Own(dtype)), GRID, **options)
        state = gfn.init(key)
        after, history = gfnjax.train(gfn, state, 3)
        for x, y in zip(jax.tree.leaves(state.params), jax.tree.leaves(after.params), strict=True):
            assert x.dtype == y.dtype
        assert moved(state.params.policy, after.params.policy) > 0
        assert np.isfinite(history.info.loss).all()
        assert history.info.loss.dtype == (np.float64 if double else np.float32)


def test_members_of_half_precision_train_as_well(key):
    class Members(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(10, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)(x.astype(jnp.bfloat16))
            return gfnjax.PolicyOutput(x[:6], x[6:9], x[9])

    gfn = describe(TB, EnsemblePolicy(from_flax(Members()), 2), GRID)
    assert np.isfinite(gfnjax.train(gfn, key, 2)[1].info.loss).all()


@pytest.mark.parametrize(
    "options",
    [
        {"objective": DetailedBalance(), "target_rate": 0.1},
        {"backward": LikelihoodBackward(POLICY, target_rate=0.5)},
        {"taught_by": POLICY},
        {"objective": LEDGFN(hidden_sizes=(4,))},
    ],
    ids=["target", "average", "teacher", "led"],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_the_buffers_of_a_state_may_be_donated(options, compiled, key):
    gfn = describe(**options)
    state = (jax.jit(gfn.init) if compiled else gfn.init)(key)
    step = jax.jit(gfn.step, donate_argnums=0)
    for _ in range(2):
        state, info = step(state)
    assert np.isfinite(info.loss)


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (lambda rate: optax.lbfgs(rate), "L-BFGS needs the loss itself"),
        (
            lambda rate: optax.multi_transform(
                {"a": optax.sgd(rate), "b": optax.adam(rate)}, {"trunk": "a", "heads": "b"}
            ),
            "labels or masks must be a function of the parameters or fit theirs",
        ),
    ],
    ids=["lbfgs", "labels-of-something-else"],
)
def test_an_optimiser_that_cannot_work_is_refused_in_words(optimizer, words, key):
    for argument in ("optimizer", "log_z_optimizer"):
        gfn = describe(**{argument: optimizer})
        with pytest.raises((ValueError, TypeError), match=f"^{argument} .*{words}"):
            gfn.init(key)


def test_an_optimiser_that_is_none_is_refused(key):
    gfn = describe(log_z_optimizer=lambda rate: optax.sgd(rate).init)
    with pytest.raises(
        TypeError, match=r"returns an optax.GradientTransformation, .* got function"
    ):
        gfn.init(key)


def test_labels_that_fit_the_parameters_work(key):
    def optimizer(rate):
        labels = {"params": {"forward_logits": "on", "backward_logits": "off", "log_flow": "off"}}
        return optax.multi_transform({"on": optax.sgd(rate), "off": optax.set_to_zero()}, labels)

    gfn = describe(DetailedBalance(), optimizer=optimizer)
    state = gfn.init(key)
    before, after = (s.params.policy["params"] for s in (state, steps(gfn, state, 3)))
    assert moved(before["forward_logits"], after["forward_logits"]) > 0
    assert moved(before["backward_logits"], after["backward_logits"]) == 0


ANY = {
    "adamw": lambda rate: optax.adamw(rate, weight_decay=1e-2),
    "lion": optax.lion,
    "chain": lambda rate: optax.chain(optax.clip(1.0), optax.scale_by_adam(), optax.scale(-rate)),
    "if-finite": lambda rate: optax.apply_if_finite(optax.adam(rate), 3),
    "multi-step": lambda rate: optax.MultiSteps(optax.adam(rate), 2),
    "as-transformation": lambda rate: optax.MultiSteps(
        optax.adam(rate), 2
    ).gradient_transformation(),
    "injected": optax.inject_hyperparams(optax.adamw),
    "all-of-it": lambda rate: optax.MultiSteps(
        optax.apply_if_finite(
            optax.chain(optax.clip(1.0), optax.inject_hyperparams(optax.adam)(rate)), 3
        ),
        2,
    ),
    "adafactor": optax.adafactor,
    "lookahead-free": lambda rate: optax.chain(optax.trace(0.9, nesterov=True), optax.scale(-rate)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", ANY)
def test_any_transformation_trains_resumes_and_is_swept(name, key):
    gfn = describe(optimizer=ANY[name], log_z_optimizer=ANY[name])
    rates = jnp.array([1e-2, 1e-1])
    overrides = Hyperparameters.only(learning_rate=rates, log_z_learning_rate=rates)
    start = jax.vmap(gfn.init, (None, 0))(key, overrides)

    @jax.jit
    def four(states):
        return jax.lax.fori_loop(0, 4, lambda _, s: jax.vmap(gfn.step)(s)[0], states)

    middle = four(start)
    host = jax.tree.map(np.asarray, (middle.params, middle.opt_state))  # as a checkpoint has it
    params, opt_state = jax.tree.map(jnp.asarray, host)
    end = four(middle._replace(params=params, opt_state=opt_state))
    one = Hyperparameters.only(learning_rate=1e-1, log_z_learning_rate=1e-1)
    alone = steps(gfn, gfn.init(key, one), 8)
    for x, y in zip(jax.tree.leaves(end.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(x[1], y, rtol=2e-3, atol=1e-4)
    assert moved(start.params.policy, end.params.policy) > 1e-4  # adafactor goes by their size
