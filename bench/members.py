"""What does a member cost: M agents in one graph beside one agent, and M in one process beside M processes?

The first part times updates alone, all numbers of members in turn; the second trains, and times whole processes.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench import chart, harness, members_show, own, side_by_side
from bench.compare_measure import QUICK as QUICK_CONFIG
from bench.compile import caches
from bench.gpu import tidy_up
from bench.gpu_measure import target
from bench.gpu_show import members as name_of
from fastsac.config.settings import Auto, Config
from fastsac.learning.learner import make_parts
from fastsac.run.memory import check_memory
from fastsac.run.plan import Plan, make_plan
from fastsac.runtime.launch import Mode

GPU_TARGETS = {8: 2.0, 16: 3.0}
"""At most so many times the wall time of one member's update, on a GPU."""
PROCESS_TARGET = 0.9
"""At most so many times the wall time of as many processes, one after the other."""
TRANSITIONS = 100_000  # in the replay of the updates alone, unless the preset's is smaller

QUICK: dict[str, Any] = {
    "repeats": 2, "seconds": 0.02, "members": (1, 2), "processes": (2,), "total_steps": 200, "transitions": 128,
}  # fmt: skip

Arrangement = Literal["together", "in turn", "at once"]
ARRANGEMENTS: tuple[Arrangement, ...] = ("together", "in turn", "at once")
"""One process with all members; a process each, one after the other; a process each, at the same time."""

TRAIN = "import sys; from fastsac import Config, train; train(Config.load(sys.argv[1]))"


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    json: Path | None = None
    """File to write the report to, with the chart beside it."""
    repeats: int = 3
    """Timed rounds; each runs every number of members, and every arrangement of processes, once.  At least 1."""
    threads: int = 1
    """Threads of torch, for all numbers of members and for each process.  At least 1."""

    env: str = "Pendulum-v1"
    """Environment, whose preset gives all other settings and sizes."""
    members: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Members whose updates are timed alone, 1 among them; none leaves that part out."""
    processes: tuple[int, ...] = (4,)
    """Members that are trained in one process, and as many processes; none leaves that part out."""
    hidden_dims: tuple[int, ...] | None = None
    """Widths of the hidden layers; default the preset's."""
    batch_size: int | None = None
    """Transitions per update; default the preset's."""
    transitions: int | None = None
    """Transitions in the replay of the updates alone, per member; default the preset's replay, at most 100,000."""
    seed: int = 1
    """Seed of the first member and process."""
    total_steps: int | None = None
    """Environment steps of each member and process; default the preset's."""
    compile: Auto = "auto"
    """As in `fastsac train`, for both parts; auto goes by the length of the training."""
    compile_cache: Literal["cold", "warm"] = "warm"
    """Each process compiles with an empty cache of its own, or all with one that was filled before."""
    quick: bool = False
    """Tiny networks, batches and runs unless told otherwise, to see that all of it runs; figures mean nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("members", 1), ("processes", 2)):
            values = getattr(self, name)
            if len(set(values)) < len(values) or any(v < least for v in values):
                raise ValueError(f"{name} must be different numbers of at least {least}, got {_listed(values)}.")
        if self.members and 1 not in self.members:
            raise ValueError(f"members must have 1 among them, the measure of all others, got {_listed(self.members)}.")
        if not self.members and not self.processes:
            raise ValueError("members and processes must not both be empty, or nothing is measured. Give one of them.")

    def config(self, **changes: Any) -> Config:
        """Settings of a training run without evaluations on its way, or stops before its end.

        Raises:
            ValueError: a value out of range.
        """
        told = {"total_steps": self.total_steps, "hidden_dims": self.hidden_dims, "batch_size": self.batch_size}
        config = Config.for_env(
            self.env,
            **(QUICK_CONFIG if self.quick else {}),
            seed=self.seed,
            device=self.device,
            compile=self.compile,
            cpu_threads=self.threads,
            eval_every=0,
            checkpoint_every=0,
            tensorboard=False,
            stop_at_return=None,
            stop_at_episode_return=None,
        )
        overrides = {name: value for name, value in told.items() if value is not None} | changes
        starts = max(config.learning_starts, overrides.get("batch_size", 0))
        return config.replace(**{"learning_starts": starts, **overrides})


def main(argv: Sequence[str] | None = None) -> harness.Report:
    try:
        settings, _ = harness.start(Settings, "members", __doc__, argv)
        settings, plan = prepare(settings)
    except ValueError as error:
        raise SystemExit(f"bench.members: {' '.join(str(error).split())}") from None
    reporter = harness.Reporter("members", __doc__, settings)
    about = {"mode": plan.mode, "device": plan.device.type, "sizes": sizes(plan)}

    rows = updates(settings, plan)
    tidy_up(plan.device)  # the processes may need the memory
    runs: list[harness.Row] = []
    reporter.finish(**about, complete=False, rows=rows, runs=runs)
    for run in train_all(settings, plan.mode):
        runs.append(run)
        print(members_show.outcome(run), flush=True)
        reporter.finish(**about, complete=False, rows=rows, runs=runs)
    report = reporter.finish(**about, complete=True, rows=rows, **compare(runs, not settings.quick), runs=runs)
    members_show.show(report)
    chart.save_beside(settings.json, members_show.draw_chart(report), report)
    return report


def prepare(settings: Settings) -> tuple[Settings, Plan]:
    """The settings with all defaults worked in, and the plan of the training run with one member.

    Raises:
        ValueError: the environment or a value is wrong.
    """
    if settings.quick:
        told = {name for name in QUICK if getattr(settings, name) != getattr(Settings, name)}
        settings = dataclasses.replace(settings, **{name: QUICK[name] for name in QUICK if name not in told})
    config = settings.config()
    transitions = settings.transitions or min(config.buffer_size, TRANSITIONS)
    settings = dataclasses.replace(settings, total_steps=config.total_steps, transitions=transitions)
    learner_config(settings, 1)
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(config.replace(run_dir=folder))
    return settings, plan


def sizes(plan: Plan) -> harness.Row:
    """What an update costs depends on these."""
    found = {"obs_dim": plan.spec.obs_dim, "action_dim": plan.spec.action_dim}
    names = ("algo", "preset", "hidden_dims", "batch_size", "num_envs")
    return found | {name: getattr(plan.config, name) for name in names}


# Updates alone --------------------------------------------------------------------------------------------------------


class MemberError(Exception):
    """A number of members whose updates failed, from what did; `args[0]` is the row's name."""


def updates(settings: Settings, plan: Plan) -> list[harness.Row]:
    """One row per number of members: updates a second, and what one costs beside that of one member."""
    if not settings.members:
        return []
    candidates = [make_candidate(settings, plan, m) for m in sorted(settings.members)]
    rows = time_all(candidates, settings)
    judged = plan.device.type == "cuda" and not settings.quick
    return [finish_row(row, rows, m, judged) for row, m in zip(rows, sorted(settings.members), strict=True)]


def make_candidate(settings: Settings, plan: Plan, members: int) -> harness.Candidate | harness.Skipped:
    """Updates of all members, draw included; where it cannot be made or run, for lack of memory above all, why."""
    name = name_of(members)
    try:
        return harness.Candidate(name, *make_updates(settings, plan, members))
    except Exception as error:
        why = describe(error)
    tidy_up(plan.device)  # here, because the error held what there was
    return harness.Skipped(name, why)


def make_updates(settings: Settings, plan: Plan, members: int) -> tuple[Callable[[int], int], dict[str, Any]]:
    """A function that makes so many updates of each member, compiled and run once; and notes on it."""
    config = learner_config(settings, members).replace(algo=plan.config.algo)
    check_memory(config, plan.spec, plan.device)
    own.set_precision(config, plan.device)
    parts = make_parts(config, plan.spec, plan.device, plan.mode)
    own.fill_(parts, config.buffer_size)
    learner = parts.learner
    notes = {"mode": plan.mode, "compile_s": own.compile_seconds(learner)}

    def run(num_updates: int) -> int:
        try:
            learner.launch([num_updates] * members)
            own.wait_for(learner)
        except Exception as error:
            raise MemberError(name_of(members)) from error
        return num_updates

    run(config.updates_per_graph)
    return run, notes


def learner_config(settings: Settings, members: int) -> Config:
    """The run's settings, with a replay as large as what it is filled with.

    Raises:
        ValueError: a value out of range.
    """
    config, transitions = settings.config(), settings.transitions
    if transitions is None or transitions < config.batch_size:
        raise ValueError(f"transitions must be at least batch_size ({config.batch_size}), got {transitions}.")
    return config.replace(seeds=members, buffer_size=transitions, learning_starts=config.batch_size)


def time_all(candidates: Sequence[harness.Candidate | harness.Skipped], settings: Settings) -> list[harness.Row]:
    """Time all in turn; should one fail on the way, start again without it."""
    while True:
        try:
            return harness.interleave(candidates, settings.repeats, settings.seconds)
        except MemberError as error:
            failed, why = error.args[0], describe(error)
        candidates = [harness.Skipped(failed, why) if c.name == failed else c for c in candidates]


def finish_row(row: harness.Row, rows: Sequence[harness.Row], members: int, judged: bool) -> harness.Row:
    """The row with its members, the wall time of one update beside that of one member, and targets."""
    if "skipped" in row:
        return {"name": row["name"], "members": members, "error": row["skipped"]}
    cost = harness.ratio(rows, name_of(1), row["name"])  # of rates, so of wall times the other way round
    bound = GPU_TARGETS.get(members) if judged else None
    value: float | None = cost["by_round"]["median"] if cost else None
    return {
        **row,
        "members": members,
        "member_updates_per_s": members * row["median"],
        "cost": cost and {key: cost[key] for key in ("of_medians", "by_round")},
        "targets": [] if bound is None else [target("times one member", value, "<=", bound)],
    }


def describe(error: BaseException) -> str:
    """What went wrong; clears the stack, which would hold on to memory."""
    if isinstance(error, MemberError) and error.__cause__:
        error = error.__cause__
    traceback.clear_frames(error.__traceback__)
    return f"{type(error).__name__}: {error}"[:2000]


# Processes ------------------------------------------------------------------------------------------------------------


class ProcessError(Exception):
    """A training process that did not come to its end."""


def train_all(settings: Settings, mode: Mode) -> Iterator[harness.Row]:
    """Train in every arrangement, round by round; yields what each came to.  One that failed is not run again."""
    compiling: dict[str, Any] = {"compile": "off" if mode == "eager" else "on"}
    failed = set()
    with ExitStack() as stack:
        cache = None
        if settings.processes and settings.compile_cache == "warm" and mode != "eager":
            cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            fill_cache(settings.config(**compiling), settings.processes, cache)
        for i in range(settings.repeats):
            for count in settings.processes:
                for arrangement in ARRANGEMENTS:
                    if (count, arrangement) in failed:
                        continue
                    run: harness.Row = {"processes": count, "arrangement": arrangement, "round": i + 1}
                    try:
                        run |= train(settings.config(**compiling), count, arrangement, cache)
                    except ProcessError as error:
                        failed.add((count, arrangement))
                        run["error"] = str(error)
                    yield run


def fill_cache(config: Config, counts: Sequence[int], cache: Path) -> None:
    """Compile once for each number of members; what fails here will fail again where it is reported."""
    short = config.replace(total_steps=config.learning_starts + 1, eval_episodes=1)
    for seeds in (1, *counts):
        try:
            run_process(short.replace(seeds=seeds), cache, [])
        except ProcessError:
            return


def train(config: Config, count: int, arrangement: Arrangement, cache: Path | None) -> harness.Row:
    """Train so many agents, as members of one process or in a process each; wall seconds are from start to end.

    Raises:
        ProcessError: a process failed.
    """
    configs = [config.replace(seed=config.seed + i) for i in range(count)]
    if arrangement == "together":
        configs = [config.replace(seeds=count)]
    running: list[subprocess.Popen[str]] = []
    cpu_s_before = children_cpu_s()
    with ThreadPoolExecutor(count if arrangement == "at once" else 1) as pool:
        try:
            trained = list(pool.map(partial(run_process, cache=cache, running=running), configs))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in tuple(running):  # those that Ctrl-C or a failed one finds at work
                process.terminate()
    wall_s = [t["ended"] - t["began"] for t in trained]
    compile_s = [t["compile_s"] for t in trained]
    at_once = arrangement == "at once"
    return {
        "wall_s": max(t["ended"] for t in trained) - min(t["began"] for t in trained) if at_once else sum(wall_s),
        "compile_s": max(compile_s) if at_once else sum(compile_s),
        "cpu_s": children_cpu_s() - cpu_s_before,  # compilers that they started are in it
        "each": [{"wall_s": s, "compile_s": c} for s, c in zip(wall_s, compile_s, strict=True)],
        "modes": sorted({t["mode"] for t in trained}),
        "members": [
            {name: m[name] for name in ("seed", "env_steps", "grad_steps", "eval_return_mean")}
            for t in trained
            for m in t["members"]
        ],
    }


def run_process(config: Config, cache: Path | None, running: list[subprocess.Popen[str]]) -> Mapping[str, Any]:
    """Train in a fresh process, which is in `running` meanwhile; returns its summary, with its start and end.

    Args:
        config: of the run.
        cache: folder of the compile cache; None is an empty one.
        running: processes at work.

    Raises:
        ProcessError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        settings, summary = here / "settings.json", here / "run" / "summary.json"
        settings.write_text(config.replace(run_dir=str(here / "run")).to_json())
        command = [sys.executable, "-c", TRAIN, str(settings)]
        variables = side_by_side.variables(config.cpu_threads, **caches(cache or here / "cache"))
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        began = time.perf_counter()
        with subprocess.Popen(command, cwd=folder, env=variables, **quiet) as process:
            running.append(process)
            stderr = process.communicate()[1]
            running.remove(process)
        ended = time.perf_counter()
        if process.returncode or not summary.exists():
            last = (stderr.strip() or "no message").splitlines()[-1]
            raise ProcessError(f"a process ended with status {process.returncode}: {last}"[:2000])
        return {**json.loads(summary.read_text()), "began": began, "ended": ended}


def children_cpu_s() -> float:
    """Processor seconds of all processes that were started here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def compare(runs: Sequence[harness.Row], judged: bool) -> dict[str, list[harness.Row]]:
    """Wall seconds by arrangement, their ratios by number of processes, and returns side by side."""
    counts = list(dict.fromkeys(run["processes"] for run in runs))
    rows = [summarise(runs, count, arrangement) for count in counts for arrangement in ARRANGEMENTS]
    found = [compare_walls([row for row in rows if row["processes"] == count], judged) for count in counts]
    return {"process_rows": rows, "process_ratios": [ratio for ratios in found for ratio in ratios]}


def summarise(runs: Sequence[harness.Row], count: int, arrangement: Arrangement) -> harness.Row:
    """One arrangement over its rounds; with an error where one of them failed."""
    mine = [run for run in runs if (run["processes"], run["arrangement"]) == (count, arrangement)]
    row: harness.Row = {
        "name": members_show.arrangement(count, arrangement),
        "processes": count,
        "arrangement": arrangement,
    }
    if errors := [run["error"] for run in mine if "error" in run]:
        return {**row, "error": errors[0]}
    return {
        **row,
        "unit": "wall seconds",
        **harness.summary([run["wall_s"] for run in mine]),
        "compile_s": harness.summary([run["compile_s"] for run in mine]),
        "cpu_s": harness.summary([run["cpu_s"] for run in mine]),
        "grad_steps": sorted({member["grad_steps"] for run in mine for member in run["members"]}),
        "returns": {str(member["seed"]): member["eval_return_mean"] for member in mine[0]["members"]},
    }


def compare_walls(rows: Sequence[harness.Row], judged: bool) -> list[harness.Row]:
    """Wall time of one process by that of several, and of those at the same time by those one after the other."""
    together, in_turn, at_once = (row["name"] for row in rows)
    bare = [without_compiling(row) for row in rows]
    pairs = [
        ("wall", harness.ratio(rows, together, in_turn)),
        ("without compiling", harness.ratio(bare, together, in_turn)),
        ("wall", harness.ratio(rows, together, at_once)),
        ("wall", harness.ratio(rows, at_once, in_turn)),
    ]
    ratios: list[harness.Row] = [{"what": what, **ratio, "targets": []} for what, ratio in pairs if ratio]
    for ratio in ratios:
        if judged and (ratio["what"], ratio["of"], ratio["to"]) == ("wall", together, in_turn):
            ratio["targets"] = [target("ratio", ratio["by_round"]["median"], "<=", PROCESS_TARGET)]
    return ratios


def without_compiling(row: harness.Row) -> harness.Row:
    """The row with wall seconds less those of compiling."""
    if "values" not in row:
        return row
    left = [wall - compiling for wall, compiling in zip(row["values"], row["compile_s"]["values"], strict=True)]
    return {"name": row["name"], **harness.summary(left)}


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) or "none"


if __name__ == "__main__":
    main()
