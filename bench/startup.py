"""How long from the command to the first update and to the first row of the log, and of what is it made?

Fresh processes: `fastsac train` with an empty compile cache, with the one that this left, and without compiling, beside
Stable-Baselines3; and commands that only print.  All in turn.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from bench import chart, harness, side_by_side
from bench.compile import caches
from bench.gpu_show import new_figure, source
from bench.peers.environments import NAMES
from bench.startup_worker import LEARNING_STARTS, LOG_ROW
from fastsac.env import make_spec
from fastsac.report.style import COLOURS, INK

Way = Literal["cold", "warm", "off"]
WAYS: dict[Way, str] = {"cold": "empty compile cache", "warm": "filled compile cache", "off": "--compile off"}
Command = Literal["version", "help", "train-help", "envs-pattern", "envs"]
COMMANDS: dict[Command, list[str]] = {
    "version": ["--version"],
    "help": ["--help"],
    "train-help": ["train", "--help"],
    "envs-pattern": ["envs", "Pendulum"],
    "envs": ["envs"],
}
UNTIL = ("first update", "log row")
FLOORS = {"python -c pass": ["-c", "pass"], "python -c 'import torch'": ["-c", "import torch"]}
"""What no command of ours can be faster than, and what one that needs torch cannot."""


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    json: Path | None = None
    """File to write the report to, with the chart beside it."""
    repeats: int = 3
    """Rounds; each starts every process once.  At least 1."""
    threads: int = 1
    """Threads of torch in each process.  At least 1."""

    envs: tuple[str, ...] = ("HalfCheetah-v5",)
    """Environments to train in."""
    ways: tuple[Way, ...] = tuple(WAYS)
    """Compile with an empty cache (cold), with a filled one (warm), or not at all (off); warm needs cold."""
    args: str = ""
    """Further arguments of `fastsac train`, in one text: `--args="--batch-size 64"`."""
    commands: tuple[Command, ...] = tuple(COMMANDS)
    """Commands of `fastsac` to time from start to end; none leaves them out."""
    peers: Literal["sb3", "none"] = "sb3"
    """What to measure beside it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if "warm" in self.ways and "cold" not in self.ways:
            raise ValueError("ways must have cold where they have warm: it fills the cache.")
        if len(set(self.ways)) < len(self.ways):
            raise ValueError(f"ways must be different, got {', '.join(self.ways)}.")


class WorkerError(Exception):
    """A process that did not come to its end."""


def main(argv: Sequence[str] | None = None) -> harness.Report:
    try:
        settings, device = harness.start(Settings, "startup", __doc__, argv)
        for env in settings.envs:
            make_spec(env)
    except ValueError as error:
        raise SystemExit(f"bench.startup: {' '.join(str(error).split())}") from None
    reporter = harness.Reporter("startup", __doc__, settings)
    marks: dict[tuple[str, str], list[dict[str, float]]] = {}
    skipped: dict[tuple[str, str], str] = {}
    commands: dict[str, list[float]] = {}
    for _ in range(settings.repeats):
        for env in settings.envs:
            for name, found in train_all(settings, env, str(device), skipped):
                marks.setdefault((env, name), []).append(found)
        for name, seconds in run_commands(settings):
            commands.setdefault(name, []).append(seconds)
    report = reporter.finish(
        unit="seconds since the process was started",
        device=str(device),
        rows=[{"name": f"{env}: {name}", "env": env, "way": name, **parts(all_)} for (env, name), all_ in marks.items()]
        + [
            {"name": f"{env}: {name}", "skipped": why}
            for (env, name), why in skipped.items()
            if (env, name) not in marks
        ],
        commands=[{"name": name, **harness.summary(seconds)} for name, seconds in commands.items()],
    )
    for table in figures(report):
        table.show()
    chart.save_beside(settings.json, draw_chart(report), report)
    return report


# Processes ----------------------------------------------------------------------------------------------------------


def train_all(
    settings: Settings, env: str, device: str, skipped: dict[tuple[str, str], str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """One round: every way of training in this environment, once; what cannot be run goes into `skipped`."""
    peer = NAMES["sb3"]
    with tempfile.TemporaryDirectory() as cache:
        for way in (w for w in WAYS if w in settings.ways):
            try:
                marks = run_worker(settings, "fastsac", train_arguments(settings, env, device, way), Path(cache))
            except WorkerError as error:
                raise SystemExit(f"bench.startup: {error}") from None
            yield WAYS[way], marks
        if settings.peers == "sb3" and (env, peer) not in skipped:
            try:
                yield peer, run_worker(settings, "sb3", [env.rpartition(":")[2], device], Path(cache))
            except WorkerError as error:
                skipped[env, peer] = f'not run: {error} (pip install "fastsac[bench]")'


def train_arguments(settings: Settings, env: str, device: str, way: Way) -> list[str]:
    """Those of `fastsac train`, from the preset but for the first update and log row, which come early."""
    return [
        "train", "--env", env, "--device", device, "--cpu-threads", str(settings.threads),
        "--learning-starts", str(LEARNING_STARTS), "--log-every", str(LOG_ROW), "--run-dir", "run",
        "--compile", "off" if way == "off" else "on", *shlex.split(settings.args),
    ]  # fmt: skip


def run_worker(settings: Settings, which: str, arguments: Sequence[str], cache: Path) -> dict[str, float]:
    """Seconds since a fresh process was spawned, at the end of each part, in order.

    Raises:
        WorkerError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "marks.json"
        command = [sys.executable, "-m", "bench.startup_worker", which, repr(time.monotonic()), str(file), *arguments]
        done = run(command, folder, side_by_side.variables(settings.threads, **caches(cache)))
        if not file.exists():
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise WorkerError(f"{which} ended with status {done.returncode}: {last}"[:500])
        found: dict[str, float] = json.loads(file.read_text())
        return found


def run_commands(settings: Settings) -> Iterator[tuple[str, float]]:
    """One round of the commands that only print: name, and seconds from start to end."""
    told = {" ".join(["fastsac", *COMMANDS[c]]): ["-m", "fastsac", *COMMANDS[c]] for c in settings.commands}
    with tempfile.TemporaryDirectory() as folder:
        variables = side_by_side.variables(settings.threads, **caches(Path(folder)))
        for name, arguments in ({**FLOORS, **told} if told else {}).items():
            began = time.perf_counter()
            done = run([sys.executable, *arguments], folder, variables)
            took_s = time.perf_counter() - began
            if done.returncode:
                last = (done.stderr.strip() or "no message").splitlines()[-1]
                raise SystemExit(f"bench.startup: {name} ended with status {done.returncode}: {last}")
            yield name, took_s


def run(command: Sequence[str], folder: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run to its end, with what it prints kept."""
    variables = {**os.environ, **variables, "COLUMNS": "120"}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)


def parts(rounds: Sequence[dict[str, float]]) -> harness.Row:
    """Seconds of each part and until each event; a part is the time since the end of the one before."""
    order = [name for name in rounds[0] if all(name in marks for marks in rounds)]
    order.sort(key=rounds[0].__getitem__)
    took = {order[0]: [marks[order[0]] for marks in rounds]}
    took |= {name: [marks[name] - marks[before] for marks in rounds] for before, name in pairwise(order)}
    return {
        "parts": {name: harness.summary(seconds) for name, seconds in took.items()},
        "until": {name: harness.summary([marks[name] for marks in rounds]) for name in UNTIL},
    }


# Tables and chart ---------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[harness.Figures]:
    """Seconds until the two events, the parts, and the commands."""
    rows = [row for row in report["rows"] if "parts" in row]
    columns = ["", "first update, s", "min", "max", f"row of {LOG_ROW:,} steps, s", "min", "max"]
    lines = [
        [row["name"], *(f"{row['until'][event][k]:.2f}" for event in UNTIL for k in ("median", "min", "max"))]
        for row in rows
    ]
    lines += [[row["name"], row["skipped"], *[""] * 5] for row in report["rows"] if "skipped" in row]
    tables = [harness.Figures("startup: seconds since the process was started", columns, lines)] if lines else []
    if rows:
        names = part_names(report)
        lines = [
            [name, *(f"{row['parts'][name]['median']:.2f}" if name in row["parts"] else "-" for row in rows)]
            for name in names
        ]
        tables.append(harness.Figures("startup: seconds of each part", ["", *(row["name"] for row in rows)], lines))
    if report["commands"]:
        lines = [[row["name"], *(f"{row[k]:.2f}" for k in ("median", "min", "max"))] for row in report["commands"]]
        tables.append(harness.Figures("startup: whole commands", ["", "seconds", "min", "max"], lines))
    return tables


def part_names(report: harness.Report) -> list[str]:
    """All parts, in the order in which they come."""
    found = [name for row in report["rows"] for name in row.get("parts", ())]
    longest = max((list(row["parts"]) for row in report["rows"] if "parts" in row), key=len)
    return list(dict.fromkeys([*longest, *found]))


def draw_chart(report: harness.Report) -> Figure | None:
    """A bar for each way, of its parts; None where none was measured."""
    rows = [row for row in report["rows"] if "parts" in row]
    if not rows:
        return None
    figure, axes = new_figure("From the command to the first update and the first log row")
    left = [0.0] * len(rows)
    for name, colour in zip(part_names(report), (*COLOURS, "#BBBBBB", "#777777", INK), strict=False):
        width = [row["parts"][name]["median"] if name in row["parts"] else 0.0 for row in rows]
        bars = axes.barh(range(len(rows)), width, left=left, color=colour, label=name, height=0.6)
        total = max(row["until"]["log row"]["median"] for row in rows)
        texts = [f"{w:.1f}" if w > 0.04 * total else "" for w in width]
        axes.bar_label(bars, texts, label_type="center", fontsize=8, color="white")
        left = [a + b for a, b in zip(left, width, strict=True)]
    axes.set_yticks(range(len(rows)), [row["name"].replace(": ", "\n") for row in rows], color=INK)
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds; the last part is from the first update to the row of {LOG_ROW:,} steps", color=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8.5)
    figure.set_layout_engine("constrained", rect=(0.01, 0.14, 0.98, 0.84))  # room for the legend
    figure.legend(loc="lower center", bbox_to_anchor=(0.5, 0.04), ncols=5, frameon=False, fontsize=8, labelcolor=INK)
    figure.text(0.01, 0.005, source(report), fontsize=7, color="#777777")
    return figure


if __name__ == "__main__":
    main()
