"""CUDA graphs without a GPU: records the operations that some work makes, and makes them again on the same memory.

As in a CUDA graph, Python does not run again and its numbers are frozen, inputs change in place, outputs keep their
addresses, and what needs the host's eye is an error.  Stands in for `fastsac.runtime.launch.CudaRecorder`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fastsac.runtime.launch import CaptureError, explain

NEEDS_HOST = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal.default")


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []
        self.before: list[tuple[torch.Tensor, torch.Tensor]] = []  # what was written, with what it held

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in str(func) for name in NEEDS_HOST):
            raise RuntimeError(f"{func} needs the host")
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.before.append((value, value.clone()))
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out


class GraphRecorder:
    """The interface of `CudaRecorder`; `recorded` and `replayed` count, over all of them."""

    recorded = replayed = 0

    def __init__(self, stream: Any = None) -> None:
        pass

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        yield

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Unlike a capture this runs the work, and then puts back what that wrote."""
        GraphRecorder.recorded += 1
        with _Tape() as tape:
            try:
                work()
            except RuntimeError as error:
                raise CaptureError(explain(error)) from error
        for tensor, value in reversed(tape.before):
            tensor.copy_(value)
        return lambda: self._replay(tape.calls)

    @torch.no_grad()
    def _replay(self, calls: list[tuple[Any, ...]]) -> None:
        GraphRecorder.replayed += 1
        for func, args, kwargs, out in calls:
            again = func(*args, **kwargs)
            for old, new in zip(pytree.tree_leaves(out), pytree.tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old is not new and old.data_ptr() != new.data_ptr():
                    old.copy_(new)
