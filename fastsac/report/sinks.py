"""Where numbers go at log points: CSV files, TensorBoard, Weights & Biases.  Never touches a device tensor."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from fastsac.config.derived import INFO
from fastsac.config.settings import Config
from fastsac.disk.tables import read_numbers, read_table
from fastsac.report import scalars
from fastsac.report.csv_sink import CsvSink, Row
from fastsac.report.loggers import EventFiles, WandbRun
from fastsac.report.scalars import Scalars

METRIC_COLUMNS = (
    "member", "env_steps", "grad_steps", "wall_s", "env_steps_per_s", "grad_steps_per_s", "critic_loss", "actor_loss",
    "alpha_loss", "alpha", "entropy", "q_mean", "episode_return", "episode_length", "success_rate", "env_wait_s",
    "device_wait_s", "host_s",
)  # fmt: skip
"""The last three divide the seconds of the log interval: waiting for the environments, waiting for the device (on a
CPU, computing actions and updates), and the rest."""
EVAL_COLUMNS = (
    "member", "env_steps", "grad_steps", "wall_s", "return_mean", "return_std", "episodes", "episodes_cut",
    "success_rate",
)  # fmt: skip
"""The success rates are empty where no episode told whether it succeeded."""
MOST_STEPS = 2**53  # whatever damage makes of a number
MEMBER_COLUMNS = ("seed",)  # of both, and one for each setting that a sweep changes


class Sinks:
    """metrics.csv, eval.csv and the loggers that were asked for.  Writing raises an OSError if it must.

    Args:
        run_dir: where the files go.
        config: the settings of the run; those that members differ in become columns.
        keep: rows of each file that the checkpoint knew of which the run continues from, as `num_rows` gave them.
    """

    def __init__(self, run_dir: Path, config: Config, keep: Mapping[str, int]) -> None:
        describing = (*MEMBER_COLUMNS, *config.member_setting(0))
        info = info_columns(config, run_dir / "metrics.csv" if keep.get("metrics.csv") else None)
        self._files = {
            name: CsvSink(run_dir / name, (*columns, *describing), keep.get(name, 0))
            for name, columns in (("metrics.csv", (*METRIC_COLUMNS, *info)), ("eval.csv", EVAL_COLUMNS))
        }
        self._events = EventFiles(run_dir, config, self._next_step() if keep else None) if config.tensorboard else None
        wandb_runs = [WandbRun(run_dir, config)] if config.wandb else []
        self._loggers: list[EventFiles | WandbRun] = [*wandb_runs, *([self._events] if self._events else [])]

    def _next_step(self) -> int:
        """The first env step that no row of member 0, by which scalars go, has."""
        rows = np.concatenate([read_numbers(file.path, ("member", "env_steps")) for file in self._files.values()])
        steps = rows[rows[:, 0] == 0, 1]
        return int(steps[steps < MOST_STEPS].max(initial=-1)) + 1

    def metrics(self, rows: Sequence[Row]) -> None:
        """Write rows of metrics.csv, one per member, and their scalars."""
        self._write("metrics.csv", rows, scalars.of_metrics(rows))

    def evaluation(self, rows: Sequence[Row]) -> None:
        """Write rows of eval.csv, one per member, and their scalars."""
        self._write("eval.csv", rows, scalars.of_evaluation(rows))

    def scalars(self, values: Scalars, env_steps: int) -> None:
        """Show figures to the loggers."""
        for logger in self._loggers:
            logger.log(values, env_steps)

    def film(self, path: Path, env_steps: int) -> None:
        """Show a film that was made, to the loggers."""
        for logger in self._loggers:
            logger.film(path, env_steps)

    def _write(self, name: str, rows: Sequence[Row], means: Scalars) -> None:
        """Write all that can be written: after an error the rows follow with the next call, scalars are lost."""
        try:
            self._files[name].write(*rows)
        finally:
            self.scalars(means, int(rows[0]["env_steps"]))

    @property
    def notes(self) -> list[str]:
        """Lines to tell the user: of tables that were damaged."""
        return [file.note for file in self._files.values() if file.note]

    def flush(self) -> None:
        """Write the rows that wait for room on the disk."""
        for file in self._files.values():
            file.flush()

    def are_there(self) -> bool:
        """Whether a table still lies where it was written."""
        return any(file.is_there() for file in self._files.values())

    def restore(self) -> list[str]:
        """Write tables anew that are gone, and new event files; returns those tables' names."""
        gone = [name for name, file in self._files.items() if not file.is_there()]
        for name in gone:
            self._files[name].restore()
        if self._events is not None:
            self._events.restore()
        return gone

    @property
    def num_rows(self) -> dict[str, int]:
        """Rows in each file."""
        return {name: file.num_rows for name, file in self._files.items()}

    def sync(self) -> None:
        """Make the rows safe from a power cut."""
        for file in self._files.values():
            file.sync()

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
        for logger in reversed(self._loggers):
            logger.close()


def info_columns(config: Config, table: Path | None) -> list[str]:
    """The columns of info_metrics, and those of a table that goes on, whose figures are not asked for any more."""
    before: list[str] = []
    if table is not None:
        with suppress(OSError):
            before = [name for name in read_table(table, limit=0).columns if name.startswith(INFO)]
    return [*dict.fromkeys([*(INFO + name for name in config.info_metrics), *before])]
