"""Callbacks: functions of a user that are told what a run comes to, may record figures of their own, and may end it.

They are called where the loop waits for the device anyway.  Only calls; the stop rule decides, and others keep the run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat

from fastsac.config.kinds import conform, shown
from fastsac.disk.errors import DiskErrorTolerance
from fastsac.report.scalars import finite
from fastsac.run.result import Result
from fastsac.run.run_state import Row

if TYPE_CHECKING:
    from fastsac.run.trainer import Run


@dataclass(frozen=True)
class Event:
    """What a callback is told: where the run is now, and in a subclass what has come."""

    run_dir: Path
    env_steps: int  # of the member that has made the fewest
    grad_steps: int  # likewise
    wall_s: float  # of the run so far, those before an interruption included
    recorded: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def record(self, name: str, value: SupportsFloat) -> None:
        """Show a figure of your own in TensorBoard and Weights & Biases, at the env steps of this event.

            event.record("curriculum/level", 3)

        Args:
            name: its tag; of a name that is recorded again the last value counts.
            value: a number, or an array or tensor of one; it is left out where it is not finite.

        Raises:
            ValueError: `name` is no text, or `value` no number.
        """
        name = conform("the name of a figure", name, str)
        if not name.strip():
            raise ValueError(f"the name of a figure must be text, got {shown(name)}.")
        number = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
        self.recorded[name] = conform(f"the value of {name!r}", number, float)


@dataclass(frozen=True)
class LogEvent(Event):
    """Rows of metrics.csv, one per member: every `log_every` steps, and at the end."""

    metrics: tuple[Mapping[str, float], ...]


@dataclass(frozen=True)
class EvalEvent(Event):
    """An evaluation: every `eval_every` steps, and at the end."""

    returns: tuple[float, ...]  # mean over the episodes of each member
    rows: tuple[Mapping[str, float], ...]  # of eval.csv, one per member


@dataclass(frozen=True)
class CheckpointEvent(Event):
    """A checkpoint that is whole on the disk by now: at the log point after it, and at the end."""

    folder: Path


@dataclass(frozen=True)
class EndEvent(Event):
    """The end of `train`, when all files are written."""

    result: Result


@dataclass(frozen=True)
class Stop:
    """What a callback returns to end the run, which then writes a checkpoint and can be resumed.

    `Result.stopped_by` is "callback: REASON".  It has no effect where the steps are done or the run ends already.
    """

    reason: str

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not isinstance(self.reason, str) or not self.reason.strip():
            raise ValueError(f"reason must be text that says why the run stops, got {shown(self.reason)}.")


Callback = Callable[[Event], Stop | None]
"""Returns None, or `Stop(reason)`."""


def check_callbacks(callbacks: Sequence[Callback]) -> tuple[Callback, ...]:
    """The callbacks, or a ValueError for what cannot be called."""
    if not isinstance(callbacks, list | tuple):
        raise ValueError(f"callbacks must be a list of functions, got {shown(callbacks)}. Put it into a list.")
    for callback in callbacks:
        if not callable(callback):
            raise ValueError(f"callbacks must be functions that take an event, got {shown(callback)}.")
    return tuple(callbacks)


class Callbacks:
    """Calls the functions, in their order; an error of theirs ends the run after a checkpoint, with its traceback."""

    def __init__(self, run: "Run", functions: Sequence[Callback], tolerance: DiskErrorTolerance) -> None:
        self._run, self._functions, self._tolerance = run, functions, tolerance

    def log(self, rows: Sequence[Row]) -> None:
        """Tell rows of metrics.csv."""
        if self._functions:
            self._call(LogEvent(*self._counters(), _copies(rows)))

    def evaluation(self, rows: Sequence[Row]) -> None:
        """Tell rows of eval.csv."""
        if self._functions:
            returns = tuple(float(row["return_mean"]) for row in rows)
            self._call(EvalEvent(*self._counters(), returns, _copies(rows)))

    def checkpoint(self, folder: Path) -> None:
        """Tell a checkpoint that is whole."""
        if self._functions:
            self._call(CheckpointEvent(*self._counters(), folder))

    def end(self, result: Result) -> None:
        """Tell the end; nothing is left to keep should a function fail."""
        if self._functions:
            event = EndEvent(*self._counters(), result)
            for function in self._functions:
                function(event)
            self._write_recorded(event)

    def _counters(self) -> tuple[Path, int, int, float]:
        run = self._run
        return run.plan.run_dir, run.env_steps, run.grad_steps, run.clock.wall_s

    def _call(self, event: Event) -> None:
        run = self._run
        try:
            with run.aside("callbacks"):
                answers = [function(event) for function in self._functions]
            stops = [answer for answer in map(_checked, answers) if answer is not None]
            self._write_recorded(event)
        except (Exception, SystemExit):
            run.checkpointer.rescue()
            raise
        if stops:
            run.stop_rule.asked = stops[0].reason
            run.update_stop_rule()

    def _write_recorded(self, event: Event) -> None:
        if event.recorded:
            with self._tolerance.allow("tensorboard"):
                self._run.files.scalars(finite(event.recorded), event.env_steps)


def _checked(answer: object) -> Stop | None:
    if answer is None or isinstance(answer, Stop):
        return answer
    raise TypeError(f"a callback must return None or fastsac.Stop(reason), got {shown(answer)}.")


def _copies(rows: Sequence[Row]) -> tuple[dict[str, float], ...]:
    return tuple(dict(row) for row in rows)
