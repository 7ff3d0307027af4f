"""Whether the other processes of a run are there, what they wish for, and why they ended.

A thread tells it to the store that torchrun keeps and reads it there, so that a process that is killed, hangs or fails
is known by name although it cannot say so.  Knows no training.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Protocol

BEAT_S = 0.5  # between two looks
LOST_S = 15.0  # without a sign of life a process counts as lost
GRACE_S = 8.0  # in which this process notices by itself that it is to end
STORE_FAILURES = 2  # in a row, after which the store counts as gone
FAILED = 1  # exit status


class PeerError(RuntimeError):
    """Another process of the run is gone, or has failed.

    Attributes:
        rank: of that process; None where it is not known.
        is_told: whether it has said itself what happened.
    """

    def __init__(self, message: str, rank: int | None, is_told: bool = False) -> None:
        super().__init__(message)
        self.rank, self.is_told = rank, is_told

    def is_told_by(self, rank: int) -> bool:
        """Whether the process `rank` is the one to say it, where it is still to be said."""
        return not self.is_told and rank == (1 if self.rank == 0 else 0)


class Store(Protocol):
    """What is needed of a `torch.distributed.Store`."""

    def set(self, key: str, value: str) -> None:
        """Keep a value."""

    def multi_get(self, keys: list[str]) -> list[bytes]:
        """The values of keys, once all have one."""


@dataclass
class Sign:
    """What a process tells of itself."""

    name: str  # host and process
    beat: int = 0
    wish: str | None = None  # why it wants all to stop, at the next moment that suits all
    failure: str | None = None  # why it ends; all others do, too
    has_left: bool = False  # it is done


@dataclass
class _Seen:
    """What was last read of another process, and when its beat last changed."""

    sign: Sign
    at: float = field(default_factory=time.monotonic)


class Peers:
    """Tells of this process, and keeps what the others tell.

    Args:
        store: shared by all processes; used by the thread alone once it has started.
        rank: of this process.
        size: number of processes.
        name: of this process, for messages.
        leave: ends this process at once, where it waits for something that will not come.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        size: int,
        name: str,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._store, self._rank, self._leave = store, rank, leave
        self._keys = [f"peer/{other}" for other in range(size)]
        self._mine = Sign(name)
        self._tell()
        self._seen = {other: _Seen(sign) for other, sign in self._read().items()}  # waits until all are there
        self._error: PeerError | None = None
        self._closed = threading.Event()
        self._changed = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)

    def start(self) -> None:
        """Begin to tell and to look."""
        self._thread.start()

    @property
    def names(self) -> list[str]:
        """`rank 2 (host:1234)`, of all."""
        return [f"rank {rank} ({seen.sign.name})" for rank, seen in sorted(self._seen.items())]

    @property
    def wish(self) -> str | None:
        """Why a process wants all to stop; None if none does."""
        wishes = [self._mine.wish, *(seen.sign.wish for seen in self._seen.values())]
        return next((wish for wish in wishes if wish is not None), None)

    def ask(self, reason: str) -> None:
        """Wish that all stop."""
        self._mine.wish = self._mine.wish or reason

    def fail(self, reason: str) -> None:
        """Tell the others that this process ends by an error; they do, too.  The first reason counts."""
        self._end(failure=self._mine.failure or reason)

    def close(self) -> None:
        """Tell the others that this process is done."""
        self._end(has_left=True)

    def _end(self, **last: str | bool) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(LOST_S)
        with self._changed:
            for name, value in last.items():
                setattr(self._mine, name, value)
        try:
            self._tell()
        except Exception:  # the store has gone, and with it whoever would read it
            return

    def check(self) -> None:
        """Raise a PeerError if another process is lost or has failed."""
        if self._error is not None:
            raise self._error

    def _tell(self) -> None:
        self._store.set(self._keys[self._rank], json.dumps(asdict(self._mine)))

    def _read(self) -> dict[int, Sign]:
        return {rank: Sign(**json.loads(value)) for rank, value in enumerate(self._store.multi_get(self._keys))}

    def _watch(self) -> None:
        """The thread: look, until this process ends or another one has to be reported."""
        failures = 0
        while not self._closed.wait(BEAT_S):
            try:
                self._mine.beat += 1
                self._tell()
                signs = self._read()
                failures = 0
            except Exception:  # of the store's connection, of many kinds; it does not connect again
                failures += 1
                if failures < STORE_FAILURES:
                    continue
                self._report(PeerError("the process that keeps the ranks together does not answer any more", None))
                return
            if (error := self._look(signs)) is not None:
                self._report(error)
                return

    def _look(self, signs: dict[int, Sign]) -> PeerError | None:
        """Take in what the processes tell; returns what is to be reported of one."""
        now = time.monotonic()
        for rank, sign in signs.items():
            seen = self._seen[rank]
            if sign.beat != seen.sign.beat or rank == self._rank:
                seen.at = now
            seen.sign = sign
            whose = f"rank {rank} ({sign.name})"
            if sign.failure is not None:
                return PeerError(f"{whose} has ended: {sign.failure}", rank, is_told=True)
            if not sign.has_left and now - seen.at > LOST_S:
                return PeerError(f"{whose} is gone: no sign of life for {LOST_S:.0f} s", rank)
        return None

    def _report(self, error: PeerError) -> None:
        """Let `check` raise it; end this process if it does not come to that, for instance as it waits for a GPU."""
        self._error = error
        if not self._closed.wait(GRACE_S):
            if error.is_told_by(self._rank):
                print(f"fastsac: {error}. Checkpoints written so far are kept.", file=sys.stderr, flush=True)
            self._leave(FAILED)
