"""Errors of a disk that is full, slow or gone: the run reports them now and then, goes on and tries again."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

REPORT_EVERY_S = 60.0


def disk_error(error: BaseException | None) -> OSError | None:
    """The OSError that `error` is or was caused by: torch.save raises another kind instead."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return None if isinstance(error, ConnectionError) else error  # a broken pipe, say


class DiskErrorTolerance:
    """Lets a run go on where the disk refuses to write, which `report` tells in one line."""

    def __init__(self, report: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._clock = report, clock
        self._reported_at: dict[str, float] = {}

    @contextmanager
    def allow(self, name: str) -> Iterator[None]:
        """Ignore a disk error of this block, and report it at most once a minute for each `name`, that of a file."""
        try:
            yield
        except Exception as error:
            cause, now = disk_error(error), self._clock()
            if cause is None:
                raise
            if now - self._reported_at.get(name, -math.inf) >= REPORT_EVERY_S:
                self._reported_at[name] = now
                self._report(f"{name} could not be written ({cause.strerror}): the run goes on and tries again.")
