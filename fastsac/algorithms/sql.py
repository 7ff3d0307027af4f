"""Soft Q-learning for continuous actions (Haarnoja et al., arXiv 1702.08165), with a fixed temperature.

The policy is pi(a|s) = exp((Q(s, a) - V(s)) / alpha) on [-1, 1]^A.  Its value V is estimated by importance sampling
from a uniform proposal (equation 10), and a sampler network a = tanh(f(s, xi)), xi standard normal [A], learns to draw
from it by amortised Stein variational gradient descent (equations 13 and 14).  f is xi plus a network's output: a
fresh sampler covers all actions and can settle in several modes, where one that begins in a small region finds one.

The particles of equation 13 are u = f(s, xi), before tanh, and their target is the density of u,
exp(Q(s, tanh u) / alpha) * prod_i (1 - tanh(u_i)^2): actions have an end, where Stein's identity fails, and u has none.
(The authors' code takes actions as particles, and keeps them from the end by adding the logarithm of the same product
to the density of actions, which changes what is sampled.)

An update evaluates the critics `num_proposals` * B times at next_obs and `num_fixed` * B times at obs, the latter with
gradient to the action, where SAC evaluates them B times each: several times the arithmetic of SAC.

The state of a member is that of `fastsac.algorithms.sac` without log_alpha; `actor` is the sampler.

Axes: B batch, O obs_dim, F features, A action_dim, E critics, K proposals or particles, P parameters of a network.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.func import grad

from fastsac.algorithms import losses
from fastsac.algorithms.batch import Batch, WindowStates
from fastsac.algorithms.registry import Hyper, State
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.nn import nets, optim
from fastsac.nn.encoder import Encoder


@dataclass(frozen=True)
class Sql:
    """What is fixed at compile time: sizes and switches.  Numbers that may differ between members are in `Hyper`."""

    actor_shapes: nets.Shapes
    critic_shapes: nets.Shapes
    encoder: Encoder
    action_dim: int
    actor_delay: int
    max_grad_norm: float
    products: nets.Products
    num_between: int
    joint_pass: bool
    num_proposals: int = 16
    num_fixed: int = 16
    num_moved: int = 16

    discrete: ClassVar[bool] = False
    acts_by: ClassVar[str] = "actor"
    adjusts_alpha: ClassVar[bool] = False

    @classmethod
    def from_config(cls, config: Config, spec: EnvSpec, fuse_for_gpu: bool = False) -> Self:
        """Sizes for one task.

        Args:
            config: settings; the temperature is `init_alpha` for all time.
            spec: the task's sizes.
            fuse_for_gpu: shape the update for a GPU: biases inside the products, and all particles through the sampler
                together (half of its backward pass is then of zeros).  The same numbers up to rounding.
        """
        action_dim = spec.action_dim
        encoder = Encoder.make(spec.obs_dim, spec.image, config.conv_channels)
        return cls(
            actor_shapes=encoder.shapes
            | nets.mlp_shapes(encoder.num_features + action_dim, config.hidden_dims, action_dim),
            critic_shapes=encoder.shapes
            | nets.ensemble_shapes(
                encoder.num_features + action_dim, config.hidden_dims, 1, config.num_critics, config.critic_layer_norm
            ),
            encoder=encoder,
            action_dim=action_dim,
            actor_delay=config.actor_delay,
            max_grad_norm=config.max_grad_norm,
            products=nets.Products(config.bf16, bias_inside=fuse_for_gpu),
            num_between=config.num_between,
            joint_pass=fuse_for_gpu,
        )

    def hyper(self, config: Config) -> dict[str, float]:
        """Hyper-parameters that members may differ in; alpha is `init_alpha`."""
        names = ("gamma", "tau", "actor_lr", "critic_lr", "reward_scale")
        return {**{name: getattr(config, name) for name in names}, "alpha": config.init_alpha}

    def init(self, seed: Tensor, init_alpha: float) -> State:
        """A fresh member.

        Args:
            seed: int64 [].
            init_alpha: not used; the temperature is in `Hyper`.
        """
        num_inputs = self.encoder.num_features + self.action_dim
        critic = nets.init(self.critic_shapes, num_inputs, seed, stream=1)
        params = {"actor": nets.init(self.actor_shapes, num_inputs, seed, stream=0), "critic": critic}
        return {**optim.begin(params, seed), "target_critic": critic.clone()}

    def act(self, actor: Tensor, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [B, A] in [-1, 1].

        Args:
            actor: [P], the sampler's vector.
            obs: [B, O].
            noise: standard normal [B, A] to sample; None for the action of xi = 0, the middle of what is sampled (of a
                policy with several modes, not always one of them).
        """
        xi = torch.zeros(len(obs), self.action_dim, device=obs.device) if noise is None else noise
        params = nets.unflatten(actor, self.actor_shapes)
        return torch.tanh(self._sample(params, self.encoder(params, obs, self.products), xi.unsqueeze(0)).squeeze(0))

    def act_randomly(self, noise: Tensor) -> Tensor:
        """Actions [B, A], uniform in [-1, 1], of standard normal noise [B, A]."""
        return losses.uniform(noise)

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """Shape of the standard normal numbers that `update` wants."""
        num_draws = self.num_proposals * (1 + self.num_between) + self.num_fixed + self.num_moved
        return (num_draws, batch_size, self.action_dim)

    def _sample(self, actor: nets.Params, features: Tensor, xi: Tensor) -> Tensor:
        """Actions before tanh, [K, B, A], for features [B, F] and standard normal xi [K, B, A]."""
        x = torch.cat([features.expand(xi.shape[0], -1, -1), xi], -1)
        return xi + nets.mlp(actor, x.flatten(0, 1), self.products).unflatten(0, xi.shape[:2])

    def _least_q(self, critic: nets.Params, features: Tensor, action: Tensor) -> Tensor:
        """min_e Q_e of actions [K, B, A] at features [B, F], [K, B]."""
        features = features.expand(action.shape[0], -1, -1)
        q = nets.critic(critic, features.flatten(0, 1), action.flatten(0, 1), self.products)  # [E, K * B]
        return losses.min_q(q).unflatten(0, action.shape[:2])

    def _window_entropy(self, critic: nets.Params, between: WindowStates, noise: Tensor, alpha: Tensor) -> Tensor:
        """What the states between add to the rewards, [B]; noise [K * (n - 1), B, A]."""
        features = self.encoder(critic, between.obs.flatten(0, 1), self.products)  # [(n - 1) * B, F]
        proposals = self.act_randomly(noise.view(self.num_proposals, -1, self.action_dim))  # [K, (n - 1) * B, A]
        entropy = losses.sampled_entropy(self._least_q(critic, features, proposals), self._log_proposal, alpha)
        return losses.window_entropy(between.discount, entropy.view_as(between.discount), alpha)

    @property
    def _log_proposal(self) -> float:
        """Log-density of what is uniform in [-1, 1]^A."""
        return -self.action_dim * math.log(2)

    def _score(self, critic: nets.Params, features: Tensor, u: Tensor, alpha: Tensor) -> Tensor:
        """Gradient of Q(s, tanh u) + alpha sum_i log(1 - tanh(u_i)^2) in u [K, B, A]: alpha times log-density's."""

        def log_density(u: Tensor) -> Tensor:
            q = self._least_q(critic, features, torch.tanh(u))  # [K, B]
            return (q + alpha * losses.log_tanh_slope(u).sum(-1)).sum()

        return grad(log_density)(u)

    def loss(
        self,
        hyper: Hyper,
        params: dict[str, Any],
        target_critic: nets.Params,
        batch: Batch,
        noise: Tensor,
        with_actor: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """The soft Bellman error (equation 11) and the sampler's surrogate (equation 14) as one scalar.

        The surrogate's gradient is -mean Delta df/dphi; its value means nothing.

        Args:
            hyper: scalars.
            params: actor and critic as named views.
            target_critic: named views.
            batch: transitions, obs normalised.
            noise: standard normal [K, B, A]: for proposals at next_obs, for fixed and moved particles at obs, for
                proposals at the states between.
            with_actor: False leaves out the sampler.

        Returns:
            The sum, and METRICS as one vector (zeros where left out); `entropy` is that of exp((Q - V) / alpha) at
            next_obs, estimated from the proposals, and never below A log 2 - log num_proposals.
        """
        alpha = hyper["alpha"]
        proposal_noise, xi, noise_between = noise.split(
            [self.num_proposals, self.num_fixed + self.num_moved, self.num_proposals * self.num_between]
        )
        next_features = self.encoder(target_critic, batch.next_obs, self.products)  # [B, F]
        next_q = self._least_q(target_critic, next_features, self.act_randomly(proposal_noise))  # [K, B]
        next_value = losses.sampled_value(next_q, self._log_proposal, alpha)  # [B]
        reward = hyper["reward_scale"] * batch.reward
        if batch.window is not None:
            reward = reward + self._window_entropy(target_critic, batch.window, noise_between, alpha)
        target_q = losses.bootstrap(reward, batch.discount, next_value)  # [B]
        features = self.encoder(params["critic"], batch.obs, self.products)  # [B, F]
        q = nets.critic(params["critic"], features, batch.action, self.products)  # [E, B]
        critic_loss = losses.critic_loss(q, target_q)  # [B]
        zero = torch.zeros_like(critic_loss)
        if not with_actor:
            return critic_loss.mean(), torch.stack([critic_loss, q.mean(0), zero, zero, zero, zero]).detach().mean(-1)

        seen = self.encoder(params["actor"], batch.obs, self.products)  # [B, F]
        if self.joint_pass:
            fixed, moved = self._sample(params["actor"], seen, xi).split([self.num_fixed, self.num_moved])
        else:
            fixed = self._sample(nets.frozen(params["actor"]), seen.detach(), xi[: self.num_fixed])  # [K, B, A]
            moved = self._sample(params["actor"], seen, xi[self.num_fixed :])  # [K, B, A]
        fixed = fixed.detach()
        score = self._score(nets.frozen(params["critic"]), features.detach(), fixed, alpha)  # [K, B, A]
        direction = losses.stein_direction(fixed, moved, score, alpha)  # [K, B, A]
        actor_loss = -(direction * moved).sum(-1).mean(0)  # [B]
        entropy = losses.sampled_entropy(next_q, self._log_proposal, alpha)  # [B]
        metrics = [critic_loss, q.mean(0), actor_loss, zero, alpha.expand_as(zero), entropy]
        return (critic_loss + actor_loss).mean(), torch.stack(metrics).detach().mean(-1)

    def update(
        self, hyper: Hyper, state: State, batch: Batch, noise: Tensor, with_actor: bool = True
    ) -> tuple[State, Tensor]:
        """One gradient step: both losses at the old parameters, then Adam, then the target critics.

        Args:
            hyper: scalars.
            state: from `init` or the step before.
            batch: transitions, obs normalised.
            noise: standard normal, of `noise_shape`.
            with_actor: False for the steps between those of a delayed sampler.

        Returns:
            The new state and METRICS [6].
        """
        learned = ["critic", *(["actor"] if with_actor else [])]

        def loss(params: dict[str, Any], target_critic: nets.Params) -> tuple[Tensor, Tensor]:
            return self.loss(hyper, params, target_critic, batch, noise, with_actor)

        shapes = {"actor": self.actor_shapes, "critic": self.critic_shapes}
        return optim.gradient_step(loss, state, shapes, learned, "critic", hyper, self.actor_delay, self.max_grad_norm)
