"""Adam, gradient clipping and Polyak averaging as pure functions of flat parameter vectors.

Axes: P parameters of one network of one member.
"""

from typing import NamedTuple

import torch
from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


class Moments(NamedTuple):
    """Adam's running averages of the gradient and its square, each [P]."""

    first: Tensor
    second: Tensor


def adam(param: Tensor, grad: Tensor, moments: Moments, step: Tensor, lr: Tensor) -> tuple[Tensor, Moments]:
    """One step of Adam (Kingma and Ba 2015, algorithm 1), with PyTorch's defaults.

    Args:
        param: [P].
        grad: [P].
        moments: from the step before.
        step: [], 1 at the first step.
        lr: [], step size.
    """
    first = torch.lerp(moments.first, grad, 1 - BETA1)
    second = BETA2 * moments.second + (1 - BETA2) * grad.square()
    step = step.to(torch.float64)  # 1 - 0.999^t loses digits in float32
    scale = (lr / (1 - BETA1**step)).float()
    root = torch.sqrt(1 - BETA2**step).float()
    return param - scale * first / (second.sqrt() / root + EPS), Moments(first, second)


def clip(grad: Tensor, max_norm: float) -> Tensor:
    """Scale grad [P] so that its Euclidean norm is at most `max_norm`."""
    return grad * (max_norm / (grad.norm() + 1e-6)).clamp(max=1.0)


def polyak(target: Tensor, online: Tensor, tau: Tensor) -> Tensor:
    """target + tau * (online - target): exponential average of the online parameters [P]."""
    return torch.lerp(target, online, tau)
