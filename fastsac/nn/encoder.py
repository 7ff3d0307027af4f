"""What stands before a network's first layer: nothing for vectors, convolutions for images.

An encoder is part of the network that owns it: its parameters are the first of that network's vector.  The critics of
an ensemble share one.

Axes: B batch, O obs_dim, F features, C channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch.nn.functional as F
from torch import Tensor

from fastsac.nn import nets

KERNELS = ((8, 4), (4, 2), (3, 1))  # side and stride of each convolution (Mnih et al. 2015, "Nature DQN")
MAX_PIXEL = 255.0


@dataclass(frozen=True)
class Encoder:
    """From observations [B, O] to features [B, F].

    Attributes:
        obs_dim: O.
        image: (channels, height, width) of observations that are images, flattened; None for vectors, which pass.
        channels: of each convolution; their kernels and strides are KERNELS.
    """

    obs_dim: int
    image: tuple[int, int, int] | None = None
    channels: tuple[int, ...] = ()

    @classmethod
    def make(cls, obs_dim: int, image: Sequence[int] | None, channels: tuple[int, ...]) -> Self:
        """The encoder for observations of this kind."""
        if image is None:
            return cls(obs_dim)
        num_channels, height, width = image
        return cls(obs_dim, (num_channels, height, width), channels)

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
    def shapes(self) -> nets.Shapes:
        """Shapes of kernels [C, C_in, k, k] and biases [C] by name; none for vectors."""
        shapes: nets.Shapes = {}
        if self.image is not None:
            fan_in = self.image[0]
            for i, (width, (kernel, _)) in enumerate(zip(self.channels, KERNELS, strict=False)):
                shapes |= {f"conv{i}": (width, fan_in, kernel, kernel), f"bias{i}": (width,)}
                fan_in = width
        return shapes

    def __call__(self, params: nets.Params, obs: Tensor, how: nets.Products = nets.PLAIN) -> Tensor:
        """Features [B, F] of obs [B, O].

        Args:
            params: views of the vector of the network that owns the encoder.
            obs: float32, or uint8 in [0, 255] for images.
            how: products are made.
        """
        if self.image is None:
            return obs
        x = (obs.float() / MAX_PIXEL).unflatten(-1, self.image)  # [B, C, H, W]
        for i, (_, stride) in enumerate(KERNELS[: len(self.channels)]):
            kernel, bias = params[f"conv{i}"], params[f"bias{i}"]
            if how.bf16:
                x, kernel, bias = x.bfloat16(), kernel.bfloat16(), bias.bfloat16()
            x = F.relu(F.conv2d(x, kernel, bias, stride))
        return x.flatten(1).float()
