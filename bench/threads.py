"""Does `--cpu-threads auto` keep up with the better one of one thread and all, whatever else runs?

Each run is the command that a user types, in a process of its own; the rate is that between two rows of metrics.csv,
without start and compiling.  The second half of the runs shares the machine with a process that keeps one core busy.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.lib import harness, processes, record, tables
from bench.lib.tables import Figures, number

CASES: dict[str, tuple[str, ...]] = {
    "Pendulum-v1": ("--env", "Pendulum-v1"),
    "HalfCheetah-v5": ("--env", "HalfCheetah-v5"),
    "Pendulum-v1, 4 members": ("--env", "Pendulum-v1", "--seeds", "4"),
    "Pendulum-v1, 16 members": ("--env", "Pendulum-v1", "--seeds", "16"),
    "HalfCheetah-v5, 4 members": ("--env", "HalfCheetah-v5", "--seeds", "4", "--log-every", "8"),
    "HalfCheetah-v5, 16 members": ("--env", "HalfCheetah-v5", "--seeds", "16", "--log-every", "4"),
}
RANDOM_STEPS = 300
SETTINGS = (
    "--num-envs", "4", "--learning-starts", str(RANDOM_STEPS), "--log-every", "40", "--eval-every", "0",
    "--eval-episodes", "1", "--total-steps", "10000000", "--buffer-size", "20000", "--compile", "on",
    "--no-tensorboard", "--device", "cpu", "--checkpoint-every", "0",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 1
    """Runs of each kind."""
    seconds: float = 20.0
    """Of each run, training alone."""
    cases: tuple[str, ...] = tuple(CASES)
    """What is trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.among("cases", self.cases, tuple(CASES))


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, _, reporter = record.start(Settings, "threads", __doc__, argv)
    rows = []
    for case in settings.cases:
        turns = {str(n or "auto"): partial(rate, case, n, settings.seconds) for n in (0, 1, settings.threads)}
        rate(case, 1, 1.0)  # fills the compile cache
        for busy in (False, True):
            with keeping_busy(busy):
                found = harness.rounds(turns, settings.repeats)
            where = f"{case}, {'one core busy' if busy else 'idle'}"
            rows += [row | {"name": f"{where}: {row['name']}"} for row in found]
    report = reporter.finish(unit="environment steps/s", rows=rows)
    return reporter.show(report, figures(report))


@contextmanager
def keeping_busy(wanted: bool) -> Iterator[None]:
    """Inside, a process computes without end on one core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def rate(case: str, threads: int, seconds: float) -> float:
    """Environment steps a second of one run, from the first log point with updates on.

    Raises:
        Failed: it was too slow for two log points, or it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        limit = ["--cpu-threads", str(threads), "--max-wall-time", f"{round(seconds) + 15}s"]
        processes.train(Path(folder), *SETTINGS, *CASES[case], *limit)
        points = [point for point in processes.progress(Path(folder)) if point[1] > RANDOM_STEPS]
    inside = [point for point in points if point[0] <= points[0][0] + seconds]
    if len(inside) < 2:
        raise harness.Failed(f"too slow for {seconds:g} s: give more --seconds")
    (first_s, first), (last_s, last) = inside[0], inside[-1]
    return (last - first) / (last_s - first_s)


def figures(report: harness.Report) -> list[Figures]:
    """The rates, and how far auto is behind the better one."""
    lines: dict[str, list[float]] = {}
    for row in tables.measured(report["rows"]):
        lines.setdefault(row["name"].rpartition(": ")[0], []).append(row["median"])
    rows = [
        [name, *(number(rate, 1) for rate in rates), number(max(rates) / rates[0], 2)] for name, rates in lines.items()
    ]
    names = [row["name"].rpartition(": ")[2] for row in report["rows"][:3]]
    columns = [f"{name} thread{'s' * (name != '1')}" for name in names]
    return [Figures("env steps/s of each member", [*columns, "best one / auto"], rows, "Threads")]


if __name__ == "__main__":
    main()
