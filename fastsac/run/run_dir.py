"""The run directory: whose it is, which process has it, and what of it may be written over.

    RUN_DIR/.fastsac/       the mark of this program, there from the first moment
        lock                held by the process that writes the run; the system frees it when that process dies
        owner.json          which process that is

Without the mark nothing in a folder is written over or removed; a run of a version that made no marks shows by its
settings and a whole checkpoint what it is.  Reading a run needs no lock.
"""

import errno
import itertools
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from fastsac import checkpoint
from fastsac.config.settings import Config
from fastsac.disk.files import write_file
from fastsac.disk.new_files import check_writable
from fastsac.disk.tables import read_numbers

MARK, LOCK, SOFT_LOCK, OWNER = ".fastsac", "lock", "lock-file", "owner.json"
NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what network file systems answer that cannot lock
OWNER_S = 0.2  # in which a process that has just got the lock has written who it is
_KEPT: list["RunDir"] = []  # held until the process ends
# What a run writes before its first checkpoint, and may leave behind when it ends without one.
LEFT_OVER = ("config.json", "resumed.json", "metrics.csv", "eval.csv", "tensorboard", "videos", "summary.json")


class InUseError(ValueError):
    """Another process writes this run."""


class RunDir:
    """The folder of a run, which need not exist, and which one process may hold."""

    _held: os.stat_result  # of the file that is locked, once it is

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = path.absolute()  # an environment may change the working directory
        self._mark = self._folder / MARK
        self._lock: BaseFileLock | None = None
        self._made: list[Path] = []  # folders that were not there before, innermost first
        self._started = False

    # Looking, without the lock ------------------------------------------------------------------------------------

    @property
    def is_marked(self) -> bool:
        """Whether it is a run's."""
        return self._mark.is_dir()

    @property
    def is_free(self) -> bool:
        """Whether nothing is there but, perhaps, an empty folder or the mark of a start that came to nothing."""
        folder = self._folder
        return not folder.exists() or (folder.is_dir() and all(path == self._mark for path in folder.iterdir()))

    def is_run(self) -> bool:
        """Whether it may be written to: it has the mark, or holds a run of a version that made no marks."""
        if not self.is_marked:
            try:
                Config.load(self._folder)
                checkpoint.find(self._folder, with_replay=False)
            except ValueError:
                return False
        return True

    # The lock -----------------------------------------------------------------------------------------------------

    def acquire(self, wait_s: float = 0.0) -> None:
        """Become the process that writes the run; makes and marks the folder where it is not there.

        Raises:
            InUseError: another process has it, still after `wait_s` seconds.
            ValueError: it cannot be written to.
        """
        try:
            self._lock_it(time.monotonic() + wait_s)
            check_writable(self._folder)
            owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            write_file(self._mark / OWNER, json.dumps(owner).encode())
        except OSError as error:
            there = next(p for p in (self._folder, *self._folder.parents) if os.path.exists(p))
            self.release()
            raise ValueError(
                f"run_dir {self.path} cannot be written to: {there} does not allow it ({error.strerror})."
            ) from None

    def _lock_it(self, deadline: float) -> None:
        for _ in range(5):
            with suppress(FileNotFoundError):  # a start that came to nothing took its folder away again
                self._make()
                lock = self._locked(deadline)
                self._held = os.stat(lock.lock_file)
                self._lock = lock
                return
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _make(self) -> None:
        """Make the folder and its mark."""
        for folder in (*reversed(self._folder.parents), self._folder, self._mark):
            with suppress(FileExistsError):
                folder.mkdir()
                self._made.insert(0, folder)

    def _locked(self, deadline: float) -> BaseFileLock:
        lock: BaseFileLock = FileLock(str(self._mark / LOCK))
        try:
            return self._acquired(lock, deadline)
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in NO_FLOCK:
                raise
            return self._acquired(SoftFileLock(str(self._mark / SOFT_LOCK)), deadline)

    def _acquired(self, lock: BaseFileLock, deadline: float) -> BaseFileLock:
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
                print(f"waiting up to {left:.0f} s for {self._owner()} to leave {self.path}", flush=True)
                lock.acquire(timeout=left, poll_interval=0.1)
        except Timeout:
            hint = f" If it is dead, remove {lock.lock_file}." if isinstance(lock, SoftFileLock) else ""
            raise InUseError(
                f"run_dir {self.path} is in use by {self._owner()}. End that process, give another --run-dir, or wait "
                f"for it with --wait-for-lock SECONDS.{hint}"
            ) from None
        return lock

    def _owner(self) -> str:
        """The process that has the lock, in words."""
        if not self._started:  # else it is asked again and again
            time.sleep(OWNER_S)
        try:
            owner = json.loads((self._mark / OWNER).read_bytes())
            return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
        except (OSError, ValueError, TypeError, KeyError):
            return "another process"

    @property
    def is_held(self) -> bool:
        """Whether the folder is there and is still the one whose lock this process has."""
        try:
            return self._lock is not None and os.path.samestat(os.stat(self._lock.lock_file), self._held)
        except OSError:
            return False

    def acquire_again(self, is_ours: bool) -> None:
        """Make the folder anew where it is gone, or its mark; an OSError if it is there and not known to be ours."""
        if not (is_ours or self.is_free or self.is_run()):
            raise FileExistsError(errno.EEXIST, "something else is there now")
        self._unlock()
        try:
            self.acquire()
        except InUseError:
            raise OSError(errno.EBUSY, f"{self._owner()} has it now") from None
        except ValueError as error:
            raise OSError(errno.EIO, str(error)) from error

    def start(self) -> None:
        """What lies there from now on is worth keeping."""
        self._started = True

    def set_aside(self) -> Path | None:
        """Move what a start without a checkpoint left behind into a folder of its own, if it has rows; returns it."""
        if not any(last_steps(self._folder / name) for name in ("metrics.csv", "eval.csv")):
            return None
        paths = (self._folder / f"aborted-{number}" for number in itertools.count(1))
        aside = next(path for path in paths if not path.exists())
        aside.mkdir()
        for name in LEFT_OVER:
            with suppress(FileNotFoundError):
                os.replace(self._folder / name, aside / name)
        return aside

    def release(self) -> None:
        """Let others have it, unless it is kept.  A folder made by this process that came to nothing is taken away."""
        if self in _KEPT:
            return
        if not self._started:
            self._take_away()
        self._unlock()

    def keep(self) -> None:
        """Hold it until the process ends, whoever releases it: a thread may still write there."""
        _KEPT.append(self)

    def _take_away(self) -> None:
        with suppress(OSError):
            if self.is_held and self._mark in self._made:
                for name in (OWNER, f"{OWNER}.tmp", LOCK, SOFT_LOCK):
                    (self._mark / name).unlink(missing_ok=True)
            for folder in self._made:
                folder.rmdir()  # unless it holds something

    def _unlock(self) -> None:
        if self._lock is not None:
            with suppress(OSError):
                self._lock.release(force=True)
        self._lock = None


def last_steps(table: Path) -> int:
    """Environment steps in the last row of a table, 0 where there is none; a ValueError where it cannot be read."""
    steps = read_numbers(table, ("env_steps",))
    steps = steps[np.isfinite(steps)]
    return int(steps[-1]) if steps.size else 0
