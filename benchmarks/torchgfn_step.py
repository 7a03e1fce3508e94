"""The problem of `peers.py` in torchgfn: its grid, estimators, sampler and TBGFlowNet.

Exploration makes the data off-policy, so trajectories are sampled without gradients and the loss
evaluates them again in one batch; keeping the sampler's own outputs, or compiling the estimators
by `try_compile_gflownet`, took as long or longer.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch
from gfn.estimators import DiscretePolicyEstimator
from gfn.gflownet import TBGFlowNet
from gfn.gym import HyperGrid
from gfn.preprocessors import KHotPreprocessor
from gfn.samplers import Sampler
from gfn.utils.modules import MLP

if TYPE_CHECKING:
    from peers import Problem


class TorchGfn:
    """A `peers.Trainer`."""

    name = "torchgfn"
    version = version("torchgfn")

    def __init__(self, problem: "Problem", seed: int) -> None:
        # On batches this small more threads mostly wait, for very long where cores are shared.
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        reward = dict(zip(("R0", "R1", "R2"), problem.rewards, strict=True))
        self.env = HyperGrid(problem.num_dims, problem.side, reward_fn_kwargs=reward)
        self.gflownet = self._gflownet(problem)
        self.sampler = Sampler(self.gflownet.pf)
        groups = [
            {"params": self.gflownet.pf_pb_parameters(), "lr": problem.learning_rate},
            {"params": self.gflownet.logz_parameters(), "lr": problem.log_z_learning_rate},
        ]
        self.optimizer = torch.optim.Adam(groups)
        self.problem = problem
        self.step = 0

    def run(self, num_steps: int) -> float:
        return float(np.mean([self._step() for _ in range(num_steps)]))

    def forward_logits(self, positions: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            states = self.env.states_from_tensor(torch.tensor(positions, dtype=torch.long))
            return self.gflownet.pf(states).numpy()

    def _gflownet(self, problem: "Problem") -> TBGFlowNet:
        num_actions = self.env.n_actions
        preprocessor = KHotPreprocessor(problem.side, problem.num_dims)
        num_inputs = preprocessor.output_dim
        forward = MLP(num_inputs, num_actions, problem.width, n_hidden_layers=2)
        backward = MLP(num_inputs, num_actions - 1, problem.width, trunk=forward.trunk)
        return TBGFlowNet(
            DiscretePolicyEstimator(forward, num_actions, preprocessor),
            DiscretePolicyEstimator(backward, num_actions, preprocessor, is_backward=True),
        )

    def _step(self) -> float:
        epsilon = self.problem.epsilon * max(1 - self.step / self.problem.decay_steps, 0.0)
        with torch.no_grad():
            trajectories = self.sampler.sample_trajectories(
                self.env, n=self.problem.batch_size, epsilon=epsilon
            )
        loss = self.gflownet.loss(self.env, trajectories, recalculate_all_logprobs=True)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return trajectories.terminating_idx.float().mean().item()
