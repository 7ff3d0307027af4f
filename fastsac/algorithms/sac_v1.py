"""Soft Actor-Critic in its first form (Haarnoja et al., arXiv 1801.01290): a value network, a fixed temperature.

The critics' target is that of a state-value network V, whose slow copy is the one target there is; V learns from the
same sampled action as the actor, so an update takes one pass through the actor and one noise.  The paper writes
the temperature as 1 and scales rewards; here both `alpha` and `reward_scale` are to be had, and only their ratio
matters to what is best: reward_scale 5 at alpha 1 is reward_scale 1 at alpha 0.2.

The state of a member is that of `fastsac.algorithms.sac` with `value` in place of log_alpha in `params`, and
`target_value` in place of target_critic.

Axes: B batch, O obs_dim, F features, A action_dim, E critics, P parameters of a network.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.gaussian import GaussianPolicy
from fastsac.algorithms.registry import Hyper, State
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.nn import nets, optim
from fastsac.nn.encoder import Encoder


@dataclass(frozen=True)
class SacV1(GaussianPolicy):
    """What is fixed at compile time: sizes and switches.  Numbers that may differ between members are in `Hyper`."""

    actor_shapes: nets.Shapes
    critic_shapes: nets.Shapes
    value_shapes: nets.Shapes
    encoder: Encoder
    action_dim: int
    actor_delay: int
    max_grad_norm: float
    products: nets.Products
    num_between: int

    adjusts_alpha: ClassVar[bool] = False

    @classmethod
    def from_config(cls, config: Config, spec: EnvSpec, fuse_for_gpu: bool = False) -> Self:
        """Sizes for one task.

        Args:
            config: settings; V is built as one critic is, LayerNorm included.
            spec: the task's sizes.
            fuse_for_gpu: shape the update for a GPU: biases inside the products.  The same numbers up to rounding.
        """
        action_dim = spec.action_dim
        encoder = Encoder.make(spec.obs_dim, spec.image, config.conv_channels)
        hidden_dims, layer_norm = config.hidden_dims, config.critic_layer_norm
        return cls(
            actor_shapes=encoder.shapes | nets.mlp_shapes(encoder.num_features, hidden_dims, 2 * action_dim),
            critic_shapes=encoder.shapes
            | nets.ensemble_shapes(encoder.num_features + action_dim, hidden_dims, 1, config.num_critics, layer_norm),
            value_shapes=encoder.shapes | nets.ensemble_shapes(encoder.num_features, hidden_dims, 1, 1, layer_norm),
            encoder=encoder,
            action_dim=action_dim,
            actor_delay=config.actor_delay,
            max_grad_norm=config.max_grad_norm,
            products=nets.Products(config.bf16, bias_inside=fuse_for_gpu),
            num_between=config.num_between,
        )

    def hyper(self, config: Config) -> dict[str, float]:
        """Hyper-parameters that members may differ in; alpha is `init_alpha`, and V takes the critics' step size."""
        names = ("gamma", "tau", "actor_lr", "critic_lr", "reward_scale")
        return {**{name: getattr(config, name) for name in names}, "alpha": config.init_alpha}

    def init(self, seed: Tensor, init_alpha: float) -> State:
        """A fresh member.

        Args:
            seed: int64 [].
            init_alpha: not used; the temperature is in `Hyper`.
        """
        value = nets.init(self.value_shapes, self.encoder.num_features, seed, stream=2)
        params = {
            "actor": nets.init(self.actor_shapes, self.encoder.num_features, seed, stream=0),
            "critic": nets.init(self.critic_shapes, self.encoder.num_features + self.action_dim, seed, stream=1),
            "value": value,
        }
        return {**optim.begin(params, seed), "target_value": value.clone()}

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """Shape of the standard normal numbers that `update` wants."""
        return (1 + self.num_between, batch_size, self.action_dim)

    def _value(self, value: nets.Params, obs: Tensor) -> Tensor:
        """V(s), [B], for obs [B, O]."""
        return nets.ensemble(value, self.encoder(value, obs, self.products), self.products).squeeze(-1).squeeze(0)

    def loss(
        self,
        hyper: Hyper,
        params: dict[str, Any],
        target_value: nets.Params,
        batch: Batch,
        noise: Tensor,
        with_actor: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Critic, value and actor loss as one scalar; stop-gradients keep each from the others' parameters.

        Args:
            hyper: scalars.
            params: actor, critic and value as named views.
            target_value: named views.
            batch: transitions, obs normalised.
            noise: standard normal [1 + n - 1, B, A]: for the actions at obs and at the states between.
            with_actor: False leaves out the actor's loss.

        Returns:
            The sum, and METRICS as one vector (zeros where left out): critic_loss is J_Q + J_V, alpha_loss is 0.
        """
        alpha = hyper["alpha"]
        actor = params["actor"] if with_actor else nets.frozen(params["actor"])
        action, log_prob = self._sample(actor, batch.obs, noise[0])
        features = self.encoder(params["critic"], batch.obs, self.products)  # [B, F]
        # The actor's gradient passes through the critics to the action; their own weights get none.
        action_q = nets.critic(nets.frozen(params["critic"]), features.detach(), action, self.products)  # [E, B]
        value = self._value(params["value"], batch.obs)  # [B]
        value_loss = losses.value_loss(value, losses.value_target(action_q, log_prob, alpha))  # [B]

        next_value = self._value(target_value, batch.next_obs)  # [B]
        reward = hyper["reward_scale"] * batch.reward
        if batch.window is not None:
            reward = reward + self._window_entropy(nets.frozen(params["actor"]), batch.window, noise[1:], alpha)
        target_q = losses.bootstrap(reward, batch.discount, next_value)  # [B]
        q = nets.critic(params["critic"], features, batch.action, self.products)  # [E, B]
        critic_loss = losses.critic_loss(q, target_q) + value_loss  # [B]
        zero = torch.zeros_like(critic_loss)
        if not with_actor:
            return critic_loss.mean(), torch.stack([critic_loss, q.mean(0), zero, zero, zero, zero]).detach().mean(-1)

        actor_loss = losses.actor_loss(log_prob, action_q, alpha)  # [B]
        metrics = [critic_loss, q.mean(0), actor_loss, zero, alpha.expand_as(log_prob), -log_prob]
        return (critic_loss + actor_loss).mean(), torch.stack(metrics).detach().mean(-1)

    def update(
        self, hyper: Hyper, state: State, batch: Batch, noise: Tensor, with_actor: bool = True
    ) -> tuple[State, Tensor]:
        """One gradient step (algorithm 1): all losses at the old parameters, then Adam, then the target of V.

        Args:
            hyper: scalars.
            state: from `init` or the step before.
            batch: transitions, obs normalised.
            noise: standard normal, of `noise_shape`.
            with_actor: False for the steps between those of a delayed actor; critics and V learn at every one.

        Returns:
            The new state and METRICS [6].
        """
        learned = ["critic", "value", *(["actor"] if with_actor else [])]

        def loss(params: dict[str, Any], target_value: nets.Params) -> tuple[Tensor, Tensor]:
            return self.loss(hyper, params, target_value, batch, noise, with_actor)

        shapes = {"actor": self.actor_shapes, "critic": self.critic_shapes, "value": self.value_shapes}
        return optim.gradient_step(loss, state, shapes, learned, "value", hyper, self.actor_delay, self.max_grad_norm)
