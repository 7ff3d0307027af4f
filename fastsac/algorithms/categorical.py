"""Discrete actions, as one-hot rows: critics give a value for every action, and expectations are exact sums.

Axes: B batch, O obs_dim, A number of actions, E critics, W outputs for one value.
"""

import torch
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.algorithm import Algorithm
from fastsac.nn.network import Net, Network


class DiscreteActions(Algorithm):
    """An algorithm whose critics map observations to the values of all actions; its loss needs no noise."""

    discrete = True

    def make_q(self) -> Network:
        """The critics, with A values."""
        return self.make_critics(0, self.action_dim * self.head.width, self.config.num_critics)

    def outputs(self, critic: Net, obs: Tensor, training: bool = False) -> Tensor:
        """Outputs for every action, [E, B, A, W], for obs [B, O]."""
        out = critic(critic.features(obs), training=training)
        return torch.unflatten(out, -1, (self.action_dim, self.head.width))

    def q(self, critic: Net, obs: Tensor) -> Tensor:
        """min_e Q_e(s, a) of every action, [B, A], for obs [B, O]."""
        return losses.min_q(self.head.value(self.outputs(critic, obs)))

    def taken(self, out: Tensor, action: Tensor) -> Tensor:
        """Outputs [E, B, W] of the actions taken, of outputs [E, B, A, W] and one-hot actions [B, A]."""
        return (out * action.unsqueeze(-1)).sum(-2)

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """None is needed."""
        return (0,)
