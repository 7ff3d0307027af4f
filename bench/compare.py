"""How do SAC, SAC v1 and SQL learn beside PPO, DDPG, TD3 and TRPO, by environment steps and by wall seconds?

Every run is a process of its own on cores of its own; seed by seed, all systems in turn.
"""

import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from bench import compare_show, harness, side_by_side
from bench.compare_measure import OWN, Task
from bench.compare_peers import PEERS
from bench.compile import caches
from bench.evaluator import make_gym_env
from fastsac.algorithms import registry
from fastsac.config.settings import Auto, Config
from fastsac.env import make_spec
from fastsac.run.plan import make_plan

ALGOS = (*OWN, *PEERS)
GOALS = {"Pendulum-v1": -200.0}
SLOWEST = 5.0  # environment steps a second, below which a process is taken to be stuck
EVALUATIONS = 20  # over a run, unless --eval-every says otherwise


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    json: Path | None = None
    """File to write the report to, with charts and CSV beside it; default compare-TASK.json."""
    repeats: tyro.conf.Suppress[int] = 1
    seconds: tyro.conf.Suppress[float] = 1.0
    threads: int = 1
    """Threads, and cores, of each run.  At least 1."""
    device: str = "cpu"
    """auto, cpu, cuda or cuda:N, for all systems."""

    env: str = "Pendulum-v1"
    """Environment: this program's for its own training; the same task of Gymnasium for the peers and for evaluating."""
    algos: tuple[str, ...] = ALGOS
    """Algorithms to train: sac, sac-v1 and sql are this program's."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds of the runs; one run each and algorithm."""
    total_steps: int | None = None
    """Environment steps of every run; default the preset's."""
    eval_every: int | None = None
    """Environment steps between evaluations; default a twentieth of the whole."""
    eval_episodes: int = 10
    """Episodes per evaluation, with deterministic actions.  At least 1."""
    goal: float | None = None
    """Return to reach; default -200 for Pendulum-v1, else none."""
    jobs: int = 1
    """Runs at a time.  At least 1; each has cores of its own."""
    compile: Auto = "auto"
    """As in `fastsac train`."""
    compile_cache: Literal["cold", "warm"] = "cold"
    """Each run of this program compiles with an empty cache, or with the user's, which may be filled."""
    quick: bool = False
    """Tiny networks and batches, to see that all of it runs; figures mean nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [name for name in self.algos if name not in ALGOS]:
            raise ValueError(f"algos must be of {', '.join(ALGOS)}, got {', '.join(unknown)}.")
        for name in ("algos", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must be one or more different ones, got {values}.")
        for name in ("total_steps", "eval_every", "eval_episodes", "jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")


def main(argv: Sequence[str] | None = None) -> harness.Report:
    try:
        settings, _ = harness.start(Settings, "compare", __doc__, argv)
        settings, tasks = prepare(settings)
        slots = side_by_side.make_slots(settings.jobs, settings.threads)
    except ValueError as error:
        raise SystemExit(f"bench.compare: {' '.join(str(error).split())}") from None
    path = settings.json
    assert path is not None
    reporter = harness.Reporter("compare", __doc__, settings)

    def write(**results: Any) -> harness.Report:
        told = {name: value for name, value in asdict(settings).items() if name not in ("json", "repeats", "seconds")}
        in_order = [runs[task] for task in tasks if task in runs]
        rows = [summarise(algo, in_order, settings.goal) for algo in settings.algos]
        about = {"settings": told, "cores": slots, **results}
        return reporter.finish(**about, rows=rows, runs=in_order)

    def run(task: Task, running: side_by_side.Running) -> harness.Row:
        return run_task(task, settings.compile_cache, running)

    runs: dict[Task, harness.Row] = {}
    for task, outcome in side_by_side.run_all(tasks, slots, run):
        runs[task] = {**name_of(task), **outcome}
        print(f"[{len(runs)} of {len(tasks)}] {compare_show.outcome(runs[task])}", flush=True)
        write(complete=False)
    report = write(complete=True)
    compare_show.show(report)
    compare_show.write_all(report, path)
    return report


def prepare(settings: Settings) -> tuple[Settings, list[Task]]:
    """The settings with all defaults worked in, and the runs: seed by seed, all systems in turn.

    Raises:
        ValueError: the environment or a value is wrong.
    """
    spec = make_spec(settings.env)
    total = settings.total_steps or Config.for_env(settings.env).total_steps
    name = settings.env.rpartition(":")[2]
    settings = dataclasses.replace(
        settings,
        json=settings.json or Path(f"compare-{name.replace('/', '-')}.json"),
        total_steps=total,
        eval_every=settings.eval_every or max(1, total // EVALUATIONS),
        goal=GOALS.get(name) if settings.goal is None else settings.goal,
    )
    shared = {f.name: getattr(settings, f.name) for f in dataclasses.fields(Task) if hasattr(settings, f.name)}
    tasks = [
        Task(**shared, algo=algo, seed=seed, discrete=spec.discrete)
        for seed in settings.seeds
        for algo in settings.algos
    ]
    make_gym_env(name).close()
    with tempfile.TemporaryDirectory() as folder:
        make_plan(dataclasses.replace(tasks[0], algo="sac").config(run_dir=folder))
    return settings, tasks


# Running ------------------------------------------------------------------------------------------------------------


def run_task(task: Task, compile_cache: str, running: side_by_side.Running) -> harness.Row:
    """Train in a fresh process, which is in `running` meanwhile; returns what it wrote, or why there is nothing."""
    if why := cannot(task):
        return {"skipped": why}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "outcome.json"
        command = [sys.executable, "-m", "bench.compare_worker", json.dumps(asdict(task)), str(out)]
        cache = caches(Path(folder) / "cache") if compile_cache == "cold" else {}
        limit_s = side_by_side.GRACE_S + task.total_steps / SLOWEST
        outcome: harness.Row = side_by_side.run_process(
            lambda _: command, out, side_by_side.variables(task.threads, **cache), running, limit_s=limit_s
        )
    return outcome


def cannot(task: Task) -> str | None:
    """Why this algorithm cannot be trained here, if it cannot."""
    if task.algo in PEERS:
        peer = PEERS[task.algo]
        if task.discrete and not peer.discrete:
            return "is for continuous actions"
        return peer.missing
    return None if registry.get_algorithm(task.algorithm).discrete == task.discrete else "is for continuous actions"


# Figures ------------------------------------------------------------------------------------------------------------


def name_of(task: Task) -> harness.Row:
    """What tells a run from the others."""
    if task.algo in PEERS:
        peer = PEERS[task.algo]
        system, algo, name = peer.system, task.algo, peer.name
    else:
        system, algo, name = "fastsac", task.algorithm, OWN[task.algo]
    return {"system": system, "algo": algo, "key": task.algo, "name": name, "seed": task.seed}


def summarise(key: str, runs: Sequence[harness.Row], goal: float | None) -> harness.Row:
    """One algorithm over its seeds: final return, steps and seconds to the goal, seconds in all."""
    mine = [run for run in runs if run["key"] == key]
    done = [run for run in mine if run.get("evaluations")]
    row: harness.Row = {"key": key}
    if mine:
        row |= {name: mine[0][name] for name in ("system", "algo", "name")}
    for why in ("skipped", "error"):
        found = [f"seed {run['seed']}: {run[why]}" if why == "error" else run[why] for run in mine if why in run]
        row |= {why: found[0]} if found else {}
    if not done:
        return row
    final = [run["evaluations"][-1]["return_mean"] for run in done]
    return row | {
        "seeds": [run["seed"] for run in done],
        "final_return": {"mean": statistics.mean(final), "min": min(final), "max": max(final), "values": final},
        "goal_env_steps": over_seeds(done, goal, "env_steps"),
        "goal_wall_s": over_seeds(done, goal, "wall_s"),
        "wall_s": statistics.median(run["evaluations"][-1]["wall_s"] for run in done),
        "compile_s": statistics.median(run["compile_s"] for run in done),
        "hyper": done[0]["hyper"],
    }


def over_seeds(runs: Sequence[harness.Row], goal: float | None, axis: str) -> float | None:
    """Median over runs of where the first evaluation at or above the goal was; None unless all have one."""
    if goal is None:
        return None
    at_goal = [[e[axis] for e in run["evaluations"] if e["return_mean"] >= goal] for run in runs]
    return statistics.median(found[0] for found in at_goal) if all(at_goal) else None


if __name__ == "__main__":
    main()
