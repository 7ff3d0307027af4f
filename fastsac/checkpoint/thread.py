"""Writing checkpoints while training goes on: the loop copies what a checkpoint needs, and a thread writes it.

One checkpoint is written at a time: the next one waits for it.  What the loop would have to copy beyond `CLONE` bytes
it does not copy: then it waits until the thread has read it.

On CUDA the loop's copies are made on its own stream, and the thread brings them to the host on another, which waits for
them by an event: neither waits for launches that come after.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fastsac.checkpoint.reader import Meta, Tree
from fastsac.checkpoint.writer import Division, Rows, Writer

CLONE = 256 << 20  # bytes of rows of the replay that the loop copies, at most
LOGGER = logging.getLogger("fastsac")
RETRY_S = 60.0  # between a checkpoint that could not be written and the next attempt


class CheckpointError(RuntimeError):
    """A checkpoint could not be written."""


class CheckpointThread:
    """Hands checkpoints to a thread that writes them; the writer is the thread's alone while one is under way."""

    def __init__(
        self,
        writer: Writer,
        sync: Callable[[], None],  # waits until all rows that a checkpoint counts on are on the disk
        device: torch.device,
        say: Callable[[str], None] = LOGGER.warning,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer, self._sync, self._say, self._clock = writer, sync, say, clock
        self._pending: Future[Path] | None = None
        self._failed_at: float | None = None
        self.newest: Path | None = None  # the last checkpoint that was waited for, or looked at, and is whole
        self.written = 0  # checkpoints so far
        self.longest_s = 0.0  # from handing a checkpoint over until it was written, at most so far
        self.thread_cpu_s = 0.0  # processor time of the threads so far
        self._stream: torch.cuda.Stream | None = torch.cuda.Stream(device) if device.type == "cuda" else None

    def submit(self, env_steps: int, state: Tree, meta: Meta, rows: Rows | None) -> None:
        """Write a checkpoint of what the tensors hold now, after the one before, as `wait`; see `Writer.write`."""
        self.wait()
        copies = pytree.tree_map(torch.clone, state)
        division, size = None, 0
        if rows is not None:
            division = self._divide(rows)
            size = sum(last - first for first, last in division.ranges) * rows.row_bytes
            if size <= CLONE:
                copied = {span: rows.read(*span) for span in division.ranges}
                rows = Rows(rows.span, rows.row_bytes, lambda first, last: copied[first, last])
        ready = None if self._stream is None else torch.cuda.current_stream().record_event()
        self._pending, self._failed_at = Future(), None
        # A daemon: a program that is told to end at once does not wait for it, and the checkpoint before stays.
        arguments = (self._pending, self._clock(), ready, env_steps, copies, meta, rows, division)
        threading.Thread(target=self._write, args=arguments, name="checkpoint", daemon=True).start()
        if size > CLONE:
            self.wait()

    def _divide(self, rows: Rows) -> Division:
        """What is to be written; says if that is more than what is new."""
        division = self._writer.divide(rows)
        if lost := division.lost:
            them = "A file of the replay is" if len(lost) == 1 else f"{len(lost)} files of the replay are"
            self._say(f"{them} gone or damaged on the disk ({lost[0]}): the rows are written again.")
        return division

    def _write(self, done: "Future[Path]", began: float, ready: torch.cuda.Event | None, *checkpoint: Any) -> None:
        """The thread: write, and leave in `done` what came of it."""
        try:
            self._sync()
            with self._copying(ready):
                folder = self._writer.write(*checkpoint)
        except BaseException as error:
            done.set_exception(error)
        else:
            self.written += 1
            self.longest_s = max(self.longest_s, self._clock() - began)
            self.thread_cpu_s += time.thread_time()
            done.set_result(folder)

    def _copying(self, ready: torch.cuda.Event | None) -> AbstractContextManager[Any]:
        if self._stream is None or ready is None:
            return nullcontext()
        self._stream.wait_event(ready)
        return torch.cuda.stream(self._stream)

    @property
    def is_writing(self) -> bool:
        """Whether the thread is under way."""
        return self._pending is not None and not self._pending.done()

    def check(self) -> None:
        """As `wait`, without waiting, of a checkpoint that is over."""
        if not self.is_writing:
            self.wait()

    def wait(self) -> None:
        """Wait for the checkpoint that is being written; a CheckpointError if it could not be."""
        try:
            if self._pending is not None:
                self.newest = self._pending.result()  # where a signal ends the wait, it goes on
        except Exception as error:
            self._pending, self._failed_at = None, self._clock()
            raise CheckpointError(f"a checkpoint could not be written ({type(error).__name__}: {error}).") from error
        self._pending = None

    def should_retry(self) -> bool:
        """Whether a checkpoint could not be written, a minute ago or more, and none was handed over since."""
        return self._failed_at is not None and self._clock() - self._failed_at >= RETRY_S

    def close(self) -> None:
        """Wait for the thread.  Another error may be ending the run: what went wrong here is only logged."""
        try:
            self.wait()
        except CheckpointError as error:
            LOGGER.warning(str(error))
