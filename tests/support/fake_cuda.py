"""A GPU that computes nothing: it says what a real one would refuse, wait for or get in the wrong order.

Its tensors are torch's of device "meta", which have sizes and no numbers, and its streams and events keep an order and
no time.  Everything that runs on it is seen as operators:

    FakeCudaError  tensors of host and device in one operator, or in a capture what no CUDA graph can hold
    RaceError      two accesses to the same memory, one of them a write, that no stream, event or wait puts in order
    waits          what made the host wait for the device, by name

The host reads zeros from the device.  Memory of the host is watched where it is pinned; what NumPy does there is not
seen, and has to be told by `host_writes` and `host_reads`.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fastsac.runtime import launch

META = torch.device("meta")
FREE = 8 << 30  # bytes of memory
READ_BY_HOST = {"_local_scalar_dense", "equal", "is_nonzero"}  # the result is a number of Python
SIZED_BY_HOST = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"}  # its size is one
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
COPIES = {"copy_", "_to_copy"}
OF_SHAPES = ("_like", "new_")  # in names of operators that read sizes alone

Clock = dict[str, int]  # of each stream and the host, how much is known to be over
Place = Any  # of memory
Places = Set[Place]


class FakeCudaError(RuntimeError):
    """What a GPU would refuse."""


class RaceError(AssertionError):
    """What a GPU would do in either order."""


@dataclass
class History:
    """The accesses to some memory that a later one has to come after."""

    write: tuple[str, int] | None = None
    reads: Clock = field(default_factory=dict)


class Event:
    """As `torch.cuda.Event`."""

    def __init__(self, gpu: "FakeCuda") -> None:
        self._gpu, self.clock = gpu, Clock()

    def record(self, stream: "Stream | None" = None) -> None:
        stream = stream or self._gpu.current
        self.clock = merged(stream.clock, self._gpu.host)

    def synchronize(self) -> None:
        self._gpu.host = merged(self._gpu.host, self.clock)


class Stream:
    """As `torch.cuda.Stream`."""

    def __init__(self, gpu: "FakeCuda") -> None:
        self._gpu, self.clock, self.name = gpu, Clock(), f"stream {len(gpu.streams)}"
        gpu.streams.append(self)

    def wait_event(self, event: Event) -> None:
        self.clock = merged(self.clock, event.clock)

    def record_event(self) -> Event:
        event = Event(self._gpu)
        event.record(self)
        return event

    def wait_stream(self, other: "Stream") -> None:
        self.clock = merged(self.clock, other.clock)


@dataclass(frozen=True)
class About:
    """What the schema of an operator says."""

    name: str
    text: str
    is_view: bool
    reads_shapes: bool  # alone, of its arguments
    writes: tuple[tuple[int, str], ...]  # the arguments that it writes, by place and name

    @staticmethod
    @cache
    def of(func: Any) -> "About":
        """Those of an overload."""
        name = func._overloadpacket.__name__
        aliased = [(i, a.name, a.alias_info.is_write) for i, a in enumerate(func._schema.arguments) if a.alias_info]
        is_view = any(not is_write for *_, is_write in aliased)
        writes = tuple((i, argument) for i, argument, is_write in aliased if is_write)
        return About(name, str(func), is_view, any(part in name for part in OF_SHAPES), writes)

    def written(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments that it writes."""
        return [args[i] if i < len(args) else kwargs.get(name) for i, name in self.writes]


class FakeCuda:
    """The machine.

    Attributes:
        waits: operators for which the host has waited.
        allocations: pieces of memory that operators were given outside of graphs, so far.
    """

    def __init__(self) -> None:
        self.waits: list[str] = []
        self.allocations = 0
        self.host: Clock = {}
        self.streams: list[Stream] = []
        self.current = Stream(self)
        self._pinned: dict[Place, Tensor] = {}
        self._constants: dict[Place, Tensor] = {}  # numbers of Python, which vmap makes tensors of the host
        self._histories: dict[Place, History] = {}
        self._capture: Capture | None = None

    # What torch.cuda has ----------------------------------------------------------------------------------------------

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def synchronize(self, device: object = None) -> None:
        self._refuse_in_capture("a synchronisation")
        for stream in self.streams:
            self.host = merged(self.host, stream.clock)

    def pin(self, tensor: Tensor) -> Tensor:
        self._refuse_in_capture("an allocation of pinned memory")
        pinned = tensor.clone()
        self._pinned[place_of(pinned)] = pinned
        return pinned

    # Order ------------------------------------------------------------------------------------------------------------

    def runs(self, name: str, reads: Places, writes: Places, fresh: Places = frozenset()) -> None:
        """Enqueue on the current stream what accesses such memory; `fresh` is given to it by this."""
        if self._capture is not None:
            self._capture.add(reads, writes, fresh)
            return
        self.allocations += len(fresh)
        for place in fresh:
            self._histories[place] = History()
        stream = self.current
        stream.clock = merged(stream.clock, self.host)
        stream.clock[stream.name] = stream.clock.get(stream.name, 0) + 1
        self._access(f"{name} on {stream.name}", stream.name, stream.clock, reads, writes | fresh)

    def host_runs(self, name: str, reads: Places, writes: Places) -> None:
        """Likewise by the host, at once."""
        self.host["host"] = self.host.get("host", 0) + 1
        self._access(f"{name} on the host", "host", self.host, reads, writes)

    def host_reads(self, array: NDArray[Any]) -> None:
        """NumPy reads an array in pinned memory."""
        self.host_runs("NumPy", {self._pinned_place(array)}, set())

    def host_writes(self, array: NDArray[Any]) -> None:
        """NumPy writes one."""
        self.host_runs("NumPy", set(), {self._pinned_place(array)})

    def _pinned_place(self, array: NDArray[Any]) -> Place:
        (place,) = (
            place
            for place, tensor in self._pinned.items()
            if 0 <= array.ctypes.data - tensor.untyped_storage().data_ptr() < tensor.untyped_storage().nbytes()
        )
        return place

    def _access(self, name: str, who: str, now: Clock, reads: Places, writes: Places) -> None:
        for place in reads:
            history = self._histories.setdefault(place, History())
            _check(name, now, [history.write])
            history.reads[who] = now[who]
        for place in writes:
            history = self._histories.setdefault(place, History())
            _check(name, now, [history.write, *history.reads.items()])
            self._histories[place] = History((who, now[who]))

    # Operators --------------------------------------------------------------------------------------------------------

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What an operator returns, with its accesses noted."""
        about = About.of(func)
        if about.is_view:
            return func(*args, **kwargs)
        inputs = _tensors((args, kwargs))
        devices = {leaf.device for leaf in inputs}
        if about.name in COPIES and devices and devices != {kwargs.get("device") or args[0].device}:
            return self._transfer(func, args, kwargs)
        if len(devices) > 1 and any(leaf.device != META and place_of(leaf) not in self._constants for leaf in inputs):
            raise FakeCudaError(f"{func} has tensors on the host and on the device")
        if devices == {META} and about.name in SIZED_BY_HOST:
            raise FakeCudaError(f"{func} has a size that the host has to read")
        if devices == {META} and about.name in INDEXING and any(leaf.dtype == torch.bool for leaf in _tensors(args[1])):
            raise FakeCudaError(f"{func} by a mask has a size that the host has to read")
        if devices == {META} and about.name in READ_BY_HOST:
            self._wait(str(func), inputs)
            return True if about.name == "equal" else args[0].new_zeros((), device="cpu").item()
        out = func(*args, **kwargs)
        self._note(about, inputs, _tensors(about.written(args, kwargs)), _tensors(out))
        return out

    def _note(self, about: "About", inputs: list[Tensor], written: list[Tensor], outputs: list[Tensor]) -> None:
        """The accesses of an operator that runs where its tensors are."""
        if not inputs:
            self._constants |= {place_of(leaf): leaf for leaf in outputs if leaf.dim() == 0 and leaf.device != META}
        used, writes = {place_of(leaf) for leaf in inputs}, {place_of(leaf) for leaf in written}
        reads = set() if about.reads_shapes else used - writes
        if any(leaf.device == META for leaf in (*outputs, *inputs)):
            self.runs(about.text, reads, writes, {place_of(leaf) for leaf in outputs if leaf.device == META} - used)
        elif pinned := self._pinned.keys() & used:
            self.host_runs(about.text, reads & pinned, writes & pinned)

    def _transfer(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A copy between host and device."""
        self._refuse_in_capture(f"{func} between host and device")
        if func._overloadpacket.__name__ == "copy_":
            target, source = args[:2]
            non_blocking, fresh = (args[2] if len(args) > 2 else kwargs.get("non_blocking", False)), False
        else:
            source, non_blocking, fresh = args[0], kwargs.get("non_blocking", False), True
            target = torch.zeros_like(source, dtype=kwargs.get("dtype"), device=kwargs["device"])
        on_host = source if target.device == META else target
        is_queued = non_blocking and place_of(on_host) in self._pinned
        into = {place_of(target)}
        self.runs(str(func), {place_of(source)}, set() if fresh else into, into if fresh else set())
        if not is_queued:
            self._wait(f"{func} {'to' if target.device == META else 'from'} the device", [])
        return target

    def _wait(self, name: str, inputs: Sequence[Tensor]) -> None:
        self._refuse_in_capture(f"{name}, which the host waits for")
        if inputs:
            self.runs(name, {*map(place_of, inputs)}, set())
        self.waits.append(name)
        self.host = merged(self.host, self.current.clock)

    def _refuse_in_capture(self, what: str) -> None:
        if self._capture is not None:
            raise FakeCudaError(f"a CUDA graph cannot hold {what}")

    @contextmanager
    def capturing(self) -> Iterator["Capture"]:
        """Inside nothing runs; what would is noted."""
        self._capture = capture = Capture()
        try:
            yield capture
        finally:
            self._capture = None


class Capture:
    """What the operators of a graph access outside of the memory that it has for itself."""

    def __init__(self) -> None:
        self.own: set[Place] = set()
        self.reads: set[Place] = set()
        self.writes: set[Place] = set()

    def add(self, reads: Places, writes: Places, fresh: Places) -> None:
        """Another operator."""
        self.own |= fresh
        self.reads |= reads - self.own
        self.writes |= writes - self.own


class Recorder:
    """As `fastsac.runtime.launch.CudaRecorder`; graphs of one have their own memory in common, which is one place."""

    recorded = 0

    def __init__(self, gpu: FakeCuda, stream: Stream | None = None) -> None:
        self._gpu, self._stream, self._pool = gpu, stream or Stream(gpu), object()

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        self._stream.wait_stream(self._gpu.current)
        with self._gpu.stream(self._stream):
            yield
        self._gpu.current.wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        Recorder.recorded += 1
        with self._gpu.capturing() as capture:
            work()
        reads, writes = capture.reads - capture.writes, capture.writes | {self._pool}
        return lambda: self._gpu.runs("a graph", reads, writes)


class Thread:
    """As `threading.Thread`, but that it is over when it has started; what it waits for, only it has waited for."""

    def __init__(
        self, gpu: FakeCuda, target: Callable[..., object], args: Sequence[Any], name: str, daemon: bool
    ) -> None:
        self._gpu, self._target, self._args = gpu, target, args

    def start(self) -> None:
        host, current = self._gpu.host, self._gpu.current
        self._gpu.current = self._gpu.streams[0]
        self._target(*self._args)
        self._gpu.host, self._gpu.current = host, current


class _Names(TorchFunctionMode):
    """Devices named cuda are of this machine."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        args, kwargs = [*map(_renamed, args)], {name: _renamed(value) for name, value in (kwargs or {}).items()}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == META:
            return func(*args, **{**kwargs, "device": None}).to(META)  # numbers of the host, which are copied there
        return func(*args, **kwargs)


class _Operators(TorchDispatchMode):
    def __init__(self, gpu: FakeCuda) -> None:
        TorchDispatchMode.__init__(self)
        self._gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._gpu.call(func, args, kwargs or {})


class fake_cuda(ExitStack):  # noqa: N801  # a context manager, as torch.no_grad
    """Inside, `torch.cuda`, tensors of device "cuda" and captured launches are those of a `FakeCuda`, which it gives.

    Launches are not compiled.
    """

    def __enter__(self) -> "FakeCuda":  # type: ignore[override]
        super().__enter__()
        gpu = FakeCuda()
        Recorder.recorded = 0
        replaced: dict[str, Any] = {
            "torch.cuda.Stream": lambda *_, **__: Stream(gpu), "torch.cuda.Event": lambda *_, **__: Event(gpu),
            "torch.cuda.stream": gpu.stream, "torch.cuda.current_stream": lambda *_: gpu.current,
            "torch.cuda.synchronize": gpu.synchronize, "torch.cuda.is_available": lambda: True,
            "torch.cuda.device_count": lambda: 1, "torch.cuda.device": lambda _: nullcontext(),
            "torch.cuda.get_device_name": lambda *_: "nothing", "torch.cuda.mem_get_info": lambda *_: (FREE, FREE),
            "torch.cuda.get_device_properties": lambda *_: SimpleNamespace(name="nothing", total_memory=FREE),
            "fastsac.checkpoint.thread.threading": SimpleNamespace(Thread=partial(Thread, gpu)),
        }  # fmt: skip
        for name, value in replaced.items():
            self.enter_context(patch(name, value))
        self.enter_context(patch.object(Tensor, "pin_memory", lambda tensor: gpu.pin(tensor)))
        self.enter_context(patch.object(launch, "CudaRecorder", lambda stream=None: Recorder(gpu, stream)))
        self.enter_context(patch.object(launch, "CompiledStep", lambda step, *_: step))
        self.enter_context(_Operators(gpu))
        self.enter_context(_Names())
        return gpu


def merged(clock: Clock, other: Clock) -> Clock:
    """What is over according to one of them."""
    return {name: max(clock.get(name, 0), other.get(name, 0)) for name in clock.keys() | other.keys()}


def place_of(tensor: Tensor) -> Place:
    """The memory that a tensor lies in: all of a storage is one place."""
    return tensor.untyped_storage()._cdata


def _check(name: str, now: Clock, before: Sequence[tuple[str, int] | None]) -> None:
    for access in before:
        if access is not None and now.get(access[0], 0) < access[1]:
            raise RaceError(f"{name} is in no order with an access on {access[0]}")


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _renamed(value: Any) -> Any:
    """META for a device named cuda."""
    is_named = isinstance(value, str) and value.partition(":")[0] == "cuda"
    return META if is_named or (isinstance(value, torch.device) and value.type == "cuda") else value
