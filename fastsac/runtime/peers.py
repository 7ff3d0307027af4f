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

from fastsac.runtime import vitals
from fastsac.runtime.vitals import Life, Process

BEAT_S = 0.5  # between two looks
LOST_S = 15.0  # without a sign of life a process that is stopped counts as lost
AWAY_S = 25.0  # likewise, one of another machine, where nobody sees whether it is only busy in C code
SILENT_S = 600.0  # likewise, one that is seen to live
GRACE_S = 8.0  # in which this process notices by itself that it is to end
ENDING_S = 60.0  # further, in which it ends once it has noticed: a checkpoint may be under way
STORE_FAILURES = 2  # in a row, after which the store counts as gone
FAILED = 1  # exit status
FAILURES = "failures"  # key of the number of processes that have failed


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

    def add(self, key: str, amount: int) -> int:
        """Count up, and the number that it is then."""


@dataclass
class Sign:
    """What a process tells of itself."""

    name: str  # host and process
    process: Process | None = None  # where its machine can tell
    beat: int = 0
    met: int = 0  # how often it has come to where all wait for each other
    wish: str | None = None  # why it wants all to stop, at the next moment that suits all
    failure: str | None = None  # why it ends; all others do, too
    has_left: bool = False  # it is done

    @classmethod
    def from_json(cls, text: str | bytes) -> "Sign":
        """As it was told."""
        told = json.loads(text)
        return cls(**{**told, "process": Process(*told["process"]) if told.get("process") else None})


@dataclass
class _Seen:
    """What was last read of another process, and when its beat last changed."""

    sign: Sign
    at: float = field(default_factory=time.monotonic)
    has_ended: bool = False

    def take(self, sign: Sign) -> str | None:
        """Look at the process, whose sign was read just now; how it was lost, in words, if it was."""
        now = time.monotonic()
        if sign.beat != self.sign.beat:
            self.at = now
        self.sign = sign
        if sign.has_left:
            return None
        if self.has_ended:  # when the sign was read: it would say so
            return "its process has ended without a word"
        life = vitals.look(sign.process)
        self.has_ended = life is Life.ENDED
        limit = {Life.LIVES: SILENT_S, Life.UNKNOWN: AWAY_S}.get(life, LOST_S)
        return f"no sign of life for {limit:.0f} s" if now - self.at > limit else None


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
        self._mine = Sign(name, vitals.this_process())
        self._tell()
        self._seen = {other: _Seen(sign) for other, sign in self._read().items()}  # waits until all are there
        self._error: PeerError | None = None
        self._has_noticed = False  # that there is one: `check` has raised it
        self._is_first_to_fail = False
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

    @property
    def behind(self) -> list[int]:
        """The ranks that have not come to where this one is, as far as is known; the last one first."""
        met = {rank: seen.sign.met for rank, seen in self._seen.items() if rank != self._rank}
        return sorted((rank for rank in met if met[rank] < self._mine.met), key=lambda rank: met[rank])

    @property
    def lost_s(self) -> float:
        """In which it is known which process has ended or was stopped."""
        lives = [vitals.look(seen.sign.process) for seen in self._seen.values()]
        return AWAY_S if Life.UNKNOWN in lives else LOST_S

    def missing(self, seconds: float) -> PeerError:
        """Of the process that has come least far, when the others have waited for it so long."""
        waited = f"for {seconds / 60:.0f} minutes"
        if not (behind := self.behind):
            return PeerError(f"all ranks are there, but what they send has not arrived {waited}", None)
        return PeerError(f"{self.names[behind[0]]} has not come to where the others wait {waited}", behind[0])

    def meet(self) -> None:
        """Tell that this process has come to where all wait for each other."""
        self._mine.met += 1

    def ask(self, reason: str) -> None:
        """Wish that all stop."""
        self._mine.wish = self._mine.wish or reason

    def fail(self, reason: str) -> bool:
        """Tell the others that this process ends by an error; they do, too.  The first reason counts.

        Returns whether no other process has failed before: that one says why, where all may have the same error.
        """
        if self._mine.failure is None:
            self._end(failure=reason)
            try:
                self._is_first_to_fail = self._store.add(FAILURES, 1) == 1
            except Exception:  # the store has gone: nobody else is known to say it
                self._is_first_to_fail = True
        return self._is_first_to_fail

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
            self._has_noticed = True
            raise self._error

    def _tell(self) -> None:
        self._store.set(self._keys[self._rank], json.dumps(asdict(self._mine)))

    def _read(self) -> dict[int, Sign]:
        return {rank: Sign.from_json(value) for rank, value in enumerate(self._store.multi_get(self._keys))}

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
        for rank, sign in signs.items():
            whose, how = f"rank {rank} ({sign.name})", self._seen[rank].take(sign)
            if sign.failure is not None:
                return PeerError(f"{whose} has ended: {sign.failure}", rank, is_told=True)
            if how is not None and rank != self._rank:
                return PeerError(f"{whose} is gone: {how}", rank)
        return None

    def _report(self, error: PeerError) -> None:
        """Let `check` raise it; end this process if it does not come to that, for instance as it waits for a GPU."""
        self._error = error
        if not (self._closed.wait(GRACE_S) or (self._has_noticed and self._closed.wait(ENDING_S))):
            if error.is_told_by(self._rank):
                print(f"fastsac: {error}.", file=sys.stderr, flush=True)
            self._leave(FAILED)
