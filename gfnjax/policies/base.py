"""A policy is a pair of pure functions; any network library fits."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from gfnjax import rollout, scoring
from gfnjax.actions import actions_of, backward_actions_of
from gfnjax.envs.base import Environment, State, source_state
from gfnjax.errors import ArgumentError
from gfnjax.identity import Comparable
from gfnjax.pytree import pytree, static
from gfnjax.scoring import BackwardPolicy, Reading, StatePolicy, Visit, VisitScores
from gfnjax.types import Array, PolicyOutput, PyTree, Scores, Trajectory


def environment_view(env: Environment, state: State) -> PyTree:
    """What the environment says a network sees of a state."""
    return env.observe(state)


Sizes = tuple[tuple[str, int], ...]
Path = tuple[str, ...]  # of a variable of a module


def sizes_of(env: Environment, *names: str) -> Sizes:
    """What a network is built for: these numbers of an environment, by name."""
    return tuple((name, int(getattr(env, name))) for name in names)


class Behaviour(NamedTuple):
    """How to sample.

    Attributes:
        act: what acts in the policy's place: a state and the policy's output there to parameters
            of the actions; None for the policy itself.
        needs: fields of `Scores` that the policy's word on the trajectories is wanted for, so that
            it need not be asked again; None for no word at all.
    """

    act: Callable[[State, PolicyOutput], PyTree] | None = None
    needs: frozenset[str] | None = None


class AnyPolicy(StatePolicy, Protocol):
    """What a `Model` asks of a policy, which brings its own rollout and its own scoring.

    Attributes:
        made_for: numbers of the environment that the network was built for.
        num_members: of an ensemble that is trained member by member; None for a single policy.
        from_any_state: whether `score` takes trajectories that start in any state, as windows do.
    """

    @property
    def made_for(self) -> Sizes: ...
    @property
    def num_members(self) -> int | None: ...
    @property
    def from_any_state(self) -> bool: ...

    def check(self, env: Environment) -> None:
        """Raise a `ValueError` if the policy is none for `env`."""
        ...

    @property
    def init(self) -> Callable[[Array, Any], PyTree]:
        """Trained parameters, from a key and what `observe` sees in s_0."""
        ...

    @property
    def observe(self) -> Callable[[Any, Any], PyTree]:
        """What the network sees of a state of an environment."""
        ...

    def rollout(
        self,
        params: PyTree,
        env: Environment,
        key: Array,
        num_samples: int,
        act: Callable[[State, PolicyOutput], PyTree] | None = None,
        window: rollout.Window | None = None,
        reading: Reading | None = None,
        sources: State | None = None,
    ) -> tuple[Trajectory, VisitScores | None]:
        """Trajectories `[B, ...]`, and `[B, T + 1]` what is read off each visit, if asked.

        Args:
            params: trained parameters.
            env: the environment.
            key: a typed PRNG key.
            num_samples: B.
            act: what acts in the policy's place, as in `Behaviour`.
            window: where to start and how far to go, instead of from s_0 to the end.
            reading: what is recorded; a policy may record nothing all the same.
            sources: `[B, ...]` the states s_0 to start in; drawn without.
        """
        ...

    def score(
        self,
        params: PyTree,
        env: Environment,
        backward: BackwardPolicy,
        trajectories: Trajectory,
        **options: Any,
    ) -> Scores:
        """Scores `[B, ...]`, differentiable in `params`; options as those of `scoring.score`."""
        ...


class Parts(NamedTuple):
    """What the functions of a policy with a frozen part get for `params`."""

    trained: PyTree
    frozen: PyTree


@pytree
class Policy(Comparable):
    """`init` makes parameters, `apply` maps one observation to logits and a flow.

    Compiled training steps are shared between policies that compare equal, so build one
    `Policy` and keep it rather than making a new one with new lambdas for every run.

    Attributes:
        init: `(key, observation) -> params`, what is trained.
        apply: `(params, observation) -> PolicyOutput` for one observation; with a frozen part
            `params` are `Parts(trained, frozen)`.
        observe: `(env, state) -> observation`; `env.observe(state)` by default.
        made_for: numbers of the environment that the network was built for, from `sizes_of`; a
            `GFlowNet` refuses any other environment. Empty where it fits whatever it sees.
        frozen: arrays that are not trained, such as the base weights of a language model: leaves
            of the description, not of the training state, so that a sweep holds them once.
    """

    init: Callable[[Array, PyTree], PyTree] = static()
    apply: Callable[[PyTree, PyTree], PolicyOutput] = static()
    observe: Callable[[Any, Any], PyTree] = static(default=environment_view)
    made_for: Sizes = static(default=())
    frozen: PyTree = None

    @property
    def num_members(self) -> int | None:
        return None

    @property
    def from_any_state(self) -> bool:
        return True

    def check(self, env: Environment) -> None:
        return None

    def evaluate(self, params: PyTree, env: Environment, state: State) -> PolicyOutput:
        """The output for one state, in the library's precision whatever the network's is."""
        held = with_frozen(params, self.frozen)
        return in_full_precision(self.apply(held, self.observe(env, state)))

    def rollout(
        self,
        params: PyTree,
        env: Environment,
        key: Array,
        num_samples: int,
        act: Callable[[State, PolicyOutput], PyTree] | None = None,
        window: rollout.Window | None = None,
        reading: Reading | None = None,
        sources: State | None = None,
    ) -> tuple[Trajectory, VisitScores | None]:
        given = params, env, key, num_samples, act, window, reading, sources
        return rollout_of_states(self, *given)

    def score(
        self,
        params: PyTree,
        env: Environment,
        backward: BackwardPolicy,
        trajectories: Trajectory,
        **options: Any,
    ) -> Scores:
        return scoring.score(env, self, backward, params, trajectories, **options)


def with_frozen(params: PyTree, frozen: PyTree) -> PyTree:
    """What a policy's functions get for `params`; no gradient reaches the frozen part."""
    return params if frozen is None else Parts(params, jax.lax.stop_gradient(frozen))


def rollout_of_states(
    policy: StatePolicy,
    params: PyTree,
    env: Environment,
    key: Array,
    num_samples: int,
    act: Callable[[State, PolicyOutput], PyTree] | None,
    window: rollout.Window | None,
    reading: Reading | None,
    sources: State | None = None,
) -> tuple[Trajectory, VisitScores | None]:
    """`AnyPolicy.rollout` of a policy that looks at each state on its own."""

    def decide(state: State) -> rollout.Decision:
        output = policy.evaluate(params, env, state)
        said = None if reading is None else output
        return rollout.Decision(output.forward_logits if act is None else act(state, output), said)

    # For all policies alike: an ensemble of one samples what its only member would on its own.
    key, _ = jax.random.split(key)
    given = num_samples, window, record_by(reading), sources
    return rollout.sample_forward(env, decide, key, *given)


def record_by(
    reading: Reading | None, read: Callable[..., VisitScores] = scoring.read
) -> rollout.Record | None:
    """What a rollout records of a visit: what `read` reads."""
    if reading is None:
        return None
    return rollout.Record(lambda said, *visit: read(reading, said, Visit(*visit)), reading.ends)


def in_full_precision(output: PolicyOutput) -> PolicyOutput:
    """Log-probabilities are summed and compared: half precision ends at the network."""
    dtype = jnp.result_type(float)
    if not isinstance(output, PolicyOutput):
        raise ArgumentError(
            "policy.apply", f"must return a PolicyOutput, got {type(output).__name__}"
        )
    return jax.tree.map(lambda x: jnp.asarray(x).astype(dtype), output)


def from_flax(
    module: nn.Module,
    observe: Callable[..., PyTree] = environment_view,
    made_for: Sizes = (),
    frozen: PyTree = None,
) -> Policy:
    """A policy from a Linen module whose call maps one observation to a `PolicyOutput`.

    Equal modules give the same policy object, hence share compiled code.

    Args:
        module: the network.
        observe: `(env, state) -> observation`.
        made_for: numbers of the environment it was built for, from `sizes_of`.
        frozen: the part of the module's variables that is not trained, nested as they are:
            `{"params": {"base": ...}}`. None trains everything.

    Raises:
        ValueError: on `init`, if `frozen` has something that the module has not.
    """
    if frozen is None:
        return _from_flax(module, observe, made_for)
    names = _paths(frozen)
    return replace(_frozen_flax(module, observe, made_for, names), frozen=frozen)


@lru_cache(maxsize=256)
def _from_flax(module: Any, observe: Callable[..., PyTree], made_for: Sizes) -> Policy:
    return Policy(module.init, module.apply, observe, made_for)


@lru_cache(maxsize=256)
def _frozen_flax(
    module: Any, observe: Callable[..., PyTree], made_for: Sizes, names: frozenset[Path]
) -> Policy:
    def init(key: Array, observation: PyTree) -> PyTree:
        variables = flatten_dict(module.init(key, observation))
        if missing := names - variables.keys():
            raise ArgumentError(
                "frozen", f"holds {_dotted(missing)}, which {type(module).__name__} lacks"
            )
        return unflatten_dict({path: x for path, x in variables.items() if path not in names})

    def apply(params: Parts, observation: PyTree) -> PolicyOutput:
        whole = flatten_dict(params.trained) | flatten_dict(params.frozen)
        return module.apply(unflatten_dict(whole), observation)

    return Policy(init, apply, observe, made_for)


def _paths(tree: PyTree) -> frozenset[Path]:
    return frozenset(flatten_dict(tree))


def _dotted(paths: frozenset[Path]) -> str:
    return ", ".join(sorted(".".join(path) for path in paths))


@pytree
class FrozenPolicy(Comparable):
    """A policy with its parameters, that is not trained: a prior, for instance."""

    policy: AnyPolicy
    params: PyTree

    def __call__(self, env: Environment, state: State) -> PolicyOutput:
        return self.policy.evaluate(self.params, env, state)


def check_made_for(
    made_for: Sizes, env: Environment, argument: str = "policy", subject: str = ""
) -> None:
    """Raise a `ValueError` naming the number of `env` that a network was not built for.

    Look-ups are clipped to the table: a network of another size would be silently wrong.
    """
    for name, size in made_for:
        actual = getattr(env, name, None)
        if actual != size:
            raise ArgumentError(
                argument,
                f"was made for an environment with {name} = {size}, but that of this "
                f"{type(env).__name__} is {actual}",
                "make a network for this environment",
                subject,
            )


def check_output(policy: StatePolicy, params: PyTree, env: Environment) -> None:
    """Raise a `ValueError` naming the output whose shape does not fit the environment."""
    expected = {
        "forward_logits": actions_of(env).neutral(),
        "backward_logits": backward_actions_of(env).neutral(),
        "log_flow": jnp.zeros(()),
    }
    output = jax.eval_shape(lambda p: policy.evaluate(p, env, source_state(env)), params)
    for name, like in expected.items():
        actual, wanted = _shapes(getattr(output, name)), _shapes(like)
        if actual != wanted:
            raise ArgumentError(
                "policy.apply",
                f"must return {name} of shape {wanted} for one observation of "
                f"{type(env).__name__}, got {actual}",
            )


def _shapes(tree: PyTree) -> Any:
    """Of one array its shape, of a tree of them a tree of shapes."""
    return jax.tree.map(jnp.shape, tree)
