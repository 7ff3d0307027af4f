"""Numbers that the processes of one agent add up while their environments step."""

from collections.abc import Sequence
from typing import Protocol


class Tally(Protocol):
    """Adds up whole numbers over all processes, beside what else goes on; all of them do so in the same order."""

    def begin(self, values: Sequence[int]) -> None:
        """Begin to add up these; a sum that nobody asked for is dropped."""

    def finish(self) -> list[int]:
        """The sums of what was begun.  Waits for the other processes."""

    def add_up(self, value: int) -> int:
        """The sum of this, beside what was begun.  Waits for the other processes."""


class OwnTally:
    """Of a single process."""

    def __init__(self) -> None:
        self._values: list[int] = []

    def begin(self, values: Sequence[int]) -> None:
        """As of `Tally`."""
        self._values = [*values]

    def finish(self) -> list[int]:
        """As of `Tally`."""
        return self._values

    def add_up(self, value: int) -> int:
        """As of `Tally`."""
        return value
