"""What a run directory tells, whole or not: how far the run came, its last figures, its times, its films."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fastsac.config.command import plain_text
from fastsac.disk.tables import read_numbers, read_table
from fastsac.report.failure import why_failed
from fastsac.report.runs import Run, open_run
from fastsac.report.statistics import Array

STEPPING = ("env_wait_s", "device_wait_s", "host_s")  # columns of metrics.csv that share out the time of a row
COUNTERS = ("member", "env_steps", "grad_steps", "wall_s")  # columns of both tables


@dataclass(frozen=True)
class State:
    """How far a run came."""

    word: str
    text: str
    is_good: bool = True


@dataclass(frozen=True)
class Story:
    """A run and what else lies in its directory.

    Args:
        run: its settings and returns.
        summary: what summary.json holds; nothing where there is none.
        error: what error.txt holds, with the traceback; empty where there is none.
        card: what is told of a policy that stands there alone, without the rest of its run; nothing of a run.
    """

    run: Run
    summary: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError where there is nothing to tell."""
        if not (self.summary or self.error or self.card or self.rows["env_steps"].size):
            raise ValueError(
                f"{self.run.path} has nothing to show yet: no rows in metrics.csv and eval.csv, no summary.json, no "
                "error.txt. Wait for the first row."
            )

    @property
    def name(self) -> str:
        """The run directory's."""
        return self.run.path.resolve().name

    @cached_property
    def metrics(self) -> dict[str, Array]:
        """Columns of metrics.csv, [rows] each."""
        return read_columns(
            self.run.path / "metrics.csv", (*COUNTERS, *STEPPING, "env_steps_per_s", "grad_steps_per_s")
        )

    @cached_property
    def rows(self) -> dict[str, Array]:
        """Counters of both tables, [rows] each."""
        evals = read_columns(self.run.path / "eval.csv", COUNTERS)
        return {name: np.concatenate([self.metrics[name], evals[name]]) for name in COUNTERS}

    def last(self, name: str, member: int | None = None) -> float:
        """The largest value of a counter that a table has, of one member or of the first to fall behind."""
        members = range(self.run.config.num_members) if member is None else (member,)
        found = [self.rows[name][self.rows["member"] == each] for each in members]
        return min((float(np.nanmax(values)) for values in found if np.isfinite(values).any()), default=math.nan)

    @cached_property
    def is_over(self) -> bool:
        """Whether the summary is of all that the tables have: a run that was continued goes beyond its old one."""
        return bool(self.summary) and not self.last("env_steps") > self.summary["env_steps"]

    @property
    def env_steps(self) -> float:
        """Of each member, so far."""
        if self.card:
            return float(self.card["env_steps"])
        return float(self.summary["env_steps"]) if self.is_over else self.last("env_steps")

    @property
    def grad_steps(self) -> float:
        """Of each member, so far."""
        return float(self.summary["grad_steps"]) if self.is_over else self.last("grad_steps")

    @property
    def wall_s(self) -> float:
        """Seconds so far."""
        return float(self.summary["wall_s"]) if self.is_over else self.last("wall_s")

    @cached_property
    def state(self) -> State:
        """How far it came, in words."""
        steps = self.env_steps if math.isfinite(self.env_steps) else 0
        of = f"after {steps:,.0f} of {self.run.config.total_steps:,} environment steps"
        if self.card:
            return State("policy", f"{of}, taken out of its run")
        stopped_by = self.summary.get("stopped_by") if self.is_over else None
        if stopped_by == "error" or (self.error and not stopped_by):
            told = str(self.summary.get("error", "")) if self.is_over else ""
            return State("failed", f"{of}: {told or why_failed(self.error)}", is_good=False)
        if stopped_by is None:
            return State("not over", f"{of}: it is still going on, or was ended without a word")
        if self.summary["interrupted"]:
            return State("interrupted", f"by {stopped_by} {of}", is_good=False)
        return State("finished", f"{of}: its goal was reached" if stopped_by == "goal" else of)

    @property
    def seconds(self) -> list[tuple[str, float]]:
        """Where the time went, by what for."""
        wait = (
            "waiting for the GPU" if str(self.summary.get("device", "")).startswith("cuda") else "acting and learning"
        )
        names = ("waiting for environments", wait, "the program's own loop")
        parts = [(name, float(np.nansum(self._interval(of)))) for name, of in zip(names, STEPPING, strict=True)]
        if self.is_over:
            parts.append(("compiling", float(self.summary["compile_s"])))
            parts.append(("trying how many threads are faster", float(self.summary["threads_s"])))
        rest = "set-up, evaluations, checkpoints" + ("" if self.is_over else ", compiling")
        left = self.wall_s - sum(seconds for _, seconds in parts)
        return [*parts, (rest, max(left, 0.0) if math.isfinite(left) else 0.0)]

    @property
    def stepping_s(self) -> float:
        """Seconds in which environments were stepped and gradient steps taken, by the rows of metrics.csv."""
        return sum(float(np.nansum(self._interval(name))) for name in STEPPING)

    def _interval(self, name: str) -> Array:
        """A column of metrics.csv that all members have in common, [rows of one]."""
        values: Array = self.metrics[name][self.metrics["member"] == 0]
        return values

    def last_rate(self, name: str) -> float:
        """A rate of the last row of metrics.csv that has it."""
        values = self._interval(name)
        values = values[np.isfinite(values)]
        return float(values[-1]) if values.size else math.nan

    @property
    def films(self) -> list[Path]:
        """The newest first."""
        files = [path for path in (self.run.path / "videos").glob("*.mp4") if path.is_file()]
        return sorted(files, key=lambda path: (-path.stat().st_mtime, path.name))

    @property
    def origin(self) -> Mapping[str, Any]:
        """What tells of device, versions and commit; nothing of a run before it ends."""
        return self.card or self.summary

    @property
    def machine(self) -> list[tuple[str, str]]:
        """What the run was made on and with, by name; nothing before it ends."""
        names = {"device": "device", "mode": "gradient steps", "git_commit": "commit of fastsac"}
        told = {text: self.origin[name] for name, text in names.items() if self.origin.get(name)}
        told |= {name: self.origin[name] for name in ("machine", "versions") if name in self.origin}
        return list(flat(told))


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """JSON values as text, those within an object by their own names, and `gpu name` one level further in."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{name} " if name not in ("machine", "versions") else "")
        elif name.endswith("_bytes") and isinstance(value, int):
            yield f"{prefix}{name.removesuffix('_bytes')}", f"{value / 2**30:,.1f} GiB"
        elif value is not None:
            yield f"{prefix}{name.replace('_', ' ')}", plain_text(value)


def tell(path: Path, summary: Mapping[str, Any], error: str = "", card: Mapping[str, Any] | None = None) -> Story:
    """The story of a run directory; raises ValueError if it is none, or there is nothing to tell yet."""
    return Story(open_run(path), summary, error, card or {})


def read_columns(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Columns of a table as numbers, [rows] each; NaN where it lacks the column, and nothing where it is missing."""
    try:
        there = read_table(path, 0).columns
    except OSError:
        there = []
    have = [name for name in names if name in there]
    numbers = read_numbers(path, have) if have else np.zeros((0, 0))
    nothing = np.full(len(numbers), np.nan)
    return {name: numbers[:, have.index(name)] if name in have else nothing for name in names}
