"""What all measurements share: settings, interleaved repeats, statistics, the description of machine and code, output.

Knows nothing of what is measured.  A `Candidate` does a number of units of work when told to; the harness decides how
many, in which order, and what to make of the times.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from rich.console import Console
from rich.table import Table

from fastsac.cli.parsing import parse
from fastsac.runtime.device import choose_device, num_cpus
from fastsac.runtime.versions import PACKAGES, git_commit, versions

PEER_PACKAGES = ("stable_baselines3", "sb3_contrib", "mujoco")
WIDTH = 150  # of tables, in characters, where the output is no terminal

Row = dict[str, Any]
Report = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every measurement can be told."""

    json: Path | None = None
    """File to write the report to."""
    repeats: int = 7
    """Timed rounds; each runs every candidate once.  At least 1."""
    seconds: float = 5.0
    """About how long one candidate runs in one round.  Above 0."""
    threads: int = 2
    """Threads of torch, for all candidates.  At least 1."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N, for all candidates."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}.")
        if not self.seconds > 0:
            raise ValueError(f"seconds must be above 0, got {self.seconds}.")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}.")


class Timed(NamedTuple):
    """Units done, by a candidate that takes its own time: one in another process."""

    done: int
    seconds: float


class Failed(RuntimeError):
    """A candidate did not do its work; the message is for its row."""


class Unable(Failed):
    """A candidate cannot do what it is asked for, by its nature."""


@dataclass(frozen=True)
class Candidate:
    """Something to be timed.

    Attributes:
        name: its row's name.
        run: does about the given number of units of work, waits for the device, returns the units done.
        notes: what else the row should say.
        about: what only the report says: hyper-parameters, versions, threads.
    """

    name: str
    run: Callable[[int], int | Timed]
    notes: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """A candidate that cannot run here, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Errored:
    """A candidate that should run here and failed, and how."""

    name: str
    error: str


S = TypeVar("S", bound=Settings)


def start(cls: type[S], name: str, description: str, argv: Sequence[str] | None) -> tuple[S, torch.device]:
    """Parse the command line of `bench.NAME` and prepare torch; what is wrong with either is one line."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        settings = parse(cls, f"python -m bench.{name}", args, description=description)
        return settings, set_up_torch(settings)
    except (ValueError, RuntimeError) as error:  # the latter of the device
        raise SystemExit(f"bench.{name}: {' '.join(str(error).split())}") from None


def set_up_torch(settings: Settings) -> torch.device:
    """Give this process the threads and the matmul precision that all candidates get; returns the device."""
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # as in `fastsac train`, and for the peers too
    return device


# Timing -------------------------------------------------------------------------------------------------------------


def interleave(candidates: Sequence[Candidate | Skipped | Errored], repeats: int, seconds: float) -> list[Row]:
    """Time the candidates in turn, A B C A B C ..., so that a drifting machine is unjust to none of them.

    Each candidate first warms up and finds the number of units that take about `seconds`; that is not counted.  Where
    one raises `Failed`, its row has the error, and the others go on without it.

    Returns:
        One row per candidate, in order, with units per second as median, min, max and the value of every round.
    """
    runnable = {c.name: c for c in candidates if isinstance(c, Candidate)}
    errors = {c.name: c.error for c in candidates if isinstance(c, Errored)}
    warm_up_s: dict[str, float] = {}
    units: dict[str, int] = {}
    rates: dict[str, list[float]] = {name: [] for name in runnable}
    for name, c in runnable.items():
        began = time.perf_counter()
        try:
            units[name] = calibrate(c.run, seconds)
        except Failed as error:
            errors[name] = str(error)
        warm_up_s[name] = time.perf_counter() - began
    for _ in range(repeats):
        for name, c in runnable.items():
            if name in errors:
                continue
            try:
                done, elapsed_s = measure(c.run, units[name])
            except Failed as error:
                errors[name] = str(error)
            else:
                rates[name].append(done / elapsed_s)

    def row(c: Candidate | Skipped | Errored) -> Row:
        if isinstance(c, Skipped):
            return {"name": c.name, "skipped": c.why}
        if c.name in errors or isinstance(c, Errored):
            return {"name": c.name, "error": errors[c.name]}
        told = {"units_per_round": units[c.name], "warm_up_s": warm_up_s[c.name], "notes": c.notes}
        return {"name": c.name, **summary(rates[c.name]), **told, **({"about": c.about} if c.about else {})}

    return [row(c) for c in candidates]


def measure(run: Callable[[int], int | Timed], units: int) -> Timed:
    """Units done and seconds taken by one call; a candidate's own seconds where it tells them."""
    began = time.perf_counter()
    done = run(units)
    return done if isinstance(done, Timed) else Timed(done, time.perf_counter() - began)


def calibrate(run: Callable[[int], int | Timed], seconds: float) -> int:
    """Units of work that take about `seconds`, found by doubling; the runs also warm the candidate up."""
    units = 1
    while True:
        done, elapsed_s = measure(run, units)
        if elapsed_s >= seconds / 2:
            return max(1, round(done / elapsed_s * seconds))
        units *= 2


# Statistics ---------------------------------------------------------------------------------------------------------


def summary(values: Sequence[float]) -> Row:
    """Median, min and max, and the values themselves in the order of the rounds."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": list(values)}


def ratio(rows: Sequence[Row], of: str, to: str) -> Row | None:
    """How row `of` compares with row `to`: by medians, and round by round; None where one of them was not run."""
    found = {row["name"]: row for row in rows if "values" in row}
    if of not in found or to not in found:
        return None
    a, b = found[of], found[to]
    by_round = summary([x / y for x, y in zip(a["values"], b["values"], strict=True)])
    return {"of": of, "to": to, "of_medians": a["median"] / b["median"], "by_round": by_round}


# Where and of what --------------------------------------------------------------------------------------------------


def describe_machine() -> dict[str, Any]:
    """Processor, memory, threads and GPU."""
    gpu = None
    if torch.cuda.is_available():
        p = torch.cuda.get_device_properties(0)
        gpu = {"name": p.name, "memory_bytes": p.total_memory, "cuda": torch.version.cuda}
    return {
        "cpu": _proc_field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": num_cpus(),
        "memory_bytes": int((_proc_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) * 1024,
        "torch_threads": torch.get_num_threads(),
        "gpu": gpu,
        "system": platform.system(),
    }


def _proc_field(path: str, name: str) -> str | None:
    """The first value of `name: value` in a file of /proc, or None."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)


def describe_versions() -> dict[str, str]:
    """Versions of this program, its libraries and the peers."""
    return versions((*PACKAGES, *PEER_PACKAGES))


def describe_commit() -> dict[str, Any]:
    """The checkout's commit, and whether tracked files other than results differ from it."""
    command = ["git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)bench/results"]
    try:
        out = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    return {"commit": git_commit(), "dirty": bool(out.stdout.strip())}


class Reporter:
    """Collects a report; made before the measurement, so that time and load are those of its start.

    Args:
        name: of the measurement.
        question: what it answers.
        settings: what it was told.
    """

    def __init__(self, name: str, question: str, settings: Settings) -> None:
        self._json = settings.json
        told = {k: v.name if isinstance(v, Path) else v for k, v in asdict(settings).items() if k != "json"}
        self._report: Report = {
            "bench": name,
            "question": question,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": told,
            "machine": describe_machine(),
            "versions": describe_versions(),
            **describe_commit(),
            "load_before": os.getloadavg()[0],
        }

    def finish(self, **results: Any) -> Report:
        """Add the results, write the file if one was asked for, and return the whole.

        A long measurement may call it again whenever it knows more: the file is replaced at once, never half written.
        """
        report = {**self._report, "load_after": os.getloadavg()[0], **results}
        if self._json is not None:
            self._json.parent.mkdir(parents=True, exist_ok=True)
            part = self._json.with_name(self._json.name + ".part")
            part.write_text(json.dumps(report, indent=2) + "\n")
            part.replace(self._json)
        return report


# Tables -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """A table for people: printed by `show`, written into the documentation by `bench.report`.

    Attributes:
        title: what it shows, with the unit.
        columns: their headings; all but the first are aligned right.
        rows: of texts, as many as columns.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def show(self, width: int | None = None) -> None:
        """Print it; `width` in characters, as in `show_table`."""
        show_table(self.title, self.columns, self.rows, width)


@dataclass(frozen=True)
class Headline:
    """A line of what to know first: measured on top of bench/README.md by `bench.report`.

    Attributes:
        what: is compared, with the unit.
        ours: which way of this program, and its median.
        other: what it is measured by, and its median; empty where there is nothing.
        ratio: of the first to the second.
    """

    what: str
    ours: str
    other: str = ""
    ratio: str = ""


def rate_headline(report: Report) -> list[Headline]:
    """For each other system of a report that `rate_figures` can show, its first ratio, which is that of the default."""
    medians = {row["name"]: row["median"] for row in report["rows"] if "median" in row}
    lines: dict[str, Headline] = {}
    for r in report["ratios"]:
        of, to = r["of"], r["to"]
        if is_ours(of) and not is_ours(to):
            told = (f"{of}: {medians[of]:,.0f}", f"{to}: {medians[to]:,.0f}", ratio_text(r))
            lines.setdefault(to, Headline(report["unit"], *told))
    return list(lines.values())


def ratio_text(ratio: Row) -> str:
    """`2.21 (2.15 to 2.33)`: the median of the rounds, and their range."""
    return "{median:.2f} ({min:.2f} to {max:.2f})".format(**ratio["by_round"])


def is_ours(name: str) -> bool:
    """Whether a row of this name is this program's."""
    return name.startswith("fastsac")


def rate_figures(report: Report) -> list[Figures]:
    """The tables of a report whose results are `unit`, `rows` and `ratios`."""
    rows = [
        [r["name"], "", "", "", r.get("skipped") or f"failed: {r['error']}"]
        if "median" not in r
        else [r["name"], *(f"{r[k]:.1f}" for k in ("median", "min", "max")), _notes(r["notes"])]
        for r in report["rows"]
    ]
    figures = [Figures(f"{report['bench']}: {report['unit']}", ["", "median", "min", "max", "notes"], rows)]
    rows = [
        [pair_name(r["of"], r["to"]), f"{r['of_medians']:.2f}"]
        + [f"{r['by_round'][k]:.2f}" for k in ("median", "min", "max")]
        for r in report["ratios"]
    ]
    if rows:
        figures.append(Figures("ratios", ["", "of medians", "by round: median", "min", "max"], rows))
    return figures


def pair_name(of: str, to: str) -> str:
    """Two names as a ratio, with what both end on once: "a, 1 env" and "b, 1 env" are "a / b, 1 env"."""
    name, comma, case = of.partition(", ")
    return f"{name} / {to}" if comma and to.endswith(comma + case) else f"{of} / {to}"


def show_rates(report: Report) -> None:
    """Print the rows and ratios of a report whose results are `unit`, `rows` and `ratios`."""
    for figures in rate_figures(report):
        figures.show()


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> None:
    """Print a table; all columns but the first are aligned right.

    Args:
        title: above it.
        columns: headings.
        rows: texts.
        width: in characters; default the terminal's, or WIDTH where the output is none.
    """
    table = Table(title=title)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    Console(width=width or (None if sys.stdout.isatty() else WIDTH)).print(table)


def _notes(notes: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in notes.items())
