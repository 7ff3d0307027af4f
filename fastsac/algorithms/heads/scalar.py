"""The head "scalar": an output is the value, and learns by its squared error (arXiv 1812.05905, equation 5).

Axes: B batch, E critics.
"""

from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.heads.head import Head


class Scalar(Head):
    """W is 1."""

    width = 1

    def value(self, out: Tensor) -> Tensor:
        """Values [...] of outputs [..., 1]."""
        return out.squeeze(-1)

    def target(
        self, reward: Tensor, discount: Tensor, next_out: Tensor, next_log_prob: Tensor, alpha: Tensor
    ) -> Tensor:
        """As `losses.td_target`, [B]; with own targets that of each critic, [E, B]."""
        next_q = self.value(next_out)  # [E, B]
        if self.own_targets:
            return losses.bootstrap(reward, discount, next_q - alpha * next_log_prob)
        return losses.td_target(reward, discount, next_q, next_log_prob, alpha)

    def encode(self, value: Tensor) -> Tensor:
        """As they are."""
        return value

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """As `losses.critic_loss`, [B]."""
        return losses.critic_loss(self.value(out), target)
