"""Linear layers as functions of one matrix each.

A layer is [..., K, out]: a row for each input, one for the bias, and rows of zeros up to a multiple of ALIGN.  With the
bias inside the product, the input gets a column of ones and columns of zeros: one product forward and two backward, no
reductions for the gradients of biases, and sizes that tensor cores want.  Otherwise the bias is added.  The zeros stay
zero: their gradient is.

Axes: B batch, K rows of a layer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGN = 8


@dataclass(frozen=True)
class MatmulConfig:
    """How matrix products are made."""

    bf16: bool = False  # in bfloat16; results are float32 all the same
    bias_inside: bool = False  # the bias is a row of the matrix: fewer kernels on a GPU; a CPU is faster without


PLAIN = MatmulConfig()


def num_rows(num_inputs: int) -> int:
    """K: inputs, bias, and zeros."""
    return -(-(num_inputs + 1) // ALIGN) * ALIGN


def init(draw: Tensor, num_inputs: int) -> Tensor:
    """A layer with weights and bias uniform in +-1/sqrt(num_inputs), as torch.nn.Linear; draw is uniform in [-1, 1]."""
    is_used = torch.arange(draw.shape[-2], device=draw.device).unsqueeze(-1) <= num_inputs  # [K, 1]
    return torch.where(is_used, draw / math.sqrt(num_inputs), 0.0)


def affine(x: Tensor, layer: Tensor, matmul: MatmulConfig) -> Tensor:
    """x [..., B, in] through a layer [..., K, out], float32."""
    return _affine(x, layer, matmul, _product_bf16 if matmul.bf16 else torch.matmul)


def affine_to_one(x: Tensor, layer: Tensor, matmul: MatmulConfig) -> Tensor:
    """The same for one output, as a reduction: it fuses with the ReLU before it, a matrix product would not."""
    return _affine(x, layer, matmul, lambda x, matrix: (x * matrix.transpose(-1, -2)).sum(-1, keepdim=True))


def with_ones(x: Tensor, layer: Tensor) -> Tensor:
    """x [..., in] with a column of ones to meet the bias and columns of zeros, [..., K]; x that has them stays."""
    num_inputs, width = x.shape[-1], layer.shape[-2]
    if num_inputs == width:
        return x
    ones = (torch.arange(width, device=x.device) == num_inputs).to(x.dtype)
    return F.pad(x, (0, width - num_inputs)) + ones


def _affine(x: Tensor, layer: Tensor, matmul: MatmulConfig, product: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    if matmul.bias_inside:
        return product(with_ones(x, layer), layer)
    num_inputs = x.shape[-1]
    return product(x, layer[..., :num_inputs, :]) + layer[..., num_inputs : num_inputs + 1, :]


def _product_bf16(x: Tensor, matrix: Tensor) -> Tensor:
    return (x.bfloat16() @ matrix.bfloat16()).float()


# Layers without bias, [..., K, out], that are kept at unit length ---------------------------------------------------


def product(x: Tensor, layer: Tensor, matmul: MatmulConfig) -> Tensor:
    """x [..., B, K] through a layer [..., K, out] without bias, float32."""
    return _product_bf16(x, layer) if matmul.bf16 else x @ layer


def orthogonal(draw: Tensor) -> Tensor:
    """A layer [..., K, out] of orthonormal columns, or rows where they are fewer; draw is uniform in [-1, 1].

    Uniform among all such (Saxe et al. 2014, as torch.nn.init.orthogonal_).
    """
    normal = torch.erfinv(draw.clamp(-1 + 1e-6, 1 - 1e-6))
    is_wide = draw.shape[-1] > draw.shape[-2]
    q, r = torch.linalg.qr(normal.transpose(-1, -2) if is_wide else normal)
    signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)  # which libraries choose
    columns: Tensor = q * signs.unsqueeze(-2)
    return columns.transpose(-1, -2) if is_wide else columns


def unit(layer: Tensor) -> Tensor:
    """A layer [..., K, out] with the weights of each output scaled to length 1."""
    return layer * torch.rsqrt(layer.square().sum(-2, keepdim=True).clamp(min=1e-16))
