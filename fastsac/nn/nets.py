"""Networks and ensembles of them as functions of flat parameter vectors.

A network's parameters are one float32 vector [P]; `unflatten` gives named views of it.  One vector per network makes
Adam, Polyak, copies and checkpoints single operations.

A layer is one matrix: a row for each input, one for the bias, and rows of zeros up to a multiple of ALIGN.  `Products`
says how it is multiplied.  With the bias inside, the input gets a column of ones and columns of zeros: one product
forward and two backward, no reductions for the gradients of biases, and sizes that tensor cores want.  Otherwise the
bias is added.  The zeros stay zero: their gradient is.

Networks take features: observations, or what `fastsac.nn.encoder` makes of them.

Axes: B batch, F features, A action_dim, E critics, H width of a layer, K rows of a layer, P parameters of a network.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fastsac.nn import philox

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0
ALIGN = 8
_LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True)
class Products:
    """How matrix products are made.

    Attributes:
        bf16: in bfloat16; results are float32 all the same.
        bias_inside: as a row of the matrix.  Fewer kernels on a GPU; a CPU is faster without.
    """

    bf16: bool = False
    bias_inside: bool = False


PLAIN = Products()

Shapes = dict[str, tuple[int, ...]]
Params = dict[str, Tensor]


def _num_rows(fan_in: int) -> int:
    """K: inputs, bias, and zeros."""
    return -(-(fan_in + 1) // ALIGN) * ALIGN


def mlp_shapes(num_inputs: int, hidden_dims: Sequence[int], num_outputs: int) -> Shapes:
    """Shapes of a network's layers by name, [K, out]."""
    dims = [num_inputs, *hidden_dims, num_outputs]
    return {f"layer{i}": (_num_rows(fan_in), out) for i, (fan_in, out) in enumerate(itertools.pairwise(dims))}


def ensemble_shapes(
    num_inputs: int, hidden_dims: Sequence[int], num_outputs: int, num_critics: int, layer_norm: bool
) -> Shapes:
    """Shapes of an ensemble's layers by name, [E, K, out]; with LayerNorm scale and shift after each hidden one."""
    shapes: Shapes = {}
    for name, (num_rows, out) in mlp_shapes(num_inputs, hidden_dims, num_outputs).items():
        shapes |= {name: (num_critics, num_rows, out)}
        index = name.removeprefix("layer")
        if layer_norm and int(index) < len(hidden_dims):
            shapes |= {f"scale{index}": (num_critics, 1, out), f"shift{index}": (num_critics, 1, out)}
    return shapes


def num_params(shapes: Shapes) -> int:
    """P, the length of the flat vector."""
    return sum(math.prod(s) for s in shapes.values())


def unflatten(flat: Tensor, shapes: Shapes) -> Params:
    """Named views of the flat vector [P]."""
    parts = flat.split([math.prod(s) for s in shapes.values()])
    return {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}


def flatten(params: Params) -> Tensor:
    """The flat vector [P] of named parameters, in their order."""
    return torch.cat([p.reshape(-1) for p in params.values()])


def init(shapes: Shapes, num_inputs: int, seed: Tensor, stream: int) -> Tensor:
    """Flat initial parameters [P]: weights and biases uniform in +-1/sqrt(fan_in), as torch.nn.Linear.

    Args:
        shapes: from `mlp_shapes` or `ensemble_shapes`, after those of an encoder where there is one.
        num_inputs: of the first layer, without bias and zeros.
        seed: int64 [], the member's seed.
        stream: a number of its own for each network.
    """
    draw = philox.uniform(seed, philox.Purpose.INIT, torch.full_like(seed, stream), (num_params(shapes),)) * 2 - 1
    params = unflatten(draw, shapes)
    fan_in, conv_in = num_inputs, 1
    for name, value in params.items():
        if name.startswith(("conv", "bias")):  # a kernel [C, C_in, k, k], then its bias
            conv_in = math.prod(value.shape[1:]) if name.startswith("conv") else conv_in
            params[name] = value / math.sqrt(conv_in)
        elif name.startswith("layer"):
            is_used = torch.arange(value.shape[-2], device=seed.device).unsqueeze(-1) <= fan_in  # [K, 1]
            params[name] = torch.where(is_used, value / math.sqrt(fan_in), 0.0)
            fan_in = value.shape[-1]
        else:
            params[name] = torch.full_like(value, 1.0 if name.startswith("scale") else 0.0)
    return flatten(params)


def _with_ones(x: Tensor, num_rows: int) -> Tensor:
    """x [..., in] with a column of ones to meet the bias and columns of zeros, [..., K]; x that has them stays."""
    num_inputs = x.shape[-1]
    if num_inputs == num_rows:
        return x
    ones = (torch.arange(num_rows, device=x.device) == num_inputs).to(x.dtype)
    return F.pad(x, (0, num_rows - num_inputs)) + ones


def _affine(x: Tensor, layer: Tensor, how: Products) -> Tensor:
    """x [..., B, in] through a layer [..., K, out], float32."""
    if how.bias_inside:
        return _matmul(_with_ones(x, layer.shape[-2]), layer, how.bf16)
    weight, bias = _split(layer, x.shape[-1])
    return _matmul(x, weight, how.bf16) + bias


def _split(layer: Tensor, num_inputs: int) -> tuple[Tensor, Tensor]:
    """Weight [..., in, out] and bias [..., 1, out] of a layer [..., K, out]."""
    return layer[..., :num_inputs, :], layer[..., num_inputs : num_inputs + 1, :]


def _matmul(x: Tensor, matrix: Tensor, bf16: bool) -> Tensor:
    return (x.bfloat16() @ matrix.bfloat16()).float() if bf16 else x @ matrix


def _last_layer(params: Params) -> int:
    """Its number."""
    return sum(name.startswith("layer") for name in params) - 1


def mlp(params: Params, x: Tensor, how: Products = PLAIN) -> Tensor:
    """A network with ReLUs between its layers.

    Args:
        params: views of its vector.
        x: [B, in].
        how: the products are made.

    Returns:
        [B, out], float32.
    """
    last = _last_layer(params)
    for i in range(last):
        x = F.relu(_affine(x, params[f"layer{i}"], how))  # [B, H]
    return _affine(x, params[f"layer{last}"], how)


def gaussian(params: Params, x: Tensor, how: Products = PLAIN) -> tuple[Tensor, Tensor]:
    """Mean and log-std [B, A] each, float32, of a Gaussian policy before tanh, for features [B, F].

    log-std is mapped smoothly to [-5, 2], so that its gradient never vanishes at a clamp.
    """
    mean, raw = mlp(params, x, how).chunk(2, -1)
    return mean, LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (torch.tanh(raw) + 1)


def ensemble(params: Params, x: Tensor, how: Products = PLAIN) -> Tensor:
    """All networks of an ensemble at once, as batched products.

    Args:
        params: views of the ensemble's vector.
        x: [B, in].
        how: the products are made.

    Returns:
        [E, B, out], float32.
    """
    last = _last_layer(params)
    num_critics = params["layer0"].shape[0]
    x = _with_ones(x, params["layer0"].shape[-2]) if how.bias_inside else x  # before the copies, not in each
    x = x.expand(num_critics, -1, -1)  # [E, B, in]
    for i in range(last):
        x = _affine(x, params[f"layer{i}"], how)  # [E, B, H]
        if f"scale{i}" in params:
            var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
            x = (x - mean) * torch.rsqrt(var + _LAYER_NORM_EPS) * params[f"scale{i}"] + params[f"shift{i}"]
        x = F.relu(x)
    head = params[f"layer{last}"]  # [E, K, out]
    if head.shape[-1] > 1:
        return _affine(x, head, how)
    # A product with one output column is a reduction: it fuses with the ReLU before it, a matmul would not.
    if how.bias_inside:
        return (_with_ones(x, head.shape[-2]) * head.transpose(-1, -2)).sum(-1, keepdim=True)  # [E, B, 1]
    weight, bias = _split(head, x.shape[-1])
    return (x * weight.transpose(-1, -2)).sum(-1, keepdim=True) + bias  # [E, B, 1]


def critic(params: Params, x: Tensor, action: Tensor, how: Products = PLAIN) -> Tensor:
    """Q_e(s, a) of all critics, [E, B], for features x [B, F] of s and action [B, A] in [-1, 1]."""
    return ensemble(params, torch.cat([x, action], -1), how).squeeze(-1)


def frozen(params: Params) -> Params:
    """The same parameters without gradient."""
    return {name: value.detach() for name, value in params.items()}
