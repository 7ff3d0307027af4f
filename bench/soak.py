"""Does a long run stay as it began: resident memory, open files, threads and environment steps a second?

Trains in a process of its own by the command that a user types, with checkpoints, evaluations and log files, and
looks at the process from outside.
"""

import csv
import itertools
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bench import chart, harness
from bench.gpu_show import finish, new_figure, source
from fastsac.config.durations import parse_duration
from fastsac.report.style import COLOURS, INK

PARTS = 5  # the time after warm-up is cut into so many parts of equal length, which are then compared
LIMIT = 0.02  # by how much the last part may differ from the first

PANELS = (("steps_per_s",), ("rss_mib",), ("files", "threads"))
EXPECTED = {"rss_mib": "MiB resident", "files": "open files", "threads": "threads", "steps_per_s": "env steps/s"}


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    env: str = "Pendulum-v1"
    """Environment."""
    duration: str = "30m"
    """How long, as in `fastsac train --max-wall-time`."""
    warm_up: str = "3m"
    """How much of it is not compared: compiling, the first replay rows, the allocators' growth."""
    every: float = 5.0
    """Seconds between two looks at the process."""
    checkpoint_every: int = 100_000
    """Environment steps between checkpoints, which the time of this run holds many of."""
    args: str = ""
    """More options of `fastsac train`, as one string."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if parse_duration(self.warm_up) >= parse_duration(self.duration):
            raise ValueError(f"warm_up must be shorter than the duration, got {self.warm_up} and {self.duration}.")
        if not self.every > 0:
            raise ValueError(f"every must be above 0, got {self.every}.")


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "soak", __doc__, argv)
    reporter = harness.Reporter("soak", __doc__, settings)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        arguments = [
            "train", "--env", settings.env, "--total-steps", str(2**40), "--buffer-size", "100000",
            "--checkpoint-every", str(settings.checkpoint_every), "--max-wall-time", settings.duration,
            "--device", str(device), "--cpu-threads", str(settings.threads), *shlex.split(settings.args),
        ]  # fmt: skip
        command = [sys.executable, "-m", "fastsac", *arguments, "--run-dir", str(run_dir)]
        samples, status, log = watch(command, Path(folder) / "log", settings.every)
        rates = read_rates(run_dir / "metrics.csv") if (run_dir / "metrics.csv").exists() else []
    if status != 75:  # what --max-wall-time ends with
        raise SystemExit(f"bench.soak: training ended with status {status}: {log}")
    series = {name: [(s["wall_s"], s[name]) for s in samples] for name in ("rss_mib", "files", "threads")}
    series["steps_per_s"] = rates
    rows = [{"name": name, **drift(values, parse_duration(settings.warm_up))} for name, values in series.items()]
    report = reporter.finish(
        command=shlex.join(["fastsac", *arguments]), rows=rows, limit=LIMIT, samples=samples, rates=rates
    )
    for table in figures(report):
        table.show()
    chart.save_beside(settings.json, draw_chart(report), report)
    if moved := [EXPECTED[row["name"]] for row in rows if abs(row["change"]) > LIMIT]:
        print(f"bench.soak: not within {LIMIT:.0%} of what it was: {', '.join(moved)}", file=sys.stderr)
    return report


def watch(command: Sequence[str], log: Path, every: float) -> tuple[list[harness.Row], int, str]:
    """Run the command; what the process had at each look, its status and its last line."""
    samples: list[harness.Row] = []
    began = time.monotonic()
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            while True:
                try:
                    process.wait(every)
                    break
                except subprocess.TimeoutExpired:
                    with suppress(OSError, KeyError):  # it is just ending
                        samples.append({"wall_s": time.monotonic() - began, **look(process.pid)})
        except BaseException:
            process.terminate()
            raise
    lines = log.read_text().strip().splitlines()
    return samples, process.returncode, lines[-1] if lines else ""


def look(pid: int) -> harness.Row:
    """Resident memory, open files, threads and CPU seconds of a process."""
    proc = Path(f"/proc/{pid}")
    fields = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    times = (proc / "stat").read_text().rpartition(")")[2].split()
    return {
        "rss_mib": int(fields["VmRSS"].split()[0]) / 1024,
        "threads": int(fields["Threads"]),
        "files": len(list((proc / "fd").iterdir())),
        "cpu_s": (int(times[11]) + int(times[12])) / 100,
    }


def read_rates(table: Path) -> list[tuple[float, float]]:
    """Wall seconds and environment steps a second since the row before, of every row with a newer time."""
    with table.open(newline="") as f:
        points = [(float(r["wall_s"]), int(r["env_steps"])) for r in csv.DictReader(f) if r["wall_s"]]
    points = sorted(set(points))
    return [(t1, (s1 - s0) / (t1 - t0)) for (t0, s0), (t1, s1) in itertools.pairwise(points) if t1 > t0]


def drift(series: Sequence[tuple[float, float]], warm_up_s: float) -> harness.Row:
    """Medians of equal parts of the time after warm-up, and how far the last is from the first, as a share of it."""
    kept = [(t, v) for t, v in series if t >= warm_up_s]
    if not kept:
        raise SystemExit("bench.soak: nothing was seen after the warm-up; give it a longer duration.")
    first, last = kept[0][0], kept[-1][0]
    length = (last - first) / PARTS or 1.0
    parts = [[v for t, v in kept if min(PARTS - 1, int((t - first) / length)) == i] for i in range(PARTS)]
    medians = [statistics.median(part) for part in parts if part]
    return {"parts": medians, "change": medians[-1] / medians[0] - 1, "count": len(kept)}


def figures(report: harness.Report) -> list[harness.Figures]:
    """The parts' medians and the changes."""
    rows = [
        [
            EXPECTED[row["name"]],
            *(f"{value:,.1f}" for value in row["parts"]),
            f"{row['change']:+.2%}",
            "yes" if abs(row["change"]) <= report["limit"] else "no",
        ]
        for row in report["rows"]
    ]
    columns = [
        "median of",
        *(f"part {i + 1}" for i in range(max(len(r["parts"]) for r in report["rows"]))),
        "change",
        f"within {report['limit']:.0%}",
    ]
    return [harness.Figures(f"soak: {report['settings']['env']}, {report['settings']['duration']}", columns, rows)]


def draw_chart(report: harness.Report) -> Figure:
    """What was seen against minutes, from 0 up; the warm-up grey, the medians of the parts as lines across them."""
    warm_up = parse_duration(report["settings"]["warm_up"]) / 60
    figure, panels = new_figure(f"{report['settings']['env']} for {report['settings']['duration']}", panels=3)
    for axes, names in zip(panels, PANELS, strict=True):
        for name, colour in zip(names, COLOURS, strict=False):
            seen = report["rates"] if name == "steps_per_s" else [(s["wall_s"], s[name]) for s in report["samples"]]
            minutes, values = [t / 60 for t, _ in seen], [value for _, value in seen]
            began = next(minute for minute in minutes if minute >= warm_up)
            axes.plot(minutes, values, color=colour, linewidth=1, alpha=0.6, label=EXPECTED[name])
            row = next(row for row in report["rows"] if row["name"] == name)
            length = (minutes[-1] - began) / PARTS
            for i, median in enumerate(row["parts"]):
                axes.hlines(median, began + i * length, began + (i + 1) * length, colors=INK, linewidth=2)
        axes.axvspan(0, warm_up, color="#EEEEEE")
        axes.set_xlim(0)
        finish(axes, "minutes", ", ".join(EXPECTED[name] for name in names))
        if len(names) == 1:
            axes.get_legend().remove()
    figure.text(0.01, 0.01, source(report), fontsize=7, color="#777777")
    return figure


if __name__ == "__main__":
    main()
