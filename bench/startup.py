"""How long from the command to the first row of the log, and when has compiling paid?

Fresh processes: `fastsac train` with an empty compile cache, with the one that this left, and without compiling, beside
Stable-Baselines3; and learners alone, compiled and eager, which back COMPILE_PAYS_AFTER in fastsac/run/plan.py.
"""

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
from pathlib import Path
from typing import Literal, TypeVar

from bench.lib import charts, harness, processes, program, tables
from bench.lib.record import Reporter
from bench.lib.results import Result, extent, first_of_each, measured
from bench.peers.environments import NAMES, how_to_install, python_of
from fastsac.env import make_spec
from fastsac.run.plan import COMPILE_PAYS_AFTER
from fastsac.runtime.launch import Mode

QUESTION = __doc__ or ""
draw = charts.rates
T = TypeVar("T")
Way = Literal["cold", "warm", "off"]
WAYS: dict[Way, str] = {"cold": "empty compile cache", "warm": "filled compile cache", "off": "--compile off"}
LEARNING_STARTS, LOG_ROW = 500, 1_000  # environment steps
LIMIT_S = 900.0  # after which a process is taken to be stuck
SB3 = (
    "import sys; from stable_baselines3 import SAC; "
    f"SAC('MlpPolicy', sys.argv[1], learning_starts={LEARNING_STARTS}, device=sys.argv[2]).learn({LOG_ROW})"
)
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


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "startup", QUESTION, argv)
    with harness.one_line("startup"):
        for env in settings.envs:
            make_spec(env)
    reporter = Reporter("startup", QUESTION, settings, argv)
    seconds: dict[str, list[float]] = {}
    rows: list[harness.Row] = []
    for _ in range(settings.repeats):
        for env in settings.envs:
            for name, took_s in train_all(settings, env, str(device)):
                seconds.setdefault(f"{env}: {name}", []).append(took_s)
            if settings.peers == "sb3" and python_of("sb3") is not None:
                seconds.setdefault(f"{env}: {NAMES['sb3']}", []).append(train_peer(settings, env, str(device)))
    if settings.peers == "sb3" and python_of("sb3") is None:
        rows = [harness.Absent(NAMES["sb3"], f"not installed: {how_to_install('sb3')}").row()]
    report = reporter.finish(
        unit=f"seconds from the command to the row of {LOG_ROW:,} steps",
        rows=[*({"name": name, **harness.summary(values)} for name, values in seconds.items()), *rows],
        compiles=[measure_compiling(name, settings) for name in settings.sizes],
        constant_in_plan=COMPILE_PAYS_AFTER,
    )
    tables.show(figures(report))
    charts.save_beside(settings.json, draw(report), report)
    return report


# Processes ----------------------------------------------------------------------------------------------------------


def train_all(settings: Settings, env: str, device: str) -> Iterator[tuple[str, float]]:
    """One round: every way of training in this environment, once, with the preset but for an early update and row."""
    with tempfile.TemporaryDirectory() as cache:
        for way in (w for w in WAYS if w in settings.ways):
            command = [
                sys.executable, "-m", "fastsac", "train", "--env", env, "--device", device,
                "--cpu-threads", str(settings.threads), "--learning-starts", str(LEARNING_STARTS),
                "--log-every", str(LOG_ROW), "--run-dir", "run", "--compile", "off" if way == "off" else "on",
                *shlex.split(settings.args),
            ]  # fmt: skip
            with tempfile.TemporaryDirectory() as folder:
                variables = processes.variables(settings.threads, **processes.caches(Path(cache)))
                yield WAYS[way], seconds_to_row(command, Path(folder), variables)


def seconds_to_row(command: Sequence[str], folder: Path, variables: dict[str, str]) -> float:
    """Seconds from the start of a run in this folder until its first row of metrics is on the disk; ends the run."""
    table, began = folder / "run" / "metrics.csv", time.perf_counter()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
    try:
        while process.poll() is None and time.perf_counter() - began < LIMIT_S:
            if table.exists() and table.read_text().count("\n") > 1:  # its head, and a row
                return time.perf_counter() - began
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    why = processes.last_line((folder / "log").read_text())
    raise SystemExit(f"bench.startup: training ended with status {process.returncode}: {why}")


def train_peer(settings: Settings, env: str, device: str) -> float:
    """Seconds of a whole process of Stable-Baselines3 with as many steps."""
    variables, began = processes.variables(settings.threads), time.perf_counter()
    command = [str(python_of("sb3")), "-c", SB3, env.rpartition(":")[2], device]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode:
        raise SystemExit(f"bench.startup: {NAMES['sb3']}: {processes.last_line(done.stderr)}")
    return time.perf_counter() - began


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


# Tables -------------------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[tables.Figures]:
    """Seconds until the row, and compiling."""
    found = tables.rates({**report, "ratios": []}) if report["rows"] else []
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


def page(results: Sequence[Result]) -> Iterator[str]:
    """Until the log row, and when compiling has paid."""
    for result in first_of_each(results, "rows"):
        lines = [[row["name"], extent(row, 1)] for row in measured(result.report)]
        yield tables.Figures("", [f"on {result.machine}", result.report["unit"]], lines).markdown()
    for result in first_of_each(results, "compiles"):
        yield compiling(result.report).markdown()


PAGE = {"Start-up": page}

if __name__ == "__main__":
    main()
