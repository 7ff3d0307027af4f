"""Actor and critic ensemble as functions of flat parameter vectors.

A network's parameters are one float32 vector [P]; `unflatten` gives named views of it.  One vector per network makes
Adam, Polyak, copies and checkpoints single operations.

Axes: B batch, O obs_dim, A action_dim, E critics, H width of a layer, P parameters of a network.
"""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastsac import random

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0
_LAYER_NORM_EPS = 1e-5

Shapes = dict[str, tuple[int, ...]]
Params = dict[str, Tensor]


def actor_shapes(obs_dim: int, action_dim: int, hidden_dims: Sequence[int]) -> Shapes:
    """Shapes of the actor's parameters by name: weights [in, out], biases [out]; the head gives mean and log-std."""
    dims = [obs_dim, *hidden_dims, 2 * action_dim]
    shapes: Shapes = {}
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(dims)):
        shapes |= {f"weight{i}": (fan_in, fan_out), f"bias{i}": (fan_out,)}
    return shapes


def critic_shapes(
    obs_dim: int, action_dim: int, hidden_dims: Sequence[int], num_critics: int, layer_norm: bool
) -> Shapes:
    """Shapes of the ensemble's parameters by name: weights [E, in, out], biases [E, 1, out]."""
    dims = [obs_dim + action_dim, *hidden_dims, 1]
    last = len(dims) - 2
    shapes: Shapes = {}
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(dims)):
        shapes |= {f"weight{i}": (num_critics, fan_in, fan_out), f"bias{i}": (num_critics, 1, fan_out)}
        if layer_norm and i < last:
            shapes |= {f"scale{i}": (num_critics, 1, fan_out), f"shift{i}": (num_critics, 1, fan_out)}
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


def init(shapes: Shapes, seed: Tensor, stream: int) -> Tensor:
    """Flat initial parameters [P]: weights and biases uniform in +-1/sqrt(fan_in), as torch.nn.Linear.

    Args:
        shapes: from `actor_shapes` or `critic_shapes`.
        seed: int64 [], the member's seed.
        stream: a number of its own for each network.
    """
    draw = random.uniform(seed, random.Purpose.INIT, torch.full_like(seed, stream), (num_params(shapes),)) * 2 - 1
    params = unflatten(draw, shapes)
    for name, value in params.items():
        kind, layer = name.rstrip("0123456789"), name.lstrip("abcdefghijklmnopqrstuvwxyz")
        if kind in ("scale", "shift"):
            params[name] = torch.full_like(value, 1.0 if kind == "scale" else 0.0)
        else:
            params[name] = value / math.sqrt(shapes[f"weight{layer}"][-2])
    return flatten(params)


def actor(params: Params, obs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-std of the Gaussian before tanh.

    log-std is mapped smoothly to [-5, 2], so that its gradient never vanishes at a clamp.

    Args:
        params: views of the actor's vector.
        obs: [B, O].

    Returns:
        mean [B, A], log_std [B, A].
    """
    last = len(params) // 2 - 1
    x = obs
    for i in range(last):
        x = F.relu(torch.addmm(params[f"bias{i}"], x, params[f"weight{i}"]))  # [B, H]
    mean, raw = torch.addmm(params[f"bias{last}"], x, params[f"weight{last}"]).chunk(2, -1)  # [B, A] each
    return mean, LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (torch.tanh(raw) + 1)


def critic(params: Params, obs: Tensor, action: Tensor) -> Tensor:
    """Values of all critics at once, as batched products.

    Args:
        params: views of the ensemble's vector.
        obs: [B, O].
        action: [B, A] in [-1, 1].

    Returns:
        q [E, B].
    """
    last = sum(name.startswith("weight") for name in params) - 1
    num_critics = params["weight0"].shape[0]
    x = torch.cat([obs, action], -1).expand(num_critics, -1, -1)  # [E, B, O + A]
    for i in range(last):
        x = torch.bmm(x, params[f"weight{i}"]) + params[f"bias{i}"]  # [E, B, H]
        if f"scale{i}" in params:
            var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
            x = (x - mean) * torch.rsqrt(var + _LAYER_NORM_EPS) * params[f"scale{i}"] + params[f"shift{i}"]
        x = F.relu(x)
    # A product with one output column is a reduction: it fuses with the ReLU before it, a matmul would not.
    head = params[f"weight{last}"].squeeze(-1).unsqueeze(1)  # [E, 1, H]
    return (x * head).sum(-1) + params[f"bias{last}"].squeeze(-1)  # [E, B]
