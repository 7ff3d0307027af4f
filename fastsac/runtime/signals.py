"""Signals and the time limit, which end a run early, and the exit statuses that tell of them.

The first signal is kept until the loop looks.  Knows nothing of training.
"""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Self

from fastsac.config.durations import parse_duration

Handler = Callable[[int, FrameType | None], object] | int | None
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; the signal of schedulers before they kill; the warning of `sbatch --signal=USR1@60`."""
SAME_S = 0.5  # seconds in which another signal counts as the same: torchrun and terminals pass on what all have got
OUT_OF_TIME = 75  # exit status of a run that max_wall_time ended: EX_TEMPFAIL of sysexits.h, try again


class Stopped(KeyboardInterrupt):
    """A signal that ends the program at once, wherever it is; `was_armed`: after it had begun to write."""

    def __init__(self, name: str, was_armed: bool = False) -> None:
        super().__init__(name)
        self.name, self.was_armed = name, was_armed


def exit_status(name: str) -> int:
    """130 for SIGINT and 143 for the others, as a shell reports them."""
    return 128 + (signal.SIGINT if name == "SIGINT" else signal.SIGTERM)


class StopSignals:
    """Handlers for the signals that end a run; a context manager.

    Once `armed`, the first signal only leaves its name in `received`.  Before that, and from the second on, a signal
    raises Stopped.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.received: str | None = None
        self.armed = False
        self._at = 0.0
        self._clock = clock
        self._previous: dict[signal.Signals, Handler] = {}

    def __enter__(self) -> Self:
        with suppress(ValueError):  # not the main thread: the caller handles signals
            for signum in STOPPING:
                self._previous[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)  # None: it was set from C
        self._previous.clear()

    def _handle(self, signum: int, _: object) -> None:
        name, now = signal.Signals(signum).name, self._clock()
        if self.received is not None and now - self._at < SAME_S:
            return
        if self.received is not None or not self.armed:
            raise Stopped(name, self.armed)
        self.received, self._at = name, now


BYTES_PER_S = 200e6  # a slow disk, for as long as no checkpoint has been timed
CLOSING_S = 1.0  # for the last vector step and for closing files


class Deadline:
    """When a run must begin to stop so that its checkpoint is whole within `limit`, counted from `since` or now on."""

    def __init__(
        self, limit: str | None, clock: Callable[[], float] = time.perf_counter, since: float | None = None
    ) -> None:
        self._clock = clock
        self._end = None if limit is None else (clock() if since is None else since) + parse_duration(limit)

    def is_near(self, nbytes: Callable[[], float], longest_s: float) -> bool:
        """Whether what is left is needed for a checkpoint: twice the longest so far, or twice what a slow disk takes.

        The size of the checkpoint is asked for only where there is a limit.
        """
        if self._end is None:
            return False
        return self._end - self._clock() < CLOSING_S + 2 * max(longest_s, nbytes() / BYTES_PER_S)
