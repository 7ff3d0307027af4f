"""Soft Q-learning for discrete actions (Haarnoja et al., arXiv 1702.08165; section 3.1), with a fixed temperature.

The soft value is an exact logsumexp of the critics' values, and the policy is the Boltzmann distribution of the same
values: there is no actor.  Where the paper has one critic, the minimum of the ensemble stands for Q, in the backup and
in the policy alike, so that the backup's value is that of the policy that acts.

Axes: B batch, O obs_dim, A number of actions, E critics, W outputs for one value.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.actions import DiscreteActions
from fastsac.algorithms.algorithm import Learned, Loss, Nets, Scalars, Which
from fastsac.algorithms.batch import Batch
from fastsac.nn.network import Net


class SqlDiscrete(DiscreteActions):
    """Twin critics with slow copies.  Acting sees nothing but them, so all members have the same temperature."""

    acts_by = "critic"
    sees_joint = True

    def declare(self) -> dict[str, Learned]:
        """Critics."""
        return {"critic": self.learn_critics(inputs=0, num_values=self.action_dim)}

    @property
    def alpha(self) -> float:
        """The temperature."""
        return self.config.init_alpha

    def scores(self, net: Net, obs: Tensor, noise: Tensor | None) -> Tensor:
        """As in `DiscreteActions`: values, or samples of exp(Q / alpha)."""
        q = self.q(net, obs)
        return q if noise is None else q / self.alpha + losses.gumbel(noise)

    def loss(self, scalars: Scalars, nets: Nets, targets: Nets, batch: Batch, noise: Tensor, which: Which) -> Loss:
        """The soft Bellman error (equation 11), y = r + discount * alpha logsumexp(min_e Q_target(s', .) / alpha).

        The metric entropy is that of the Boltzmann policy at obs.
        """
        target_critic = targets["critic"]
        next_q = self.q(target_critic, batch.next_obs, beside=batch.obs)  # [B, A]
        next_value = losses.boltzmann_value(next_q, self.alpha)  # [B]
        reward = self.soft_reward(scalars, batch, self.alpha, lambda obs: self._entropy(self.q(target_critic, obs)))
        target_q = losses.bootstrap(reward, batch.discount, next_value)
        out = self.outputs(nets["critic"], batch.obs, training=True, beside=batch.next_obs)  # [E, B, A, W]
        critic_loss, metrics = self.critic_loss(self.taken(out, batch.action), self.head.encode(target_q))  # [B]
        if which != "critics":
            q = losses.min_q(self.head.value(out).detach())  # [B, A]
            metrics |= {"alpha": torch.full_like(critic_loss, self.alpha), "entropy": self._entropy(q)}
        return critic_loss, metrics

    def _entropy(self, q: Tensor) -> Tensor:
        """Entropy [B] of the Boltzmann policy of q [B, A]."""
        return losses.entropy(F.log_softmax(q / self.alpha, -1))
