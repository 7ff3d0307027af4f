"""Adam, gradient clipping, Polyak averaging, and a gradient step made of them, as pure functions of flat vectors.

Axes: P parameters of one network of one member.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastsac.nn import nets

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
Loss = Callable[[dict[str, Any], nets.Params], tuple[Tensor, Tensor]]
DELAYED = ("actor", "log_alpha")  # what is updated at every actor_delay-th step only


class Moments(NamedTuple):
    """Adam's running averages of the gradient and its square, each [P]."""

    exp_avg: Tensor
    exp_avg_sq: Tensor


def bias_correction(step: Tensor) -> Tensor:
    """Adam's bias corrections 1 / (1 - beta1^t) and 1 / sqrt(1 - beta2^t), float32 [..., 2].

    They belong to the state and are worked out one step ahead: within a compiled update the powers would be computed
    again for every few parameters.

    Args:
        step: int64 [...], t, 1 at the first step.
    """
    t = step.to(torch.float64)  # 1 - 0.999^t loses digits in float32
    return torch.stack([1 / (1 - BETA1**t), torch.rsqrt(1 - BETA2**t)], -1).float()


def adam(param: Tensor, grad: Tensor, moments: Moments, bias_correction: Tensor, lr: Tensor) -> tuple[Tensor, Moments]:
    """One step of Adam (Kingma and Ba 2015, algorithm 1), with PyTorch's defaults.

    Args:
        param: [P].
        grad: [P].
        moments: from the step before.
        bias_correction: [2], from `bias_correction` for this step.
        lr: [], step size.
    """
    exp_avg = torch.lerp(moments.exp_avg, grad, 1 - BETA1)
    exp_avg_sq = BETA2 * moments.exp_avg_sq + (1 - BETA2) * grad.square()
    step = lr * bias_correction[0] * exp_avg / (exp_avg_sq.sqrt() * bias_correction[1] + EPS)
    return param - step, Moments(exp_avg, exp_avg_sq)


def begin(params: dict[str, Tensor], seed: Tensor) -> dict[str, Any]:
    """The part of a fresh member's state that `gradient_step` carries on.

    Args:
        params: [P] of each network, and log_alpha [].
        seed: int64 [], for device and shape.
    """
    return {
        "params": params,
        "exp_avg": {k: torch.zeros_like(v) for k, v in params.items()},
        "exp_avg_sq": {k: torch.zeros_like(v) for k, v in params.items()},
        "bias_correction": bias_correction(torch.ones_like(seed).expand(2)),
        "grad_steps": torch.zeros_like(seed),
    }


def gradient_step(
    loss: Loss,
    state: dict[str, Any],
    shapes: dict[str, nets.Shapes],
    learned: Sequence[str],
    target: str,
    hyper: dict[str, Tensor],
    actor_delay: int,
    max_grad_norm: float,
) -> tuple[dict[str, Any], Tensor]:
    """One step of Adam down the gradient of one scalar, at the old parameters, then the target network and counters.

    Args:
        loss: maps the parameters (networks as named views) and the target's views to the scalar and metrics.
        state: params, exp_avg, exp_avg_sq, `bias_correction` [2, 2] (of the coming step; [0] for what is updated at
            every step, [1] for what is DELAYED), grad_steps, and `target_NAME`.
        shapes: of each network's vector; other parameters are taken as they are.
        learned: names of the parameters to update.
        target: NAME of the network with a target.
        hyper: tau, and `NAME_lr` for each, where log_alpha's is alpha_lr; what has none of its own takes critic_lr.
        actor_delay: steps between those of what is DELAYED.
        max_grad_norm: clip to this, but not log_alpha's; 0 does not clip.

    Returns:
        The new state, and what `loss` gave beside the scalar.
    """
    params, target_name = state["params"], f"target_{target}"
    views = {k: nets.unflatten(v, shapes[k]) if k in shapes else v for k, v in params.items()}
    target_views = nets.unflatten(state[target_name], shapes[target])

    def objective(of_learned: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return loss({**views, **of_learned}, target_views)

    grads, metrics = torch.func.grad(objective, has_aux=True)({name: views[name] for name in learned})
    new: dict[str, Any] = {key: dict(state[key]) for key in ("params", "exp_avg", "exp_avg_sq")}
    for name in learned:
        gradient = nets.flatten(grads[name]) if name in shapes else grads[name]
        gradient = clip(gradient, max_grad_norm) if max_grad_norm > 0 and name in shapes else gradient
        moments = Moments(state["exp_avg"][name], state["exp_avg_sq"][name])
        lr = hyper.get(f"{name.removeprefix('log_')}_lr", hyper["critic_lr"])
        of_coming = state["bias_correction"][1 if name in DELAYED else 0]
        new["params"][name], moments = adam(params[name], gradient, moments, of_coming, lr)
        new["exp_avg"][name], new["exp_avg_sq"][name] = moments
    new[target_name] = polyak(state[target_name], new["params"][target], hyper["tau"])
    grad_steps = state["grad_steps"] + 1
    coming = torch.stack([grad_steps, -(-grad_steps // actor_delay)]) + 1
    return {**state, **new, "bias_correction": bias_correction(coming), "grad_steps": grad_steps}, metrics


def clip(grad: Tensor, max_norm: float) -> Tensor:
    """Scale grad [P] so that its Euclidean norm is at most `max_norm`."""
    return grad * (max_norm / (grad.norm() + 1e-6)).clamp(max=1.0)


def polyak(target: Tensor, online: Tensor, tau: Tensor) -> Tensor:
    """target + tau * (online - target): exponential average of the online parameters [P]."""
    return torch.lerp(target, online, tau)
