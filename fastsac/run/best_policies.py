"""The best policies so far: of each member the one with the highest evaluation return, as it was evaluated.

Axes: M members, P parameters of the policy, O obs_dim.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fastsac.learning.learner import Learner, copy_tree_


class BestPolicies:
    """Copies of the policies with which members had their best evaluations.

    Args:
        learner: whose policies these are.
    """

    def __init__(self, learner: Learner) -> None:
        m, device = learner.config.num_members, learner.device
        self._learner = learner
        self._policy = self._current()
        self._return = torch.full((m,), -math.inf, dtype=torch.float64, device=device)  # [M]
        self._env_steps = torch.zeros(m, dtype=torch.int64, device=device)  # [M]

    def update_(self, returns: Sequence[float], env_steps: Sequence[int]) -> None:
        """Take in an evaluation of the policies as they are now: returns and env steps of each member."""
        now = torch.tensor(returns, dtype=torch.float64, device=self._return.device)
        better = now > self._return  # [M]; NaN never is
        self._return.copy_(torch.where(better, now, self._return))
        steps = torch.tensor(env_steps, device=better.device)
        self._env_steps.copy_(torch.where(better, steps, self._env_steps))
        for name, value in self._current().items():
            self._policy[name].copy_(torch.where(better.unsqueeze(-1), value, self._policy[name]))

    def state_dict(self) -> dict[str, Tensor]:
        """params [M, P], mean and rstd [M, O], return [M] (minus infinity before any evaluation), env_steps [M]."""
        return {**self._policy, "return": self._return, "env_steps": self._env_steps}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what `state_dict` gave, in place.

        Raises:
            ValueError: it is of another algorithm.
        """
        copy_tree_(self.state_dict(), state, "best")

    def _current(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self._learner.policy._asdict().items()}
