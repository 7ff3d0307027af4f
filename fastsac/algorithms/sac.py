"""Soft Actor-Critic with learned temperature (arXiv 1812.05905).

Axes: B batch, O obs_dim, F features, A action_dim, E critics.
"""

import torch
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.actions import GaussianPolicy
from fastsac.algorithms.algorithm import OPTIONS, Learned, Loss, Nets, Scalars
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config


class Sac(GaussianPolicy):
    """Twin critics with slow copies, a Gaussian actor, a temperature that holds the entropy at a target."""

    adjusts_alpha = True
    options = OPTIONS
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
        return super().hyper(config) | {"target_entropy": -float(self.action_dim) if target is None else target}

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """For the actions at obs, at next_obs, and at the states within the window."""
        return (2 + self.config.num_window_states, batch_size, self.action_dim)

    def loss(self, scalars: Scalars, nets: Nets, targets: Nets, batch: Batch, noise: Tensor, with_actor: bool) -> Loss:
        """J_Q + J_pi + J(alpha) (equations 5, 9 and 18)."""
        actor, critic, target_critic = nets["actor"], nets["critic"], targets["critic"]
        alpha = scalars["log_alpha"].detach().exp()
        if with_actor and self.joint_pass:
            both = self.sample(actor, torch.cat([batch.obs, batch.next_obs]), noise[:2].flatten(0, 1), training=True)
            (action, next_action), (log_prob, next_log_prob) = (x.chunk(2) for x in both)
        else:
            next_action, next_log_prob = self.sample(actor.frozen(), batch.next_obs, noise[1])
            if with_actor:
                action, log_prob = self.sample(actor, batch.obs, noise[0], training=True)

        next_action, next_features = next_action.detach(), target_critic.features(batch.next_obs)
        next_out = target_critic(next_features, next_action, beside=(batch.obs, batch.action))  # [E, B, W]
        backup_alpha = alpha if self.config.backup_entropy else torch.zeros_like(alpha)
        reward = self.soft_reward(
            scalars, batch, alpha, lambda obs: -self.sample(actor.frozen(), obs, noise[2:].flatten(0, 1))[1]
        )
        target = self.head.target(reward, batch.discount, next_out, next_log_prob, backup_alpha)
        features = critic.features(batch.obs)  # [B, F]
        out = critic(features, batch.action, training=True, beside=(batch.next_obs, next_action))  # [E, B, W]
        critic_loss, metrics = self.critic_loss(out, target)  # [B]
        if not with_actor:
            return critic_loss, metrics

        actor_loss = losses.actor_loss(
            log_prob, self.actor_value(self.action_q(critic, features, action)), alpha
        )  # [B]
        alpha_loss = losses.alpha_loss(scalars["log_alpha"], log_prob, scalars["target_entropy"])  # [B]
        metrics |= {"actor_loss": actor_loss, "alpha_loss": alpha_loss, "alpha": alpha, "entropy": -log_prob}
        return critic_loss + actor_loss + alpha_loss, metrics
