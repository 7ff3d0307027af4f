"""Whether a process of this machine lives, as Linux tells of it in /proc."""

import os
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process, as it is known on its machine."""

    where: str  # the start of the machine, and the name space of its process numbers
    pid: int
    born: int  # in clock ticks: another process may have the number later


class Life(Enum):
    """How a process is."""

    LIVES = "lives"
    STOPPED = "stopped"
    ENDED = "ended"
    UNKNOWN = "unknown"  # of another machine, or another name space


def this_process() -> Process | None:
    """This one; None where the machine has no /proc."""
    where, stat = _here(), _stat(os.getpid())
    return None if where is None or stat is None else Process(where, os.getpid(), stat[1])


def look(process: Process | None) -> Life:
    """How a process is, now."""
    if process is None or process.where != _here():
        return Life.UNKNOWN
    stat = _stat(process.pid)
    if stat is None or stat[1] != process.born or stat[0] in "ZX":
        return Life.ENDED
    return Life.STOPPED if stat[0] == "T" else Life.LIVES


def _here() -> str | None:
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return None


def _stat(pid: int) -> tuple[str, int] | None:
    """State and birth of a process; None if there is none."""
    with suppress(OSError):  # the name before the last bracket may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[19])
    return None
