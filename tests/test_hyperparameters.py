"""Every number of a run can be swept, scheduled and overridden, and shares compiled code."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from own_objectives import own_objectives

import gfnjax
from gfnjax import GFlowNet, Hypergrid, Hyperparameters, TrajectoryBalance, mlp_policy
from gfnjax.numbers import numbers_of, with_numbers, without_numbers
from gfnjax.objectives.regression import Huber
from gfnjax.policies import LikelihoodBackward, UniformBackward
from gfnjax.policies.base import FrozenPolicy
from gfnjax.policies.uniform import uniform_policy
from gfnjax.samplers.base import Batch

ENV = Hypergrid(2, 4)
POLICY = mlp_policy(ENV, (4,))
# In these a number would change nothing that one sees in two steps.
OTHERS = {"log_policy_floor": -0.01, "dropout": 0.9, "clip": 1e-3, "tolerance": 1e-6}


def paths(numbers, above=()):
    """The numbers of a nested dict, each by its path."""
    for name, value in numbers.items():
        yield from paths(value, (*above, name)) if isinstance(value, dict) else [(*above, name)]


def at_path(path, value):
    return {path[0]: at_path(path[1:], value) if path[1:] else value}


def look_up(numbers, path):
    return look_up(numbers[path[0]], path[1:]) if path else numbers


def set_at(objective, path, value):
    """The objective with one number changed, as a user would write it."""
    inner = getattr(objective, path[0])
    new = set_at(inner, path[1:], value) if path[1:] else value
    return dataclasses.replace(objective, **{path[0]: new})


def describe(objective=None, env=ENV, **options):
    objective = TrajectoryBalance() if objective is None else objective
    needs = getattr(objective, "needs", ())
    if "target" in needs:
        options.setdefault("target_rate", 0.1)
    if "log_prior" in needs:
        prior = uniform_policy(env)
        params = prior.init(jax.random.key(0), prior.observe(env, env.initial_state()))
        options.setdefault("prior", FrozenPolicy(prior, params))
    if not getattr(objective, "trains_backward", True):
        options.setdefault("backward", UniformBackward())
    if "previous" in needs:
        options.setdefault("num_updates", 2)
    # No Adam: it divides gradients that are rounding errors by their size.
    usual = {"batch_size": 4, "log_z_init": 0.0, "optimizer": optax.sgd}
    return GFlowNet(env, POLICY, objective, **usual | options)


# With alpha = 0, its default, nothing is floored: "munchausen" has both numbers. Nor are there
# prefixes where the task is silent, but to "raptb, silent".
UNUSED = "SoftDQN", "RapTB"
OBJECTIVES = {k: o for k, o in own_objectives().items() if numbers_of(o) and k not in UNUSED}
RATES = Hyperparameters(learning_rate=0.1)


def other_value(objective, path):
    value = look_up(numbers_of(objective), path)
    return OTHERS.get(path[-1], 0.5 * value if value else 0.1)


@pytest.fixture(scope="module")
def batch():
    """What all runs here learn from: rollouts take longer to compile than all else."""
    gfn = describe()
    params = jax.jit(gfn.init)(jax.random.key(1)).params
    return Batch(gfn.sample(params, jax.random.key(2), 4))


def run(gfn, key, batch, first=None, second=None):
    """The parameters after two steps, with the objective's numbers of each of them."""
    state = gfn.init(key, Hyperparameters.only(objective=first))
    state, _ = gfn.learn(state, batch)
    if second is not None:
        held = state.hyperparameters._replace(objective=second)
        state = state._replace(hyperparameters=held)
    return gfn.learn(state, batch)[0].params


def assert_close(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)


def differ(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return any(not np.allclose(x, y, rtol=0, atol=1e-7) for x, y in pairs)


def row_of(tree, row):
    return jax.tree.map(lambda x: x[row], tree)


def stack(trees):
    return jax.tree.map(lambda *x: jnp.array(x), *trees)


@pytest.mark.long
@pytest.mark.parametrize("name", OBJECTIVES)
def test_numbers_of_an_objective_are_swept_and_scheduled(name, key, batch):
    objective = OBJECTIVES[name]
    names, plain = list(paths(numbers_of(objective))), numbers_of(objective)
    others = [set_at(objective, path, other_value(objective, path)) for path in names]
    late = scheduled = objective
    for path in names:
        before, after = look_up(plain, path), other_value(objective, path)
        late = set_at(late, path, after)
        scheduled = set_at(scheduled, path, steps_to(before, after))
    # A row as described, one for each number where it alone is another, one where all change.
    first = [plain, *map(numbers_of, others), plain]
    second = [plain, *map(numbers_of, others), numbers_of(late)]
    gfn = describe(objective, hyperparameters=RATES)
    swept = jax.jit(jax.vmap(run, (None, None, None, 0, 0)))
    swept = swept(gfn, key, batch, stack(first), stack(second))
    alone = jax.jit(run)
    expected = [alone(gfn, key, batch)]
    compiled = alone._cache_size()
    expected += [alone(gfn.replace(objective=one), key, batch) for one in others]
    assert alone._cache_size() == compiled  # numbers share compiled code
    for row, one in enumerate(expected):
        assert_close(row_of(swept, row), one)
    assert_close(row_of(swept, -1), alone(gfn.replace(objective=scheduled), key, batch))
    used = [differ(one, expected[0]) for one in expected[1:]]
    assert all(used), list(zip(names, used, strict=True))


def steps_to(before, after):
    return lambda step: jnp.where(step < 1, before, after)


GIVEN = {
    "target_rate": (describe(gfnjax.TargetDetailedBalance(), target_rate=0.1), 0.5),
    "max_grad_norm": (describe(max_grad_norm=1.0), 1e-2),
    "backward_target_rate": (
        describe(backward=LikelihoodBackward(POLICY, target_rate=0.1)),
        0.5,
    ),
    "regression": (describe(regression=Huber()), {"delta": 0.01}),
    "objective": (describe(gfnjax.SubTrajectoryBalance()), {"lambda_": 0.1}),
}


def given_in_description(gfn, name, value):
    if name == "backward_target_rate":
        return gfn.replace(backward=dataclasses.replace(gfn.backward, target_rate=value))
    if isinstance(value, dict):
        return gfn.replace(**{name: dataclasses.replace(getattr(gfn, name), **value)})
    return gfn.replace(**{name: value})


def two(gfn, key, batch, overrides=None):
    state = gfn.init(key, overrides)
    for _ in range(2):
        state, _ = gfn.learn(state, batch)
    return state.params, state.target


@pytest.mark.long
@pytest.mark.parametrize("name", GIVEN)
def test_other_numbers_are_swept_scheduled_and_overridden(name, key, batch):
    gfn, value = GIVEN[name]
    alone = jax.jit(two)
    plain, compiled = alone(gfn, key, batch), alone._cache_size()
    moved = alone(given_in_description(gfn, name, value), key, batch)
    assert alone._cache_size() == compiled
    assert differ(plain, moved)
    both = jax.tree.map(lambda x, y: jnp.array([x, y]), described(gfn, name), value)
    overrides = Hyperparameters.only(**{name: both})
    swept = jax.jit(jax.vmap(two, (None, None, None, 0)))(gfn, key, batch, overrides)
    for row, one in enumerate((plain, moved)):
        assert_close(row_of(swept, row), one)
    constant = jax.tree.map(lambda x: lambda step: jnp.asarray(x) + 0 * step, value)
    assert_close(alone(given_in_description(gfn, name, constant), key, batch), moved)


def described(gfn, name):
    """What the description says, as `Hyperparameters` name it."""
    if name == "backward_target_rate":
        return gfn.backward.target_rate
    value = getattr(gfn, name)
    return numbers_of(value) if name in ("objective", "regression") else value


@dataclasses.dataclass(frozen=True)
class Weighted(gfnjax.Objective):
    """A user's own: a float, an int that counts, and another objective."""

    weight: float = 1.0
    power: int = 2
    base: gfnjax.Objective = gfnjax.SubTrajectoryBalance()

    def residuals(self, scores):
        values, weights = self.base.residuals(scores)
        return gfnjax.Residuals(self.weight * values**self.power, weights)


@dataclasses.dataclass(frozen=True)
class Cut:
    """A user's own regression."""

    height: float = 1.0

    def __call__(self, residual):
        return self.height * jnp.tanh(residual**2 / self.height)


def test_which_fields_are_numbers():
    schedule = optax.linear_schedule(0.5, 0.9, 10)
    assert numbers_of(Weighted()) == {"weight": 1.0, "base": {"lambda_": 0.9}}
    assert numbers_of(Weighted(2)) == {"weight": 2.0, "base": {"lambda_": 0.9}}
    assert numbers_of(Weighted(schedule))["weight"].func is schedule
    assert numbers_of(lambda residual: residual) == {}
    assert numbers_of(gfnjax.algorithms.RewardSAC(critic=POLICY)) == {"temperature": 0.2}
    assert without_numbers(Weighted(2.0)) == without_numbers(Weighted(3.0))
    assert hash(without_numbers(Weighted(2.0))) == hash(without_numbers(Weighted(3.0)))
    assert without_numbers(Weighted(power=2)) != without_numbers(Weighted(power=3))
    moved = with_numbers(Weighted(), {"weight": 2.0, "base": {"lambda_": 0.1}})
    assert moved == Weighted(2.0, base=gfnjax.SubTrajectoryBalance(0.1))


def test_a_description_is_a_pytree_of_its_numbers():
    gfn = describe(Weighted(), regression=Cut(), max_grad_norm=1.0)
    leaves, structure = jax.tree.flatten(gfn)
    assert structure.unflatten(leaves) == gfn
    for other in (gfn.replace(objective=Weighted(3)), gfn.replace(regression=Cut(0.5))):
        assert jax.tree.structure(other) == structure
        assert other != gfn
    assert jax.tree.structure(gfn.replace(objective=Weighted(power=3))) != structure
    axes = structure.unflatten([0] * len(leaves))
    assert jax.tree.structure(axes) == structure
    assert jax.tree.leaves(axes) == [0] * len(leaves)
    scheduled = gfn.replace(objective=Weighted(optax.constant_schedule(1.0)))
    assert pickle.loads(pickle.dumps(scheduled)) == scheduled


def test_what_cannot_be_overridden_is_said(key):
    gfn = describe(gfnjax.SubTrajectoryBalance())
    for given, words in (
        ({"target_rate": 0.1}, "target_rate cannot be overridden: the description has none"),
        ({"objective": {"lambda": 0.1}}, "objective has no number 'lambda'; did you mean lambda_"),
        ({"regression": {"delta": 0.1}}, "regression has no number 'delta'"),
    ):
        with pytest.raises(ValueError, match=words):
            gfn.init(key, Hyperparameters.only(**given))
    with pytest.raises(TypeError, match="objective must be overridden by a dict"):
        gfn.init(key, Hyperparameters.only(objective=0.1))
    with pytest.raises(
        ValueError, match="must not say target_rate, which is for overrides: it is said by GF"
    ):
        describe(hyperparameters=Hyperparameters(target_rate=0.1))
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="delta must be positive"):
            Huber(wrong)
    with pytest.raises(TypeError, match="lambda_ must be a number, an array or a schedule"):
        gfnjax.SubTrajectoryBalance("much")


def test_a_reward_is_swept_with_the_description(key):
    def first_loss(gfn, key):
        state, info = gfn.step(gfn.init(key))
        return info.loss, state.params

    def rewarded(scale):
        return describe(env=ENV.replace(reward=gfnjax.Corners(r0=scale)))

    scales = jnp.array([0.1, 1.0])
    swept = jax.jit(jax.vmap(lambda scale: first_loss(rewarded(scale), key)))(scales)
    alone = jax.jit(first_loss)
    for row, scale in enumerate((0.1, 1.0)):
        assert_close(row_of(swept, row), alone(rewarded(scale), key))
    assert alone._cache_size() == 1  # of a function that this test alone knows
