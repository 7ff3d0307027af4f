"""What stands before a network's first layer: nothing for vectors, convolutions for images.

An encoder is part of the network that owns it: its parameters are the first of that network's vector.  The critics of
an ensemble share one.

Axes: B batch, O obs_dim, F features, C channels.
"""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastsac.nn.linear import PLAIN, MatmulConfig
from fastsac.nn.vectors import Params, Shapes

KERNELS = ((8, 4), (4, 2), (3, 1))  # side and stride of each convolution (Mnih et al. 2015, "Nature DQN")
MAX_PIXEL = 255.0


class Encoder:
    """From observations [B, O] to features [B, F].

    Args:
        obs_dim: O.
        image: (channels, height, width) of observations that are images, flattened; None for vectors, which pass.
        channels: of each convolution; their kernels and strides are KERNELS.
    """

    def __init__(self, obs_dim: int, image: Sequence[int] | None = None, channels: tuple[int, ...] = ()) -> None:
        self.obs_dim, self.image, self.channels = obs_dim, image and tuple(image), channels

    @property
    def num_features(self) -> int:
        """F."""
        if self.image is None:
            return self.obs_dim
        sides = list(self.image[1:])
        for kernel, stride in KERNELS[: len(self.channels)]:
            sides = [(side - kernel) // stride + 1 for side in sides]
        return self.channels[-1] * math.prod(sides)

    @property
    def shapes(self) -> Shapes:
        """Shapes of kernels [C, C_in, k, k] and biases [C] by name; none for vectors."""
        if self.image is None:
            return {}
        shapes: Shapes = {}
        pairs = itertools.pairwise([self.image[0], *self.channels])
        for i, ((fan_in, width), (kernel, _)) in enumerate(zip(pairs, KERNELS, strict=False)):
            shapes |= {f"conv{i}": (width, fan_in, kernel, kernel), f"bias{i}": (width,)}
        return shapes

    def init(self, draw: Params) -> Params:
        """Kernels and biases uniform in +-1/sqrt(fan_in), of numbers uniform in [-1, 1] of the same names."""
        fan_in = [math.prod(shape[1:]) for name, shape in self.shapes.items() if name.startswith("conv")]
        return {name: draw[name] / math.sqrt(fan_in[int(name[-1])]) for name in self.shapes}

    def __call__(self, params: Params, obs: Tensor, matmul: MatmulConfig = PLAIN) -> Tensor:
        """Features [B, F] of obs [B, O], which are float32, or uint8 in [0, 255] for images."""
        if self.image is None:
            return obs
        x = torch.unflatten(obs.float() / MAX_PIXEL, -1, self.image)  # [B, C, H, W]
        for i, (_, stride) in enumerate(KERNELS[: len(self.channels)]):
            kernel, bias = params[f"conv{i}"], params[f"bias{i}"]
            if matmul.bf16:
                x, kernel, bias = x.bfloat16(), kernel.bfloat16(), bias.bfloat16()
            x = F.relu(F.conv2d(x, kernel, bias, stride))
        return x.flatten(1).float()
