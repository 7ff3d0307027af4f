"""Adam, decay of weights, schedules of the learning rate, clipping and Polyak averaging: functions of flat vectors.

Axes: P parameters of one network of one member.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

EPS = 1e-8

SCHEDULES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: 0.5 * (1 + torch.cos(math.pi * progress)),
}
"""Of a learning rate: what is left of the way from its first to its last value, of the progress in [0, 1]."""


class Betas(NamedTuple):
    """What Adam's running averages keep of themselves at every step: of the gradient, and of its square."""

    first: float
    second: float


BETAS = Betas(0.9, 0.999)


class Moments(NamedTuple):
    """Adam's running averages of the gradient and its square, each [P]."""

    exp_avg: Tensor
    exp_avg_sq: Tensor


def lr_factor(schedule: str, done: Tensor, num_steps: Tensor, final: Tensor) -> Tensor:
    """What a learning rate is multiplied by after `done` of `num_steps` steps: from 1 to `final`, and `final` after.

    final + (1 - final) * SCHEDULES[schedule](done / num_steps), float64 [...]: PyTorch's LinearLR, and its
    CosineAnnealingLR (Loshchilov and Hutter 2017, equation 5, without restarts).
    """
    progress = (done.to(torch.float64) / num_steps).clamp(max=1)
    return final + (1 - final) * SCHEDULES[schedule](progress)


def bias_correction(step: Tensor, lr_factor: Tensor | float = 1, betas: Betas = BETAS) -> Tensor:
    """Adam's bias corrections 1 / (1 - beta1^t), times `lr_factor`, and 1 / sqrt(1 - beta2^t), float32 [..., 2].

    They belong to the state and are worked out one step ahead: within a compiled update the powers would be computed
    again for every few parameters.  `step` is t, int64 [...], 1 at the first step; `lr_factor` [...] is of that step.
    """
    t = step.to(torch.float64)  # 1 - 0.999^t loses digits in float32
    return torch.stack([lr_factor / (1 - betas.first**t), torch.rsqrt(1 - betas.second**t)], -1).float()


def adam(
    param: Tensor,
    grad: Tensor,
    moments: Moments,
    bias_correction: Tensor,
    lr: Tensor,
    betas: Betas = BETAS,
    decay: Tensor | None = None,
) -> tuple[Tensor, Moments]:
    """param [P] and moments after a step of Adam (Kingma and Ba 2015, algorithm 1), with PyTorch's defaults.

    Args:
        param: [P].
        grad: [P].
        moments: before the step.
        bias_correction: of this step, [2] or more.
        lr: [].
        betas: of the moments.
        decay: the share of param [] that goes besides: of decoupled weight decay the learning rate, as scheduled, times
            the decay (Loshchilov and Hutter 2019, algorithm 2).
    """
    exp_avg = torch.lerp(moments.exp_avg, grad, 1 - betas.first)
    exp_avg_sq = betas.second * moments.exp_avg_sq + (1 - betas.second) * grad.square()
    step = lr * bias_correction[0] * exp_avg / (exp_avg_sq.sqrt() * bias_correction[1] + EPS)
    if decay is not None:
        step = step + decay * param  # before the subtraction: in param * (1 - decay) a small decay would be rounded off
    return param - step, Moments(exp_avg, exp_avg_sq)


def clip(grad: Tensor, max_norm: Tensor) -> Tensor:
    """Scale grad [P] so that its Euclidean norm is at most `max_norm` []; infinite leaves it as it is."""
    scale: Tensor = max_norm / (grad.norm() + 1e-6)
    return grad * scale.clamp(max=1.0)


def polyak(target: Tensor, online: Tensor, tau: Tensor) -> Tensor:
    """target + tau * (online - target): exponential average of the online parameters [P]."""
    return torch.lerp(target, online, tau)
