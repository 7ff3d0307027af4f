"""Does a long run stay as it began, and what do its checkpoints cost?

Both parts train in processes of their own by the command that a user types, with evaluations and log files.  The first
looks at one process from outside: resident memory, open files, threads, environment steps a second.  The second runs
the same training with and without checkpoints in turn, the replay's rows included, and compares the time between two
rows of metrics.csv; beside it is what the program says of them itself, which is a few thousandths and vanishes in the
noise of rates.
"""

import csv
import itertools
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from bench.lib import charts, harness, processes, tables
from bench.lib.record import Reporter
from bench.lib.results import Result, extent, first_of_each
from fastsac.config.durations import parse_duration
from fastsac.report.style import COLOURS, INK

QUESTION = __doc__ or ""
PARTS = 5  # the time after warm-up is cut into so many parts of equal length, which are then compared
LIMIT = 0.02  # by how much the last part may differ from the first
SERIES = {"steps_per_s": "env steps/s", "rss_mib": "MiB resident", "files": "open files", "threads": "threads"}
PANELS = (("steps_per_s",), ("rss_mib",), ("files", "threads"))
COSTS = {"loop_s": "ms per checkpoint that the loop stands still", "thread_cpu_s": "ms of processor time beside it"}


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 3
    """Pairs of runs with and without checkpoints.  At least 1."""
    parts: tuple[Literal["soak", "checkpoints"], ...] = ("soak", "checkpoints")
    """What to measure: one long run, the cost of checkpoints."""

    soak_env: str = "Pendulum-v1"
    """Environment of the long run."""
    duration: str = "30m"
    """How long, as in `fastsac train --max-wall-time`."""
    warm_up: str = "3m"
    """How much of it is not compared: compiling, the first replay rows, the allocators' growth."""
    look_every: float = 5.0
    """Seconds between two looks at the process.  Above 0."""
    soak_args: str = "--buffer-size 100000 --checkpoint-every 100000"
    """More options of `fastsac train` for it, as one string."""

    env: str = "HalfCheetah-v5"
    """Environment of the runs with and without checkpoints."""
    every: int = 10_000
    """Environment steps between checkpoints.  A tenth of the default, and so a harder case."""
    checkpoints: int = 3
    """Checkpoints in the time that is measured."""
    args: str = "--num-envs 8 --utd-ratio 0.25 --learning-starts 2000"
    """More options of `fastsac train` for them, as one string."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.at_least_1(self, "checkpoints")
        if self.every < 1000:
            raise ValueError(f"every must be at least 1000, got {self.every}.")
        if parse_duration(self.warm_up) >= parse_duration(self.duration):
            raise ValueError(f"warm_up must be shorter than the duration, got {self.warm_up} and {self.duration}.")
        if not self.look_every > 0:
            raise ValueError(f"look_every must be above 0, got {self.look_every}.")


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "long_run", QUESTION, argv)
    reporter = Reporter("long_run", QUESTION, settings, argv)
    report: harness.Report = {}
    found: dict[str, harness.Row] = {}
    for part in settings.parts:
        found[part] = soak(settings, str(device)) if part == "soak" else checkpoints(settings, str(device))
        report = reporter.finish(**found)
    tables.show(figures(report))
    charts.save_beside(settings.json, draw(report), report)
    return report


# A long run ---------------------------------------------------------------------------------------------------------


def soak(settings: Settings, device: str) -> harness.Row:
    """Watch one long run."""
    arguments = [
        "train", "--env", settings.soak_env, "--total-steps", str(2**40), "--max-wall-time", settings.duration,
        "--device", device, "--cpu-threads", str(settings.threads), *shlex.split(settings.soak_args),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        command = [sys.executable, "-m", "fastsac", *arguments, "--run-dir", str(run_dir)]
        samples, status, log = watch(command, Path(folder) / "log", settings.look_every)
        rates = read_rates(run_dir / "metrics.csv") if (run_dir / "metrics.csv").exists() else []
    if status != processes.OUT_OF_TIME:
        raise SystemExit(f"bench.long_run: training ended with status {status}: {log}")
    series = {name: [(s["wall_s"], s[name]) for s in samples] for name in ("rss_mib", "files", "threads")}
    series["steps_per_s"] = rates
    rows = [{"name": name, **drift(values, parse_duration(settings.warm_up))} for name, values in series.items()]
    return {"rows": rows, "limit": LIMIT, "samples": samples, "rates": rates}


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
    return samples, process.returncode, processes.last_line(log.read_text())


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
        points = sorted({(float(r["wall_s"]), int(r["env_steps"])) for r in csv.DictReader(f) if r["wall_s"]})
    return [(t1, (s1 - s0) / (t1 - t0)) for (t0, s0), (t1, s1) in itertools.pairwise(points) if t1 > t0]


def drift(series: Sequence[tuple[float, float]], warm_up_s: float) -> harness.Row:
    """Medians of equal parts of the time after warm-up, and how far the last is from the first, as a share of it."""
    kept = [(t, v) for t, v in series if t >= warm_up_s]
    if not kept:
        raise SystemExit("bench.long_run: nothing was seen after the warm-up; give it a longer duration.")
    first, last = kept[0][0], kept[-1][0]
    length = (last - first) / PARTS or 1.0
    parts = [[v for t, v in kept if min(PARTS - 1, int((t - first) / length)) == i] for i in range(PARTS)]
    medians = [statistics.median(part) for part in parts if part]
    return {"parts": medians, "change": medians[-1] / medians[0] - 1, "count": len(kept)}


# Checkpoints --------------------------------------------------------------------------------------------------------


def checkpoints(settings: Settings, device: str) -> harness.Row:
    """Rates with and without, and what a checkpoint costs by the program's own account."""
    kinds = {"with": settings.every, "without": 0}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    sizes: list[int] = []
    told: list[dict[str, float]] = []
    train(settings, device, 0, 1)  # fills the compile cache
    for _ in range(settings.repeats):
        for kind, every in kinds.items():
            taken, size, about = train(settings, device, every, settings.checkpoints)
            seconds[kind].append(taken)
            if every:
                sizes.append(size)
                told.append(about)
    steps = settings.every * settings.checkpoints
    each = {key: [of_run[key] / of_run["written"] for of_run in told] for key in COSTS}
    interval_s = [s / settings.checkpoints for s in seconds["with"]]
    shares = [sum(costs) / s for *costs, s in zip(*each.values(), interval_s, strict=True)]
    rates = {kind: harness.summary([steps / s for s in seconds[kind]]) for kind in kinds}
    return {
        "rows": [{"name": f"{kind} checkpoints", **rates[kind]} for kind in kinds],
        "overhead": harness.summary([a / b - 1 for a, b in zip(seconds["with"], seconds["without"], strict=True)]),
        "costs": {key: harness.summary(values) for key, values in each.items()},
        "share": harness.summary(shares),
        "checkpoint_bytes": statistics.median(sizes),
    }


def train(settings: Settings, device: str, every: int, checkpoints: int) -> tuple[float, int, dict[str, float]]:
    """Seconds between the two rows, bytes in the run's checkpoints at the end, and what its summary says of them."""
    first, last = settings.every // 2, settings.every // 2 + settings.every * checkpoints
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        done = processes.train(
            "--env", settings.env, "--total-steps", str(last + 1000), "--log-every", str(settings.every // 2),
            "--eval-every", "0", "--eval-episodes", "1", "--compile", "on", "--checkpoint-every", str(every),
            "--run-dir", str(run_dir), "--device", device, "--cpu-threads", str(settings.threads),
            *shlex.split(settings.args),
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"bench.long_run: training failed: {processes.last_line(done.stderr)}")
        with (run_dir / "metrics.csv").open(newline="") as f:
            at = [(int(row["env_steps"]), float(row["wall_s"])) for row in csv.DictReader(f)]
        size = sum(p.stat().st_size for p in (run_dir / "checkpoints").rglob("*") if p.is_file())
        about: dict[str, float] = json.loads((run_dir / "summary.json").read_text())["checkpoints"]
    return seconds_at(at, last) - seconds_at(at, first), size, about


def seconds_at(rows: Sequence[tuple[int, float]], env_steps: int) -> float:
    """Wall seconds of the first row at or after so many steps."""
    return next(wall_s for steps, wall_s in rows if steps >= env_steps)


# Tables and chart ---------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[tables.Figures]:
    """The parts' medians and the changes; the rates, and what one checkpoint costs."""
    found, told = [], report["settings"]
    if long := report.get("soak"):
        lines = [
            [SERIES[row["name"]]]
            + [f"{value:,.1f}" for value in row["parts"]]
            + [f"{row['change']:+.2%}", "yes" if abs(row["change"]) <= long["limit"] else "no"]
            for row in long["rows"]
        ]
        count = max(len(row["parts"]) for row in long["rows"])
        columns = ["median of", *(f"part {i + 1}" for i in range(count)), "change", f"within {long['limit']:.0%}"]
        found.append(tables.Figures(f"soak: {told['soak_env']}, {told['duration']}", columns, lines))
    if pairs := report.get("checkpoints"):
        keys, every = ("median", "min", "max"), f"slower, every {told['every']:,} steps"
        lines = [[row["name"], *tables.spread(row, 1)] for row in pairs["rows"]]
        lines.append([f"{every}: by these rates", *(f"{pairs['overhead'][k]:+.1%}" for k in keys)])
        lines += [[COSTS[name], *(f"{1000 * cost[k]:.1f}" for k in keys)] for name, cost in pairs["costs"].items()]
        lines.append([f"{every}: by these costs", *(f"{pairs['share'][k]:+.2%}" for k in keys)])
        title = f"checkpoints: {told['env']}, env steps/s; {pairs['checkpoint_bytes'] / 2**20:.1f} MiB at the end"
        found.append(tables.Figures(title, ["", *keys], lines))
    return found


def draw(report: harness.Report) -> dict[str, Figure]:
    """What was seen of the long run against minutes, from 0 up; the warm-up grey, medians of the parts as lines."""
    long = report.get("soak")
    if not long:
        return {}
    warm_up = parse_duration(report["settings"]["warm_up"]) / 60
    title = f"{report['settings']['soak_env']} for {report['settings']['duration']}"
    figure, panels = charts.new_figure(title, panels=3)
    for axes, names in zip(panels, PANELS, strict=True):
        for name, colour in zip(names, COLOURS, strict=False):
            seen = long["rates"] if name == "steps_per_s" else [(s["wall_s"], s[name]) for s in long["samples"]]
            minutes, values = [t / 60 for t, _ in seen], [value for _, value in seen]
            began = next(minute for minute in minutes if minute >= warm_up)
            axes.plot(minutes, values, color=colour, linewidth=1, alpha=0.6, label=SERIES[name])
            row = next(row for row in long["rows"] if row["name"] == name)
            length = (minutes[-1] - began) / PARTS
            for i, median in enumerate(row["parts"]):
                axes.hlines(median, began + i * length, began + (i + 1) * length, colors=INK, linewidth=2)
        axes.axvspan(0, warm_up, color="#EEEEEE")
        axes.set_xlim(0)
        charts.finish(axes, "minutes", ", ".join(SERIES[name] for name in names))
        if len(names) == 1:
            axes.get_legend().remove()
    return {"": charts.sign(figure, report)}


def page(results: Sequence[Result]) -> Iterator[str]:
    """What checkpoints cost, and the first and last parts of the long run."""
    for result in first_of_each(results, "checkpoints"):
        told, pairs = result.report["settings"], result.report["checkpoints"]
        ms = [{k: 1000 * cost[k] for k in ("median", "min", "max")} for cost in pairs["costs"].values()]
        yield (
            f"**Checkpoints** on {result.machine}, {told['env']}, one every {told['every']:,} steps with the replay in "
            f"it ({pairs['checkpoint_bytes'] / 2**20:.1f} MiB at the end), take {pairs['share']['median']:.2%} of the "
            f"time: for each the loop stands still for {extent(ms[0])} ms, and a thread beside it takes "
            f"{extent(ms[1])} ms of processor time."
        )
    for result in first_of_each(results, "soak"):
        yield figures({**result.report, "checkpoints": None})[0].markdown()
        yield result.picture("", f"A long run on {result.machine}: steps a second, memory, open files and threads")


PAGE = {"Checkpoints and long runs": page}

if __name__ == "__main__":
    main()
