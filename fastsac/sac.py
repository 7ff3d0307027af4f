"""Soft Actor-Critic with learned temperature (arXiv 1812.05905) for one member: init, act, update.  All pure.

The state is a nested dictionary of tensors: `params` (actor, critic, log_alpha), `first` and `second` (Adam's moments,
same keys) with their `correction` for the coming step, `target_critic`, and `grad_steps`.  `torch.func.vmap` adds the
member axis.

Axes: B batch, O obs_dim, A action_dim, E critics, P parameters of a network.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.func import grad

from fastsac import losses, nets, optim
from fastsac.config import Config
from fastsac.env import EnvSpec
from fastsac.replay import Batch

State = dict[str, Any]
Hyper = dict[str, Tensor]

METRICS = ("critic_loss", "q_mean", "actor_loss", "alpha_loss", "alpha", "entropy")
NUM_CRITIC_METRICS = 2  # the rest are of the actor's and the temperature's step
HYPER = ("gamma", "tau", "actor_lr", "critic_lr", "alpha_lr", "reward_scale", "target_entropy")


@dataclass(frozen=True)
class Sac:
    """What is fixed at compile time: sizes and switches.  Numbers that may differ between members are in `Hyper`."""

    actor_shapes: nets.Shapes
    critic_shapes: nets.Shapes
    obs_dim: int
    action_dim: int
    actor_delay: int
    learn_alpha: bool
    max_grad_norm: float

    @classmethod
    def from_config(cls, config: Config, spec: EnvSpec) -> Self:
        """Sizes for one task."""
        obs_dim, action_dim = spec.obs_dim, spec.action_dim
        return cls(
            actor_shapes=nets.actor_shapes(obs_dim, action_dim, config.hidden_dims),
            critic_shapes=nets.critic_shapes(
                obs_dim, action_dim, config.hidden_dims, config.num_critics, config.critic_layer_norm
            ),
            obs_dim=obs_dim,
            action_dim=action_dim,
            actor_delay=config.actor_delay,
            learn_alpha=config.learn_alpha,
            max_grad_norm=config.max_grad_norm,
        )


def make_hyper(config: Config, spec: EnvSpec, device: torch.device) -> Hyper:
    """Hyper-parameters as tensors [M], so that members may differ and a captured graph may see them change."""
    values = {name: getattr(config, name) for name in HYPER}
    if values["target_entropy"] is None:
        values["target_entropy"] = -float(spec.action_dim)
    return {
        name: torch.full((config.seeds,), value, dtype=torch.float32, device=device) for name, value in values.items()
    }


def init(sac: Sac, seed: Tensor, init_alpha: float) -> State:
    """A fresh member.

    Args:
        sac: sizes and switches.
        seed: int64 [].
        init_alpha: temperature at the start.
    """
    critic = nets.init(sac.critic_shapes, seed, stream=1)
    params = {
        "actor": nets.init(sac.actor_shapes, seed, stream=0),
        "critic": critic,
        "log_alpha": torch.full((), init_alpha, device=seed.device).log(),
    }
    return {
        "params": params,
        "first": {k: torch.zeros_like(v) for k, v in params.items()},
        "second": {k: torch.zeros_like(v) for k, v in params.items()},
        "correction": {k: optim.correction(torch.ones_like(seed)) for k in params},
        "target_critic": critic.clone(),
        "grad_steps": torch.zeros_like(seed),
    }


def act(sac: Sac, actor: Tensor, obs: Tensor, noise: Tensor | None) -> Tensor:
    """Actions in [-1, 1].

    Args:
        sac: sizes and switches.
        actor: [P], the actor's vector.
        obs: [B, O].
        noise: standard normal [B, A] to sample; None for tanh of the mean.

    Returns:
        [B, A].
    """
    mean, log_std = nets.actor(nets.unflatten(actor, sac.actor_shapes), obs)
    return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)


def loss(
    sac: Sac,
    hyper: Hyper,
    params: dict[str, Any],
    target_critic: nets.Params,
    batch: Batch,
    noise: Tensor,
    with_actor: bool = True,
) -> tuple[Tensor, Tensor]:
    """Critic, actor and temperature loss as one scalar; stop-gradients keep each from the others' parameters.

    Args:
        sac: sizes and switches.
        hyper: scalars.
        params: actor and critic as named views, and log_alpha.
        target_critic: named views.
        batch: transitions, obs normalised.
        noise: standard normal [2, B, A]: for the action at obs and for the one at next_obs.
        with_actor: False leaves out the losses of actor and temperature.

    Returns:
        The sum, and METRICS as one vector (zeros where left out).
    """
    alpha = params["log_alpha"].detach().exp()
    frozen_actor = {k: v.detach() for k, v in params["actor"].items()}
    next_action, next_log_prob = losses.tanh_normal(*nets.actor(frozen_actor, batch.next_obs), noise[1])
    next_q = nets.critic(target_critic, batch.next_obs, next_action)  # [E, B]
    reward = hyper["reward_scale"] * batch.reward
    target_q = losses.td_target(reward, batch.discount, next_q, next_log_prob, alpha)  # [B]
    q = nets.critic(params["critic"], batch.obs, batch.action)  # [E, B]
    critic_loss = losses.critic_loss(q, target_q)
    if not with_actor:
        zero = torch.zeros_like(alpha)
        return critic_loss, torch.stack([critic_loss, q.mean(), zero, zero, zero, zero]).detach()

    # The actor's gradient passes through the critics to the action; their own weights get none.
    frozen_critic = {k: v.detach() for k, v in params["critic"].items()}
    action, log_prob = losses.tanh_normal(*nets.actor(params["actor"], batch.obs), noise[0])
    actor_loss = losses.actor_loss(log_prob, nets.critic(frozen_critic, batch.obs, action), alpha)
    alpha_loss = losses.alpha_loss(params["log_alpha"], log_prob, hyper["target_entropy"])
    metrics = torch.stack([critic_loss, q.mean(), actor_loss, alpha_loss, alpha, -log_prob.mean()])
    return critic_loss + actor_loss + alpha_loss, metrics.detach()


def update(
    sac: Sac, hyper: Hyper, state: State, batch: Batch, noise: Tensor, with_actor: bool = True
) -> tuple[State, Tensor]:
    """One gradient step: all losses at the old parameters, then Adam, then the target critics.

    Args:
        sac: sizes and switches.
        hyper: scalars.
        state: from `init` or the step before.
        batch: transitions, obs normalised.
        noise: standard normal [2, B, A].
        with_actor: False for the steps between those of a delayed actor.

    Returns:
        The new state and METRICS [6].
    """
    params = state["params"]
    views = {
        "actor": nets.unflatten(params["actor"], sac.actor_shapes),
        "critic": nets.unflatten(params["critic"], sac.critic_shapes),
        "log_alpha": params["log_alpha"],
    }
    target_critic = nets.unflatten(state["target_critic"], sac.critic_shapes)
    learned = ["critic", *(["actor"] if with_actor else []), *(["log_alpha"] if with_actor and sac.learn_alpha else [])]

    def objective(learned_views: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return loss(sac, hyper, {**views, **learned_views}, target_critic, batch, noise, with_actor)

    grads, metrics = grad(objective, has_aux=True)({name: views[name] for name in learned})

    new = {key: dict(state[key]) for key in ("params", "first", "second", "correction")}
    for name in learned:
        gradient = grads[name] if name == "log_alpha" else nets.flatten(grads[name])
        if sac.max_grad_norm > 0 and name != "log_alpha":
            gradient = optim.clip(gradient, sac.max_grad_norm)
        moments = optim.Moments(state["first"][name], state["second"][name])
        lr = hyper["alpha_lr" if name == "log_alpha" else f"{name}_lr"]
        new["params"][name], moments = optim.adam(params[name], gradient, moments, state["correction"][name], lr)
        new["first"][name], new["second"][name] = moments
        steps = state["grad_steps"] // (1 if name == "critic" else sac.actor_delay) + 1  # steps made, with this one
        new["correction"][name] = optim.correction(steps + 1)
    target = optim.polyak(state["target_critic"], new["params"]["critic"], hyper["tau"])
    return {**new, "target_critic": target, "grad_steps": state["grad_steps"] + 1}, metrics
