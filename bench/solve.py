"""How many seconds does it take to solve a task, start-up included, beside Stable-Baselines3 and SBX as tuned?

Every run is a process of its own on cores of its own, and its clock starts with the process.  One evaluator in
Gymnasium says when a threshold is reached.
"""

import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from bench import harness, side_by_side, solve_show
from bench.compile import caches
from bench.evaluator import make_gym_env
from bench.peers.environments import NAMES, how_to_install, python_of
from bench.solve_task import Task, peer_of
from fastsac.report.statistics import LEAST_RUNS, iqm, iqm_interval


@dataclass(frozen=True)
class Goal:
    """What solving an environment is, and how closely it is watched.

    Attributes:
        thresholds: returns, ascending; a run is over at the last.
        eval_every: environment steps between evaluations, the same for all systems.
        max_steps: environment steps after which a run is given up.
        max_wall_s: seconds after which it is given up, at its next evaluation.
    """

    thresholds: tuple[float, ...]
    eval_every: int
    max_steps: int
    max_wall_s: float


GOALS = {
    "Pendulum-v1": Goal((-180.0,), 500, 20_000, 300.0),
    "InvertedDoublePendulum-v5": Goal((9_000.0,), 1_000, 50_000, 300.0),
    "HalfCheetah-v5": Goal((3_000.0, 6_000.0, 10_000.0), 10_000, 3_000_000, 4 * 3_600.0),
    "Hopper-v5": Goal((2_000.0,), 5_000, 1_000_000, 2 * 3_600.0),
    "Walker2d-v5": Goal((3_000.0,), 5_000, 1_000_000, 2 * 3_600.0),
    "Ant-v5": Goal((3_000.0,), 10_000, 2_000_000, 3 * 3_600.0),
}
SETS = {"small": tuple(GOALS)[:2], "full": tuple(GOALS)}

SYSTEMS = {
    "fastsac": "fastsac",
    "fastsac-warm": "fastsac, compiled before",
    "fastsac-eager": "fastsac, eager",
    **{peer: NAMES[peer] for peer in ("sb3", "sbx")},
    **{f"{peer}-defaults": f"{NAMES[peer]}, defaults" for peer in ("sb3", "sbx")},
}
"""Names in tables and charts, by key."""
DEFAULT_SYSTEMS = ("fastsac", "fastsac-warm", "sb3", "sbx")
QUICK = Goal((math.inf,), 20, 40, 60.0)
NEVER = 1e15
"""Stands for "not within the limits" where averages are taken; far above any figure that is."""


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    json: Path | None = Path("solve.json")
    """File to write the report to, with charts and CSV beside it."""
    repeats: tyro.conf.Suppress[int] = 1
    seconds: tyro.conf.Suppress[float] = 1.0
    threads: int = 1
    """Threads, and cores, of each run.  At least 1."""
    device: str = "cpu"
    """auto, cpu, cuda or cuda:N, for all systems; SBX takes what its JAX finds."""

    set: Literal["small", "full"] = "small"
    """Environments: small is for a CPU, full for a GPU."""
    envs: tuple[str, ...] = ()
    """Environments, by their names in Gymnasium, instead of those of the set."""
    systems: tuple[str, ...] = DEFAULT_SYSTEMS
    """fastsac compiles with an empty cache, as at a user's first run; fastsac-warm finds it filled, as every later one;
    fastsac-eager does not compile.  sb3 and sbx have rl-baselines3-zoo's settings, with -defaults none."""
    seeds: tuple[int, ...] = (11, 12, 13, 14, 15)
    """Seeds of the runs; one run each, environment and system.  This program's presets were found with 1 to 5."""
    eval_episodes: int = 10
    """Episodes per evaluation, with deterministic actions.  At least 1."""
    max_wall_s: float | None = None
    """Seconds after which a run is given up; default by environment.  Above 0."""
    max_steps: int | None = None
    """Environment steps after which a run is given up; default by environment.  At least 1."""
    jobs: int = 1
    """Runs at a time.  At least 1; each has cores of its own."""
    quick: bool = False
    """Tiny networks and batches and 40 steps, to see that all of it runs; figures mean nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("envs", GOALS), ("systems", SYSTEMS)):
            if unknown := [value for value in getattr(self, name) if value not in known]:
                raise ValueError(f"{name} must be of {', '.join(known)}, got {', '.join(unknown)}.")
        for name in ("envs", "systems", "seeds"):
            values = getattr(self, name)
            if (name != "envs" and not values) or len({*values}) < len(values):
                raise ValueError(f"{name} must be one or more different ones, got {values}.")
        for name in ("eval_episodes", "jobs", "max_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if self.max_wall_s is not None and not self.max_wall_s > 0:
            raise ValueError(f"max_wall_s must be above 0, got {self.max_wall_s}.")

    def goal(self, env: str) -> Goal:
        """What to reach, within which limits."""
        goal = QUICK if self.quick else GOALS[env]
        return replace(goal, max_wall_s=self.max_wall_s or goal.max_wall_s, max_steps=self.max_steps or goal.max_steps)


def main(argv: Sequence[str] | None = None) -> harness.Report:
    try:
        settings, _ = harness.start(Settings, "solve", __doc__, argv)
        settings = replace(settings, envs=settings.envs or SETS[settings.set])
        tasks = make_tasks(settings)
        slots = side_by_side.make_slots(settings.jobs, settings.threads)
        for env in settings.envs:
            make_gym_env(env).close()
    except ValueError as error:
        raise SystemExit(f"bench.solve: {' '.join(str(error).split())}") from None
    reporter = harness.Reporter("solve", __doc__, settings)
    runs: dict[Task, harness.Row] = {}

    def write(complete: bool) -> harness.Report:
        in_order = [runs[task] for task in tasks if task in runs]
        told = {k: v for k, v in asdict(settings).items() if k not in ("json", "repeats", "seconds")}
        goals = {env: {**asdict(settings.goal(env)), "thresholds": GOALS[env].thresholds} for env in settings.envs}
        rows = [
            summarise(env, system, threshold, in_order)
            for env in settings.envs
            for threshold in GOALS[env].thresholds
            for system in settings.systems
        ]
        about = {"settings": told, "goals": goals, "names": SYSTEMS, "cores": slots, "complete": complete}
        return reporter.finish(**about, rows=rows, runs=in_order)

    with tempfile.TemporaryDirectory() as cache:

        def run(task: Task, running: side_by_side.Running) -> harness.Row:
            return run_task(task, Path(cache), running)

        for task, outcome in side_by_side.run_all(make_fills(tasks), slots, run):
            if "error" in outcome:
                raise SystemExit(
                    f"bench.solve: the compile cache could not be filled for {task.env}: {outcome['error']}"
                )
            print(f"filled the compile cache for {task.env}", flush=True)
        for task, outcome in side_by_side.run_all(tasks, slots, run):
            runs[task] = {"system": task.system, "env": task.env, "seed": task.seed, **outcome}
            report = write(complete=len(runs) == len(tasks))
            told = solve_show.outcome(runs[task], report["goals"][task.env]["thresholds"])
            print(f"[{len(runs)} of {len(tasks)}] {told}", flush=True)
    solve_show.show(report)
    if settings.json is not None:
        solve_show.write_all(report, settings.json)
    return report


def make_tasks(settings: Settings) -> list[Task]:
    """Environment by environment, seed by seed, all systems in turn."""
    return [
        Task(
            system=system,
            env=env,
            seed=seed,
            goal=goal.thresholds[-1],
            eval_every=goal.eval_every,
            eval_episodes=settings.eval_episodes,
            max_steps=goal.max_steps,
            max_wall_s=goal.max_wall_s,
            threads=settings.threads,
            device=settings.device,
            quick=settings.quick,
        )
        for env, goal in ((env, settings.goal(env)) for env in settings.envs)
        for seed in settings.seeds
        for system in settings.systems
    ]


def make_fills(tasks: Sequence[Task]) -> list[Task]:
    """One run per environment up to its first evaluation: what it compiles, those of `fastsac-warm` find."""
    first = {task.env: task for task in reversed(tasks) if task.system == "fastsac-warm"}
    return [replace(first[env], max_steps=first[env].eval_every) for env in reversed(first)]


# Running ------------------------------------------------------------------------------------------------------------


def run_task(task: Task, cache: Path, running: side_by_side.Running) -> harness.Row:
    """Train in a fresh process; returns what it wrote, or why there is nothing.

    Args:
        task: the run.
        cache: folder of the compile caches that are filled before.
        running: has the process meanwhile.
    """
    peer = peer_of(task.system)
    python = python_of(peer) if peer else Path(sys.executable)
    if python is None:
        return {"skipped": f"not installed: {how_to_install(peer)}"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "outcome.json"
        own = {} if peer else caches((cache if task.system == "fastsac-warm" else Path(folder)) / "cache")
        module = "bench.solve_sb3" if peer else "bench.solve_worker"
        command = [str(python), "-m", module, json.dumps(asdict(task)), str(out)]
        outcome: harness.Row = side_by_side.run_process(
            lambda began: [*command, repr(began)],
            out,
            side_by_side.variables(task.threads, **own),
            running,
            limit_s=side_by_side.GRACE_S + 2 * task.max_wall_s,  # evaluations are not in the task's limit
        )
    return outcome


# Figures ------------------------------------------------------------------------------------------------------------


def reached(run: harness.Row, threshold: float) -> harness.Row | None:
    """The first evaluation at or above a threshold."""
    return next((e for e in run.get("evaluations", []) if e["return_mean"] >= threshold), None)


def summarise(env: str, system: str, threshold: float, runs: Sequence[harness.Row]) -> harness.Row:
    """One system at one threshold over its seeds: how many reached it, and the seconds and steps that it took."""
    mine = [run for run in runs if run["env"] == env and run["system"] == system]
    row: harness.Row = {"env": env, "system": system, "threshold": threshold}
    for why in ("skipped", "error"):
        found = [f"seed {run['seed']}: {run[why]}" if why == "error" else run[why] for run in mine if why in run]
        row |= {why: found[0]} if found else {}
    done = [run for run in mine if run.get("evaluations") or "error" in run]  # a run that failed did not get there
    if not any(run.get("evaluations") for run in done):
        return row
    at = [reached(run, threshold) for run in done]
    return row | {
        "seeds": [run["seed"] for run in done],
        "solved": sum(e is not None for e in at),
        "wall_s": spread([None if e is None else e["wall_s"] for e in at]),
        "env_steps": spread([None if e is None else e["env_steps"] for e in at]),
        "compile_s": float(np.median([run.get("compile_s", 0.0) for run in done])),
        "process_cpu_s": float(np.median([run["process_cpu_s"] for run in done if "process_cpu_s" in run])),
        "mode": next((run["mode"] for run in done if "mode" in run), None),
        "hyper": next((run["hyper"] for run in done if "hyper" in run), {}),
    }


def spread(values: Sequence[float | None]) -> harness.Row:
    """Interquartile mean with its interval, median, min and max; None where a figure is beyond the limits.

    A seed that did not reach the threshold would have taken longer than any that did: it counts as endless.  The
    interquartile mean of five leaves the best and the worst out, so that one such seed does not spoil it.
    """
    numbers = np.array([NEVER if value is None else float(value) for value in values])
    low, high = iqm_interval(numbers)
    found = {"iqm": iqm(numbers), "low": low, "high": high, "median": np.median(numbers)}
    found |= {"min": numbers.min(), "max": numbers.max()}
    known = {k: float(v) if v < NEVER / 1e6 else None for k, v in found.items()}  # NaN is not below
    return known | {"values": list(values), "has_interval": len(numbers) >= LEAST_RUNS}


if __name__ == "__main__":
    main()
