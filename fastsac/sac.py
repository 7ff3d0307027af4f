"""Soft Actor-Critic with learned temperature (arXiv 1812.05905) for one member: init, act, update.  All pure.

The state is a nested dictionary of tensors: `params` (actor, critic, log_alpha), `first` and `second` (Adam's moments,
same keys), `correction` (of those moments at the coming step: [0] the critic's, [1] the actor's), `target_critic`, and
`grad_steps`.  `torch.func.vmap` adds the
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
    products: nets.Products
    joint_pass: bool

    @classmethod
    def from_config(cls, config: Config, spec: EnvSpec, few_kernels: bool = False) -> Self:
        """Sizes for one task.

        Args:
            config: settings.
            spec: the task's sizes.
            few_kernels: shape the update for a GPU, where the number of kernels counts and not the arithmetic: biases
                inside the products, and obs and next_obs through the actor together (half of its backward pass is
                then of zeros).  The same numbers up to rounding.
        """
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
            products=nets.Products(config.bf16, bias_inside=few_kernels),
            joint_pass=few_kernels,
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
    critic = nets.init(sac.critic_shapes, sac.obs_dim + sac.action_dim, seed, stream=1)
    params = {
        "actor": nets.init(sac.actor_shapes, sac.obs_dim, seed, stream=0),
        "critic": critic,
        "log_alpha": torch.full((), init_alpha, device=seed.device).log(),
    }
    return {
        "params": params,
        "first": {k: torch.zeros_like(v) for k, v in params.items()},
        "second": {k: torch.zeros_like(v) for k, v in params.items()},
        "correction": optim.correction(torch.ones_like(seed).expand(2)),
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
    mean, log_std = nets.actor(nets.unflatten(actor, sac.actor_shapes), obs, sac.products)
    return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)


def sample(sac: Sac, actor: nets.Params, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Actions [B, A] in [-1, 1] and their log-probabilities [B] for obs [B, O] and standard normal noise [B, A]."""
    return losses.tanh_normal(*nets.actor(actor, obs, sac.products), noise)


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
    if with_actor and sac.joint_pass:
        both = sample(sac, params["actor"], torch.cat([batch.obs, batch.next_obs]), noise.flatten(0, 1))
        (action, next_action), (log_prob, next_log_prob) = (x.chunk(2) for x in both)
    else:
        next_action, next_log_prob = sample(sac, _frozen(params["actor"]), batch.next_obs, noise[1])
        if with_actor:
            action, log_prob = sample(sac, params["actor"], batch.obs, noise[0])

    next_q = nets.critic(target_critic, batch.next_obs, next_action.detach(), sac.products)  # [E, B]
    reward = hyper["reward_scale"] * batch.reward
    target_q = losses.td_target(reward, batch.discount, next_q, next_log_prob, alpha)  # [B]
    q = nets.critic(params["critic"], batch.obs, batch.action, sac.products)  # [E, B]
    critic_loss = losses.critic_loss(q, target_q)  # [B]
    if not with_actor:
        zero = torch.zeros_like(critic_loss)
        return critic_loss.mean(), torch.stack([critic_loss, q.mean(0), zero, zero, zero, zero]).detach().mean(-1)

    # The actor's gradient passes through the critics to the action; their own weights get none.
    action_q = nets.critic(_frozen(params["critic"]), batch.obs, action, sac.products)  # [E, B]
    actor_loss = losses.actor_loss(log_prob, action_q, alpha)  # [B]
    alpha_loss = losses.alpha_loss(params["log_alpha"], log_prob, hyper["target_entropy"])  # [B]
    metrics = [critic_loss, q.mean(0), actor_loss, alpha_loss, alpha.expand_as(log_prob), -log_prob]
    return (critic_loss + actor_loss + alpha_loss).mean(), torch.stack(metrics).detach().mean(-1)


def _frozen(params: nets.Params) -> nets.Params:
    return {k: v.detach() for k, v in params.items()}


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

    new = {key: dict(state[key]) for key in ("params", "first", "second")}
    for name in learned:
        gradient = grads[name] if name == "log_alpha" else nets.flatten(grads[name])
        if sac.max_grad_norm > 0 and name != "log_alpha":
            gradient = optim.clip(gradient, sac.max_grad_norm)
        moments = optim.Moments(state["first"][name], state["second"][name])
        lr = hyper["alpha_lr" if name == "log_alpha" else f"{name}_lr"]
        correction = state["correction"][0 if name == "critic" else 1]
        new["params"][name], moments = optim.adam(params[name], gradient, moments, correction, lr)
        new["first"][name], new["second"][name] = moments
    target = optim.polyak(state["target_critic"], new["params"]["critic"], hyper["tau"])
    grad_steps = state["grad_steps"] + 1
    coming = torch.stack([grad_steps, -(-grad_steps // sac.actor_delay)]) + 1  # the next step of critic and actor
    return {
        **new, "correction": optim.correction(coming), "target_critic": target, "grad_steps": grad_steps
    }, metrics  # fmt: skip
