"""How well do trained policies do, after how many steps and seconds, on the environments that the README names?

Runs `fastsac train` commands one after the other, each in a process of its own, and keeps what came of each: the rows
of the JSON file are replaced command by command, and those of other commands stay with the commit that made them.
"""

import csv
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import harness

FAMILIES = {  # commands by family, without `fastsac train`
    "pendulum": [f"--env Pendulum-v1 --seed {seed} --stop-at-return -180" for seed in range(1, 6)],
    "seed": ["--env Pendulum-v1 --preset seed-pendulum"],
    "cartpole": [f"--env CartPole-v1 --seed {seed} --stop-at-return 500" for seed in (1, 2, 3)],
    "acrobot": ["--env Acrobot-v1 --seed 1 --stop-at-return -100"],
    "sac-v1": [
        *(f"--env Pendulum-v1 --algo sac-v1 --seed {seed} --stop-at-return -200" for seed in (1, 2, 3)),
        "--env InvertedPendulum-v5 --algo sac-v1 --seed 1 --stop-at-return 1000",
    ],
    "sql": [
        *(f"--env Pendulum-v1 --algo sql --seed {seed} --stop-at-return -250" for seed in (1, 2, 3)),
        *(f"--env CartPole-v1 --algo sql --seed {seed} --stop-at-return 500" for seed in (1, 2, 3)),
    ],
    "members": ["--env Pendulum-v1 --seeds 5 --stop-at-return -180"],
    "inverted-pendulum": [
        f"--env InvertedPendulum-v5 --seed {seed} --total-steps 30000 --stop-at-return 1000" for seed in (1, 2, 3)
    ],
    "lunar-lander": ["--env LunarLander-v3 --seed 1 --stop-at-return 150"],
    "half-cheetah": ["--env HalfCheetah-v5 --seed 1 --total-steps 60000"],
    "hopper": [f"--env Hopper-v5 --seed {seed} --total-steps 100000" for seed in (1, 2)],
}

TABLE_WIDTH = 190  # in characters, where the output is no terminal


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    families: tuple[str, ...] = tuple(FAMILIES)
    """Which commands to run; all take an hour on two cores."""
    flags: str = ""
    """Further flags for every command, as one text: --flags="--device cuda"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = sorted(set(self.families) - set(FAMILIES))
        if unknown or not self.families:
            raise ValueError(f"families must be of {', '.join(FAMILIES)}, got {', '.join(unknown) or 'none'}.")


def run(command: str, folder: Path) -> dict[str, Any]:
    """Train as told, and say what came of it; a run that failed is its last line."""
    began = time.perf_counter()
    args = [sys.executable, "-m", "fastsac", "train", *shlex.split(command), "--run-dir", str(folder)]
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    process_s = round(time.perf_counter() - began, 1)
    row: dict[str, Any] = {"command": f"fastsac train {command}", "process_s": process_s}
    if done.returncode:
        return {**row, "error": (done.stderr or done.stdout).strip().splitlines()[-1]}
    summary = json.loads((folder / "summary.json").read_text())
    names = ("env_steps", "grad_steps", "wall_s", "compile_s", "eval_return_mean", "eval_return_std", "eval_episodes")
    with (folder / "eval.csv").open(newline="") as f:
        curve = [
            [int(r["member"]), int(r["env_steps"]), float(r["wall_s"]), float(r["return_mean"])]
            for r in csv.DictReader(f)
        ]
    members = [{k: m[k] for k in ("seed", "env_steps", "goal_at", "eval_return_mean")} for m in summary["members"]]
    return {
        **row,
        **{k: summary[k] for k in names},
        "members": members,
        "curve": [[m, steps, round(s, 1), round(value, 1)] for m, steps, s, value in curve],
        "curve_columns": ["member", "env_steps", "wall_s", "return_mean"],
    }


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, _ = harness.start(Settings, "returns", __doc__, argv)
    reporter = harness.Reporter("returns", __doc__, settings)
    old = json.loads(settings.json.read_text())["rows"] if settings.json and settings.json.exists() else []
    rows = {row["command"]: row for row in old}
    report: harness.Report = {}
    made = harness.describe_commit()
    for family in settings.families:
        for command in FAMILIES[family]:
            with tempfile.TemporaryDirectory() as folder:
                row = run(f"{command} {settings.flags}".strip(), Path(folder) / "run")
            row |= {"commit": made["commit"], "dirty": made["dirty"]}
            rows[row["command"]] = row
            report = reporter.finish(rows=list(rows.values()))
            print(text(row), flush=True)
    for table in figures(report):
        table.show(None if sys.stdout.isatty() else TABLE_WIDTH)
    return report


def figures(report: harness.Report) -> list[harness.Figures]:
    """One line per command."""
    columns = ["command", "return", "over episodes, +-", "env steps", "whole process, s", "compiling, s"]
    return [
        harness.Figures("returns: the last evaluation", [*columns, "commit", "notes"], list(map(cells, report["rows"])))
    ]


def cells(row: dict[str, Any]) -> list[str]:
    """One line of the table."""
    steps = row.get("env_steps")
    return [
        row["command"],
        *(number(row.get(key)) for key in ("eval_return_mean", "eval_return_std")),
        "-" if steps is None else f"{steps:,}",
        *(number(row.get(key)) for key in ("process_s", "compile_s")),
        (row.get("commit") or "-")[:7] + (", changed" if row.get("dirty") else ""),
        "; ".join(notes(row)),
    ]


def notes(row: dict[str, Any]) -> Iterator[str]:
    """What else a line should say; of several members each one's return, and when it reached the goal."""
    for key in ("error", "note"):
        if key in row:
            yield row[key]
    members = row.get("members", [])
    for m in members if len(members) > 1 else ():
        at = "" if m["goal_at"] is None else f" (goal at {m['goal_at']:,})"
        yield f"seed {m['seed']}: {m['eval_return_mean']:,.1f}{at}"


def number(value: float | None) -> str:
    """`1,234.5`, or a dash."""
    return "-" if value is None else f"{value:,.1f}"


def text(row: dict[str, Any]) -> str:
    """A row in one line."""
    if "error" in row:
        return f"{row['command']}: {row['error']}"
    return (
        f"{row['command']}: {row['eval_return_mean']:.1f} at {row['env_steps']:,} steps, "
        f"{row['process_s']:.0f} s, compiling {row['compile_s']:.0f}"
    )


if __name__ == "__main__":
    main()
