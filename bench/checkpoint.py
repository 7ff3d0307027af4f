"""How much does training slow down for its checkpoints, the replay's rows included?

Runs the same training with and without them in turn, each in a process of its own by the command that a user types.
The time is that between two rows of metrics.csv, the same in both: start, compiling and the end are not in it.
"""

import csv
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from bench import harness
from fastsac.config import Config

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
    train(settings, str(device), 0, 1)  # fills the compile cache
    for _ in range(settings.repeats):
        for kind, every in kinds.items():
            taken, size = train(settings, str(device), every, settings.checkpoints)
            seconds[kind].append(taken)
            sizes += [size] if every else []
    steps = settings.every * settings.checkpoints
    rows = [{"name": f"{kind} checkpoints", **harness.summary([steps / s for s in seconds[kind]])} for kind in kinds]
    extra = [(a - b) / settings.checkpoints for a, b in zip(seconds["with"], seconds["without"], strict=True)]
    report = reporter.finish(
        unit="environment steps/s",
        rows=rows,
        overhead=harness.summary([a / b - 1 for a, b in zip(seconds["with"], seconds["without"], strict=True)]),
        seconds_per_checkpoint=harness.summary(extra),
        checkpoint_bytes=statistics.median(sizes),
        default_every=DEFAULT,
    )
    for table in figures(report):
        table.show()
    return report


def train(settings: Settings, device: str, every: int, checkpoints: int) -> tuple[float, int]:
    """Seconds between the two rows, and bytes in the run's checkpoints at the end."""
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
    return seconds_at(at, last) - seconds_at(at, first), size


def seconds_at(rows: Sequence[tuple[int, float]], env_steps: int) -> float:
    """Wall seconds of the first row at or after so many steps."""
    return next(wall_s for steps, wall_s in rows if steps >= env_steps)


def figures(report: harness.Report) -> list[harness.Figures]:
    """The rates, and what one checkpoint costs."""
    told, overhead, extra = report["settings"], report["overhead"], report["seconds_per_checkpoint"]
    rows = [[r["name"], *(f"{r[key]:,.1f}" for key in ("median", "min", "max"))] for r in report["rows"]]
    rows.append([f"slower, every {told['every']:,} steps", *(f"{overhead[k]:+.1%}" for k in ("median", "min", "max"))])
    rows.append(["seconds per checkpoint", *(f"{extra[key]:+.2f}" for key in ("median", "min", "max"))])
    title = f"checkpoint: {told['env']}, {report['unit']}; {report['checkpoint_bytes'] / 2**20:.1f} MiB at the end"
    return [harness.Figures(title, ["", "median", "min", "max"], rows)]


if __name__ == "__main__":
    main()
