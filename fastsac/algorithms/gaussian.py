"""The tanh-squashed Gaussian policy (arXiv 1812.05905, appendix C), for algorithms that act by one.

Axes: B batch, O obs_dim, A action_dim.
"""

import torch
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.algorithm import Algorithm
from fastsac.nn.network import Net, Network

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0


class GaussianPolicy(Algorithm):
    """An algorithm whose actor gives mean and log-std of actions before tanh."""

    def make_policy(self) -> Network:
        """The actor, with 2A outputs."""
        return self.make_actor(inputs=0, outputs=2 * self.action_dim)

    def choose(self, net: Net, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [B, A] in [-1, 1], as in `Algorithm`; the best is tanh of the mean."""
        mean, log_std = self.gaussian(net, obs)
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)

    def sample(self, actor: Net, obs: Tensor, noise: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Actions [B, A] in [-1, 1] and their log-probabilities [B] for obs [B, O] and standard normal noise [B, A]."""
        return losses.tanh_normal(*self.gaussian(actor, obs, training), noise)

    def gaussian(self, actor: Net, obs: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Mean and log-std before tanh, [B, A] each.

        log-std is mapped smoothly to [-5, 2], so that its gradient never vanishes at a clamp.
        """
        mean, raw = actor(actor.features(obs), training=training).chunk(2, -1)
        return mean, LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (torch.tanh(raw) + 1)
