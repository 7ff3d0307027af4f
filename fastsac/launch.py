"""How a step over static buffers is run: eager, compiled, or compiled and captured as CUDA graphs.  One function, three
ways; it knows nothing of what the step computes.

The step is a function `step(buffers, flag) -> None` that writes in place into the tensors of `buffers`, all of which
the caller owns and never reallocates.  `flag` is a Python bool that selects one of two variants.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch.utils import _pytree as pytree

Mode = Literal["eager", "compiled", "captured"]
Step = Callable[[Any, bool], None]


def compile_step(step: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`step` as one compiled graph: a break or a change of shapes is an error.

    On a CPU the calls between kernels are C++ too: with small networks Python's share would be 40% of an update.
    """
    options: dict[str, str | int | bool | Callable[..., Any]] | None = (
        {"cpp_wrapper": True} if device.type == "cpu" else None
    )
    return torch.compile(step, fullgraph=True, dynamic=False, options=options)


class Launch:
    """Runs `step` K times per launch.

    Args:
        step: writes in place into `buffers`.
        buffers: a tree of tensors at fixed addresses, owned by the caller.
        written: those of them that the step writes.
        mode: "captured" needs CUDA.
        updates_per_graph: K, steps in one captured graph; the remainder of a launch runs in graphs of one step.
    """

    def __init__(self, step: Step, buffers: Any, written: Any, mode: Mode, updates_per_graph: int = 1) -> None:
        assert updates_per_graph >= 1
        self._buffers = buffers
        self._written = pytree.tree_leaves(written)
        self._mode = mode
        self._per_graph = updates_per_graph
        self._step = step if mode == "eager" else compile_step(step, self._written[0].device)
        self._graphs: dict[tuple[bool, ...], torch.cuda.CUDAGraph] = {}
        self._pool: Any = None

    @torch.no_grad()
    def warm_up(self, flags: list[bool]) -> None:
        """Compile (and capture) now, for each variant in `flags`; the buffers come out as they went in."""
        if self._mode == "eager":
            return
        kept = [leaf.clone() for leaf in self._written]
        with _side_stream(self._mode == "captured"):
            for flag in flags:
                self._step(self._buffers, flag)
        if self._mode == "captured":
            for flag in flags:
                self._graph((flag,))
            if len(flags) == 1:
                self._graph(tuple(flags) * self._per_graph)
        for leaf, value in zip(self._written, kept, strict=True):
            leaf.copy_(value)

    @torch.no_grad()
    def __call__(self, flags: list[bool]) -> None:
        """Run one step per flag, in order; returns without waiting for the device."""
        if self._mode != "captured":
            # The buffers never change, so there is nothing to guard but the flag.
            with torch.compiler.set_stance(skip_guard_eval_unsafe=self._mode == "compiled"):
                for flag in flags:
                    self._step(self._buffers, flag)
            return
        start = 0
        while start < len(flags):
            size = self._per_graph if len(flags) - start >= self._per_graph else 1
            self._graph(tuple(flags[start : start + size])).replay()
            start += size

    def _graph(self, flags: tuple[bool, ...]) -> torch.cuda.CUDAGraph:
        """The graph for this pattern of variants, captured at its first use; capturing runs nothing."""
        if flags in self._graphs:
            return self._graphs[flags]
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()  # once per pattern, outside the loop
        was_enabled = gc.isenabled()
        gc.disable()  # a collection during capture could free device memory, which capture forbids
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                for flag in flags:
                    self._step(self._buffers, flag)
        except RuntimeError as error:
            raise RuntimeError(f"CUDA graph capture failed: {error}. Give --cuda-graphs off to run without.") from error
        finally:
            if was_enabled:
                gc.enable()
        self._graphs[flags] = graph
        return graph


@contextmanager
def _side_stream(wanted: bool) -> Iterator[None]:
    """Run what is inside on a stream of its own, as a warm-up before capture must."""
    if not wanted:
        yield
        return
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)
