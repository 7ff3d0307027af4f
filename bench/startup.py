"""How long from the command to the first update and to the first row of the log, and when has compiling paid?

Fresh processes: `fastsac train` with an empty compile cache, with the one that this left, and without compiling, beside
Stable-Baselines3; and learners alone, compiled and eager, which back COMPILE_PAYS_AFTER in fastsac/run/plan.py.
"""

import json
import math
import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeVar

from matplotlib.figure import Figure

from bench.lib import charts, harness, processes, program, tables
from bench.lib.marks import LEARNING_STARTS, LOG_ROW
from bench.lib.record import Reporter
from bench.lib.results import Result, extent, first_of_each
from bench.peers.environments import NAMES, how_to_install, python_of
from fastsac.env import make_spec
from fastsac.run.plan import COMPILE_PAYS_AFTER
from fastsac.runtime.launch import Mode

QUESTION = __doc__ or ""
T = TypeVar("T")
Way = Literal["cold", "warm", "off"]
WAYS: dict[Way, str] = {"cold": "empty compile cache", "warm": "filled compile cache", "off": "--compile off"}
UNTIL = ("first update", "log row")
SIZES = {
    "pendulum": program.Sizes(obs_dim=3, action_dim=1, hidden_dims=(64, 64)),
    "halfcheetah": program.Sizes(obs_dim=17, action_dim=6, hidden_dims=(256, 256)),
    "lunarlander": program.Sizes(obs_dim=8, action_dim=2, hidden_dims=(400, 300)),
}


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
    """Environments to train in; none leaves that part out."""
    ways: tuple[Way, ...] = tuple(WAYS)
    """Compile with an empty cache (cold), with a filled one (warm), or not at all (off); warm needs cold."""
    args: str = ""
    """Further arguments of `fastsac train`, in one text: `--args="--batch-size 64"`."""
    peers: Literal["sb3", "none"] = "sb3"
    """What to measure beside it."""
    sizes: tuple[str, ...] = tuple(SIZES)
    """Learners to compile, by the name of a task that has their sizes; none leaves that part out."""
    compiles: int = 1
    """Processes per size that compile with an empty cache, and as many with the cache they left.  At least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.at_least_1(self, "compiles")
        harness.among("sizes", self.sizes, tuple(SIZES))
        if "warm" in self.ways and "cold" not in self.ways:
            raise ValueError("ways must have cold where they have warm: it fills the cache.")
        if len(set(self.ways)) < len(self.ways):
            raise ValueError(f"ways must be different, got {', '.join(self.ways)}.")


class WorkerError(Exception):
    """A process that did not come to its end."""


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "startup", QUESTION, argv)
    with harness.one_line("startup"):
        for env in settings.envs:
            make_spec(env)
    reporter = Reporter("startup", QUESTION, settings, argv)
    marks: dict[tuple[str, str], list[dict[str, float]]] = {}
    skipped: dict[tuple[str, str], str] = {}
    for _ in range(settings.repeats):
        for env in settings.envs:
            for name, found in train_all(settings, env, str(device), skipped):
                marks.setdefault((env, name), []).append(found)
    rows = [{"name": f"{env}: {name}", "env": env, "way": name, **parts(all_)} for (env, name), all_ in marks.items()]
    report = reporter.finish(
        unit="seconds since the process was started",
        device=str(device),
        rows=rows + [{"name": f"{env}: {name}", "skipped": why} for (env, name), why in skipped.items()],
        compiles=[measure_compiling(name, settings) for name in settings.sizes],
        constant_in_plan=COMPILE_PAYS_AFTER,
    )
    tables.show(figures(report))
    charts.save_beside(settings.json, draw(report), report)
    return report


# Processes ----------------------------------------------------------------------------------------------------------


def train_all(
    settings: Settings, env: str, device: str, skipped: dict[tuple[str, str], str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """One round: every way of training in this environment, once; what cannot be run goes into `skipped`."""
    peer, python = NAMES["sb3"], python_of("sb3")
    with tempfile.TemporaryDirectory() as cache:
        for way in (w for w in WAYS if w in settings.ways):
            arguments = [
                "train", "--env", env, "--device", device, "--cpu-threads", str(settings.threads),
                "--learning-starts", str(LEARNING_STARTS), "--log-every", str(LOG_ROW), "--run-dir", "run",
                "--compile", "off" if way == "off" else "on", *shlex.split(settings.args),
            ]  # fmt: skip
            try:
                yield WAYS[way], run_worker(settings, "fastsac", arguments, Path(cache))
            except WorkerError as error:
                raise SystemExit(f"bench.startup: {error}") from None
        if settings.peers == "none" or (env, peer) in skipped:
            return
        if python is None:
            skipped[env, peer] = f"not installed; {how_to_install('sb3')} makes an environment for it"
            return
        try:
            yield peer, run_worker(settings, "sb3", [env.rpartition(":")[2], device], Path(cache), python)
        except WorkerError as error:
            skipped[env, peer] = f"not run: {error}"


def run_worker(
    settings: Settings, which: str, arguments: Sequence[str], cache: Path, python: Path = Path(sys.executable)
) -> dict[str, float]:
    """Seconds since a fresh process was spawned, at the end of each part, in order.

    Raises:
        WorkerError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "marks.json"
        command = [str(python), "-m", "bench.lib.marks", which, repr(time.monotonic()), str(file), *arguments]
        variables = processes.variables(settings.threads, **processes.caches(cache))
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
        if not file.exists():
            why = processes.last_line(done.stderr)
            raise WorkerError(f"{which} ended with status {done.returncode}: {why}"[:500])
        found: dict[str, float] = json.loads(file.read_text())
        return found


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


# Compiling ----------------------------------------------------------------------------------------------------------


def measure_compiling(name: str, settings: Settings) -> harness.Row:
    """Compile seconds with an empty and with a filled cache, seconds per update, and when compiling has paid."""
    cold, warm = [], []
    for _ in range(settings.compiles):
        with cache_dir():
            cold.append(in_new_process(compile_once, name, settings))
            warm.append(in_new_process(compile_once, name, settings))
    compiled, eager = in_new_process(rates, name, settings)
    row: harness.Row = {
        "name": name,
        "compile_cold_s": harness.summary(cold),
        "compile_warm_s": harness.summary(warm),
        "compiled_updates_per_s": compiled,
        "eager_updates_per_s": eager,
    }
    saved_s = 1 / eager["median"] - 1 / compiled["median"]
    for way in ("cold", "warm"):
        row[f"pays_after_{way}"] = pays_after(row[f"compile_{way}_s"]["median"], saved_s)
    return row


def pays_after(compile_s: float, saved_s: float) -> int | None:
    """Updates until what each saves adds up to the compile time; None where none is saved."""
    return math.ceil(compile_s / saved_s) if saved_s > 0 else None


@contextmanager
def cache_dir() -> Iterator[None]:
    """Empty caches for the compiler, for all processes started inside."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(processes.caches(Path(folder)))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def in_new_process(function: Callable[[str, Settings], T], name: str, settings: Settings) -> T:
    """`function(name, settings)` in a process that has compiled nothing yet."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, name, settings).result()


def compile_once(name: str, settings: Settings) -> float:
    """Seconds that compiling takes in this process; imports of the compiler included."""
    device = harness.set_up_torch(settings)
    return program.compile_seconds(program.make_filled(SIZES[name], program.compiled_mode(device), device).learner)


def rates(name: str, settings: Settings) -> list[harness.Row]:
    """Updates per second, compiled and eager."""
    device = harness.set_up_torch(settings)
    modes: tuple[Mode, ...] = (program.compiled_mode(device), "eager")
    runs = [program.updates(SIZES[name], mode, device).run for mode in modes]
    candidates = [harness.Candidate(mode, run) for mode, run in zip(modes, runs, strict=True)]
    return harness.interleave(candidates, settings.repeats, settings.seconds)


# Tables and chart ---------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[tables.Figures]:
    """Seconds until the two events, the parts, the commands, and compiling."""
    found = []
    rows = [row for row in report["rows"] if "parts" in row]
    columns = ["", "first update, s", "min", "max", f"row of {LOG_ROW:,} steps, s", "min", "max", "notes"]
    lines = [
        [row["name"]]
        + [text for event in UNTIL for text in tables.spread(row.get("until", {}).get(event, {}), 2)]
        + [tables.problem(row)]
        for row in report["rows"]
    ]
    if lines:
        found.append(tables.Figures("startup: seconds since the process was started", columns, lines))
    if rows:
        lines = [[part, *(tables.number(median(row, part), 2) for row in rows)] for part in part_names(rows)]
        found.append(tables.Figures("startup: seconds of each part", ["", *(row["name"] for row in rows)], lines))
    return [*found, *([compiling(report)] if report.get("compiles") else [])]


def compiling(report: harness.Report) -> tables.Figures:
    """One line per size."""
    columns = ["updates alone of", "compiling s, empty cache", "filled cache", "eager ms", "compiled ms"]
    columns += ["pays after, updates", "with a filled cache"]
    lines = [
        [row["name"]]
        + [tables.number(row[key]["median"], 1) for key in ("compile_cold_s", "compile_warm_s")]
        + [tables.number(1000 / row[f"{mode}_updates_per_s"]["median"], 2) for mode in ("eager", "compiled")]
        + [f"{row[key]:,}" if row[key] else "never" for key in ("pays_after_cold", "pays_after_warm")]
        for row in report["compiles"]
    ]
    title = f"updates after which compiling has paid (fastsac/run/plan.py has {report['constant_in_plan']:,})"
    return tables.Figures(title, columns, lines)


def part_names(rows: Sequence[harness.Row]) -> list[str]:
    """All parts, in the order in which they come."""
    longest = max((list(row["parts"]) for row in rows), key=len)
    return list(dict.fromkeys([*longest, *(name for row in rows for name in row["parts"])]))


def median(row: harness.Row, part: str) -> float | None:
    """Seconds of a part; None where it has none."""
    return row["parts"][part]["median"] if part in row["parts"] else None


def draw(report: harness.Report) -> dict[str, Figure]:
    """A bar for each way, of its parts; none where none was measured."""
    rows = [row for row in report["rows"] if "parts" in row]
    if not rows:
        return {}
    seconds = {part: [median(row, part) or 0.0 for row in rows] for part in part_names(rows)}
    about = f"seconds; the last part is from the first update to the row of {LOG_ROW:,} steps"
    names = [row["name"].replace(": ", "\n") for row in rows]
    title = "From the command to the first update and the first log row"
    return {"": charts.sign(charts.stacked(title, names, seconds, about), report)}


def page(results: Sequence[Result]) -> Iterator[str]:
    """Until the first update and log row, with a chart of the parts; and when compiling has paid."""
    for result in first_of_each(results, "rows"):
        rows = [row for row in result.report["rows"] if "until" in row]
        lines = [[row["name"], *(extent(row["until"][event], 1) for event in UNTIL)] for row in rows]
        columns = [f"seconds from the command, on {result.machine}", "first update", f"row of {LOG_ROW:,} steps"]
        yield tables.Figures("", columns, lines).markdown()
        yield result.picture("", f"Seconds of each part of the start on {result.machine}")
    for result in first_of_each(results, "compiles"):
        yield compiling(result.report).markdown()


PAGE = {"Start-up": page}

if __name__ == "__main__":
    main()
