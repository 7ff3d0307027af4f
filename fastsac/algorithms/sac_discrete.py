"""Soft Actor-Critic for discrete actions (Christodoulou, arXiv 1910.07207), with learned temperature.

The policy is categorical and the critics give a value for every action, so that all expectations over actions are
exact sums (section 3 of the paper): no reparameterisation, and no noise in the update.  Actions are one-hot rows.

The state of a member is that of `fastsac.algorithms.sac`.

Axes: B batch, O obs_dim, A number of actions, E critics, P parameters of a network.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.batch import Batch, WindowStates
from fastsac.algorithms.registry import Hyper, State
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.nn import nets, optim
from fastsac.nn.encoder import Encoder


@dataclass(frozen=True)
class SacDiscrete:
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

    discrete: ClassVar[bool] = True
    acts_by: ClassVar[str] = "actor"
    adjusts_alpha: ClassVar[bool] = True

    @classmethod
    def from_config(cls, config: Config, spec: EnvSpec, fuse_for_gpu: bool = False) -> Self:
        """Sizes for one task.

        Args:
            config: settings.
            spec: the task's sizes.
            fuse_for_gpu: as in `fastsac.algorithms.sac`.
        """
        action_dim = spec.action_dim
        encoder = Encoder.make(spec.obs_dim, spec.image, config.conv_channels)
        return cls(
            actor_shapes=encoder.shapes | nets.mlp_shapes(encoder.num_features, config.hidden_dims, action_dim),
            critic_shapes=encoder.shapes
            | nets.ensemble_shapes(
                encoder.num_features, config.hidden_dims, action_dim, config.num_critics, config.critic_layer_norm
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
        """Hyper-parameters that members may differ in; the target entropy is a share of log A unless given."""
        names = ("gamma", "tau", "actor_lr", "critic_lr", "alpha_lr", "reward_scale")
        target = config.target_entropy
        return {
            **{name: getattr(config, name) for name in names},
            "target_entropy": config.target_entropy_share * math.log(self.action_dim) if target is None else target,
        }

    def init(self, seed: Tensor, init_alpha: float) -> State:
        """A fresh member.

        Args:
            seed: int64 [].
            init_alpha: temperature at the start.
        """
        critic = nets.init(self.critic_shapes, self.encoder.num_features, seed, stream=1)
        params = {
            "actor": nets.init(self.actor_shapes, self.encoder.num_features, seed, stream=0),
            "critic": critic,
            "log_alpha": torch.full((), init_alpha, device=seed.device).log(),
        }
        return {**optim.begin(params, seed), "target_critic": critic.clone()}

    def act(self, actor: Tensor, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [B, A], one-hot.

        Args:
            actor: [P], the actor's vector.
            obs: [B, O].
            noise: standard normal [B, A] to sample, by the Gumbel-max trick; None for the most likely action.
        """
        params = nets.unflatten(actor, self.actor_shapes)
        logits = nets.mlp(params, self.encoder(params, obs, self.products), self.products)  # [B, A]
        return losses.one_hot(logits if noise is None else logits + losses.gumbel(noise))

    def act_randomly(self, noise: Tensor) -> Tensor:
        """Actions [B, A], one-hot and uniform, of standard normal noise [B, A]."""
        return losses.one_hot(noise)

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """None is needed."""
        return (0,)

    def _log_policy(self, actor: nets.Params, obs: Tensor) -> Tensor:
        """log pi(a|s) of every action, [B, A], for obs [B, O]."""
        return F.log_softmax(nets.mlp(actor, self.encoder(actor, obs, self.products), self.products), -1)

    def _q(self, critic: nets.Params, obs: Tensor) -> Tensor:
        """Q_e(s, a) of every action, [E, B, A], for obs [B, O]."""
        return nets.ensemble(critic, self.encoder(critic, obs, self.products), self.products)

    def _window_entropy(self, actor: nets.Params, between: WindowStates, alpha: Tensor) -> Tensor:
        """What the states between add to the rewards, [B]."""
        entropy = losses.entropy(self._log_policy(actor, between.obs.flatten(0, 1)))
        return losses.window_entropy(between.discount, entropy.view_as(between.discount), alpha)

    def loss(
        self, hyper: Hyper, params: dict[str, Any], target_critic: nets.Params, batch: Batch, with_actor: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Critic, actor and temperature loss as one scalar; stop-gradients keep each from the others' parameters.

        Args:
            hyper: scalars.
            params: actor and critic as named views, and log_alpha.
            target_critic: named views.
            batch: transitions, obs normalised, actions one-hot.
            with_actor: False leaves out the losses of actor and temperature.

        Returns:
            The sum, and METRICS as one vector (zeros where left out).
        """
        alpha = params["log_alpha"].detach().exp()
        if with_actor and self.joint_pass:
            log_pi, next_log_pi = self._log_policy(params["actor"], torch.cat([batch.obs, batch.next_obs])).chunk(2)
        else:
            next_log_pi = self._log_policy(nets.frozen(params["actor"]), batch.next_obs)
            if with_actor:
                log_pi = self._log_policy(params["actor"], batch.obs)

        next_q = losses.min_q(self._q(target_critic, batch.next_obs))  # [B, A]
        backup_alpha = alpha if self.backup_entropy else torch.zeros_like(alpha)  # of entropy in the value
        next_value = losses.expected_value(next_q, next_log_pi.detach(), backup_alpha)  # [B]
        reward = hyper["reward_scale"] * batch.reward
        if batch.window is not None:
            reward = reward + self._window_entropy(nets.frozen(params["actor"]), batch.window, alpha)
        target_q = losses.bootstrap(reward, batch.discount, next_value)
        q_all = self._q(params["critic"], batch.obs)  # [E, B, A]
        q = (q_all * batch.action).sum(-1)  # [E, B], of the actions taken
        critic_loss = losses.critic_loss(q, target_q)  # [B]
        if not with_actor:
            zero = torch.zeros_like(critic_loss)
            return critic_loss.mean(), torch.stack([critic_loss, q.mean(0), zero, zero, zero, zero]).detach().mean(-1)

        actor_loss = -losses.expected_value(losses.min_q(q_all.detach()), log_pi, alpha)  # [B]
        entropy = losses.entropy(log_pi)  # [B]
        alpha_loss = losses.alpha_loss(params["log_alpha"], -entropy, hyper["target_entropy"])  # [B]
        metrics = [critic_loss, q.mean(0), actor_loss, alpha_loss, alpha.expand_as(entropy), entropy]
        return (critic_loss + actor_loss + alpha_loss).mean(), torch.stack(metrics).detach().mean(-1)

    def update(
        self, hyper: Hyper, state: State, batch: Batch, noise: Tensor, with_actor: bool = True
    ) -> tuple[State, Tensor]:
        """One gradient step: all losses at the old parameters, then Adam, then the target critics.

        Args:
            hyper: scalars.
            state: from `init` or the step before.
            batch: transitions, obs normalised, actions one-hot.
            noise: not used.
            with_actor: False for the steps between those of a delayed actor.

        Returns:
            The new state and METRICS [6].
        """
        learned = ["critic"]
        if with_actor:
            learned += ["actor", *(["log_alpha"] if self.learn_alpha else [])]

        def loss(params: dict[str, Any], target_critic: nets.Params) -> tuple[Tensor, Tensor]:
            return self.loss(hyper, params, target_critic, batch, with_actor)

        shapes = {"actor": self.actor_shapes, "critic": self.critic_shapes}
        return optim.gradient_step(loss, state, shapes, learned, "critic", hyper, self.actor_delay, self.max_grad_norm)
