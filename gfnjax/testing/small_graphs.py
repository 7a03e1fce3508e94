"""Small graphs whose answers are known."""

import numpy as np

from gfnjax.envs.tabular import TabularDAG, tabular_dag


def diamond() -> TabularDAG:
    """s_0 -> {1, 2} -> 3, and 1 -> 4: two paths to 3, one to 4. R(3) = 1, R(4) = 2, log Z = log 3.

    With P_B uniform: F(1) = 2.5, F(2) = 0.5, so P_F(1 | s_0) = 5/6 and P_F(4 | 1) = 4/5.
    """
    return tabular_dag([[1, 2], [3, 4], [3], [], []], np.log([1.0, 1.0, 1.0, 1.0, 2.0]).tolist())


def binary_tree(depth: int = 3) -> TabularDAG:
    """A complete binary tree: one path a leaf, R = 1, 2, 3, ... from left to right.

    log Z = log(n (n + 1) / 2) with n = 2^depth leaves.
    """
    inner, leaves = 2**depth - 1, 2**depth
    children = [[2 * i + 1, 2 * i + 2] for i in range(inner)] + [[] for _ in range(leaves)]
    log_rewards = np.zeros(inner + leaves)
    log_rewards[inner:] = np.log(np.arange(1, leaves + 1))
    return tabular_dag(children, log_rewards.tolist())
