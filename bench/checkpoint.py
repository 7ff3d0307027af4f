"""How much does training slow down for its checkpoints, the replay's rows included?

Runs the same training with and without them in turn, each in a process of its own by the command that a user types.
The time is that between two rows of metrics.csv, the same in both: start, compiling and the end are not in it.  Beside
it is what the program itself says of its checkpoints: how long the loop stood still, and the processor time of the
thread that writes, which are a few thousandths and vanish in the noise of rates.
"""

import csv
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from bench import chart, harness, rate_chart
from fastsac.config.settings import Config

COSTS = {"loop_s": "ms per checkpoint that the loop stands still", "thread_cpu_s": "ms of processor time beside it"}
DEFAULT = next(f.default for f in fields(Config) if f.name == "checkpoint_every")


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 3
    """Pairs of runs."""
    env: str = "HalfCheetah-v5"
    """Environment."""
    every: int = 10_000
    """Environment steps between checkpoints.  A tenth of the default, and so a harder case."""
    checkpoints: int = 3
    """Checkpoints in the time that is measured."""
    args: str = "--num-envs 8 --utd-ratio 0.25 --learning-starts 2000"
    """More options of `fastsac train`, as one string."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every < 1000 or self.checkpoints < 1:
            raise ValueError("every must be at least 1000 and checkpoints at least 1.")


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "checkpoint", __doc__, argv)
    reporter = harness.Reporter("checkpoint", __doc__, settings)
    kinds = {"with": settings.every, "without": 0}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    sizes: list[int] = []
    told: list[dict[str, float]] = []
    train(settings, str(device), 0, 1)  # fills the compile cache
    for _ in range(settings.repeats):
        for kind, every in kinds.items():
            taken, size, about = train(settings, str(device), every, settings.checkpoints)
            seconds[kind].append(taken)
            if every:
                sizes.append(size)
                told.append(about)
    steps = settings.every * settings.checkpoints
    rows = [{"name": f"{kind} checkpoints", **harness.summary([steps / s for s in seconds[kind]])} for kind in kinds]
    each = {key: [of_run[key] / of_run["written"] for of_run in told] for key in COSTS}
    interval_s = [s / settings.checkpoints for s in seconds["with"]]
    shares = [sum(costs) / s for *costs, s in zip(*each.values(), interval_s, strict=True)]
    report = reporter.finish(
        unit="environment steps/s",
        rows=rows,
        overhead=harness.summary([a / b - 1 for a, b in zip(seconds["with"], seconds["without"], strict=True)]),
        costs={key: harness.summary(values) for key, values in each.items()},
        share=harness.summary(shares),
        checkpoint_bytes=statistics.median(sizes),
        default_every=DEFAULT,
    )
    for table in figures(report):
        table.show()
    chart.save_beside(settings.json, rate_chart.draw(report, panels(report)), report)
    return report


def train(settings: Settings, device: str, every: int, checkpoints: int) -> tuple[float, int, dict[str, float]]:
    """Seconds between the two rows, bytes in the run's checkpoints at the end, and what its summary says of them."""
    first, last = settings.every // 2, settings.every // 2 + settings.every * checkpoints
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        command = [
            sys.executable, "-m", "fastsac", "train", "--env", settings.env, "--total-steps", str(last + 1000),
            "--log-every", str(settings.every // 2), "--eval-every", "0", "--eval-episodes", "1", "--compile", "on",
            "--checkpoint-every", str(every), "--run-dir", str(run_dir), "--device", device,
            "--cpu-threads", str(settings.threads), *shlex.split(settings.args),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            raise SystemExit(f"bench.checkpoint: training failed: {lines[-1] if lines else done.returncode}")
        with (run_dir / "metrics.csv").open(newline="") as f:
            at = [(int(row["env_steps"]), float(row["wall_s"])) for row in csv.DictReader(f)]
        size = sum(p.stat().st_size for p in (run_dir / "checkpoints").rglob("*") if p.is_file())
        about: dict[str, float] = json.loads((run_dir / "summary.json").read_text())["checkpoints"]
    return seconds_at(at, last) - seconds_at(at, first), size, about


def seconds_at(rows: Sequence[tuple[int, float]], env_steps: int) -> float:
    """Wall seconds of the first row at or after so many steps."""
    return next(wall_s for steps, wall_s in rows if steps >= env_steps)


def panels(report: harness.Report) -> list[rate_chart.Panel]:
    """For the chart."""
    return [rate_chart.Panel(report["unit"], report["rows"])]


def figures(report: harness.Report) -> list[harness.Figures]:
    """The rates, and what one checkpoint costs."""
    told, keys = report["settings"], ("median", "min", "max")
    rows = [[r["name"], *(f"{r[key]:,.1f}" for key in keys)] for r in report["rows"]]
    every = f"every {told['every']:,} steps"
    rows.append([f"slower, {every}: by these rates", *(f"{report['overhead'][k]:+.1%}" for k in keys)])
    rows += [[COSTS[name], *(f"{1000 * cost[k]:.1f}" for k in keys)] for name, cost in report["costs"].items()]
    rows.append([f"slower, {every}: by these costs", *(f"{report['share'][k]:+.2%}" for k in keys)])
    title = f"checkpoint: {told['env']}, {report['unit']}; {report['checkpoint_bytes'] / 2**20:.1f} MiB at the end"
    return [harness.Figures(title, ["", "median", "min", "max"], rows)]


if __name__ == "__main__":
    main()
