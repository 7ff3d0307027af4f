"""What algorithms of one kind of actions have in common: a Gaussian policy, or critics of every choice.

Axes: B batch, O obs_dim, F features, A action_dim or number of actions, E critics, W outputs for one value.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.algorithm import Algorithm
from fastsac.nn.network import Net


class GaussianPolicy(Algorithm):
    """Acts by a tanh-squashed Gaussian (arXiv 1812.05905, appendix C): 2A outputs are mean and log-std before tanh."""

    def choose(self, net: Net, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [B, A] in [-1, 1], as in `Algorithm`; the best is tanh of the mean."""
        mean, log_std = self.gaussian(net, obs)
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)

    def sample(self, actor: Net, obs: Tensor, noise: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Actions [B, A] in [-1, 1] and their log-probabilities [B] for obs [B, O] and standard normal noise [B, A]."""
        return losses.tanh_normal(*self.gaussian(actor, obs, training), noise)

    def gaussian(self, actor: Net, obs: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Mean and log-std before tanh, [B, A] each.

        log-std is mapped smoothly to its range, so that its gradient never vanishes, or is clamped to it.
        """
        mean, raw = actor(actor.features(obs), training=training).chunk(2, -1)
        low, high = self.config.log_std_min, self.config.log_std_max
        if self.config.log_std_map == "clamp":
            return mean, raw.clamp(low, high)
        return mean, low + 0.5 * (high - low) * (torch.tanh(raw) + 1)

    def action_q(self, critic: Net, features: Tensor, action: Tensor) -> Tensor:
        """Values [E, B] whose gradient passes through the critics to the action; their own weights get none."""
        return self.head.value(critic.frozen()(features.detach(), action))


class DiscreteActions(Algorithm):
    """Acts by one-hot rows; critics give a value for every action, expectations are exact sums and need no noise."""

    discrete = True

    def choose(self, net: Net, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [B, A], as in `Algorithm`."""
        return losses.one_hot(self.scores(net, obs, noise))

    @abstractmethod
    def scores(self, net: Net, obs: Tensor, noise: Tensor | None) -> Tensor:
        """What the actions are chosen by, [B, A]: the greatest.  Noise samples by the Gumbel-max trick."""

    def outputs(self, critic: Net, obs: Tensor, beside: Tensor | None = None, training: bool = False) -> Tensor:
        """Outputs for every action, [E, B, A, W], for obs [B, O], as `Net` gives them."""
        out = critic(critic.features(obs), training=training, beside=() if beside is None else (beside,))
        return torch.unflatten(out, -1, (self.action_dim, self.head.width))

    def q(self, critic: Net, obs: Tensor, beside: Tensor | None = None) -> Tensor:
        """min_e Q_e(s, a) of every action, [B, A], for obs [B, O]."""
        return losses.min_q(self.head.value(self.outputs(critic, obs, beside)))

    def taken(self, out: Tensor, action: Tensor) -> Tensor:
        """Outputs [E, B, W] of the actions taken, of outputs [E, B, A, W] and one-hot actions [B, A]."""
        return (out * action.unsqueeze(-1)).sum(-2)

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """None are needed."""
        return (0, batch_size, self.action_dim)
