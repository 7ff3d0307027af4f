"""Reductions over the processes of one agent, by torch.distributed: gloo on a CPU, NCCL on CUDA.

`fastsac::all_reduce` is an operator, so that eager, compiled and captured code hold the same one; it gives new memory
and never waits for the device.  A CUDA graph can hold it with NCCL alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

_OPS = {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX}
Explain = Callable[[RuntimeError], RuntimeError]


class _Group(NamedTuple):
    processes: dist.ProcessGroup | None  # None is all
    explained: Explain  # what to raise where a connection breaks


_GROUPS: dict[str, _Group] = {}  # by the names that graphs have them under

_LIBRARY = torch.library.Library("fastsac", "DEF")
_LIBRARY.define("all_reduce(Tensor x, str op, str group) -> Tensor")


def _all_reduce(x: Tensor, op: str, group: str) -> Tensor:
    out = x.clone(memory_format=torch.contiguous_format)
    try:
        dist.all_reduce(out, _OPS[op], _GROUPS[group].processes)
    except RuntimeError as error:
        raise _GROUPS[group].explained(error) from error
    return out


def _like(x: Tensor, op: str, group: str) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


_LIBRARY.impl("all_reduce", _all_reduce, "CPU")
_LIBRARY.impl("all_reduce", _all_reduce, "CUDA")
torch.library.register_fake("fastsac::all_reduce", _like, lib=_LIBRARY)


class _Mean(torch.autograd.Function):
    """torch.library.custom_op has no `setup_context`, without which torch.func.grad refuses a function."""

    @staticmethod
    def forward(x: Tensor, size: int, group: str) -> Tensor:
        total: Tensor = torch.ops.fastsac.all_reduce(x, "sum", group)
        return total / size

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, str], output: Tensor) -> None:
        _, ctx.size, ctx.group = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _mean(grad, ctx.size, ctx.group), None, None


def _mean(x: Tensor, size: int, group: str) -> Tensor:
    out: Tensor = _Mean.apply(x, size, group)  # type: ignore[no-untyped-call]
    return out


class GroupReduction:
    """As `fastsac.nn.reduction.Reduction`, over a process group.

    Args:
        name: of the group in graphs, the same on all processes.
        device: of what is reduced.
        group: None is all processes.
        explained: gives what to raise where a connection breaks.
    """

    def __init__(
        self,
        name: str,
        device: torch.device,
        group: dist.ProcessGroup | None = None,
        explained: Explain = lambda error: error,
    ) -> None:
        self.size, self._name = dist.get_world_size(group), name
        _GROUPS[name] = _Group(group, explained)
        self.backend = str(dist.get_backend(group))  # nccl or gloo
        self.sum(torch.zeros(1, device=device))  # connects, which must not be within a capture

    def mean(self, x: Tensor) -> Tensor:
        """The mean of all processes' x [...], with gradient."""
        return _mean(x, self.size, self._name)

    def sum(self, x: Tensor) -> Tensor:
        """The sum of all processes' x [...], without gradient."""
        return self._reduce(x, "sum")

    def max(self, x: Tensor) -> Tensor:
        """The greatest of all processes' x [...], without gradient."""
        return self._reduce(x, "max")

    def _reduce(self, x: Tensor, op: str) -> Tensor:
        out: Tensor = torch.ops.fastsac.all_reduce(x, op, self._name)
        return out


class GroupTally:
    """Sums of whole numbers of the host, as `fastsac.acting.tally.Tally`, over a process group of gloo.

    Args:
        group: None is all processes.
        wait: for what is under way.
    """

    def __init__(
        self, group: dist.ProcessGroup | None = None, wait: Callable[[dist.Work], object] = dist.Work.wait
    ) -> None:
        self._group, self._wait = group, wait
        self._sums = torch.zeros(0, dtype=torch.int64)
        self._work: dist.Work | None = None  # under way

    def begin(self, values: Sequence[int]) -> None:
        """Begin to add up these."""
        self.finish()
        self._sums = torch.tensor(values)
        self._work = dist.all_reduce(self._sums, group=self._group, async_op=True)

    def finish(self) -> list[int]:
        """The sums of what was begun."""
        work, self._work = self._work, None
        if work is not None:
            self._wait(work)
        sums: list[int] = self._sums.tolist()
        return sums

    def add_up(self, value: int) -> int:
        """The sum of this, beside what was begun."""
        total = torch.tensor([value])
        work = dist.all_reduce(total, group=self._group, async_op=True)
        assert work is not None
        self._wait(work)
        return int(total)
