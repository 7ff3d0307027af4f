"""Soft Actor-Critic with learned temperature (arXiv 1812.05905).

Axes: B batch, O obs_dim, F features, A action_dim, E critics.
"""

from functools import reduce

import torch
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.actions import GaussianPolicy
from fastsac.algorithms.algorithm import OPTIONS, Learned, Loss, Nets, Scalars, Which
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config
from fastsac.nn.network import Net


class Sac(GaussianPolicy):
    """Twin critics with slow copies, a Gaussian actor, a temperature that holds the entropy at a target."""

    adjusts_alpha = True
    options = OPTIONS - {"target_entropy_share"}
    sees_joint = True

    def declare(self) -> dict[str, Learned]:
        """Critics, actor and temperature."""
        return {
            "critic": self.learn_critics(inputs=self.action_dim),
            "actor": self.learn_actor(inputs=0, outputs=2 * self.action_dim),
            "log_alpha": self.learn_alpha(),
        }

    def hyper(self, config: Config) -> dict[str, float]:
        """As in `Algorithm`; the target entropy is -A unless given."""
        target = config.target_entropy
        if config.target_sigma is not None:
            target = losses.normal_entropy(config.target_sigma, self.action_dim)
        return super().hyper(config) | {"target_entropy": -float(self.action_dim) if target is None else target}

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """For the actions at obs, at next_obs, and at the states within the window."""
        return (2 + self.config.num_window_states, batch_size, self.action_dim)

    def loss(self, scalars: Scalars, nets: Nets, targets: Nets, batch: Batch, noise: Tensor, which: Which) -> Loss:
        """J_Q + J_pi + J(alpha) (equations 5, 9 and 18)."""
        actor, critic, target_critic = nets["actor"], nets["critic"], targets["critic"]
        alpha = scalars["log_alpha"].detach().exp()
        action, log_prob = self._samples(actor, batch, noise, which)
        features = critic.features(batch.obs)  # [B, F]
        terms: list[Tensor] = []  # [B] each
        metrics: dict[str, Tensor] = {}
        if which != "actor":
            next_action, next_features = action["next_obs"].detach(), target_critic.features(batch.next_obs)
            next_out = target_critic(next_features, next_action, beside=(batch.obs, batch.action))  # [E, B, W]
            backup_alpha = alpha if self.config.backup_entropy else torch.zeros_like(alpha)
            reward = self.soft_reward(
                scalars, batch, alpha, lambda obs: -self.sample(actor.frozen(), obs, noise[2:].flatten(0, 1))[1]
            )
            target = self.head.target(reward, batch.discount, next_out, log_prob["next_obs"], backup_alpha)
            out = critic(features, batch.action, training=True, beside=(batch.next_obs, next_action))  # [E, B, W]
            critic_loss, metrics = self.critic_loss(out, target)
            terms.append(critic_loss)
        if which != "critics":
            q = self.actor_value(self.action_q(critic, features, action["obs"]))  # [B]
            terms.append(losses.actor_loss(log_prob["obs"], q, alpha))
            metrics |= {"actor_loss": terms[-1], "entropy": -log_prob["obs"]}
        if self.learned["log_alpha"].is_among(which):
            terms.append(losses.alpha_loss(scalars["log_alpha"], self.alpha_sees(log_prob), scalars["target_entropy"]))
            metrics |= {"alpha_loss": terms[-1], "alpha": alpha}
        return reduce(torch.add, terms), metrics

    def _samples(
        self, actor: Net, batch: Batch, noise: Tensor, which: Which
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Actions [B, A], and their log-probabilities [B], at obs and at next_obs, where these losses want them."""
        found = {}
        if which != "critics" and self.joint_pass:
            both = self.sample(actor, torch.cat([batch.obs, batch.next_obs]), noise[:2].flatten(0, 1), training=True)
            found = dict(zip(("obs", "next_obs"), zip(*(x.chunk(2) for x in both), strict=True), strict=True))
        elif which != "critics":
            found["obs"] = self.sample(actor, batch.obs, noise[0], training=True)
        if self.asks_at_next_obs(which, found):
            found["next_obs"] = self.sample(actor.frozen(), batch.next_obs, noise[1])
        return {name: sample[0] for name, sample in found.items()}, {name: sample[1] for name, sample in found.items()}
