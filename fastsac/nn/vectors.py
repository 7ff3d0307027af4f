"""Named tensors as one flat vector [P], and back.

One vector per network makes Adam, Polyak, copies and checkpoints single operations; views of it cost nothing.
"""

import math

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
Params = dict[str, Tensor]


def num_params(shapes: Shapes) -> int:
    """P, the length of the vector."""
    return sum(math.prod(shape) for shape in shapes.values())


def unflatten(vector: Tensor, shapes: Shapes) -> Params:
    """Named views of a vector [P]."""
    parts = torch.split(vector, [math.prod(shape) for shape in shapes.values()])
    return {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}


def flatten(params: Params) -> Tensor:
    """The vector [P] of named tensors, in their order."""
    return torch.cat([value.reshape(-1) for value in params.values()])
