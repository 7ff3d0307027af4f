"""Does a long run stay as it began, and what do its checkpoints cost?

Both parts train in processes of their own by the command that a user types, with evaluations and log files.  The first
looks at one process from outside: resident memory, open files, threads, environment steps a second.  The second reads
what a run with checkpoints, the replay's rows included, says of them itself: a few thousandths, which would vanish in
the noise of rates.
"""

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from bench.lib import charts, harness, processes, record
from bench.lib.tables import Figures, extent
from fastsac.config.durations import parse_duration
from fastsac.report.style import COLOURS, INK, new_figure, tidy

PARTS = 5  # the time after warm-up is cut into so many parts of equal length, which are then compared
LOOK_EVERY = 5.0  # seconds between two looks at the process
SERIES = {"steps_per_s": "env steps/s", "rss_mib": "MiB resident", "files": "open files", "threads": "threads"}
SOAK = ("--env", "Pendulum-v1", "--buffer-size", "100000", "--checkpoint-every", "100000", "--total-steps", str(2**40))
CHECKPOINTS = (
    "--env", "HalfCheetah-v5", "--num-envs", "8", "--utd-ratio", "0.25", "--learning-starts", "2000",
    "--eval-every", "0", "--eval-episodes", "1", "--compile", "on",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 3
    """Runs with checkpoints.  At least 1."""
    parts: tuple[Literal["soak", "checkpoints"], ...] = ("soak", "checkpoints")
    """What to measure: one long run, the cost of checkpoints."""
    duration: str = "30m"
    """How long the long run is, as in `fastsac train --max-wall-time`."""
    warm_up: str = "3m"
    """How much of it is not compared: compiling, the first replay rows, the allocators' growth."""
    every: int = 10_000
    """Environment steps between checkpoints.  A tenth of the default, and so a harder case."""
    checkpoints: int = 3
    """Checkpoints in the time that is measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.at_least_1(self, "checkpoints")
        if self.every < 1000:
            raise ValueError(f"every must be at least 1000, got {self.every}.")
        if parse_duration(self.warm_up) >= parse_duration(self.duration):
            raise ValueError(f"warm_up must be shorter than the duration, got {self.warm_up} and {self.duration}.")


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device, reporter = record.start(Settings, "long_run", __doc__, argv)
    report: harness.Report = {}
    found: dict[str, harness.Row] = {}
    flags = ["--device", str(device), "--cpu-threads", str(settings.threads)]
    for part in settings.parts:
        with harness.one_line("long_run"):
            found[part] = soak(settings, flags) if part == "soak" else checkpoints(settings, flags)
        report = reporter.finish(**found)
    return reporter.show(report, figures(report), draw(report))


# A long run ---------------------------------------------------------------------------------------------------------


def soak(settings: Settings, flags: Sequence[str]) -> harness.Row:
    """Watch one long run."""
    samples: list[harness.Row] = []
    began = time.monotonic()

    def note(pid: int) -> bool:
        with suppress(OSError, KeyError):  # it is just ending
            samples.append({"wall_s": time.monotonic() - began, **look(pid)})
        return False

    with tempfile.TemporaryDirectory() as folder:
        told = [*flags, *SOAK, "--max-wall-time", settings.duration]
        processes.train(Path(folder), *told, look=note, every=LOOK_EVERY)
        rates = between(processes.progress(Path(folder)))
    warm_up_s = parse_duration(settings.warm_up)
    series = {name: [(s["wall_s"], s[name]) for s in samples] for name in ("rss_mib", "files", "threads")}
    rows = [{"name": name, **drift(seen, warm_up_s)} for name, seen in {**series, "steps_per_s": rates}.items()]
    return {"rows": rows, "samples": samples, "rates": rates}


def look(pid: int) -> harness.Row:
    """Resident memory, open files and threads of a process."""
    proc = Path(f"/proc/{pid}")
    fields = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    rss_mib, threads = int(fields["VmRSS"].split()[0]) / 1024, int(fields["Threads"])
    return {"rss_mib": rss_mib, "threads": threads, "files": len(list((proc / "fd").iterdir()))}


def between(points: Sequence[tuple[float, int]]) -> list[tuple[float, float]]:
    """Wall seconds, and environment steps a second since the log point before."""
    return [(t1, (s1 - s0) / (t1 - t0)) for (t0, s0), (t1, s1) in itertools.pairwise(points)]


def drift(series: Sequence[tuple[float, float]], warm_up_s: float) -> harness.Row:
    """Medians of equal parts of the time after warm-up, and how far the last is from the first, as a share of it.

    Raises:
        ValueError: nothing was seen after the warm-up.
    """
    t, values = np.array(series).T
    kept, values = t[t >= warm_up_s], values[t >= warm_up_s]
    if not len(kept):
        raise ValueError("nothing was seen after the warm-up; give it a longer duration.")
    part = np.digitize(kept, np.linspace(kept[0], kept[-1], PARTS + 1)[1:-1])
    medians = [float(np.median(values[part == i])) for i in np.unique(part)]
    return {"parts": medians, "change": medians[-1] / medians[0] - 1, "count": len(kept)}


# Checkpoints --------------------------------------------------------------------------------------------------------


def checkpoints(settings: Settings, flags: Sequence[str]) -> harness.Row:
    """What a checkpoint costs by the program's own account, and what share of the time that is."""
    loop_s, thread_cpu_s, shares, sizes = [], [], [], []
    first, steps = settings.every // 2, settings.every * settings.checkpoints
    told = [*flags, *CHECKPOINTS, "--total-steps", str(first + steps + 1000), "--log-every", str(first)]
    for _ in range(settings.repeats):
        with tempfile.TemporaryDirectory() as name:
            run = Path(name) / "run"
            processes.train(Path(name), *told, "--checkpoint-every", str(settings.every))
            at = processes.progress(Path(name))
            sizes.append(sum(p.stat().st_size for p in (run / "checkpoints").rglob("*") if p.is_file()))
            about = json.loads((run / "summary.json").read_text())["checkpoints"]
        loop_s.append(about["loop_s"] / about["written"])
        thread_cpu_s.append(about["thread_cpu_s"] / about["written"])
        interval_s = (seconds_at(at, first + steps) - seconds_at(at, first)) / settings.checkpoints
        shares.append((loop_s[-1] + thread_cpu_s[-1]) / interval_s)
    return {
        "costs": {"loop_s": harness.summary(loop_s), "thread_cpu_s": harness.summary(thread_cpu_s)},
        "share": harness.summary(shares),
        "checkpoint_bytes": statistics.median(sizes),
    }


def seconds_at(points: Sequence[tuple[float, int]], env_steps: int) -> float:
    """Wall seconds of the first log point at or after so many steps."""
    return next(wall_s for wall_s, steps in points if steps >= env_steps)


# Tables and chart ---------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[Figures]:
    """What a checkpoint costs; the parts' medians and the changes."""
    found, heading = [], "Checkpoints and long runs"
    if checkpoints := report.get("checkpoints"):
        every, share, costs = report["settings"]["every"], checkpoints["share"], checkpoints["costs"]
        ms = [extent({k: 1000 * cost[k] for k in ("median", "min", "max")}, 1) for cost in costs.values()]
        size = f"{checkpoints['checkpoint_bytes'] / 2**20:.1f}"
        columns = ["MiB at the end", "ms that the loop stands still", "ms of processor time beside it"]
        line = [f"HalfCheetah-v5, every {every:,} steps", size, *ms, f"{share['median']:.2%}"]
        found.append(Figures("a checkpoint", [*columns, "share of the time"], [line], heading))
    if long := report.get("soak"):
        most = max(len(row["parts"]) for row in long["rows"])  # a short run has fewer of some
        lines = []
        for row in long["rows"]:
            medians = [f"{value:,.1f}" for value in row["parts"]]
            lines.append([SERIES[row["name"]], *medians, *[""] * (most - len(medians)), f"{row['change']:+.2%}"])
        columns = [f"part {i + 1}" for i in range(most)]
        title = f"Pendulum-v1 for {report['settings']['duration']}, medians"
        found.append(Figures(title, [*columns, "change"], lines, heading))
    return found


def draw(report: harness.Report) -> dict[str, Figure]:
    """What was seen of the long run against minutes; the warm-up grey, medians of the parts as lines."""
    long = report.get("soak")
    if not long:
        return {}
    warm_up = parse_duration(report["settings"]["warm_up"]) / 60
    figure = new_figure(11, 6, f"Pendulum-v1 for {report['settings']['duration']}: from outside")
    charts.room_below(figure, 0.25)
    for axes, row, colour in zip(figure.subplots(2, 2).flat, long["rows"], COLOURS, strict=False):
        name = row["name"]
        seen = long["rates"] if name == "steps_per_s" else [(s["wall_s"], s[name]) for s in long["samples"]]
        minutes, values = np.array([t / 60 for t, _ in seen]), [value for _, value in seen]
        axes.plot(minutes, values, color=colour, linewidth=1, alpha=0.6)
        ends = np.linspace(minutes[minutes >= warm_up][0], minutes[-1], len(row["parts"]) + 1)
        axes.hlines(row["parts"], ends[:-1], ends[1:], colors=INK, linewidth=2)
        axes.axvspan(0, warm_up, color="#EEEEEE")
        tidy(axes, "minutes")
        axes.set_ylabel(SERIES[name], color=INK)
        axes.set_ylim(bottom=0)
    return {"": charts.sign(figure, report)}


if __name__ == "__main__":
    main()
