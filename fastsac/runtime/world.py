"""The processes that `torchrun` has started to train one run together, and what they tell each other on the host.

One of them is rank r of R.  They talk over gloo at few moments: every wait looks after the others, so that it ends with
the name of the process that is missing.  A single process is a world of its own, where all this costs nothing.
"""

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.utils import _pytree as pytree

from fastsac.runtime import peers
from fastsac.runtime.peers import PeerError, Peers

T = TypeVar("T")
JOIN_S = 300.0  # in which all processes must have started
LEAVE_S = 2.0  # in which connections are closed
HANG_S = 1800.0  # in which all come to where one waits: compiling and evaluating take their time
BREAK_S = 2 * HANG_S  # after which torch.distributed ends a reduction
TALK_S = 1e7  # likewise, what the processes tell each other
_WORLDS = count()  # that this process has joined
_WAITS_S = (0.0, 1e-4, 1e-3, 5e-3)  # between two looks at what is under way


class AgreedError(ValueError):
    """A ValueError that all processes raise."""


class World:
    """A process alone: rank 0 of 1.  What it tells, it hears itself."""

    rank = 0
    size = 1
    local_rank = 0  # among the processes of this machine
    local_size = 1
    restarts = 0  # by torchrun, so far
    max_restarts = 0

    def __init__(self) -> None:
        self.restarts = _number("TORCHELASTIC_RESTART_COUNT", 0)
        self.max_restarts = _number("TORCHELASTIC_MAX_RESTARTS", 0)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, and speaks, for all."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def wish(self) -> str | None:
        """Why one of the processes wants all to stop at the next moment that suits all; None if none does."""
        return None

    def ask(self, reason: str) -> None:
        """Wish that all stop."""

    def check(self) -> None:
        """Raise a PeerError if another process is lost or has failed."""

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, on all of them; values are pickled."""
        return [value]

    def tell(self, value: T) -> T:
        """The value of rank 0, on all ranks."""
        return value

    def bring(self, tree: Any) -> list[Any] | None:
        """The tensors of all ranks, in dictionaries of one form, on rank 0; None elsewhere."""
        return [tree]

    def agreed(self, work: Callable[[], T]) -> T:
        """Do something on every rank; where one of them raises a ValueError, all do, with that message.

        Raises:
            AgreedError: that of the lowest rank that has one, with its name where that is not rank 0.  A process alone
                raises what it has.
        """
        return work()

    def speaks_of(self, error: PeerError) -> bool:
        """Whether this process says what happened to another one: one of them does."""
        return error.is_told_by(self.rank)

    def explained(self, error: RuntimeError) -> RuntimeError:
        """A PeerError for what torch.distributed raises where a connection broke; may wait until it is known whose."""
        return error

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Let an error inside that comes of a lost process be the PeerError that says so."""
        yield

    def fail(self, reason: str) -> bool:
        """Tell the others that this process ends by an error; they do, too.  True of the first, which is to say why."""
        return True

    def close(self) -> None:
        """Leave, when all are done."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None and not isinstance(error, PeerError):
            self.fail(" ".join(str(error).split())[:1000] or type(error).__name__)
        self.close()


class Ranks(World):
    """Several processes, which torchrun has started.

    Raises:
        ValueError: they do not find each other, or torch.distributed is in use already.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rank, self.size = _number("RANK"), _number("WORLD_SIZE")
        self.local_rank, self.local_size = _number("LOCAL_RANK"), _number("LOCAL_WORLD_SIZE")
        if dist.is_initialized():
            raise ValueError(
                "torch.distributed is in use by this program already, so that its processes cannot train one run "
                "together. Give parallel off, and each trains its own."
            )
        try:
            store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=JOIN_S)))
            store.set_timeout(timedelta(seconds=JOIN_S))
            # What processes of an earlier start, or for an earlier run, have left in the store is theirs.
            prefix = f"fastsac/{self.restarts}/{next(_WORLDS)}"
            dist.init_process_group(
                "gloo", store=PrefixStore(f"{prefix}/group", store), rank=self.rank, world_size=self.size,
                timeout=timedelta(seconds=BREAK_S),
            )  # fmt: skip
            self._talk: dist.ProcessGroup = dist.new_group(backend="gloo", timeout=timedelta(seconds=TALK_S))
            name = f"{socket.gethostname()}:{os.getpid()}"
            told = store.clone()  # a connection of its own for the thread
            self._peers = Peers(PrefixStore(f"{prefix}/peers", told), self.rank, self.size, name)
            told.set_timeout(timedelta(seconds=peers.LOST_S))
        except (RuntimeError, OSError) as error:  # torch's DistError is a RuntimeError
            address = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
            raise ValueError(
                f"rank {self.rank} of {self.size} does not find the others by way of {address}. Start all of them by "
                "torchrun, with an address that every machine reaches."
            ) from error
        self._peers.start()

    @property
    def names(self) -> list[str]:
        """Of the ranks, for messages."""
        return self._peers.names

    @property
    def wish(self) -> str | None:
        """As of `World`."""
        return self._peers.wish

    def ask(self, reason: str) -> None:
        """As of `World`."""
        self._peers.ask(reason)

    def check(self) -> None:
        """As of `World`."""
        self._peers.check()

    def gather(self, value: T) -> list[T]:
        """As of `World`."""
        data = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        self.wait(dist.all_gather(sizes, torch.tensor([len(data)]), self._talk, async_op=True), is_talk=True)
        padded = torch.zeros(int(max(sizes)), dtype=torch.uint8)
        padded[: len(data)] = data
        parts = [torch.zeros_like(padded) for _ in range(self.size)]
        self.wait(dist.all_gather(parts, padded, self._talk, async_op=True), is_talk=True)
        return [pickle.loads(part[: int(n)].numpy().tobytes()) for part, n in zip(parts, sizes, strict=True)]

    def tell(self, value: T) -> T:
        """As of `World`."""
        return self.gather(value if self.is_first else None)[0]  # type: ignore[return-value]

    def bring(self, tree: Any) -> list[Any] | None:
        """As of `World`."""
        leaves, form = pytree.tree_flatten(pytree.tree_map(_on_host, tree))
        blob = torch.cat([torch.zeros(0, dtype=torch.uint8), *map(_bytes, leaves)])
        outlines = self.gather([(leaf.shape, leaf.dtype, leaf.nbytes) for leaf in leaves])
        padded = torch.zeros(max(sum(n for *_, n in outline) for outline in outlines), dtype=torch.uint8)
        padded[: len(blob)] = blob
        blobs = [torch.empty_like(padded) for _ in range(self.size)] if self.is_first else None
        self.wait(dist.gather(padded, blobs, group=self._talk, async_op=True), is_talk=True)
        if blobs is None:
            return None
        trees = []
        for outline, each in zip(outlines, blobs, strict=True):
            parts = each.split([*(n for *_, n in outline), len(each) - sum(n for *_, n in outline)])[:-1]
            there = [x.clone().view(dtype).view(shape) for x, (shape, dtype, _) in zip(parts, outline, strict=True)]
            trees.append(pytree.tree_unflatten(there, form))
        return trees

    def agreed(self, work: Callable[[], T]) -> T:
        """As of `World`."""
        result, failure = None, None
        try:
            result = work()
        except ValueError as error:
            failure = error
        said = self.gather(None if failure is None else str(failure))
        found = [(rank, text) for rank, text in enumerate(said) if text is not None]
        if not found:
            return result  # type: ignore[return-value]
        rank, text = found[0]
        raise AgreedError(text if rank == 0 else f"rank {rank}: {text}") from failure

    def wait(self, work: "dist.Work | None", is_talk: bool = False) -> None:
        """Wait for something that all take part in.

        Before they talk, rank 0 may take its time, as a process alone may: for locks, files, callbacks and films.

        Raises:
            PeerError: another process is lost, has failed, or does not come for HANG_S.
        """
        assert work is not None
        self._peers.meet()
        began, looks = time.monotonic(), 0
        try:
            while not work.is_completed():
                self.check()
                time.sleep(_WAITS_S[min(looks // 50, len(_WAITS_S) - 1)])
                looks += 1
                if is_talk and 0 in self._peers.behind:
                    began = time.monotonic()
                if time.monotonic() - began > HANG_S:
                    raise self._peers.missing(HANG_S)
            work.wait()
        except RuntimeError as error:
            raise self.explained(error) from error

    def explained(self, error: RuntimeError) -> PeerError:
        """As of `World`: a broken connection does not say whose it was, but its process gives no sign of life then."""
        if isinstance(error, PeerError):
            return error
        until = time.monotonic() + self._peers.lost_s + 4 * peers.BEAT_S
        while time.monotonic() < until:
            try:
                self.check()
            except PeerError as known:
                return known
            time.sleep(peers.BEAT_S)
        return PeerError("the connection to another rank broke", None)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """As of `World`: what an operator raises, compiled code passes on as a RuntimeError."""
        try:
            yield
        except RuntimeError as error:
            if type(error) is RuntimeError:
                self.check()
            raise

    def device_group(self, device: torch.device, is_shared: bool) -> dist.ProcessGroup | None:
        """What tensors of a device are reduced over: NCCL where each process has a GPU of its own, else gloo."""
        if device.type != "cuda" or is_shared:
            return None
        group: dist.ProcessGroup = dist.new_group(backend="nccl", timeout=timedelta(seconds=BREAK_S))
        return group

    def fail(self, reason: str) -> bool:
        """As of `World`."""
        return self._peers.fail(reason)

    def close(self) -> None:
        """As of `World`."""
        self._peers.close()
        if dist.is_initialized():  # which does not come to an end while a lost process has part in an operation
            leaving = threading.Thread(target=dist.destroy_process_group, name="leaving", daemon=True)
            leaving.start()
            leaving.join(LEAVE_S)


def is_started_by_torchrun() -> bool:
    """Whether this process is one of several of `torchrun`."""
    return _number("WORLD_SIZE", 1) > 1


def join(parallel: str) -> World:
    """The processes that train this run: those of torchrun, unless `parallel` is off."""
    return Ranks() if parallel != "off" and is_started_by_torchrun() else World()


def _number(name: str, otherwise: int | None = None) -> int:
    text = os.environ.get(name, "" if otherwise is None else str(otherwise))
    if not text.isdigit():
        raise ValueError(f"{name} must be a number, as torchrun sets it, got {text!r}. Start with torchrun.")
    return int(text)


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)
