"""How a step over static buffers is run: eager, compiled, or captured as CUDA graphs.

One function, three ways; it knows nothing of what the step computes.

A step is a function that writes in place into tensors among its arguments.  Each key of `variants` names one tuple of
arguments: tensors that the caller owns and never moves, and Python values that are constants to the compiler.  What
changes between launches is in the tensors.
"""

import gc
import os
import traceback
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils import _pytree as pytree

from fastsac.runtime import compile_cache
from fastsac.runtime.device import num_cpus

Mode = Literal["eager", "compiled", "captured"]
Step = Callable[..., None]
Call = Callable[[], object]

# How Inductor shapes code for a GPU: one kernel where it would make several that wait for each other.
GPU_OPTIONS: dict[str, object] = {
    "force_pointwise_cat": True,  # a concatenation is part of the kernel that makes its input
    "inplace_padding": False,  # and so is padding
    "deterministic": True,  # no choice by timing: another tile sums in another order
    "realize_opcount_threshold": 50,  # longer chains of operations before a result is stored
}
CPU_OPTIONS: dict[str, object] = {
    "cpp_wrapper": True,  # the calls between kernels are C++ too: with small networks Python's share would be 40%
    # Vector instructions that torch itself uses here need not be tried with the compiler first, for seconds.
    "cpp.vec_isa_ok": True if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") else None,
}


SHARED = 1 << 15  # elements from which on threads share a kernel


def chunk_size(short_reductions: bool) -> int:
    """Elements for each thread, at least, so that no sum is divided among threads: the numbers must not depend on them.

    Sums over a short batch, of the few columns that do not give work to all threads, are smaller; others, such as a
    norm of all gradients, may have any size.  Where this process may not use all cores, Inductor writes a fixed number
    of threads into what it shares among them.
    """
    return SHARED // num_cpus() if short_reductions and num_cpus() == os.cpu_count() else 1 << 60


# One process may train many agents one after the other, or measure many sizes: Dynamo takes the variants of all of them
# for recompilations of one function, of which it allows 8.
MAX_COMPILATIONS = 128


class CaptureError(RuntimeError):
    """A launch could not be captured as a CUDA graph."""


class Inductor:
    """Dynamo's backend: compiles with options, and can tell which call of what it made a step comes to."""

    def __init__(self, options: dict[str, object]) -> None:
        self._options = options
        self._calls: list[Call] | None = None  # while somebody wants to know

    @classmethod
    @cache
    def for_device(cls, device_type: str, short_reductions: bool) -> "Inductor":
        """The same object for the same arguments: Dynamo lets steps share what one backend has compiled."""
        if device_type == "cpu":
            return cls({**CPU_OPTIONS, "cpp.min_chunk_size": chunk_size(short_reductions)})
        return cls(GPU_OPTIONS | ({"split_reductions": False} if short_reductions else {}))

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        """Compile a graph."""
        from torch._inductor.compile_fx import compile_fx

        compile_cache.move_headers()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\s*Online softmax is disabled")  # what PyTorch's developers may mend
            compiled: Any = compile_fx(graph, inputs, config_patches=self._options)

        def run(*tensors: torch.Tensor) -> object:
            if self._calls is not None:
                self._calls.append(partial(compiled, *tensors))
            return compiled(*tensors)

        return run

    def record(self, work: Call) -> Call:
        """Do some work that is one compiled graph; returns the call of it."""
        self._calls = []
        try:
            work()
            (call,) = self._calls
        finally:
            self._calls = None
        return call


class CompiledStep:
    """A step as one compiled graph: a break or a change of shapes is an error.

    Args:
        step: the function.
        device: of its tensors.
        short_reductions: sums run over few enough numbers for one kernel each.

    Raises:
        ValueError: what is compiled would be kept where others can exchange it.
    """

    def __init__(self, step: Step, device: torch.device, short_reductions: bool = False) -> None:
        compile_cache.check()
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MAX_COMPILATIONS)
        self._backend = Inductor.for_device(device.type, short_reductions)
        self._step = torch.compile(step, fullgraph=True, dynamic=False, backend=self._backend)

    def __call__(self, *args: object) -> None:
        """Run the step, which is compiled at the first call with these constants."""
        self._step(*args)

    def record(self, *args: object) -> Call:
        """Run the step; the result runs it again on the same tensors.

        What it leaves out, Dynamo's frame and guards, takes a CPU as long as the policy of a small network: without
        it training on one core makes 16% fewer environment steps a second on Pendulum-v1, 5% fewer on HalfCheetah-v5.
        """
        return self._backend.record(lambda: self._step(*args))


class CudaRecorder:
    """Records work as CUDA graphs that share one pool of memory; they must not run at the same time.

    Kernels keep the priority of the stream that they are captured on, by default one of its own.
    """

    def __init__(self, stream: torch.cuda.Stream | None = None) -> None:
        self._stream = stream or torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        """Run what is inside for real on the stream of the capture, so that libraries set themselves up there."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture what `work` enqueues, without running it; the result runs it on the stream that is then current.

        Raises:
            CaptureError: something in it cannot be captured.
        """
        graph = torch.cuda.CUDAGraph()
        was_enabled = gc.isenabled()
        gc.disable()  # a collection during capture could free device memory, which capture forbids
        options: dict[str, Any] = {"pool": self._pool, "stream": self._stream, "capture_error_mode": "thread_local"}
        try:
            # The outer context restores the stream also where the inner one fails to end a broken capture.
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, **options):
                work()
        except RuntimeError as error:
            with suppress(RuntimeError):  # a broken capture may leave the allocator waiting for its end
                torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self._pool)
            text = f"{explain(error)} Give --cuda-graphs off to run without."
            if isinstance(error, torch.OutOfMemoryError):
                text = "CUDA ran out of memory while capturing a launch. Lower --buffer-size, --batch-size or --seeds."
            raise CaptureError(text) from error
        finally:
            if was_enabled:
                gc.enable()
        return graph.replay


def explain(error: BaseException) -> str:
    """What could not be captured, and the line of code that asked for it."""
    while error.__context__ is not None and "previous error" in str(error):  # ending a broken capture raises once more
        error = error.__context__
    here = str(Path(torch.__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(here)]
    at = f" at `{frames[-1].line}` ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    message = str(error).strip() or type(error).__name__
    return f"CUDA graph capture failed{at}: {message.splitlines()[0]}."


class Launch:
    """Runs a step any number of times in a row, without waiting for the device.

    Args:
        step: writes in place into tensors among its arguments.
        variants: its arguments, by key.
        written: the tensors among them that it writes.
        mode: "captured" needs CUDA.
        steps_per_graph: in the largest CUDA graph; what is left over runs in graphs of half the size, a quarter, and
            so on.
        compiled: False records the step as it is when captured, and otherwise runs it eagerly.
        short_reductions: as in `CompiledStep`.
        stream: as in `CudaRecorder`.
    """

    def __init__(
        self,
        step: Step,
        variants: Mapping[Any, tuple[object, ...]],
        written: object,
        mode: Mode,
        steps_per_graph: int = 1,
        compiled: bool = True,
        short_reductions: bool = False,
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        assert steps_per_graph >= 1
        self._variants = dict(variants)
        self._written: list[torch.Tensor] = pytree.tree_leaves(written)
        self._compiled = compiled and mode != "eager"
        self._recorder = CudaRecorder(stream) if mode == "captured" else None
        self._sizes = [steps_per_graph >> i for i in range(steps_per_graph.bit_length())]
        device = self._written[0].device
        self._step = CompiledStep(step, device, short_reductions) if self._compiled else step
        self._again: dict[Hashable, Call] = {}  # compiled steps that have run
        self._graphs: dict[tuple[Hashable, ...], Callable[[], None]] = {}

    @torch.no_grad()
    def warm_up(self, cycle: Sequence[Hashable]) -> None:
        """Compile and capture now, without a trace in the written tensors, for a cycle of keys that launches repeat."""
        if self._compiled:
            with self._putting_back():
                if self._recorder is None:
                    assert isinstance(self._step, CompiledStep)
                    self._again = {key: self._step.record(*self._variants[key]) for key in dict.fromkeys(cycle)}
                else:
                    with self._recorder.warm_up():
                        self._run(dict.fromkeys(cycle))
        if self._recorder is not None:
            for size in self._sizes:
                for first in range(len(cycle)):
                    self._graph(tuple(cycle[(first + i) % len(cycle)] for i in range(size)))

    @contextmanager
    def _putting_back(self) -> Iterator[None]:
        """The written tensors come out as they went in."""
        kept = [leaf.clone() for leaf in self._written]
        yield
        for leaf, value in zip(self._written, kept, strict=True):
            leaf.copy_(value)

    @torch.no_grad()
    def rehearse(self, keys: Sequence[Hashable]) -> None:
        """Run the step once per key, and put back what it has written."""
        with self._putting_back():
            self(keys)

    @torch.no_grad()
    def __call__(self, keys: Sequence[Hashable]) -> None:
        """Run the step once per key, in order."""
        if self._recorder is None:
            self._run(keys)
            return
        start = 0
        while start < len(keys):
            size = next(s for s in self._sizes if s <= len(keys) - start)
            self._graph(tuple(keys[start : start + size]))()
            start += size

    def release(self) -> None:
        """Let go of the graphs, which hold what was captured in them; the next launch captures anew."""
        self._graphs.clear()

    def _run(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            if key in self._again:  # the tensors never change, so there is nothing to look at
                self._again[key]()
            else:
                self._step(*self._variants[key])

    def _graph(self, keys: tuple[Hashable, ...]) -> Callable[[], None]:
        """The graph for this row of keys, captured at its first use."""
        if keys not in self._graphs:
            assert self._recorder is not None
            self._graphs[keys] = self._recorder.record(lambda: self._run(keys))
        return self._graphs[keys]
