"""Does `--cpu-threads auto` keep up with the better one of one thread and all, whatever else runs?

Each run is the command that a user types, in a process of its own; the rate is that between two rows of metrics.csv,
without start and compiling.  The second half of the runs shares the machine with a process that keeps one core busy.
"""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.lib import charts, harness, processes, tables
from bench.lib.record import Reporter

QUESTION = __doc__ or ""
draw = charts.rates

CASES: dict[str, tuple[str, ...]] = {
    "Pendulum-v1": ("--env", "Pendulum-v1"),
    "HalfCheetah-v5": ("--env", "HalfCheetah-v5"),
    "Pendulum-v1, 4 members": ("--env", "Pendulum-v1", "--seeds", "4"),
    "Pendulum-v1, 16 members": ("--env", "Pendulum-v1", "--seeds", "16"),
    "HalfCheetah-v5, 4 members": ("--env", "HalfCheetah-v5", "--seeds", "4", "--log-every", "8"),
    "HalfCheetah-v5, 16 members": ("--env", "HalfCheetah-v5", "--seeds", "16", "--log-every", "4"),
}
BUSY = "while True: pass"
SETTINGS = (
    "--num-envs", "4", "--learning-starts", "300", "--log-every", "40", "--eval-every", "0", "--eval-episodes", "1",
    "--total-steps", "10000000", "--buffer-size", "20000", "--compile", "on", "--no-tensorboard", "--device", "cpu",
    "--checkpoint-every", "0",
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
    settings, _ = harness.start(Settings, "threads", QUESTION, argv)
    reporter = Reporter("threads", QUESTION, settings, argv)
    kinds = {"auto": 0, "1": 1, str(settings.threads): settings.threads}
    rows, shares = [], []
    for case in settings.cases:
        train(case, 1, 1.0)  # fills the compile cache
        for busy in (False, True):
            where = f"{case}, {'one core busy' if busy else 'idle'}"
            rates: dict[str, list[float]] = {kind: [] for kind in kinds}
            with keeping_busy(busy):
                for _ in range(settings.repeats):
                    for kind, threads in kinds.items():
                        rates[kind].append(rate(train(case, threads, settings.seconds), settings.seconds))
            mine = [{"name": f"{where}: {kind}", **harness.summary(values)} for kind, values in rates.items()]
            rows += mine
            shares.append({"name": where, "slower": max(r["median"] for r in mine[1:]) / mine[0]["median"]})
    report = reporter.finish(unit="environment steps/s", rows=rows, shares=shares)
    tables.show(figures(report))
    charts.save_beside(settings.json, draw(report), report)
    return report


@contextmanager
def keeping_busy(wanted: bool) -> Iterator[None]:
    """Inside, a process computes without end on one core."""
    process = subprocess.Popen([sys.executable, "-c", BUSY]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def train(case: str, threads: int, seconds: float) -> list[tuple[float, int]]:
    """Wall seconds and environment steps of the first member's rows, from the first one with updates on."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        done = processes.train(
            *SETTINGS, *CASES[case], "--run-dir", str(run_dir), "--cpu-threads", str(threads),
            "--max-wall-time", f"{round(seconds) + 15}s",
        )  # fmt: skip
        if done.returncode != processes.OUT_OF_TIME:
            raise SystemExit(f"bench.threads: training failed: {processes.last_line(done.stderr)}")
        with (run_dir / "metrics.csv").open(newline="") as f:
            rows = [(float(r["wall_s"]), int(r["env_steps"])) for r in csv.DictReader(f) if r["member"] == "0"]
        return [row for row in rows if row[1] > 300]


def rate(rows: list[tuple[float, int]], seconds: float) -> float:
    """Environment steps per second of so many seconds, or of what there is."""
    inside = [row for row in rows if row[0] <= rows[0][0] + seconds]
    if len(inside) < 2:
        raise SystemExit(f"bench.threads: too slow for {seconds:g} s: give more --seconds")
    (first_s, first), (last_s, last) = inside[0], inside[-1]
    return (last - first) / (last_s - first_s)


def figures(report: harness.Report) -> list[tables.Figures]:
    """The rates, and how far auto is behind the better one."""
    rows = []
    for i, share in enumerate(report["shares"]):
        mine = report["rows"][3 * i : 3 * i + 3]
        rows.append([share["name"], *(f"{row['median']:,.1f}" for row in mine), f"{share['slower']:.2f}"])
    names = [row["name"].rpartition(": ")[2] for row in report["rows"][:3]]
    columns = ["", *(f"{name} thread{'s' * (name != '1')}" for name in names), "better one / auto"]
    return [tables.Figures(f"threads: {report['unit']} of each member", columns, rows)]


if __name__ == "__main__":
    main()
