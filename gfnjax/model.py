"""What samples and scores: environment, policies and prior, without any training."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gfnjax import rollout, scoring, spread
from gfnjax.actions import Categorical, actions_of, backward_actions_of
from gfnjax.arguments import check_key, whole
from gfnjax.envs.base import Environment, RandomSource, State, source_state
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable, classes
from gfnjax.log_flows import from_start
from gfnjax.policies.backward import LearnedBackward, TrainedBackward, UniformBackward
from gfnjax.policies.base import AnyPolicy, Behaviour, FrozenPolicy, check_made_for, check_output
from gfnjax.pytree import pytree, static
from gfnjax.scoring import BackwardPolicy, VisitScores
from gfnjax.shapes import check_trajectories
from gfnjax.state import Params
from gfnjax.tuning import tuning
from gfnjax.types import Array, PyTree, Scores, Trajectory


@pytree
class Model(Comparable):
    """Environment, policy, backward policy and, where there is one, prior. A pytree.

    A `GFlowNet` holds one, `gfn.model`; metrics, local search and Markov chains take one. All
    methods are pure, and compiled once a shape where they are called from outside of `jit`.

    Attributes:
        env: the environment.
        policy: forward logits, backward logits and flows; a `CausalPolicy` where states have one
            parent each; an `EnsemblePolicy` for Thompson sampling.
        backward: learned, uniform or maximum-entropy backward policy, or a `TrainedBackward`.
        prior: a policy that is not trained: what is sampled is then prior(x) R(x) / Z.
        chunk_size: live states evaluated at a time; None chooses by batch size.
        classes: of everything in here; not to be given.

    Raises:
        TypeError, ValueError: at construction, for parts that do not go together.
    """

    env: Environment
    policy: AnyPolicy
    backward: BackwardPolicy | TrainedBackward = LearnedBackward()
    prior: FrozenPolicy | None = None
    chunk_size: int | None = static(default=None)
    classes: tuple[type, ...] = static(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.chunk_size is not None:
            object.__setattr__(self, "chunk_size", whole("chunk_size", self.chunk_size))
        check_model(self)
        nodes = self.env, self.policy, self.backward, self.prior
        object.__setattr__(self, "classes", classes(nodes))

    def init(self, key: Array, backward_key: Array) -> Params:
        """Untrained parameters, log Z at 0."""
        policy = self.policy.init(key, self.policy.observe(self.env, source_state(self.env)))
        check_output(self.policy, policy, self.env)
        backward = None
        if isinstance(self.backward, TrainedBackward):
            backward = self.backward.init(backward_key, self.env)
        return Params(policy, jnp.zeros((), jnp.result_type(float)), backward)

    def sample(self, params: Params, key: Array, num_samples: int) -> Trajectory:
        """`num_samples` trajectories of the policy, this device's part where several share them."""
        num_samples = whole("num_samples", num_samples, least=1)
        spread.part_of("num_samples", num_samples)
        return _sample(self, params, check_key("key", key), num_samples)

    def explore(
        self,
        params: Params,
        key: Array,
        num_samples: int,
        behaviour: Behaviour,
        window: rollout.Window | None = None,
        sources: State | None = None,
        temperature: Array | None = None,
    ) -> tuple[Trajectory, VisitScores | None]:
        """Trajectories of what acts in the policy's place, and the policy's word on them.

        Args:
            params: of the policies.
            key: a typed PRNG key.
            num_samples: number of trajectories B.
            behaviour: what acts, and what is wanted to be known.
            window: where to start and how far to go, instead of from s_0 to the end.
            sources: `[B, ...]` the states s_0 to start in, of the same condition for some of them,
                say; drawn without.
            temperature: `[B]` one for each trajectory, by which its logits are divided on top of
                what `behaviour` does; 1 without. For `Categorical` actions.

        Returns:
            Trajectories `[B, ...]`, and `rows` for `score` where that was asked for and the policy
            has it at hand.
        """
        reading = None
        if behaviour.needs is not None:
            reading = scoring.Reading(self.env, self.backward_policy(params), behaviour.needs)
        given = params.policy, self.env, key, num_samples
        # Policies of users need not know of either.
        each = {"sources": sources, "temperature": temperature}
        where: dict[str, Any] = {k: x for k, x in each.items() if x is not None}
        return self.policy.rollout(*given, behaviour.act, window, reading, **where)

    def sample_backward(self, params: Params, key: Array, terminal_states: State) -> Trajectory:
        """One trajectory of the backward policy into each of `terminal_states` `[B, ...]`."""
        return _sample_backward(self, params, check_key("key", key), terminal_states)

    def backward_policy(self, params: Params) -> BackwardPolicy:
        """P_B as `params` have it: a function of environment, state and policy output."""
        if isinstance(self.backward, TrainedBackward):
            return self.backward.bind(params.backward)
        return self.backward

    def score(
        self,
        params: Params,
        trajectories: Trajectory,
        *,
        needs: frozenset[str] = frozenset(),
        rows: VisitScores | None = None,
        dense: bool = False,
    ) -> Scores:
        """Scores `[B, ...]` of trajectories, differentiable in `params`.

        Flows include `params.log_flow_start`; `log_z` is the learned log Z.

        Args:
            params: of the policies.
            trajectories: `[B, ...]`, from anywhere.
            needs: fields of `Scores` to fill besides; all but `target` and `previous`.
            rows: what the same parameters say of each visit, from `explore`.
            dense: evaluate padding too; slower, but not limited to reverse-mode gradients.
        """
        return _score(self, params, trajectories, rows, needs, dense)

    def log_z(self, params: Params) -> Array:
        """`[]` log F(s_0), the flow that the policy gives the source. Nats.

        A log Z that is learned as a number is `params.log_z`.
        """
        return _log_z(self, params)

    def chunk_size_for(self, trajectories: Trajectory) -> int:
        """States evaluated at a time when a batch of trajectories is scored."""
        check_trajectories(trajectories)
        if self.chunk_size is not None:
            return self.chunk_size
        # Large chunks make efficient matrix products, small ones waste little on the last, and
        # what is said of many actions takes memory.
        numbers = sum(x.size for x in jax.tree.leaves(self._said()))
        batch_size, num_visits = jax.tree.leaves(trajectories.states)[0].shape[:2]
        most = tuning().rows(batch_size, numbers)
        # Of the same size all: where every trajectory has the same length none is in vain.
        reading = scoring.Reading(self.env, self.backward)  # pyrefly: ignore
        num_rows = batch_size * reading.num_states(num_visits)
        return -(-num_rows // -(-num_rows // most))

    def _said(self) -> PyTree:
        return jax.eval_shape(
            lambda: [f(self.env).neutral() for f in (actions_of, backward_actions_of)]
        )


def require_model(model: Any) -> None:
    """Raise a `TypeError` for anything but a `Model`; a GFlowNet has one."""
    if not isinstance(model, Model):
        problem = f"must be a Model, such as gfn.model, got {type(model).__name__}"
        raise ArgumentError("model", problem)


def check_model(model: Any) -> None:
    """Raise a `TypeError` or `ValueError` that names the part that does not fit.

    Args:
        model: a `Model`, or whatever else has its parts.
    """
    env, policy, backward = model.env, model.policy, model.backward
    if isinstance(policy, type) or not all(hasattr(policy, n) for n in ("rollout", "score")):
        raise ArgumentError(
            "policy",
            "must be a gfnjax.Policy (or a CausalPolicy, an EnsemblePolicy), "
            f"got {type(policy).__name__}",
        )
    if jax.tree_util.all_leaves([env]):
        raise ArgumentError(
            "env",
            f"must be a pytree: decorate {type(env).__name__} with flax.struct.dataclass, "
            "sizes as struct.field(pytree_node=False)",
        )
    policy.check(env)
    if isinstance(backward, type) or not (
        callable(backward) or isinstance(backward, TrainedBackward)
    ):
        raise ArgumentError(
            "backward",
            "must be a backward policy such as UniformBackward() or LearnedBackward(), "
            f"got {backward!r}",
        )
    if not isinstance(model.prior, FrozenPolicy | None):
        raise ArgumentError(
            "prior", f"must be a FrozenPolicy(policy, params), got {type(model.prior).__name__}"
        )
    if model.chunk_size is not None and model.chunk_size < 1:
        raise ArgumentError("chunk_size", f"must be at least 1 or None, got {model.chunk_size}")
    networks = {
        "policy": policy,
        "prior": getattr(model.prior, "policy", None),
        "backward": getattr(backward, "policy", None),
    }
    for argument, network in networks.items():
        check_made_for(getattr(network, "made_for", ()), env, argument)
    counts = getattr(backward, "log_path_counts", None)
    if hasattr(counts, "shape"):
        check_made_for((("num_states", counts.shape[-1]),), env, "backward")


def score_policies(
    model: Model, params: Params, policy: PyTree, trajectories: Trajectory, **options: Any
) -> Scores:
    """What `policy` parameters say of trajectories, flows as the network has them.

    `options` are those of `scoring.score`, with `members` for each member of an ensemble.
    """
    check_trajectories(trajectories)
    # A trained backward policy has a loss of its own; what is trained here takes it as it is.
    backward = lax.stop_gradient(model.backward_policy(params))
    members = options.pop("members", False)
    scorer: Any = model.policy
    score = scorer.score_members if members else scorer.score
    return score(policy, model.env, backward, trajectories, log_z=params.log_z, **options)


def score_states(model: Model, params: Params, trajectories: Trajectory) -> Scores:
    """State by state: for parts of trajectories, which not every policy can score in one pass."""
    parts = model.env, model.policy, model.backward_policy(params), params.policy
    return scoring.score(*parts, trajectories, chunk_size=model.chunk_size_for(trajectories))


def score_prior(
    model: Model, trajectories: Trajectory, chunk_size: int | None, needs: frozenset[str]
) -> dict[str, Any]:
    """What the prior says, without gradient, where `log_prior` is needed: a field of `Scores`.

    With `log_stop` also that of the prior, `log_prior_stop`.
    """
    if "log_prior" not in needs:
        return {}
    prior = model.prior
    assert prior is not None  # checked at construction
    given = prior.params, model.env, UniformBackward(), trajectories
    options: Any = {"chunk_size": chunk_size, "needs": needs & {"log_stop"}}
    scores = lax.stop_gradient(prior.policy.score(*given, **options))
    return {"log_prior": scores.log_pf, "log_prior_stop": scores.log_stop}


def score_inflow(
    model: Model, params: Params, trajectories: Trajectory, mask: Array, chunk_size: int | None
) -> Array:
    """`[B, T + 1]` `Scores.log_inflow`, from where flows started; `mask` `[B, T]` is theirs."""
    parts = model.env, model.policy, params.policy
    start = 0.0 if params.log_flow_start is None else lax.stop_gradient(params.log_flow_start)
    given = {"chunk_size": chunk_size, "log_z": params.log_z - start}
    inflow = scoring.log_inflow(*parts, trajectories, **given)
    if params.log_flow_start is None:
        return inflow
    # s_0 has no inflow, nor has what comes after the end.
    return inflow.at[:, 1:].add(jnp.where(mask, start, 0.0))


def nowhere(env: Environment, dtype: Any) -> Trajectory:
    """A batch of one trajectory that has not left s_0 `[1, ...]`."""
    source = rollout.tile(source_state(env), 1)
    states = jax.tree.map(lambda x: jnp.stack([x, x], axis=1), source)
    actions = jax.tree.map(lambda x: x[:, None], rollout.no_arrival(env, 1).action)
    length, cut = jnp.zeros(1, jnp.int32), jnp.zeros(1, bool)
    return Trajectory(states, actions, length, jnp.zeros(1, dtype), cut)


@partial(jax.jit, static_argnames="num_samples")
def _sample(model: Model, params: Params, key: Array, num_samples: int) -> Trajectory:
    return model.explore(params, key, num_samples, Behaviour())[0]


@jax.jit
def _sample_backward(
    model: Model, params: Params, key: Array, terminal_states: State
) -> Trajectory:
    backward = model.backward_policy(params)

    def behaviour(state: State) -> Array:
        if backward_actions_of(model.env) == Categorical(1):  # no network to ask
            return jnp.zeros(1, params.log_z.dtype)
        output = None
        if scoring.Reading(model.env, backward).log_pb:
            output = model.policy.evaluate(params.policy, model.env, state)
        return backward(model.env, state, output)  # pyrefly: ignore

    return rollout.sample_backward(model.env, behaviour, key, terminal_states)


@partial(jax.jit, static_argnames=("needs", "dense"))
def _score(
    model: Model,
    params: Params,
    trajectories: Trajectory,
    rows: VisitScores | None,
    needs: frozenset[str],
    dense: bool,
) -> Scores:
    size = None if dense else model.chunk_size_for(trajectories)
    options: Any = {"chunk_size": size, "rows": rows, "needs": needs}
    scores = score_policies(model, params, params.policy, trajectories, **options)
    if "log_inflow" in needs:
        inflow = score_inflow(model, params, trajectories, scores.mask, size)
        scores = scores._replace(log_inflow=inflow)
    scores = scores._replace(**score_prior(model, trajectories, size, needs))
    drawn = isinstance(model.env, RandomSource)
    return jax.vmap(lambda one: from_start(one, params.log_flow_start, drawn=drawn))(scores)


@jax.jit
def _log_z(model: Model, params: Params) -> Array:
    return model.score(params, nowhere(model.env, params.log_z.dtype)).log_flow[0, 0]
