"""What the names on the command line mean: a summary in a few words, and how to make it."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from gfnjax.algorithms.markov_chains import MarkovChains, mars, metropolis_hastings
from gfnjax.algorithms.reward_ppo import RewardPPO
from gfnjax.algorithms.reward_sac import RewardSAC
from gfnjax.envs.base import Environment
from gfnjax.metrics.exact import log_path_counts
from gfnjax.metrics.state_graph import StateGraph, build_graph
from gfnjax.objectives import regression
from gfnjax.objectives.base import Objective, Regression
from gfnjax.objectives.detailed_balance import DetailedBalance, TargetDetailedBalance
from gfnjax.objectives.entropy_ppo import EntropyPPO
from gfnjax.objectives.flow_matching import FlowMatching
from gfnjax.objectives.forward_looking import ForwardLooking
from gfnjax.objectives.generative_augmented import GAFlowNet
from gfnjax.objectives.learned_decomposition import LEDGFN
from gfnjax.objectives.modified_detailed_balance import ModifiedDetailedBalance
from gfnjax.objectives.policy_gradient import PolicyGradient
from gfnjax.objectives.relative_trajectory_balance import RelativeTrajectoryBalance
from gfnjax.objectives.soft_q_learning import SoftDQN
from gfnjax.objectives.subtrajectory_balance import SubTrajectoryBalance
from gfnjax.objectives.trajectory_balance import (
    ContrastiveBalance,
    LogPartitionVariance,
    TrajectoryBalance,
)
from gfnjax.policies.backward import (
    BackwardPolicy,
    LearnedBackward,
    MaximumEntropyBackward,
    TrainedBackward,
    UniformBackward,
)
from gfnjax.policies.base import Policy
from gfnjax.policies.causal import CausalPolicy, causal_transformer_policy
from gfnjax.policies.forest import forest_policy
from gfnjax.policies.graph_network import graph_policy
from gfnjax.policies.likelihood import LikelihoodBackward, PessimisticBackward
from gfnjax.policies.mlp import mlp_policy
from gfnjax.policies.path_counts import LearnedMaximumEntropyBackward
from gfnjax.policies.transformer import transformer_policy
from gfnjax.replay import Fifo, Replay, ResidualPrioritised, RewardPrioritised, TerminalReplay
from gfnjax.run.config import EnvironmentConfig, Training


def _forward_looking(base: Objective, t: Training) -> ForwardLooking:
    return ForwardLooking(base, t.anchor_terminal)


OBJECTIVES: dict[str, tuple[str, Callable[[Training], Objective]]] = {
    "tb": ("trajectory balance", lambda t: TrajectoryBalance()),
    "tb-flow": (
        "trajectory balance with log Z = log F(s_0), which may have a condition",
        lambda t: TrajectoryBalance("flow"),
    ),
    "db": ("detailed balance", lambda t: DetailedBalance()),
    "target-db": ("detailed balance against a target network", lambda t: TargetDetailedBalance()),
    "subtb": ("sub-trajectory balance", lambda t: SubTrajectoryBalance(t.subtb_lambda)),
    "fm": ("flow matching through all parents", lambda t: FlowMatching()),
    "vargrad": ("trajectory balance with the batch's log Z", lambda t: LogPartitionVariance()),
    "contrastive": ("trajectory balance of pairs, no log Z", lambda t: ContrastiveBalance()),
    "mdb": (
        "modified detailed balance, where every state may stop",
        lambda t: ModifiedDetailedBalance(),
    ),
    "fl-tb": (
        "forward-looking trajectory balance",
        lambda t: _forward_looking(TrajectoryBalance(), t),
    ),
    "fl-db": ("forward-looking detailed balance", lambda t: _forward_looking(DetailedBalance(), t)),
    "fl-subtb": (
        "forward-looking sub-trajectory balance",
        lambda t: _forward_looking(SubTrajectoryBalance(t.subtb_lambda), t),
    ),
    "led-db": ("detailed balance with a learned potential", lambda t: LEDGFN(DetailedBalance())),
    "led-subtb": (
        "sub-trajectory balance with a learned potential",
        lambda t: LEDGFN(SubTrajectoryBalance(t.subtb_lambda)),
    ),
    "soft-dqn": ("soft Q-learning against a target network", lambda t: SoftDQN()),
    "munchausen": (
        "soft Q-learning that sees its own log-policy",
        lambda t: SoftDQN(t.munchausen_alpha),
    ),
    "reinforce": (
        "policy gradient on the entropy-regularised return",
        lambda t: PolicyGradient("reinforce"),
    ),
    "reward-to-go": (
        "policy gradient on what is still to come",
        lambda t: PolicyGradient("reward-to-go"),
    ),
    "baseline": (
        "policy gradient beside a learned value",
        lambda t: PolicyGradient("baseline"),
    ),
    "gae": (
        "policy gradient with generalised advantages",
        lambda t: PolicyGradient("gae", t.gae_lambda),
    ),
    "ent-ppo": (
        "PPO on the entropy-regularised return; --num-updates 4",
        lambda t: EntropyPPO(lambda_=t.gae_lambda),
    ),
    "rtb": ("relative trajectory balance, uniform prior", lambda t: RelativeTrajectoryBalance()),
    "ga-tb": (
        "trajectory balance with intrinsic rewards",
        lambda t: GAFlowNet(TrajectoryBalance()),
    ),
    "ga-db": ("detailed balance with intrinsic rewards", lambda t: GAFlowNet(DetailedBalance())),
    "ppo": (
        "baseline: PPO on log R alone; --num-updates 4",
        lambda t: RewardPPO(lambda_=t.gae_lambda),
    ),
    "sac": ("baseline: soft actor-critic on log R alone", lambda t: RewardSAC()),
}

# How fast the target network follows, where the objective needs one and no rate is given.
TARGET_RATES = {"soft-dqn": 0.25, "munchausen": 0.25, "target-db": 0.005, "sac": 0.05}

MakeChains = Callable[[Environment, Training, int, Any], MarkovChains]

# By --objective as well: what takes the place of a GFlowNet.
CHAINS: dict[str, tuple[str, MakeChains]] = {
    "mh": (
        "baseline: Metropolis-Hastings chains over objects, one for each of the batch",
        lambda env, t, num_back, rate: metropolis_hastings(env, t.batch_size, num_back),
    ),
    "mars": (
        "baseline: chains whose proposal learns from moves that succeed",
        lambda env, t, num_back, rate: mars(
            env, _state_network(env, t, "objective mars"), t.batch_size, num_back, rate
        ),
    ),
}

MakeBackward = Callable[[EnvironmentConfig, Training], BackwardPolicy | TrainedBackward]

BACKWARDS: dict[str, tuple[str, MakeBackward]] = {
    "learned": ("a head of the network", lambda env, t: LearnedBackward()),
    "uniform": ("all parents alike", lambda env, t: UniformBackward()),
    "maximum-entropy": ("all trajectories alike", lambda env, t: _maximum_entropy(env)),
    "tlm": (
        "a network that makes sampled trajectories likely",
        lambda env, t: LikelihoodBackward(*_training_of_its_own(env, t)),
    ),
    "pessimistic": (
        "the same for the trajectories of many steps",
        lambda env, t: PessimisticBackward(*_training_of_its_own(env, t)),
    ),
    "path-counts": (
        "maximum entropy by a network that counts paths",
        lambda env, t: LearnedMaximumEntropyBackward(*_training_of_its_own(env, t)),
    ),
}

REGRESSIONS: dict[str, tuple[str, Regression]] = {
    "square": ("the residual squared", regression.square),
    "huber": ("squared, then linear from 1 on", regression.huber),
    "forward-kl": ("gradients of KL(target || policy)", regression.forward_kl),
    "hellinger": ("gradients of the Hellinger distance", regression.hellinger),
    "chi-square": ("gradients of chi^2(policy || target)", regression.chi_square),
}

NETWORKS: dict[str, tuple[str, Callable[[Any, Training], Policy | CausalPolicy]]] = {
    "mlp": (
        "hidden layers on the whole state",
        lambda env, t: mlp_policy(env, t.hidden_sizes, t.activation),
    ),
    "transformer": (
        "attention among the parts of a sequence, in any order",
        lambda env, t: transformer_policy(env, t.width, t.num_heads, t.num_layers),
    ),
    "causal": (
        "a transformer with a key/value cache, where letters are appended",
        lambda env, t: causal_transformer_policy(env, t.width, t.num_heads, t.num_layers),
    ),
    "graph": ("messages along the edges of a DAG", lambda env, t: graph_policy(env, t.width)),
    "forest": (
        "attention among the trees of a forest",
        lambda env, t: forest_policy(env, t.width, t.num_heads, t.num_layers),
    ),
}

MakeReplay = Callable[[int, bool], Replay | TerminalReplay | None]

REPLAYS: dict[str, tuple[str, MakeReplay]] = {
    "none": ("nothing is replayed", lambda capacity, unique: None),
    "fifo": ("the last ones, all alike", lambda n, unique: Fifo(n, unique=unique)),
    "prioritised": (
        "half of what is replayed has one of the highest rewards",
        lambda n, unique: RewardPrioritised(n, unique=unique),
    ),
    "residual": (
        "those with large residuals more often",
        lambda n, unique: ResidualPrioritised(n, unique=unique),
    ),
    "terminal": (
        "objects alone, reached again on ways of P_B",
        lambda n, unique: TerminalReplay(Fifo(n, unique=unique)),
    ),
}


@lru_cache(maxsize=2)
def state_graph(env_config: EnvironmentConfig) -> StateGraph:
    """The state graph of an enumerable environment; the last ones are kept.

    Raises:
        TypeError, ValueError: where `build_graph` does.
    """
    env: Environment = env_config.make()
    return build_graph(env)


def make_network(env: Environment, settings: Training) -> Policy | CausalPolicy:
    """The network a run asks for.

    Raises:
        ValueError: if it does not fit the environment.
    """
    try:
        return NETWORKS[settings.network][1](env, settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"network {settings.network} does not fit: {error}") from error


def _training_of_its_own(
    env_config: EnvironmentConfig, settings: Training
) -> tuple[Policy, int, float | None]:
    """Network, updates a step and rate of the moving average of a `TrainedBackward`."""
    network = _state_network(env_config.make(), settings, f"backward {settings.backward}")
    return network, settings.backward_updates, settings.backward_target_rate


def _state_network(env: Environment, settings: Training, what: str) -> Policy:
    network = make_network(env, settings)
    if not isinstance(network, Policy):
        raise ValueError(
            f"{what} needs a network that looks at one state at a time: "
            f"network must be another one than {settings.network}"
        )
    return network


def _maximum_entropy(env_config: EnvironmentConfig) -> Any:
    try:
        return MaximumEntropyBackward(log_path_counts(state_graph(env_config)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "backward maximum-entropy counts paths through a list of all states, and there is none "
            f"here: use path-counts, which learns to count ({error})"
        ) from error
