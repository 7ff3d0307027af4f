"""The files of a run beside its checkpoints: settings and tables, put back where they disappear."""

from collections.abc import Sequence
from pathlib import Path

from fastsac.config.history import NAME as HISTORY
from fastsac.config.history import write_history
from fastsac.config.settings import Config
from fastsac.disk.files import write_file
from fastsac.disk.new_files import check_writable
from fastsac.report.displays import Display
from fastsac.report.scalars import Scalars
from fastsac.report.sinks import Sinks
from fastsac.run.plan import Plan
from fastsac.run.run_state import Row


class RunFiles:
    """Writes config.json and opens the tables of a run; the display tells what it did."""

    _sinks: Sinks  # the tables, from `open` on

    def __init__(self, plan: Plan, display: Display) -> None:
        self._plan, self._display = plan, display
        self.folder = plan.run_dir.absolute()  # an environment may change the working directory

    def open(self) -> None:
        """Begin to write; the rows that a checkpoint counted on stay."""
        plan = self._plan
        self._display.info(f"writing to {plan.run_dir}")
        plan.place.start()
        if not plan.resume and (aside := plan.place.set_aside()):
            self._display.warn(f"an earlier start left no checkpoint: its tables are in {aside} now")
        keep = plan.resume.state.tables if plan.resume else {}
        self._sinks = Sinks(self.folder, self._write_config(), keep)
        for note in self._sinks.notes:
            self._display.warn(note)

    def close(self) -> None:
        """Write what waits, and close the tables, if they are open."""
        if hasattr(self, "_sinks"):
            self._sinks.close()

    def metrics(self, rows: Sequence[Row]) -> None:
        """Write rows of metrics.csv; an OSError if it must."""
        self._sinks.metrics(rows)

    def evaluation(self, rows: Sequence[Row]) -> None:
        """Write rows of eval.csv; an OSError if it must."""
        self._sinks.evaluation(rows)

    def scalars(self, values: Scalars, env_steps: int) -> None:
        """Show figures to the loggers; an OSError if it must."""
        self._sinks.scalars(values, env_steps)

    def film(self, path: Path, env_steps: int) -> None:
        """Show a film to the loggers."""
        self._sinks.film(path, env_steps)

    def flush(self) -> None:
        """Write the rows that wait for room on the disk."""
        self._sinks.flush()

    def sync(self) -> None:
        """Make the rows safe from a power cut."""
        self._sinks.sync()

    @property
    def num_rows(self) -> dict[str, int]:
        """Rows in each table."""
        return self._sinks.num_rows

    def restore(self) -> bool:
        """Put back what is gone of the run directory, or raise an OSError; returns whether there was anything."""
        place = self._plan.place
        if not place.is_held:
            place.acquire_again(is_ours=self._sinks.are_there())
        check_writable(self.folder)
        settings = [HISTORY, "config.json"] if self._plan.history else ["config.json"]
        if gone := [name for name in settings if not (self.folder / name).exists()]:
            self._write_config()
        if gone := [*gone, *self._sinks.restore()]:
            self._display.warn(f"{', '.join(gone)} of {self._plan.run_dir} had disappeared: written again")
        return bool(gone)

    def _write_config(self) -> Config:
        """Write resumed.json, if there is to be one, and config.json; returns the content of the latter."""
        config = self._plan.config.of_no_call().replace(run_dir=str(self._plan.run_dir))
        write_history(self.folder, self._plan.history)  # before the old settings are gone
        write_file(self.folder / "config.json", config.to_json().encode())
        return config


class NoFiles(RunFiles):
    """Of a process that writes nothing: rank 0 does."""

    def open(self) -> None:
        """Nothing."""

    def metrics(self, rows: Sequence[Row]) -> None:
        """Nothing."""

    def evaluation(self, rows: Sequence[Row]) -> None:
        """Nothing."""

    def scalars(self, values: Scalars, env_steps: int) -> None:
        """Nothing."""

    def film(self, path: Path, env_steps: int) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""

    @property
    def num_rows(self) -> dict[str, int]:
        """No tables."""
        return {}

    def restore(self) -> bool:
        """Nothing is gone."""
        return False
