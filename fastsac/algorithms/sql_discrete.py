"""Soft Q-learning for discrete actions (Haarnoja et al., arXiv 1702.08165; section 3.1), with a fixed temperature.

The critics give a value for every action, the soft value is an exact logsumexp of them, and the policy is the
Boltzmann distribution of the same values: there is no actor.  Where the paper has one critic, the minimum of the
ensemble stands for Q, in the backup and in the policy alike, so that the backup's value is that of the policy that
acts.  Actions are one-hot rows.

The state of a member is a nested dictionary of tensors: `params` (critic), `exp_avg` and `exp_avg_sq` (Adam's
moments, same keys), `bias_correction` (see `optim.gradient_step`), `target_critic`, and `grad_steps`.

Axes: B batch, O obs_dim, A number of actions, E critics, P parameters of a network.
"""

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
class SqlDiscrete:
    """What is fixed at compile time: sizes, switches, and the temperature, as acting sees nothing but the critics.

    There is no actor to be delayed: `actor_delay` is 1 whatever the configuration says.
    """

    critic_shapes: nets.Shapes
    encoder: Encoder
    action_dim: int
    alpha: float
    max_grad_norm: float
    products: nets.Products
    num_between: int
    actor_delay: int = 1

    discrete: ClassVar[bool] = True
    acts_by: ClassVar[str] = "critic"
    adjusts_alpha: ClassVar[bool] = False

    @classmethod
    def from_config(cls, config: Config, spec: EnvSpec, fuse_for_gpu: bool = False) -> Self:
        """Sizes for one task.

        Args:
            config: settings; the temperature is `init_alpha` for all time.
            spec: the task's sizes.
            fuse_for_gpu: biases inside the products, which suits a GPU.
        """
        action_dim = spec.action_dim
        encoder = Encoder.make(spec.obs_dim, spec.image, config.conv_channels)
        return cls(
            critic_shapes=encoder.shapes
            | nets.ensemble_shapes(
                encoder.num_features, config.hidden_dims, action_dim, config.num_critics, config.critic_layer_norm
            ),
            encoder=encoder,
            action_dim=action_dim,
            alpha=config.init_alpha,
            max_grad_norm=config.max_grad_norm,
            products=nets.Products(config.bf16, bias_inside=fuse_for_gpu),
            num_between=config.num_between,
        )

    def hyper(self, config: Config) -> dict[str, float]:
        """Hyper-parameters that members may differ in."""
        return {name: getattr(config, name) for name in ("gamma", "tau", "critic_lr", "reward_scale")}

    def init(self, seed: Tensor, init_alpha: float) -> State:
        """A fresh member.

        Args:
            seed: int64 [].
            init_alpha: not used; the temperature is the dataclass's.
        """
        critic = nets.init(self.critic_shapes, self.encoder.num_features, seed, stream=1)
        return {**optim.begin({"critic": critic}, seed), "target_critic": critic.clone()}

    def act(self, critic: Tensor, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [B, A], one-hot.

        Args:
            critic: [P], the ensemble's vector.
            obs: [B, O].
            noise: standard normal [B, A] to sample exp(Q / alpha), by the Gumbel-max trick; None for the greatest Q.
        """
        q = losses.min_q(self._q(nets.unflatten(critic, self.critic_shapes), obs))  # [B, A]
        return losses.one_hot(q if noise is None else q / self.alpha + losses.gumbel(noise))

    def act_randomly(self, noise: Tensor) -> Tensor:
        """Actions [B, A], one-hot and uniform, of standard normal noise [B, A]."""
        return losses.one_hot(noise)

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """None is needed."""
        return (0,)

    def _q(self, critic: nets.Params, obs: Tensor) -> Tensor:
        """Q_e(s, a) of every action, [E, B, A], for obs [B, O]."""
        return nets.ensemble(critic, self.encoder(critic, obs, self.products), self.products)

    def _log_policy(self, q: Tensor) -> Tensor:
        """log pi(a|s) of the Boltzmann policy of q [E, B, A], [B, A]."""
        return F.log_softmax(losses.min_q(q) / self.alpha, -1)

    def _window_entropy(self, critic: nets.Params, between: WindowStates) -> Tensor:
        """What the states between add to the rewards, [B]."""
        entropy = losses.entropy(self._log_policy(self._q(critic, between.obs.flatten(0, 1))))
        return losses.window_entropy(between.discount, entropy.view_as(between.discount), self.alpha)

    def loss(
        self, hyper: Hyper, critic: nets.Params, target_critic: nets.Params, batch: Batch, with_actor: bool = True
    ) -> tuple[Tensor, Tensor]:
        """The soft Bellman error (equation 11), y = r + discount * alpha logsumexp(min_e Q_target(s', .) / alpha).

        Args:
            hyper: scalars.
            critic: named views.
            target_critic: named views.
            batch: transitions, obs normalised, actions one-hot.
            with_actor: False leaves the metrics of actor and temperature at zero.

        Returns:
            The loss, and METRICS as one vector; `entropy` is the Boltzmann policy's at obs.
        """
        next_q = losses.min_q(self._q(target_critic, batch.next_obs))  # [B, A]
        next_value = losses.boltzmann_value(next_q, self.alpha)  # [B]
        reward = hyper["reward_scale"] * batch.reward
        if batch.window is not None:
            reward = reward + self._window_entropy(target_critic, batch.window)
        target_q = losses.bootstrap(reward, batch.discount, next_value)
        q_all = self._q(critic, batch.obs)  # [E, B, A]
        q = (q_all * batch.action).sum(-1)  # [E, B], of the actions taken
        critic_loss = losses.critic_loss(q, target_q)  # [B]

        zero = torch.zeros_like(critic_loss)
        alpha, entropy = zero, zero
        if with_actor:
            alpha, entropy = torch.full_like(zero, self.alpha), losses.entropy(self._log_policy(q_all.detach()))
        metrics = [critic_loss, q.mean(0), zero, zero, alpha, entropy]
        return critic_loss.mean(), torch.stack(metrics).detach().mean(-1)

    def update(
        self, hyper: Hyper, state: State, batch: Batch, noise: Tensor, with_actor: bool = True
    ) -> tuple[State, Tensor]:
        """One gradient step of the critics, then of their targets.

        Args:
            hyper: scalars.
            state: from `init` or the step before.
            batch: transitions, obs normalised, actions one-hot.
            noise: not used.
            with_actor: changes metrics only.

        Returns:
            The new state and METRICS [6].
        """

        def loss(params: dict[str, Any], target_critic: nets.Params) -> tuple[Tensor, Tensor]:
            return self.loss(hyper, params["critic"], target_critic, batch, with_actor)

        shapes = {"critic": self.critic_shapes}
        return optim.gradient_step(
            loss, state, shapes, ["critic"], "critic", hyper, self.actor_delay, self.max_grad_norm
        )  # fmt: skip
