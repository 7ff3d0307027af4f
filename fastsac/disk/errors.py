"""Disks that are full, slow or gone: the run goes on, says so now and then, and tries again."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SAY_EVERY_S = 60.0


def disk_error(error: BaseException | None) -> OSError | None:
    """The OSError that `error` is or came of: torch.save makes another kind of what the disk said."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return None if isinstance(error, ConnectionError) else error  # a broken pipe, say


class Patience:
    """Bears with what cannot be written.

    Args:
        say: prints one line.
        clock: seconds that only grow.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._said_at: dict[str, float] = {}

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Let what the disk refuses pass, with a line at most once a minute for each `what`, which begins the line."""
        try:
            yield
        except Exception as error:
            cause, now = disk_error(error), self._clock()
            if cause is None:
                raise
            if now - self._said_at.get(what, -math.inf) >= SAY_EVERY_S:
                self._said_at[what] = now
                self._say(f"{what} could not be written ({cause.strerror}): the run goes on and tries again.")
