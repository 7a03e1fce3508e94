"""Wrong shapes are refused where arrays enter: none is broadcast into a wrong number."""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from own_objectives import own_objectives

import gfnjax
from gfnjax import (
    Model,
    Scores,
    TrajectoryBalance,
    UniformBackward,
    log_flows,
    masking,
    rollout,
    scoring,
    tabular_policy,
)
from gfnjax.actions import Categorical, Mixture, usual
from gfnjax.algorithms.reward_sac import Critique, RewardSAC
from gfnjax.algorithms.teacher import teacher_log_reward
from gfnjax.envs.sets import SetState, additive_set
from gfnjax.errors import ArgumentError
from gfnjax.hyperparameters import Hyperparameters
from gfnjax.metrics import directed_graphs, distances, exact, modes, sampled
from gfnjax.metrics.state_graph import build_graph
from gfnjax.model import score_policies
from gfnjax.objectives.base import as_objective, loss_and_errors, resolve_log_z, weighted_loss
from gfnjax.objectives.detailed_balance import detailed_balance
from gfnjax.objectives.entropy_ppo import clipped_surrogate
from gfnjax.objectives.generative_augmented import GAFlowNet, augmented
from gfnjax.objectives.learned_decomposition import LEDGFN, Decomposition
from gfnjax.objectives.policy_gradient import PolicyGradient, value_regression
from gfnjax.objectives.regression import square
from gfnjax.rewards import amp, dags, gaussian_networks, hypergrid, ising, scalarisation
from gfnjax.samplers.back_and_forth import accept
from gfnjax.shapes import ONE_TRAJECTORY, check_one

B, T, A = 4, 3, 2
SIZES = {"T": T, "T + 1": T + 1, "num_actions": A}
METHODS = ("residuals", "extra_loss", "penalties", "adapt", "log_scale", "first_log_z")
OBJECTIVES = own_objectives() | {
    "function": as_objective(lambda scores: scores),
    "without a value": PolicyGradient("reinforce"),
}
BATCHED = r"scores must be those of one trajectory: log_pf has shape \(4, 3\), expected \[T\]; use"


def zeros(*shape):
    return jnp.zeros(shape)


def plain(*batch):
    """Scores with every field that one network fills."""
    values = {k: zeros(*batch, *(SIZES[x] for x in v)) for k, v in ONE_TRAJECTORY.items()}
    values |= {k: values[k].astype(bool) for k in ("mask", "complete", "from_source")}
    return Scores(**values | {"length": values["length"].astype(jnp.int32)})


def full(*batch, objective=None):
    """Scores with every field, by zeros; what `objective` has a network for as well."""
    auxiliary = None
    if isinstance(objective, GAFlowNet):
        auxiliary = zeros(*batch, T + 1)
    elif isinstance(objective, LEDGFN):
        auxiliary = Decomposition(zeros(*batch, T), zeros(*batch, T).astype(bool))
    elif isinstance(objective, RewardSAC):
        auxiliary = Critique(zeros(*batch, 2, T + 1, A), zeros(*batch, 2, T), zeros(*batch))
    other = plain(*batch)
    return plain(*batch)._replace(target=other, previous=other, auxiliary=auxiliary)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_take_one_trajectory_and_refuse_a_batch(name):
    objective = OBJECTIVES[name]
    one, batch = full(objective=objective), full(B, objective=objective)
    for method in (getattr(objective, name) for name in METHODS):
        jax.eval_shape(method, one)
        jax.eval_shape(jax.vmap(method), batch)
        with pytest.raises(ArgumentError, match=BATCHED):
            jax.eval_shape(method, batch)


def functions_of_scores():
    """The library's public functions of the scores of one trajectory."""
    modules = [scoring, log_flows]
    for package in (gfnjax.objectives, gfnjax.algorithms):
        names = [f"{package.__name__}.{x.name}" for x in pkgutil.iter_modules(package.__path__)]
        modules += map(importlib.import_module, names)
    for module in modules:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            first = next(iter(inspect.signature(function).parameters.values()), None)
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and first is not None and first.annotation is Scores:
                yield function


GIVEN = {"advantage": zeros(T), "edge_reward": zeros(T), "terminal_reward": zeros()}
GIVEN |= {"returns": "reward", "start": zeros()}
FUNCTIONS = list(functions_of_scores())


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_functions_take_one_trajectory_and_refuse_a_batch(function):
    parameters = list(inspect.signature(function).parameters.values())[1:]
    needed = [p.name for p in parameters if p.default is p.empty or p.name == "start"]
    others = {name: GIVEN.get(name, 0.5) for name in needed}
    jax.eval_shape(lambda scores: function(scores, **others), full())
    with pytest.raises(ArgumentError, match=BATCHED):
        jax.eval_shape(lambda scores: function(scores, **others), full(B))


def test_functions_are_found():
    names = {function.__name__ for function in FUNCTIONS}
    assert {"trajectory_balance", "terminal_step", "with_return", "flow_from_stop"} <= names
    assert len(names) >= 18


def test_every_field_of_scores_has_axes():
    others = {"target", "previous", "auxiliary"}
    assert set(Scores._fields) == set(ONE_TRAJECTORY) | others


def cut(scores, name):
    """Scores with one field an element shorter, or longer by an axis."""
    field = getattr(scores, name)
    return scores._replace(**{name: field[1:] if field.ndim else field[None]})


@pytest.mark.parametrize("name", ONE_TRAJECTORY)
def test_each_field_must_agree_with_the_others(name):
    scores = full()
    check_one(scores)
    # By `log_pf` all others are measured: the next one is then too long.
    named = "log_pb" if name == "log_pf" else name
    with pytest.raises(ArgumentError, match=f"one trajectory: {named} has shape"):
        check_one(cut(scores, name))
    for other in ("target", "previous"):
        wrong = scores._replace(**{other: cut(getattr(scores, other), name)})
        with pytest.raises(ArgumentError, match=f"one trajectory: {other}.{name} has shape"):
            check_one(wrong)


def test_the_flow_of_the_last_state_is_missed():
    scores = full()._replace(log_flow=zeros(T))
    message = r"log_flow has shape \(3,\), expected \[T \+ 1\] with T = 3$"
    with pytest.raises(ArgumentError, match=message):
        TrajectoryBalance().residuals(scores)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32])
def test_nothing_is_computed_and_every_transformation_works(dtype):
    def loss(scores):
        check_one(scores)
        return scores.log_pf.sum()

    scores = jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, plain(B))
    one = jax.tree.map(lambda x: x[0], scores)
    assert len(jax.make_jaxpr(lambda scores: check_one(scores) or 0)(one).eqns) == 0
    jax.jit(jax.vmap(jax.value_and_grad(lambda x, s: loss(s._replace(log_pf=x)))))(
        scores.log_pf, scores
    )
    with pytest.raises(ArgumentError, match=r"use jax\.vmap for a batch"):
        jax.jit(loss)(scores)


ENV = additive_set(np.zeros(4), 2)
GRAPH = build_graph(ENV)
TABLE, BACK = zeros(*GRAPH.forward_mask.shape), zeros(*GRAPH.backward_mask.shape)
STATE = SetState(jnp.zeros(4, bool))
STATES = SetState(jnp.zeros((5, 4), bool))
TRAJECTORIES = rollout.sample_forward(
    ENV, lambda state: rollout.Decision(zeros(4)), jax.random.key(0), B
)[0]
SINGLE = jax.tree.map(lambda x: x[0], TRAJECTORIES)
P = jnp.log(jnp.full(3, 1 / 3))
YES = jnp.ones((3, 3), bool)
HOT = Hyperparameters(epsilon=zeros(), temperature=zeros(3))
CHOICE = Categorical(3)
DATA = np.random.default_rng(0).normal(size=(9, 3))
NETWORK, BGE = gaussian_networks.linear_gaussian(DATA), gaussian_networks.bge(DATA)
PROXY = amp.AMPReward(zeros(29, 2), zeros(60, 2), (), amp.Linear(zeros(1, 2), zeros(1)))
POLICY = tabular_policy(ENV)
MODEL = Model(ENV, POLICY, UniformBackward())
PARAMS = MODEL.init(jax.random.key(0), jax.random.key(1))
PARTS = ENV, POLICY, UniformBackward(), PARAMS.policy
ROWS = scoring.VisitScores(zeros(B, 3), zeros(B, 3), zeros(B, 3))
LENGTH = r"trajectories must be a batch: length has shape \(\), expected \[B\]; give"
MODULAR = dags.tabulate(dags.ComputedReward(NETWORK))
TB = TrajectoryBalance()
DISTRIBUTIONS = r"log_p and log_q must be vectors of one length, got \(3,\) and \(3, 1\)"
REFUSED = [
    # Batches of scores and of trajectories.
    (
        lambda: weighted_loss(TB, square, full()),
        r"a batch of traj.* \(3,\), expected \[B, T\]; give",
    ),
    (lambda: resolve_log_z("flow", full()), r"scores must be those of a batch of trajectories"),
    (
        lambda: loss_and_errors(TB, square, full(B), zeros(B, 1)),
        r"keep must have shape \[B\]",
    ),
    (lambda: rollout.terminal_states(SINGLE), LENGTH),
    (lambda: MODEL.score(PARAMS, SINGLE), LENGTH),
    (lambda: score_policies(MODEL, PARAMS, PARAMS.policy, SINGLE), LENGTH),
    (lambda: scoring.score(*PARTS, SINGLE), LENGTH),
    (lambda: scoring.log_inflow(ENV, POLICY, PARAMS.policy, SINGLE), LENGTH),
    (lambda: scoring.assemble(ENV, UniformBackward(), SINGLE, ROWS, 0.0), LENGTH),
    (
        lambda: rollout.terminal_states(TRAJECTORIES._replace(length=zeros(B, 1))),
        r"length has shape \(4, 1\), expected \[B\]",
    ),
    (
        lambda: scoring.visits(ENV, TRAJECTORIES._replace(states=STATES)),
        r"states has shape \(5, 4\), expected \[B, T \+ 1, ...\]",
    ),
    (
        lambda: rollout.sample_backward(ENV, lambda s: zeros(4), jax.random.key(0), STATE),
        r"terminal_states must be a batch: expected shape \[n, 4\], got \(4,\)",
    ),
    (
        lambda: rollout.choose(zeros(B, 1) > 0, zeros(B), zeros(B)),
        r"condition must .* \[B\]",
    ),
    # What comes beside the scores of one trajectory.
    (
        lambda: detailed_balance(full(), zeros(T + 1)),
        r"log_flow_next must have .* \[T\] = \(3,\)",
    ),
    (lambda: value_regression(full(), zeros(1)), r"advantage must have shape \[T\]"),
    (lambda: value_regression(full(), zeros(T), zeros(T)), r"value must have shape \[T \+ 1\]"),
    (lambda: clipped_surrogate(full(), zeros(), 0.2), r"advantage must have shape \[T\]"),
    (lambda: augmented(full(), zeros(), zeros()), r"edge_reward must have shape \[T\]"),
    (lambda: augmented(full(), zeros(T), zeros(T)), r"terminal_reward must have shape \[\], got"),
    (
        lambda: teacher_log_reward(zeros(B), zeros(B, 1)),
        "excess and log_reward must have one",
    ),
    (lambda: accept(zeros(B), zeros(B, 1)), "log_ratio and uniform must have one shape"),
    # Distributions and samples.
    (lambda: distances.total_variation(P, P[:, None]), DISTRIBUTIONS),
    (lambda: distances.l1(P, P[:, None]), DISTRIBUTIONS),
    (lambda: distances.kl(P, P[:, None]), DISTRIBUTIONS),
    (lambda: distances.jsd(P, P[:, None]), DISTRIBUTIONS),
    (lambda: distances.kl(P[None], P[None]), r"vectors of one length, got \(1, 3\) and \(1, 3\)"),
    (lambda: sampled.correlation(P, P[:, None]), "x and y must be vectors of one length"),
    (lambda: sampled.noise_floor(P[None], 10), r"log_p must have shape \[N\], got \(1, 3\)"),
    (lambda: sampled.empirical_distribution(ENV, STATE), r"terminal_states must be a batch"),
    (lambda: exact.terminating_distribution(GRAPH, TABLE[1:]), r"log_pf must .*\[N, num_actions\]"),
    (lambda: exact.optimal_flow(GRAPH, BACK[1:]), r"log_pb must .*\[N, num_backward_actions\]"),
    (lambda: exact.target_distribution(GRAPH, TABLE[:, :1]), r"log_prior must have shape \[N\]"),
    (lambda: exact.evaluate(GRAPH, TABLE, zeros(2)), r"log_z must have shape \[\], got \(2,\)"),
    (lambda: exact.certificate(GRAPH, TABLE, BACK[1:], 0.0), r"log_pb must have shape"),
    (lambda: exact.certificate(GRAPH, TABLE, BACK, zeros(1)), r"log_z must have shape \[\]"),
    (lambda: modes.first_occurrences(STATE, ENV), r"states must be a batch: .* \[n, 4\]"),
    (
        lambda: modes.update_best(modes.empty_best(ENV, 2), STATES, zeros(3)),
        r"log_reward must have shape \[n\] = \(5,\), got \(3,\)",
    ),
    (
        lambda: modes.modes_near(STATES, STATES, lambda x, y: x.members ^ y.members, 1),
        r"distance must return one number, got shape \(4,\)",
    ),
    (lambda: directed_graphs.edge_marginals(YES), r"graphs must have shape \[n, d, d\]"),
    (lambda: directed_graphs.path_marginals(YES[None], zeros(2)), r"log_weights .* \[n\] = \(1,\)"),
    (lambda: directed_graphs.markov_blanket_marginals(YES), "graphs must have shape"),
    (lambda: directed_graphs.expected_shd(YES[None], YES[None]), r"truth must have shape \[d, d\]"),
    (lambda: directed_graphs.auroc(zeros(9), YES), "marginals and truth must be matrices of one"),
    # Actions, masks and rewards.
    (lambda: masking.log_softmax(P, YES[:, :1]), r"last axes of one size, got \(3,\) and \(3, 1\)"),
    (lambda: masking.logsumexp(P, YES[:, :1]), "values and mask must have last axes of one size"),
    (lambda: masking.select(zeros(4, 3), jnp.array([1])), r"index must have shape .* got \(1,\)"),
    (lambda: CHOICE.sample(zeros(3, 3), YES, zeros()), r"params must have shape \[size\] = \(3,\)"),
    (lambda: CHOICE.log_prob(P, YES, jnp.array(0)), r"support must have shape \[size\] = \(3,\)"),
    (lambda: CHOICE.possible(YES), r"support must have shape \[size\], got \(3, 3\)"),
    (lambda: CHOICE.allows(YES, jnp.arange(3)), r"support must have shape \[size\]"),
    (lambda: CHOICE.allows(YES[0], jnp.arange(3)), r"action must have shape \[\]"),
    (lambda: usual(CHOICE, YES), r"support must have shape \[size\]"),
    (lambda: CHOICE.weights(zeros(3, 3), YES), r"params must have shape \[size\] = \(3,\)"),
    (lambda: CHOICE.weights(Mixture(P, zeros(3)), YES[0]), r"epsilon must have shape \[\], got"),
    (lambda: CHOICE.explore(P, YES[0], HOT), r"temperature must have shape \[\], got"),
    (lambda: ising.lattice(2, 0.1)(zeros(4, 4)), r"spins must have shape \[n\] = \(4,\)"),
    (lambda: ising.neg_log_rmse(zeros(3, 3), zeros(3)), "couplings and truth must have one shape"),
    (lambda: ising.sample_ising(jax.random.key(0), zeros(3, 1), 1), r"couplings must .* \[n, n\]"),
    *(
        (lambda reward=reward: reward(jnp.zeros((2, 2), jnp.int32), 4), r"position .* \[num_dims\]")
        for reward in (
            hypergrid.Corners(),
            hypergrid.Cosine(),
            hypergrid.Deceptive(),
            hypergrid.Sparse(),
        )
    ),
    (lambda: scalarisation.WeightedProduct()(zeros(3), zeros(1)), "vectors of one length"),
    (lambda: scalarisation.WeightedSum()(zeros(3), zeros(1)), "vectors of one length"),
    (lambda: scalarisation.Temperature()(zeros(3), zeros(1)), r"log_rewards must have shape"),
    (lambda: scalarisation.Temperature()(zeros(1), zeros(3)), r"condition must have shape"),
    (lambda: PROXY(zeros(1)), r"tokens must have shape \[60\]"),
    (lambda: MODULAR(jnp.zeros((4, 3, 3), bool)), r"adjacency must have shape \[d, d\] = \(3, 3\)"),
    (lambda: MODULAR.delta_score(jnp.zeros((4, 3, 3), bool), 1), "adjacency must have shape"),
    (lambda: MODULAR.gain(0, jnp.zeros((4, 3), bool)), r"parents must have shape \[d\] = \(3,\)"),
    (lambda: NETWORK.gain(0, jnp.zeros((4, 3), bool)), r"parents must have shape \[d\] = \(3,\)"),
    (lambda: BGE.gain(0, jnp.zeros((4, 3), bool)), r"parents must have shape \[d\] = \(3,\)"),
    (lambda: dags.EdgePrior(0.5)(jnp.zeros((4, 3), bool)), r"parents must have shape \[d\]"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused(call, message):
    # Also where JAX would broadcast axes, as it does unless it is told not to.
    with jax.numpy_rank_promotion("allow"), pytest.raises(ArgumentError, match=message):
        call()
