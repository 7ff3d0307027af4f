"""Soft Q-learning for continuous actions (Haarnoja et al., arXiv 1702.08165), with a fixed temperature.

The policy is pi(a|s) = exp((Q(s, a) - V(s)) / alpha) on [-1, 1]^A.  Its value V is estimated by importance sampling
from a uniform proposal (equation 10), and a sampler network a = tanh(f(s, xi)), xi standard normal [A], learns to draw
from it by amortised Stein variational gradient descent (equations 13 and 14).  f is xi plus a network's output: a
fresh sampler covers all actions and can settle in several modes, where one that begins in a small region finds one.

The particles of equation 13 are u = f(s, xi), before tanh, and their target is the density of u,
exp(Q(s, tanh u) / alpha) * prod_i (1 - tanh(u_i)^2): actions have an end, where Stein's identity fails, and u has none.
(The authors' code takes actions as particles, and keeps them from the end by adding the logarithm of the same product
to the density of actions, which changes what is sampled.)

An update evaluates the critics NUM_PROPOSALS * B times at next_obs and NUM_FIXED * B times at obs, the latter with
gradient to the action, where SAC evaluates them B times each: several times the arithmetic of SAC.

Axes: B batch, O obs_dim, F features, A action_dim, E critics, K proposals or particles.
"""

import math

import torch
from torch import Tensor
from torch.func import grad

from fastsac.algorithms import losses
from fastsac.algorithms.algorithm import OF_ACTORS, Algorithm, Learned, Loss, Nets, Scalars, Which
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config
from fastsac.nn.network import Net

NUM_PROPOSALS = NUM_FIXED = NUM_MOVED = 16


class Sql(Algorithm):
    """Twin critics with slow copies, and a sampler, which is the actor."""

    options = OF_ACTORS

    def declare(self) -> dict[str, Learned]:
        """Critics and sampler."""
        return {
            "critic": self.learn_critics(inputs=self.action_dim),
            "actor": self.learn_actor(inputs=self.action_dim, outputs=self.action_dim),
        }

    def hyper(self, config: Config) -> dict[str, float]:
        """As in `Algorithm`; alpha is `init_alpha`."""
        return super().hyper(config) | {"alpha": config.init_alpha}

    def choose(self, net: Net, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [B, A] in [-1, 1], as in `Algorithm`.

        The best is that of xi = 0, the middle of the samples, which is not always a mode where there are several.
        """
        xi = torch.zeros(obs.shape[0], self.action_dim, device=obs.device) if noise is None else noise
        return torch.tanh(self._sample(net, net.features(obs), xi.unsqueeze(0)).squeeze(0))

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """For proposals at next_obs, fixed and moved particles at obs, proposals at the states within the window."""
        num_draws = NUM_PROPOSALS * (1 + self.config.num_window_states) + NUM_FIXED + NUM_MOVED
        return (num_draws, batch_size, self.action_dim)

    def loss(self, scalars: Scalars, nets: Nets, targets: Nets, batch: Batch, noise: Tensor, which: Which) -> Loss:
        """The soft Bellman error (equation 11) and the sampler's surrogate (equation 14).

        The surrogate's gradient is -mean Delta df/dphi; its value means nothing.  The metric entropy is that of
        exp((Q - V) / alpha) at next_obs, estimated from the proposals, and never below A log 2 - log NUM_PROPOSALS.
        """
        critic, target_critic, alpha = nets["critic"], targets["critic"], scalars["alpha"]
        proposal_noise, xi, window_noise = torch.split(
            noise, [NUM_PROPOSALS, NUM_FIXED + NUM_MOVED, NUM_PROPOSALS * self.config.num_window_states]
        )
        next_q = self._proposal_q(target_critic, batch.next_obs, proposal_noise)  # [K, B]
        next_value = losses.sampled_value(next_q, self._log_proposal, alpha)  # [B]

        def entropy_of(obs: Tensor) -> Tensor:
            q = self._proposal_q(target_critic, obs, window_noise.view(NUM_PROPOSALS, -1, self.action_dim))
            return losses.sampled_entropy(q, self._log_proposal, alpha)

        reward = self.soft_reward(scalars, batch, alpha, entropy_of)
        target_q = losses.bootstrap(reward, batch.discount, next_value)  # [B]
        features = critic.features(batch.obs)  # [B, F]
        out = critic(features, batch.action, training=True)  # [E, B, W]
        critic_loss, metrics = self.critic_loss(out, self.head.encode(target_q))  # [B]
        if which == "critics":
            return critic_loss, metrics

        actor_loss = self._sampler_loss(nets["actor"], critic.frozen(), batch.obs, features.detach(), xi, alpha)  # [B]
        entropy = losses.sampled_entropy(next_q, self._log_proposal, alpha)  # [B]
        return critic_loss + actor_loss, metrics | {"actor_loss": actor_loss, "alpha": alpha, "entropy": entropy}

    def _sampler_loss(
        self, actor: Net, critic: Net, obs: Tensor, features: Tensor, xi: Tensor, alpha: Tensor
    ) -> Tensor:
        """The sampler's surrogate [B], at obs [B, O], whose features [B, F] are the critics', for xi [K, B, A]."""
        seen = actor.features(obs)  # [B, F]
        if self.joint_pass:
            fixed, moved = torch.split(self._sample(actor, seen, xi, training=True), [NUM_FIXED, NUM_MOVED])
        else:
            fixed = self._sample(actor.frozen(), seen.detach(), xi[:NUM_FIXED])  # [K, B, A]
            moved = self._sample(actor, seen, xi[NUM_FIXED:], training=True)  # [K, B, A]
        fixed = fixed.detach()
        score = self._score(critic, features, fixed, alpha)  # [K, B, A]
        direction = losses.stein_direction(fixed, moved, score, alpha)  # [K, B, A]
        return -(direction * moved).sum(-1).mean(0)

    @property
    def _log_proposal(self) -> float:
        """Log-density of what is uniform in [-1, 1]^A."""
        return -self.action_dim * math.log(2)

    def _sample(self, actor: Net, features: Tensor, xi: Tensor, training: bool = False) -> Tensor:
        """Actions before tanh, [K, B, A], for features [B, F] and standard normal xi [K, B, A]."""
        x = torch.cat([features.expand(xi.shape[0], -1, -1), xi], -1)
        return xi + torch.unflatten(actor(x.flatten(0, 1), training=training), 0, xi.shape[:2])

    def _proposal_q(self, critic: Net, obs: Tensor, noise: Tensor) -> Tensor:
        """min_e Q_e, [K, B], of uniform actions of noise [K, B, A] at obs [B, O]."""
        return self._min_q(critic, critic.features(obs), self.act_randomly(noise))

    def _min_q(self, critic: Net, features: Tensor, action: Tensor) -> Tensor:
        """min_e Q_e of actions [K, B, A] at features [B, F], [K, B]."""
        features = features.expand(action.shape[0], -1, -1)
        q = self.head.value(critic(features.flatten(0, 1), action.flatten(0, 1)))  # [E, K * B]
        return torch.unflatten(losses.min_q(q), 0, action.shape[:2])

    def _score(self, critic: Net, features: Tensor, u: Tensor, alpha: Tensor) -> Tensor:
        """Gradient of Q(s, tanh u) + alpha sum_i log(1 - tanh(u_i)^2) in u [K, B, A]: alpha times log-density's."""

        def log_density(u: Tensor) -> Tensor:
            q = self._min_q(critic, features, torch.tanh(u))  # [K, B]
            return (q + alpha * losses.log_tanh_slope(u).sum(-1)).sum()

        score: Tensor = grad(log_density)(u)
        return score
