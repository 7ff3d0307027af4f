"""What the maths knows of other processes that train the same agent: how to add up numbers over all of them.

Each process has an equal part of the batch and of the environments, and all of them go through the same reductions in
the same order.  `fastsac.runtime.reduction` has the one that communicates.
"""

from typing import Protocol

from torch import Tensor


class Reduction(Protocol):
    """Over the processes of one agent; the results are the same on all of them, bit for bit."""

    @property
    def size(self) -> int:
        """The number of processes."""

    def mean(self, x: Tensor) -> Tensor:
        """The mean of all processes' x [...], floating point; its gradient is the mean of all processes' gradients."""

    def sum(self, x: Tensor) -> Tensor:
        """The sum of all processes' x [...], without gradient."""

    def max(self, x: Tensor) -> Tensor:
        """The greatest of all processes' x [...], element by element, without gradient."""


class _Alone:
    """Of a single process: everything stays as it is, and no graph has anything of it."""

    size = 1

    def mean(self, x: Tensor) -> Tensor:
        """As of `Reduction`."""
        return x

    sum = max = mean


ALONE: Reduction = _Alone()
