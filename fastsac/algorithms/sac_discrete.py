"""Soft Actor-Critic for discrete actions (Christodoulou, arXiv 1910.07207), with learned temperature.

The policy is categorical and all expectations over actions are exact sums (section 3 of the paper): no
reparameterisation, and no noise in the update.

Axes: B batch, O obs_dim, A number of actions, E critics, W outputs for one value.
"""

import math
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.actions import DiscreteActions
from fastsac.algorithms.algorithm import OF_GAUSSIANS, OPTIONS, Learned, Loss, Nets, Scalars, Which
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config
from fastsac.nn.network import Net


class SacDiscrete(DiscreteActions):
    """Twin critics with slow copies, an actor that gives logits, a temperature that holds the entropy at a target."""

    adjusts_alpha = True
    options = OPTIONS - OF_GAUSSIANS - {"target_sigma"}
    sees_joint = True

    def declare(self) -> dict[str, Learned]:
        """Critics, actor and temperature."""
        return {
            "critic": self.learn_critics(inputs=0, num_values=self.action_dim),
            "actor": self.learn_actor(inputs=0, outputs=self.action_dim),
            "log_alpha": self.learn_alpha(),
        }

    def hyper(self, config: Config) -> dict[str, float]:
        """As in `Algorithm`; the target entropy is a share of log A unless given."""
        target = config.target_entropy
        if target is None:
            target = config.target_entropy_share * math.log(self.action_dim)
        return super().hyper(config) | {"target_entropy": target}

    def scores(self, net: Net, obs: Tensor, noise: Tensor | None) -> Tensor:
        """As in `DiscreteActions`: logits, whose best is the likeliest action."""
        logits = net(net.features(obs))  # [B, A]
        return logits if noise is None else logits + losses.gumbel(noise)

    def loss(self, scalars: Scalars, nets: Nets, targets: Nets, batch: Batch, noise: Tensor, which: Which) -> Loss:
        """J_Q + J_pi + J(alpha) (equations 3, 12 and 11)."""
        actor, critic, alpha = nets["actor"], nets["critic"], scalars["log_alpha"].detach().exp()
        log_pi = self._log_pis(actor, batch, which)
        terms: list[Tensor] = []  # [B] each
        metrics: dict[str, Tensor] = {}
        entropy: dict[str, Tensor] = {}  # [B] each
        if which != "actor":
            next_q = self.head.value(self.outputs(targets["critic"], batch.next_obs, beside=batch.obs))  # [E, B, A]
            if self.config.critic_targets == "min":
                next_q = losses.min_q(next_q)  # [B, A]
            backup_alpha = alpha if self.config.backup_entropy else torch.zeros_like(alpha)
            next_value = losses.expected_value(next_q, log_pi["next_obs"].detach(), backup_alpha)  # [B], or [E, B]
            reward = self.soft_reward(
                scalars, batch, alpha, lambda obs: losses.entropy(self._log_pi(actor.frozen(), obs))
            )
            target_q = self.head.encode(losses.bootstrap(reward, batch.discount, next_value))
            out = self.outputs(critic, batch.obs, training=True, beside=batch.next_obs)  # [E, B, A, W]
            critic_loss, metrics = self.critic_loss(self.taken(out, batch.action), target_q)
            terms.append(critic_loss)
        if which != "critics":
            out = out if which == "all" else self.outputs(critic, batch.obs)
            q = self.actor_value(self.head.value(out).detach())  # [B, A]
            terms.append(-losses.expected_value(q, log_pi["obs"], alpha))
            entropy["obs"] = losses.entropy(log_pi["obs"])
            metrics |= {"actor_loss": terms[-1], "entropy": entropy["obs"]}
        if self.learned["log_alpha"].is_among(which):
            if self.config.alpha_states != "obs":
                entropy["next_obs"] = losses.entropy(log_pi["next_obs"])
            log_prob = -self.alpha_sees(entropy)
            terms.append(losses.alpha_loss(scalars["log_alpha"], log_prob, scalars["target_entropy"]))
            metrics |= {"alpha_loss": terms[-1], "alpha": alpha}
        return reduce(torch.add, terms), metrics

    def _log_pis(self, actor: Net, batch: Batch, which: Which) -> dict[str, Tensor]:
        """log pi(a|s) of every action, [B, A], at obs and at next_obs, where these losses want them."""
        found = {}
        if which != "critics" and self.joint_pass:
            both = self._log_pi(actor, torch.cat([batch.obs, batch.next_obs]), training=True)
            found = dict(zip(("obs", "next_obs"), both.chunk(2), strict=True))
        elif which != "critics":
            found["obs"] = self._log_pi(actor, batch.obs, training=True)
        if self.asks_at_next_obs(which, found):
            found["next_obs"] = self._log_pi(actor.frozen(), batch.next_obs)
        return found

    def _log_pi(self, actor: Net, obs: Tensor, training: bool = False) -> Tensor:
        """log pi(a|s) of every action, [B, A], for obs [B, O]."""
        return F.log_softmax(actor(actor.features(obs), training=training), -1)
