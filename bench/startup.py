"""How long from the command to the first row of the log, and when has compiling paid?

Fresh processes: `fastsac train` with an empty compile cache, with the one that this left, and without compiling, beside
Stable-Baselines3; and learners alone, compiled and eager, which back the choice in fastsac/run/mode.py.
"""

import math
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench.lib import children, harness, processes, program, record, tables
from bench.lib.tables import Figures, extent, number
from bench.peers.environments import NAMES, how_to_install, python_of
from fastsac.env import make_spec
from fastsac.runtime.launch import Mode

LEARNING_STARTS, LOG_ROW = 500, 1_000  # environment steps
SB3 = (
    "import sys; from stable_baselines3 import SAC; "
    f"SAC('MlpPolicy', sys.argv[1], learning_starts={LEARNING_STARTS}, device=sys.argv[2]).learn({LOG_ROW})"
)
SIZES: dict[str, dict[str, Any]] = {
    "pendulum": {"obs_dim": 3, "action_dim": 1, "hidden_dims": (64, 64)},
    "halfcheetah": {"obs_dim": 17, "action_dim": 6, "hidden_dims": (256, 256)},
    "lunarlander": {"obs_dim": 8, "action_dim": 2, "hidden_dims": (400, 300)},
}


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 3
    """Rounds; each starts every process once.  At least 1."""
    threads: int = 1
    """Threads of torch in each process.  At least 1."""

    envs: tuple[str, ...] = ("HalfCheetah-v5",)
    """Environments to train in; none leaves that part out."""
    peers: Literal["sb3", "none"] = "sb3"
    """What to measure beside it."""
    sizes: tuple[str, ...] = tuple(SIZES)
    """Learners to compile, by the name of a task that has their sizes; none leaves that part out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.among("sizes", self.sizes, tuple(SIZES))


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device, reporter = record.start(Settings, "startup", __doc__, argv)
    with harness.one_line("startup"):
        for env in settings.envs:
            make_spec(env)
    rows = [row for env in settings.envs for row in first_rows(settings, env, str(device))]
    mode = program.compiled_mode(device)
    compiles = [compiling(settings, name, mode, str(device)) for name in settings.sizes]
    unit = f"seconds from the command to the row of {LOG_ROW:,} steps"
    report = reporter.finish(unit=unit, rows=rows, compiles=compiles)
    return reporter.show(report, figures(report))


# Processes ----------------------------------------------------------------------------------------------------------


def first_rows(settings: Settings, env: str, device: str) -> list[harness.Row]:
    """Every way of training in this environment, with the preset but for an early update and row."""
    flags = ["--env", env, "--device", device, "--cpu-threads", str(settings.threads)]
    flags += ["--learning-starts", str(LEARNING_STARTS), "--log-every", str(LOG_ROW), "--compile"]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"

        def from_nothing() -> float:
            shutil.rmtree(cache, ignore_errors=True)
            return seconds_to_row([*flags, "on"], cache)

        turns: dict[str, harness.Turn] = {
            "empty compile cache": from_nothing,
            "filled compile cache": partial(seconds_to_row, [*flags, "on"], cache),  # by the turn before
            "--compile off": partial(seconds_to_row, [*flags, "off"], cache),
        }
        python = python_of("sb3") if settings.peers == "sb3" else None
        if python is not None:
            turns[NAMES["sb3"]] = partial(seconds_of_sb3, python, settings.threads, env.rpartition(":")[2], device)
        rows = harness.rounds(turns, settings.repeats)
    if settings.peers == "sb3" and python is None:
        rows.append(harness.Absent(NAMES["sb3"], f"not installed: {how_to_install('sb3')}").row())
    return [row | {"name": f"{env}: {row['name']}"} for row in rows]


def seconds_to_row(flags: Sequence[str], cache: Path) -> float:
    """Seconds from the start of `fastsac train`, with this compile cache, until its first row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "run" / "metrics.csv"

        def has_row(_: int) -> bool:
            return table.exists() and table.read_text().count("\n") > 1  # its head, and a row

        return processes.train(folder, *flags, look=has_row, every=0.01, cache=cache)


def seconds_of_sb3(python: Path, threads: int, env: str, device: str) -> float:
    """Seconds of a whole process of Stable-Baselines3 with as many steps."""
    variables, began = processes.variables(threads), time.perf_counter()
    done = subprocess.run([str(python), "-c", SB3, env, device], env=variables, capture_output=True, text=True)
    if done.returncode:
        raise harness.Failed(processes.last_line(done.stderr))
    return time.perf_counter() - began


# Compiling ----------------------------------------------------------------------------------------------------------


def compiling(settings: Settings, name: str, mode: Mode, device: str) -> harness.Row:
    """Compile seconds with an empty and with a filled cache, updates a second, and when compiling has paid."""
    with tempfile.TemporaryDirectory() as cache:
        first = children.Spec(
            name="compiled",
            adapter="own",
            what="updates",
            sizes=SIZES[name] | {"device": device},
            options={"mode": mode},
            python=children.THIS,
            cache=Path(cache),
        )
        specs = [first, replace(first, name="again"), replace(first, name="eager", options={"mode": "eager"})]
        with children.started(specs, settings.threads) as candidates:
            cold, warm, eager = harness.interleave(candidates, settings.repeats, settings.seconds)
    compile_s = {"cold": cold["notes"]["compile_s"], "warm": warm["notes"]["compile_s"]}
    saved_s = 1 / eager["median"] - 1 / cold["median"]
    return {
        "name": name,
        **{f"compile_{way}_s": harness.summary([seconds]) for way, seconds in compile_s.items()},
        "compiled_updates_per_s": cold,
        "eager_updates_per_s": eager,
        **{f"pays_after_{way}": pays_after(seconds, saved_s) for way, seconds in compile_s.items()},
    }


def pays_after(compile_s: float, saved_s: float) -> int | None:
    """Updates until what each saves adds up to the compile time; None where none is saved."""
    return math.ceil(compile_s / saved_s) if saved_s > 0 else None


# Tables -------------------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[Figures]:
    """Seconds until the row, and compiling."""
    found = []
    if rows := report["rows"]:
        lines = [[row["name"], extent(row, 1), tables.problem(row)] for row in rows]
        found.append(Figures("first row of the log", [report["unit"], "notes"], lines, "Start-up"))
    columns = ["compiling s, empty cache", "filled cache", "eager ms", "compiled ms", "pays after, updates"]
    lines = [
        [row["name"]]
        + [number(row[key]["median"], 1) for key in ("compile_cold_s", "compile_warm_s")]
        + [number(1000 / row[f"{mode}_updates_per_s"]["median"], 2) for mode in ("eager", "compiled")]
        + [f"{row[key]:,}" if row[key] else "never" for key in ("pays_after_cold", "pays_after_warm")]
        for row in report.get("compiles", [])
    ]
    if lines:
        found.append(Figures("when compiling has paid", [*columns, "with a filled cache"], lines, "Start-up"))
    return found


if __name__ == "__main__":
    main()
