"""The tanh-squashed Gaussian policy, as the algorithms have it that act by one (arXiv 1812.05905, appendix C).

Axes: B batch, O obs_dim, A action_dim, P parameters of a network.
"""

from typing import ClassVar

import torch
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.batch import WindowStates
from fastsac.nn import nets
from fastsac.nn.encoder import Encoder


class GaussianPolicy:
    """What such an algorithm inherits; its own class has the sizes.

    Attributes:
        encoder: what the actor sees observations through.
        actor_shapes: of the network, with 2A outputs.
        products: how they are made.
    """

    encoder: Encoder
    actor_shapes: nets.Shapes
    products: nets.Products

    discrete: ClassVar[bool] = False
    acts_by: ClassVar[str] = "actor"

    def act(self, actor: Tensor, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [B, A] in [-1, 1].

        Args:
            actor: [P], the actor's vector.
            obs: [B, O].
            noise: standard normal [B, A] to sample; None for tanh of the mean.
        """
        mean, log_std = self._gaussian(nets.unflatten(actor, self.actor_shapes), obs)
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)

    def act_randomly(self, noise: Tensor) -> Tensor:
        """Actions [B, A], uniform in [-1, 1], of standard normal noise [B, A]."""
        return losses.uniform(noise)

    def _sample(self, actor: nets.Params, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [B, A] in [-1, 1] and their log-probabilities [B] for obs [B, O] and standard normal noise [B, A]."""
        return losses.tanh_normal(*self._gaussian(actor, obs), noise)

    def _gaussian(self, actor: nets.Params, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-std before tanh, [B, A] each."""
        return nets.gaussian(actor, self.encoder(actor, obs, self.products), self.products)

    def _window_entropy(self, actor: nets.Params, between: WindowStates, noise: Tensor, alpha: Tensor) -> Tensor:
        """What the states between add to the rewards, [B]; noise [n - 1, B, A]."""
        _, log_prob = self._sample(actor, between.obs.flatten(0, 1), noise.flatten(0, 1))
        return losses.window_entropy(between.discount, -log_prob.view_as(between.discount), alpha)
