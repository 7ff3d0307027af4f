"""Activation functions by name: what stands between the layers of an architecture, elementwise.

Convolutions of the encoder keep their ReLU, as in the networks that their sizes are from.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "silu": F.silu,  # x * sigmoid(x)
    "tanh": torch.tanh,
    "elu": F.elu,  # exp(x) - 1 below 0
    "gelu": F.gelu,  # x * P(Z <= x), exact and not by tanh
}
