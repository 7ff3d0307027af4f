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

The state of a member is that of `fastsac.sac` without log_alpha; `actor` is the sampler.

Axes: B batch, O obs_dim, A action_dim, E critics, K proposals or particles, P parameters of a network.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.func import grad

from fastsac import losses, nets, optim
from fastsac.config import Config
from fastsac.env import EnvSpec
from fastsac.replay import Batch
from fastsac.variants import Hyper, State


@dataclass(frozen=True)
class Sql:
    """What is fixed at compile time: sizes and switches.  Numbers that may differ between members are in `Hyper`."""

    actor_shapes: nets.Shapes
    critic_shapes: nets.Shapes
    obs_dim: int
    action_dim: int
    actor_delay: int
    max_grad_norm: float
    products: nets.Products
    joint_pass: bool
    num_proposals: int = 16
    num_fixed: int = 16
    num_moved: int = 16

    discrete: ClassVar[bool] = False
    acts_by: ClassVar[str] = "actor"

    @classmethod
    def from_config(cls, config: Config, spec: EnvSpec, few_kernels: bool = False) -> Self:
        """Sizes for one task.

        Args:
            config: settings; the temperature is `init_alpha` for all time.
            spec: the task's sizes.
            few_kernels: shape the update for a GPU: biases inside the products, and all particles through the sampler
                together (half of its backward pass is then of zeros).  The same numbers up to rounding.
        """
        obs_dim, action_dim = spec.obs_dim, spec.action_dim
        return cls(
            actor_shapes=nets.mlp_shapes(obs_dim + action_dim, config.hidden_dims, action_dim),
            critic_shapes=nets.ensemble_shapes(
                obs_dim + action_dim, config.hidden_dims, 1, config.num_critics, config.critic_layer_norm
            ),
            obs_dim=obs_dim,
            action_dim=action_dim,
            actor_delay=config.actor_delay,
            max_grad_norm=config.max_grad_norm,
            products=nets.Products(config.bf16, bias_inside=few_kernels),
            joint_pass=few_kernels,
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
        num_inputs = self.obs_dim + self.action_dim
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
        xi = torch.zeros_like(obs[:, :1]).expand(-1, self.action_dim) if noise is None else noise
        return torch.tanh(self._sample(nets.unflatten(actor, self.actor_shapes), obs, xi.unsqueeze(0)).squeeze(0))

    def act_randomly(self, noise: Tensor) -> Tensor:
        """Actions [B, A], uniform in [-1, 1], of standard normal noise [B, A]."""
        return torch.erf(noise / math.sqrt(2))  # the normal's distribution function makes it uniform

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """Shape of the standard normal numbers that `update` wants."""
        return (self.num_proposals + self.num_fixed + self.num_moved, batch_size, self.action_dim)

    def _sample(self, actor: nets.Params, obs: Tensor, xi: Tensor) -> Tensor:
        """Actions before tanh, [K, B, A], for obs [B, O] and standard normal xi [K, B, A]."""
        x = torch.cat([obs.expand(xi.shape[0], -1, -1), xi], -1)
        return xi + nets.mlp(actor, x.flatten(0, 1), self.products).unflatten(0, xi.shape[:2])

    def _least_q(self, critic: nets.Params, obs: Tensor, action: Tensor) -> Tensor:
        """min_e Q_e of actions [K, B, A] at obs [B, O], [K, B]."""
        obs = obs.expand(action.shape[0], -1, -1)
        q = nets.critic(critic, obs.flatten(0, 1), action.flatten(0, 1), self.products)  # [E, K * B]
        return losses.least(q).unflatten(0, action.shape[:2])

    def _score(self, critic: nets.Params, obs: Tensor, u: Tensor, alpha: Tensor) -> Tensor:
        """Gradient of Q(s, tanh u) + alpha sum_i log(1 - tanh(u_i)^2) in u [K, B, A]: alpha times log-density's."""

        def log_density(u: Tensor) -> Tensor:
            q = self._least_q(critic, obs, torch.tanh(u))  # [K, B]
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
            noise: standard normal [K, B, A]: for proposals at next_obs, fixed and moved particles at obs.
            with_actor: False leaves out the sampler.

        Returns:
            The sum, and METRICS as one vector (zeros where left out); `entropy` is that of exp((Q - V) / alpha) at
            next_obs, estimated from the proposals, and never below A log 2 - log num_proposals.
        """
        alpha = hyper["alpha"]
        proposal_noise, xi = noise.split([self.num_proposals, self.num_fixed + self.num_moved])
        log_proposal = -self.action_dim * math.log(2)  # uniform in [-1, 1]^A
        next_q = self._least_q(target_critic, batch.next_obs, self.act_randomly(proposal_noise))  # [K, B]
        next_value = losses.sampled_value(next_q, log_proposal, alpha)  # [B]
        target_q = losses.bootstrap(hyper["reward_scale"] * batch.reward, batch.discount, next_value)  # [B]
        q = nets.critic(params["critic"], batch.obs, batch.action, self.products)  # [E, B]
        critic_loss = losses.critic_loss(q, target_q)  # [B]
        zero = torch.zeros_like(critic_loss)
        if not with_actor:
            return critic_loss.mean(), torch.stack([critic_loss, q.mean(0), zero, zero, zero, zero]).detach().mean(-1)

        if self.joint_pass:
            fixed, moved = self._sample(params["actor"], batch.obs, xi).split([self.num_fixed, self.num_moved])
        else:
            fixed = self._sample(nets.frozen(params["actor"]), batch.obs, xi[: self.num_fixed])  # [K, B, A]
            moved = self._sample(params["actor"], batch.obs, xi[self.num_fixed :])  # [K, B, A]
        fixed = fixed.detach()
        score = self._score(nets.frozen(params["critic"]), batch.obs, fixed, alpha)  # [K, B, A]
        direction = losses.stein_direction(fixed, moved, score, alpha)  # [K, B, A]
        actor_loss = -(direction * moved).sum(-1).mean(0)  # [B]
        entropy = losses.sampled_entropy(next_q, log_proposal, alpha)  # [B]
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
