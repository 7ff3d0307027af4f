"""The checkpoints of a run: what they hold, when the loop waits for them, and what they cost it."""

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from fastsac.checkpoint.thread import CheckpointThread
from fastsac.checkpoint.writer import Writer
from fastsac.disk.errors import DiskErrorTolerance
from fastsac.run import snapshot

if TYPE_CHECKING:
    from fastsac.run.trainer import Run


class Checkpointer:
    """Hands the state of a run to the thread that writes it.

    Args:
        run: whose state it is.
        tolerance: of errors of the disk, while the run goes on.

    Attributes:
        thread: that writes.
        loop_s: seconds that the loop stood still for checkpoints.
    """

    def __init__(self, run: "Run", tolerance: DiskErrorTolerance) -> None:
        plan, say = run.plan, run.display.info
        self._run, self._tolerance = run, tolerance
        found = plan.resume.found if plan.resume else None
        self._writer = Writer(run.files.folder, plan.config.keep_checkpoints, found, lambda: plan.place.is_held)
        self.thread = CheckpointThread(self._writer, run.files, plan.device, say)
        self.loop_s = 0.0

    def __enter__(self) -> Self:
        self.thread.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.thread.__exit__(kind)
        if self.thread.is_writing:  # while the program ends at once
            self._run.plan.place.keep()

    def nbytes(self) -> float:
        """About the size of a checkpoint now."""
        run = self._run
        filled = min(1.0, run.env_steps / run.config.buffer_size)
        return run.learner.state_bytes + filled * run.replay.nbytes()

    def write(self) -> None:
        """Begin to write a checkpoint.

        Raises:
            CheckpointError: the one before could not be written, for another reason than the disk.
        """
        run = self._run
        if run.update_stop_rule():  # else there may be little time; the run that continues begins with these
            run.catch_up()
        began = time.perf_counter()
        run.guard.check(parameters=True)
        with run.aside("writing a checkpoint"):
            with self._tolerance.allow("a checkpoint"):
                self.thread.wait()  # for the one before; should it have failed, this one is tried all the same
            with suppress(OSError):  # rows go on waiting
                run.files.sinks.flush()
            state = snapshot.state_of(run)
            self.thread.submit(run.env_steps, snapshot.tensors_of(run), state.to_json(), snapshot.rows_of(run))
        self.loop_s += time.perf_counter() - began

    def try_to_write(self) -> None:
        """As `write`; a disk that refuses is told of, and tried again later."""
        with self._tolerance.allow("a checkpoint"):
            self.write()

    def look(self, renew: bool) -> None:
        """Say if the last checkpoint could not be written, and write one if it is time to try again.

        Args:
            renew: write one in any case.
        """
        with self._tolerance.allow("a checkpoint"):
            self.thread.check()
            if renew or self.thread.should_retry():
                self.write()

    def write_last(self) -> None:
        """Write a checkpoint and wait until it is on the disk.

        Raises:
            CheckpointError: it could not be written.
        """
        self.write()
        self.thread.wait()
        if self._writer.has_damage:  # which nobody would write again any more
            self.write()
            self.thread.wait()

    def rescue(self) -> None:
        """Write the state before an environment failed, if that can be done."""
        run = self._run
        with suppress(Exception):
            run.learner.launch(run.collector.due())  # unless it is done: of the step that failed
            self.write()
            self.thread.wait()
            run.display.info(f"wrote a checkpoint of the state before, at {run.env_steps:,} steps")
