"""Soft Actor-Critic in its first form (Haarnoja et al., arXiv 1801.01290): a value network, a fixed temperature.

The critics' target is that of a state-value network V, whose slow copy is the one target there is; V learns from the
same sampled action as the actor, so an update takes one pass through the actor and one noise.  The paper writes the
temperature as 1 and scales rewards; here both `alpha` and `reward_scale` can be set, and the best policy depends on
their ratio only: reward_scale 5 at alpha 1 is reward_scale 1 at alpha 0.2.

Axes: B batch, O obs_dim, F features, A action_dim, E critics.
"""

from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.actions import GaussianPolicy
from fastsac.algorithms.algorithm import OF_ACTORS, OF_GAUSSIANS, Learned, Loss, Nets, Scalars, Which
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config
from fastsac.nn.network import Net


class SacV1(GaussianPolicy):
    """Twin critics, V with a slow copy, a Gaussian actor."""

    options = OF_ACTORS | OF_GAUSSIANS

    def declare(self) -> dict[str, Learned]:
        """Critics, V and actor; V is built as one critic is, and has their learning rate."""
        value = self.make_critics(inputs=0, outputs=1, num_nets=1)
        return {
            "critic": self.learn_critics(inputs=self.action_dim, has_target=False),
            "value": Learned(value, lr="critic_lr", stream=2, has_target=True),
            "actor": self.learn_actor(inputs=0, outputs=2 * self.action_dim),
        }

    def hyper(self, config: Config) -> dict[str, float]:
        """As in `Algorithm`; alpha is `init_alpha`."""
        return super().hyper(config) | {"alpha": config.init_alpha}

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """For the actions at obs and at the states within the window."""
        return (1 + self.config.num_window_states, batch_size, self.action_dim)

    def loss(self, scalars: Scalars, nets: Nets, targets: Nets, batch: Batch, noise: Tensor, which: Which) -> Loss:
        """J_Q + J_V + J_pi (equations 7, 5 and 12); the metric critic_loss is J_Q + J_V."""
        actor, critic = nets["actor"], nets["critic"]
        alpha, with_actor = scalars["alpha"], which != "critics"
        action, log_prob = self.sample(actor if with_actor else actor.frozen(), batch.obs, noise[0], with_actor)
        features = critic.features(batch.obs)  # [B, F]
        action_q = self.action_q(critic, features, action)  # [E, B]
        value = self._value(nets["value"], batch.obs, training=True)  # [B]
        value_loss = losses.value_loss(value, losses.value_target(action_q, log_prob, alpha))  # [B]

        next_value = self._value(targets["value"], batch.next_obs)  # [B]
        reward = self.soft_reward(
            scalars, batch, alpha, lambda obs: -self.sample(actor.frozen(), obs, noise[1:].flatten(0, 1))[1]
        )
        target_q = losses.bootstrap(reward, batch.discount, next_value)  # [B]
        out = critic(features, batch.action, training=True)  # [E, B, W]
        q_loss, metrics = self.critic_loss(out, self.head.encode(target_q))  # [B]
        critic_loss = metrics["critic_loss"] = q_loss + value_loss  # [B]
        if not with_actor:
            return critic_loss, metrics
        actor_loss = losses.actor_loss(log_prob, losses.min_q(action_q), alpha)  # [B]
        return critic_loss + actor_loss, metrics | {"actor_loss": actor_loss, "alpha": alpha, "entropy": -log_prob}

    def _value(self, value: Net, obs: Tensor, training: bool = False) -> Tensor:
        """V(s), [B], for obs [B, O]."""
        return value(value.features(obs), training=training).squeeze(-1).squeeze(0)
