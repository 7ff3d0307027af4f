"""The seam behind which network architectures lie, one a file.

An architecture says how features become outputs.  Parameters are learned by gradient; statistics, such as the running
mean of BatchNorm, lie after them in the network's vector and have none.

Axes: B batch, E networks of an ensemble.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fastsac.nn.linear import PLAIN, MatmulConfig
from fastsac.nn.reduction import ALONE, Reduction
from fastsac.nn.vectors import Params, Shapes


@dataclass(frozen=True)
class Architecture(ABC):
    """Sizes of one network, or of an ensemble of equal ones, and functions of their parameters."""

    has: ClassVar[frozenset[str]] = frozenset()  # which of layer_norm, activation and zero_last it can do
    joint: ClassVar[bool] = False
    """In training, statistics are of obs and next_obs together, those of targets too (Bhatt et al. 2024, CrossQ); sac,
    sac-discrete and sql-discrete see to it."""

    num_inputs: int
    hidden_dims: tuple[int, ...]
    num_outputs: int
    num_nets: int | None = None  # E; None for a network without that axis
    layer_norm: bool = False  # in the hidden layers
    zero_last: bool = False  # the last layer is zero at the start
    activation: str = "relu"  # of the hidden layers, a name in ACTIVATIONS
    matmul: MatmulConfig = PLAIN
    reduction: Reduction = ALONE  # over processes with a part of the batch each: what statistics of a batch go through

    @property
    @abstractmethod
    def shapes(self) -> Shapes:
        """Shapes of the parameters by name."""

    @property
    def stat_shapes(self) -> Shapes:
        """Shapes of the statistics by name."""
        return {}

    @abstractmethod
    def init(self, draw: Params) -> Params:
        """Parameters and statistics at the start, by name, of numbers uniform in [-1, 1] of the same names."""

    @abstractmethod
    def apply(self, params: Params, stats: Params, x: Tensor, training: bool) -> tuple[Tensor, Params]:
        """Outputs [B, num_outputs], of an ensemble [E, B, num_outputs], float32, and the statistics after.

        Args:
            params: by name, among others that are not its own.
            stats: by name; without training they come back as they are.
            x: [B, num_inputs].
            training: by the batch's statistics, which move the running ones.
        """

    def project(self, params: Params) -> Params:
        """What every gradient step is followed by a change of, by name, changed: weights of unit length, say."""
        return {}
