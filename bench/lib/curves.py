"""Returns over environment steps and seconds: runs of this program and its peers, each a process on cores of its own.

The clock of a run starts with its process and stands still for evaluations, which one evaluator in Gymnasium makes for
all.  `bench.curves` and `bench.solve` are two ways to ask.
"""

import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from bench.lib import curve_charts, harness, processes
from bench.lib.evaluator import Task, make_gym_env, peer_of
from bench.lib.record import Reporter
from bench.peers.environments import NAMES, how_to_install, python_of
from fastsac.config.settings import Config
from fastsac.env import make_spec
from fastsac.report.statistics import iqm

SYSTEMS = {
    "fastsac": "fastsac",
    "fastsac-warm": "fastsac, --compile on, compiled before",
    "fastsac-eager": "fastsac, eager",
    "fastsac-sac-v1": "fastsac SAC v1",
    "fastsac-sql": "fastsac SQL",
    "sb3": NAMES["sb3"],
    "sbx": NAMES["sbx"],
    "sb3-ours": f"{NAMES['sb3']}, our hyperparameters",
    "sbx-ours": f"{NAMES['sbx']}, our hyperparameters",
    "sb3-ppo": "Stable-Baselines3 PPO",
    "sb3-ddpg": "Stable-Baselines3 DDPG",
    "sb3-td3": "Stable-Baselines3 TD3",
    "sb3-trpo": "sb3-contrib TRPO",
}
"""Names in tables and charts, by key: whose, and which way of it."""
FOR_CONTINUOUS = ("fastsac-sac-v1", "sb3", "sbx", "sb3-ours", "sbx-ours", "sb3-ddpg", "sb3-td3")


@dataclass(frozen=True)
class Goal:
    """What solving an environment is, and how closely it is watched.

    Attributes:
        thresholds: returns, ascending.
        eval_every: environment steps between evaluations, the same for all systems.
        max_steps: environment steps after which a run is over.
        max_wall_s: seconds after which it is, at its next evaluation.
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
    "CartPole-v1": Goal((500.0,), 2_500, 50_000, 300.0),
    "Acrobot-v1": Goal((-100.0,), 2_500, 100_000, 600.0),
    "LunarLander-v3": Goal((150.0,), 10_000, 300_000, 1_800.0),
    "InvertedPendulum-v5": Goal((1_000.0,), 2_500, 30_000, 300.0),
}


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    json: Path | None = None
    """File to write the report to, with charts beside it."""
    repeats: tyro.conf.Suppress[int] = 1
    seconds: tyro.conf.Suppress[float] = 1.0
    threads: int = 1
    """Threads, and cores, of each run.  At least 1."""
    device: str = "cpu"
    """auto, cpu, cuda or cuda:N, for all systems; SBX takes what its JAX finds."""

    envs: tuple[str, ...] = ("Pendulum-v1", "InvertedDoublePendulum-v5")
    """Environments, by their names in Gymnasium."""
    systems: tuple[str, ...] = ("fastsac", "fastsac-warm", "sb3", "sbx", "sb3-ours", "sbx-ours")
    """fastsac has an empty compile cache, as at a user's first run; fastsac-warm compiles and finds it filled, as every
    later run with --compile on; fastsac-eager does not compile.  sb3, sbx, ppo and trpo have rl-baselines3-zoo's
    settings; sb3-ours, sbx-ours, ddpg and td3 have what they share with this program's SAC from its preset."""
    grid: tuple[str, ...] = ()
    """In place of systems: this program, compiled before, with every combination of these settings on top of its
    preset, NAME=VALUE,VALUE,... each."""
    seeds: tuple[int, ...] = (11, 12, 13, 14, 15)
    """Seeds of the runs; one run each, environment and system.  This program's presets were found with 1 to 5."""
    thresholds: tuple[float, ...] = ()
    """Returns to reach, ascending; default by environment."""
    eval_every: int | None = None
    """Environment steps between evaluations; default by environment.  At least 1."""
    eval_episodes: int = 10
    """Episodes per evaluation, with deterministic actions.  At least 1."""
    max_wall_s: float | None = None
    """Seconds after which a run is given up; default by environment.  Above 0."""
    max_steps: int | None = None
    """Environment steps after which a run is over; default by environment.  At least 1."""
    to_the_end: bool = False
    """Train for max_steps whatever the return; otherwise a run is over at the last threshold."""
    jobs: int = 1
    """Runs at a time.  At least 1; each has cores of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.among("envs", self.envs, tuple(GOALS))
        harness.among("systems", self.systems, tuple(SYSTEMS))
        for name in ("envs", "systems", "seeds"):
            values = getattr(self, name)
            if not values or len({*values}) < len(values):
                raise ValueError(f"{name} must be one or more different ones, got {values}.")
        harness.at_least_1(self, "eval_every", "eval_episodes", "jobs", "max_steps")
        for each in self.grid:
            name, _, values = each.partition("=")
            if name.replace("-", "_") not in Config.names(affects="learning") or not all(values.split(",")):
                raise ValueError(f"grid must be NAME=VALUE,VALUE,... of settings that affect learning, got {each!r}.")
        if self.max_wall_s is not None and not self.max_wall_s > 0:
            raise ValueError(f"max_wall_s must be above 0, got {self.max_wall_s}.")

    @property
    def variants(self) -> dict[str, dict[str, Any]]:
        """By the name of a system, what it is told beside its preset: one for every combination of a grid."""
        if not self.grid:
            return {system: {} for system in self.systems}
        axes = [(name, values.split(",")) for name, _, values in (each.partition("=") for each in self.grid)]
        found = {}
        for values in itertools.product(*(values for _, values in axes)):
            told = {name.replace("_", "-"): value for (name, _), value in zip(axes, values, strict=True)}
            found[" ".join(["fastsac-warm", *(f"{name}={value}" for name, value in told.items())])] = told
        return found

    @property
    def names(self) -> dict[str, str]:
        """What tables and charts call the systems."""
        return SYSTEMS | {system: system.removeprefix("fastsac-warm ") for system in self.variants if self.grid}

    def goal(self, env: str) -> Goal:
        """What to reach, within which limits."""
        given = {name: getattr(self, name) for name in ("max_wall_s", "max_steps", "eval_every", "thresholds")}
        return replace(GOALS[env], **{name: value for name, value in given.items() if value not in (None, ())})


def run(settings: Settings, reporter: Reporter, name: str, heading: str) -> harness.Report:
    """Measure all, and write the report after every run."""
    with harness.one_line(name):
        slots = processes.make_slots(settings.jobs, settings.threads)
        for env in settings.envs:
            make_gym_env(env).close()
        tasks = make_tasks(settings)
    goals = {env: asdict(settings.goal(env)) for env in settings.envs}
    told = {k: v for k, v in asdict(settings).items() if k not in ("json", "repeats", "seconds")}
    about = {"settings": told, "goals": goals, "names": settings.names, "cores": slots}
    done: dict[int, harness.Row] = {}

    with tempfile.TemporaryDirectory() as cache:
        run_one = partial(run_task, cache=Path(cache))
        for task, outcome in processes.run_all(make_fills(tasks), slots, run_one):
            if "error" in outcome:
                why = f"the compile cache could not be filled for {task.env}: {outcome['error']}"
                raise SystemExit(f"bench.{name}: {why}")
        for task, outcome in processes.run_all(tasks, slots, run_one):
            i = tasks.index(task)
            done[i] = {"system": task.system, "env": task.env, "seed": task.seed, **outcome}
            in_order = [done[i] for i in sorted(done)]
            rows = summarise_all(goals, list(settings.variants), in_order)
            report = reporter.finish(**about, complete=len(done) == len(tasks), rows=rows, runs=in_order)
            print(f"[{len(done)} of {len(tasks)}] {curve_charts.outcome(done[i], goals[task.env])}", flush=True)
    return reporter.show(report, curve_charts.figures(report, heading), curve_charts.draw(report))


# Tasks --------------------------------------------------------------------------------------------------------------


def make_tasks(settings: Settings) -> list[Task]:
    """Environment by environment, seed by seed, all systems in turn.

    Raises:
        ValueError: this program does not have an environment.
    """
    tasks = []
    for env in settings.envs:
        goal, config, discrete = settings.goal(env), Config(env=env), make_spec(env).discrete
        last = None if settings.to_the_end else goal.thresholds[-1]
        told = {name: getattr(settings, name) for name in ("eval_episodes", "threads", "device")}
        told |= {name: getattr(goal, name) for name in ("eval_every", "max_steps", "max_wall_s")}
        for seed in settings.seeds:
            for system, given in settings.variants.items():
                if discrete and system in FOR_CONTINUOUS:
                    continue
                hyper = given or shared(system, config)
                tasks.append(Task(system=system, env=env, seed=seed, goal=last, hyper=hyper, **told))
    return tasks


def shared(system: str, config: Config) -> dict[str, Any]:
    """What peers get of this program's preset: networks and discount; off-policy algorithms the rest.

    Stable-Baselines3 has one learning rate: the actor's.
    """
    peer, _, way = system.partition("-")
    if way not in ("ours", "ppo", "trpo", "ddpg", "td3"):
        return {}
    values = "vf" if way in ("ppo", "trpo") else "qf"
    net_arch = {"pi": list(config.actor_dims), values: list(config.critic_dims)}
    equal: dict[str, Any] = {"gamma": config.gamma, "policy_kwargs": {"net_arch": net_arch}}
    if way in ("ppo", "trpo"):
        return equal
    names = ("num_envs", "batch_size", "buffer_size", "learning_starts", "tau")
    rates = {"learning_rate": config.actor_lr} | ({"qf_learning_rate": config.critic_lr} if peer == "sbx" else {})
    schedule = {"train_freq": 1, "gradient_steps": max(1, round(config.utd_ratio * config.num_envs))}  # a vector step
    return equal | {name: getattr(config, name) for name in names} | rates | schedule


def make_fills(tasks: Sequence[Task]) -> list[Task]:
    """A run of each `fastsac-warm` up to its first evaluation: what it compiles, the others find."""
    first = {(task.env, task.system): task for task in reversed(tasks) if task.system.startswith("fastsac-warm")}
    return [replace(first[key], max_steps=first[key].eval_every) for key in reversed(first)]


def run_task(task: Task, running: processes.Running, cache: Path) -> harness.Row:
    """Train in a fresh process; returns what it wrote, or why there is nothing.  `cache` has what is filled before."""
    peer = peer_of(task.system)
    python = python_of(peer) if peer else Path(sys.executable)
    if python is None:
        return {"skipped": f"not installed: {how_to_install(peer)}"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "outcome.json"
        own = None if peer else (cache if task.system.startswith("fastsac-warm") else Path(folder)) / "cache"
        module = "bench.peers.learn" if peer else "bench.lib.curve_worker"
        command = [str(python), "-m", module, json.dumps(asdict(task)), str(out)]
        return processes.run_process(
            lambda began: [*command, repr(began)],
            out,
            processes.variables(task.threads, own),
            running,
            limit_s=processes.GRACE_S + 2 * task.max_wall_s,  # evaluations are not in the task's limit
        )


# Figures ------------------------------------------------------------------------------------------------------------


def summarise_all(goals: dict[str, Any], systems: Sequence[str], runs: Sequence[harness.Row]) -> list[harness.Row]:
    """A row per environment, threshold and system."""
    rows = []
    for env, goal in goals.items():
        for threshold, system in itertools.product(goal["thresholds"], systems):
            mine = [run for run in runs if (run["env"], run["system"]) == (env, system)]
            if mine:
                rows.append({"env": env, "system": system, "threshold": threshold, **summarise(threshold, mine)})
    return rows


def summarise(threshold: float, runs: Sequence[harness.Row]) -> harness.Row:
    """One system at one threshold over its seeds: how many reached it, the seconds and steps that it took, the end."""
    problems: harness.Row = {
        why: f"seed {run['seed']}: {run[why]}" for run in reversed(runs) for why in ("skipped", "error") if why in run
    }
    done = [run for run in runs if run.get("evaluations") or "error" in run]  # a run that failed did not get there
    ended = [run["evaluations"][-1]["return_mean"] for run in done if run.get("evaluations")]
    if not ended:
        return problems
    at = [curve_charts.reached(run, threshold) or {} for run in done]
    return problems | {
        "seeds": [run["seed"] for run in done],
        "solved": sum(map(bool, at)),
        "wall_s": spread([e.get("wall_s") for e in at]),
        "env_steps": spread([e.get("env_steps") for e in at]),
        "final_return": harness.summary(ended),
        "hyper": next((run["hyper"] for run in done if "hyper" in run), {}),
    }


def spread(values: Sequence[float | None]) -> harness.Row:
    """Interquartile mean, min and max; None where a figure is beyond the limits.

    A seed that did not reach the threshold would have taken longer than any that did: it counts as endless.  The
    interquartile mean of five leaves the best and the worst out, so that one such seed does not spoil it.
    """
    numbers = np.array([np.inf if value is None else value for value in values], float)
    found = {"iqm": iqm(numbers), "min": numbers.min(), "max": numbers.max()}
    return {k: float(v) if np.isfinite(v) else None for k, v in found.items()} | {"values": list(values)}
