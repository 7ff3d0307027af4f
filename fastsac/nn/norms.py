"""Normalisation layers as functions.

Axes: B batch, H width; an ensemble's axis may come first.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fastsac.nn.reduction import ALONE, Reduction

BATCH_NORM_EPS, LAYER_NORM_EPS, RMS_NORM_EPS = 1e-5, 1e-5, 1e-6
MOMENTUM = 0.01  # of the running statistics


class Stats(NamedTuple):
    """Running mean and variance, [..., 1, H] each."""

    mean: Tensor
    var: Tensor


def batch_norm(
    x: Tensor, scale: Tensor, shift: Tensor, running: Stats, training: bool, reduction: Reduction = ALONE
) -> tuple[Tensor, Stats]:
    """BatchNorm (Ioffe and Szegedy 2015) of x [..., B, H], as torch.nn.BatchNorm1d, and the running statistics after.

    Args:
        x: [..., B, H].
        scale: [..., 1, H], as shift.
        shift: [..., 1, H].
        running: by these x is normalised, and they stay; in training by its own, and these follow by MOMENTUM.
        training: see `running`; the gradient then goes through the statistics.
        reduction: over processes of which each has an equal part of the batch; statistics are of the whole.
    """
    if not training:
        return (x - running.mean) * torch.rsqrt(running.var + BATCH_NORM_EPS) * scale + shift, running
    var, mean = torch.var_mean(x, -2, correction=0, keepdim=True)
    if reduction is not ALONE:
        var, mean = _of_whole(var, mean, reduction)
    count = x.shape[-2] * reduction.size
    unbiased = var.detach() * (count / max(1, count - 1))
    moved = Stats(torch.lerp(running.mean, mean.detach(), MOMENTUM), torch.lerp(running.var, unbiased, MOMENTUM))
    return (x - mean) * torch.rsqrt(var + BATCH_NORM_EPS) * scale + shift, moved


def _of_whole(var: Tensor, mean: Tensor, reduction: Reduction) -> tuple[Tensor, Tensor]:
    """Variance and mean [..., 1, H] of a batch, of those of its equal parts (Chan, Golub and LeVeque 1979).

    Var = mean of (var + mean^2) - (mean of means)^2, in float64, where the difference of squares loses nothing that
    float32 has.
    """
    wide = mean.double()
    square, whole_mean = reduction.mean(torch.stack([var.double() + wide.square(), wide])).unbind(0)
    return (square - whole_mean.square()).clamp(min=0).float(), whole_mean.float()


def layer_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """LayerNorm (Ba, Kiros and Hinton 2016) of x [..., B, H] with scale and shift, [..., 1, H] each."""
    var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(var + LAYER_NORM_EPS) * scale + shift


def rms_norm(x: Tensor, scale: Tensor) -> Tensor:
    """RMSNorm (Zhang and Sennrich 2019) of x [..., B, H] with scale [..., 1, H]."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + RMS_NORM_EPS) * scale
