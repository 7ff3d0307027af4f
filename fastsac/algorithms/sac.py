"""Soft Actor-Critic with learned temperature (arXiv 1812.05905).

The state of a member is a nested dictionary of tensors: `params` (actor, critic, log_alpha), `exp_avg` and
`exp_avg_sq` (Adam's moments, same keys), `bias_correction` (see `optim.gradient_step`), `target_critic`, and
`grad_steps`.

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
class Sac(GaussianPolicy):
    """What is fixed at compile time: sizes and switches.  Numbers that may differ between members are in `Hyper`."""

    actor_shapes: nets.Shapes
    critic_shapes: nets.Shapes
    encoder: Encoder
    action_dim: int
    actor_delay: int
    learn_alpha: bool
    backup_entropy: bool
    max_grad_norm: float
    products: nets.Products
    num_between: int
    joint_pass: bool

    adjusts_alpha: ClassVar[bool] = True

    @classmethod
    def from_config(cls, config: Config, spec: EnvSpec, fuse_for_gpu: bool = False) -> Self:
        """Sizes for one task.

        Args:
            config: settings.
            spec: the task's sizes.
            fuse_for_gpu: shape the update for a GPU, where the number of kernels counts and not the arithmetic: biases
                inside the products, and obs and next_obs through the actor together (half of its backward pass is
                then of zeros).  The same numbers up to rounding.
        """
        action_dim = spec.action_dim
        encoder = Encoder.make(spec.obs_dim, spec.image, config.conv_channels)
        return cls(
            actor_shapes=encoder.shapes | nets.mlp_shapes(encoder.num_features, config.hidden_dims, 2 * action_dim),
            critic_shapes=encoder.shapes
            | nets.ensemble_shapes(
                encoder.num_features + action_dim, config.hidden_dims, 1, config.num_critics, config.critic_layer_norm
            ),
            encoder=encoder,
            action_dim=action_dim,
            actor_delay=config.actor_delay,
            learn_alpha=config.learn_alpha,
            backup_entropy=config.backup_entropy,
            max_grad_norm=config.max_grad_norm,
            products=nets.Products(config.bf16, bias_inside=fuse_for_gpu),
            num_between=config.num_between,
            joint_pass=fuse_for_gpu,
        )

    def hyper(self, config: Config) -> dict[str, float]:
        """Hyper-parameters that members may differ in; the target entropy is -A unless given."""
        names = ("gamma", "tau", "actor_lr", "critic_lr", "alpha_lr", "reward_scale")
        target = config.target_entropy
        return {
            **{name: getattr(config, name) for name in names},
            "target_entropy": -float(self.action_dim) if target is None else target,
        }

    def init(self, seed: Tensor, init_alpha: float) -> State:
        """A fresh member.

        Args:
            seed: int64 [].
            init_alpha: temperature at the start.
        """
        critic = nets.init(self.critic_shapes, self.encoder.num_features + self.action_dim, seed, stream=1)
        params = {
            "actor": nets.init(self.actor_shapes, self.encoder.num_features, seed, stream=0),
            "critic": critic,
            "log_alpha": torch.full((), init_alpha, device=seed.device).log(),
        }
        return {**optim.begin(params, seed), "target_critic": critic.clone()}

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """Shape of the standard normal numbers that `update` wants."""
        return (2 + self.num_between, batch_size, self.action_dim)

    def loss(
        self,
        hyper: Hyper,
        params: dict[str, Any],
        target_critic: nets.Params,
        batch: Batch,
        noise: Tensor,
        with_actor: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Critic, actor and temperature loss as one scalar; stop-gradients keep each from the others' parameters.

        Args:
            hyper: scalars.
            params: actor and critic as named views, and log_alpha.
            target_critic: named views.
            batch: transitions, obs normalised.
            noise: standard normal [2 + n - 1, B, A]: for the actions at obs, at next_obs, and at the states between.
            with_actor: False leaves out the losses of actor and temperature.

        Returns:
            The sum, and METRICS as one vector (zeros where left out).
        """
        alpha = params["log_alpha"].detach().exp()
        if with_actor and self.joint_pass:
            both = self._sample(params["actor"], torch.cat([batch.obs, batch.next_obs]), noise[:2].flatten(0, 1))
            (action, next_action), (log_prob, next_log_prob) = (x.chunk(2) for x in both)
        else:
            next_action, next_log_prob = self._sample(nets.frozen(params["actor"]), batch.next_obs, noise[1])
            if with_actor:
                action, log_prob = self._sample(params["actor"], batch.obs, noise[0])

        next_features = self.encoder(target_critic, batch.next_obs, self.products)  # [B, F]
        next_q = nets.critic(target_critic, next_features, next_action.detach(), self.products)  # [E, B]
        reward = hyper["reward_scale"] * batch.reward
        if batch.window is not None:
            reward = reward + self._window_entropy(nets.frozen(params["actor"]), batch.window, noise[2:], alpha)
        backup_alpha = alpha if self.backup_entropy else torch.zeros_like(alpha)  # of entropy in the value
        target_q = losses.td_target(reward, batch.discount, next_q, next_log_prob, backup_alpha)  # [B]
        features = self.encoder(params["critic"], batch.obs, self.products)  # [B, F]
        q = nets.critic(params["critic"], features, batch.action, self.products)  # [E, B]
        critic_loss = losses.critic_loss(q, target_q)  # [B]
        if not with_actor:
            zero = torch.zeros_like(critic_loss)
            return critic_loss.mean(), torch.stack([critic_loss, q.mean(0), zero, zero, zero, zero]).detach().mean(-1)

        # The actor's gradient passes through the critics to the action; their own weights get none.
        action_q = nets.critic(nets.frozen(params["critic"]), features.detach(), action, self.products)  # [E, B]
        actor_loss = losses.actor_loss(log_prob, action_q, alpha)  # [B]
        alpha_loss = losses.alpha_loss(params["log_alpha"], log_prob, hyper["target_entropy"])  # [B]
        metrics = [critic_loss, q.mean(0), actor_loss, alpha_loss, alpha.expand_as(log_prob), -log_prob]
        return (critic_loss + actor_loss + alpha_loss).mean(), torch.stack(metrics).detach().mean(-1)

    def update(
        self, hyper: Hyper, state: State, batch: Batch, noise: Tensor, with_actor: bool = True
    ) -> tuple[State, Tensor]:
        """One gradient step: all losses at the old parameters, then Adam, then the target critics.

        Args:
            hyper: scalars.
            state: from `init` or the step before.
            batch: transitions, obs normalised.
            noise: standard normal, of `noise_shape`.
            with_actor: False for the steps between those of a delayed actor.

        Returns:
            The new state and METRICS [6].
        """
        learned = ["critic"]
        if with_actor:
            learned += ["actor", *(["log_alpha"] if self.learn_alpha else [])]

        def loss(params: dict[str, Any], target_critic: nets.Params) -> tuple[Tensor, Tensor]:
            return self.loss(hyper, params, target_critic, batch, noise, with_actor)

        shapes = {"actor": self.actor_shapes, "critic": self.critic_shapes}
        return optim.gradient_step(loss, state, shapes, learned, "critic", hyper, self.actor_delay, self.max_grad_norm)
