"""Adam, gradient clipping and Polyak averaging as pure functions of flat parameter vectors.

Axes: P parameters of one network of one member.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
DELAYED = ("actor", "log_alpha")  # what is updated at every actor_delay-th step only


class Moments(NamedTuple):
    """Adam's running averages of the gradient and its square, each [P]."""

    first: Tensor
    second: Tensor


def correction(step: Tensor) -> Tensor:
    """Adam's bias corrections 1 / (1 - beta1^t) and 1 / sqrt(1 - beta2^t), float32 [..., 2].

    They belong to the state and are worked out one step ahead: within a compiled update the powers would be computed
    again for every few parameters.

    Args:
        step: int64 [...], t, 1 at the first step.
    """
    t = step.to(torch.float64)  # 1 - 0.999^t loses digits in float32
    return torch.stack([1 / (1 - BETA1**t), torch.rsqrt(1 - BETA2**t)], -1).float()


def adam(param: Tensor, grad: Tensor, moments: Moments, correction: Tensor, lr: Tensor) -> tuple[Tensor, Moments]:
    """One step of Adam (Kingma and Ba 2015, algorithm 1), with PyTorch's defaults.

    Args:
        param: [P].
        grad: [P].
        moments: from the step before.
        correction: [2], from `correction` for this step.
        lr: [], step size.
    """
    first = torch.lerp(moments.first, grad, 1 - BETA1)
    second = BETA2 * moments.second + (1 - BETA2) * grad.square()
    return param - lr * correction[0] * first / (second.sqrt() * correction[1] + EPS), Moments(first, second)


def begin(params: dict[str, Tensor], seed: Tensor) -> dict[str, Any]:
    """The part of a fresh member's state that `descend` carries on.

    Args:
        params: [P] of each network, and log_alpha [].
        seed: int64 [], for device and shape.
    """
    return {
        "params": params,
        "first": {k: torch.zeros_like(v) for k, v in params.items()},
        "second": {k: torch.zeros_like(v) for k, v in params.items()},
        "correction": correction(torch.ones_like(seed).expand(2)),
        "grad_steps": torch.zeros_like(seed),
    }


def descend(
    state: dict[str, Any], grads: dict[str, Tensor], hyper: dict[str, Tensor], actor_delay: int, max_grad_norm: float
) -> dict[str, Any]:
    """One step of Adam for all parameters that have a gradient, and the counters; the other entries stay.

    Args:
        state: params, first, second, `correction` [2, 2] (of the coming step; [0] for what is updated at every step,
            [1] for actor and log_alpha, at every actor_delay-th) and grad_steps.
        grads: as the parameters, flat.
        hyper: `NAME_lr` for each, where log_alpha's is alpha_lr; what has none of its own takes critic_lr.
        actor_delay: steps between the actor's.
        max_grad_norm: clip to this, but not log_alpha's; 0 does not clip.
    """
    new = {key: dict(state[key]) for key in ("params", "first", "second")}
    for name, grad in grads.items():
        grad = clip(grad, max_grad_norm) if max_grad_norm > 0 and name != "log_alpha" else grad
        moments = Moments(state["first"][name], state["second"][name])
        lr = hyper.get(f"{name.removeprefix('log_')}_lr", hyper["critic_lr"])
        of_coming = state["correction"][1 if name in DELAYED else 0]
        new["params"][name], moments = adam(state["params"][name], grad, moments, of_coming, lr)
        new["first"][name], new["second"][name] = moments
    grad_steps = state["grad_steps"] + 1
    coming = torch.stack([grad_steps, -(-grad_steps // actor_delay)]) + 1
    return {**state, **new, "correction": correction(coming), "grad_steps": grad_steps}


def clip(grad: Tensor, max_norm: float) -> Tensor:
    """Scale grad [P] so that its Euclidean norm is at most `max_norm`."""
    return grad * (max_norm / (grad.norm() + 1e-6)).clamp(max=1.0)


def polyak(target: Tensor, online: Tensor, tau: Tensor) -> Tensor:
    """target + tau * (online - target): exponential average of the online parameters [P]."""
    return torch.lerp(target, online, tau)
