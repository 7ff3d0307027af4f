"""What does a member cost: M agents in one graph beside one agent, and M in one process beside M processes?

The first part times updates alone, all numbers of members in turn; the second trains, and times whole processes.
"""

import os
import statistics
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from bench.lib import charts, harness, processes, program, tables
from bench.lib.record import Reporter
from bench.lib.results import Result, extent, first_of_each
from fastsac.config.settings import Auto, Config
from fastsac.learning.learner import make_parts
from fastsac.report.style import COLOURS
from fastsac.run.memory import check_memory
from fastsac.run.plan import Plan, make_plan
from fastsac.runtime.launch import Mode

QUESTION = __doc__ or ""
TRANSITIONS = 100_000  # in the replay of the updates alone, unless the preset's is smaller
QUICK: dict[str, Any] = {
    "repeats": 2, "seconds": 0.02, "members": (1, 2), "processes": (2,), "total_steps": 200, "transitions": 128,
}  # fmt: skip
QUICK_CONFIG: dict[str, Any] = {"num_envs": 2, "learning_starts": 32, "batch_size": 16, "hidden_dims": (8, 8)}

Arrangement = Literal["together", "in turn", "at once"]
ARRANGEMENTS: dict[Arrangement, str] = {
    "together": "{} members in one process",
    "in turn": "{} processes, one after the other",
    "at once": "{} processes, at the same time",
}
TRAIN = (
    "import shutil, sys; from fastsac import Config, train; "
    "shutil.copy(train(Config.load(sys.argv[1])).run_dir / 'summary.json', sys.argv[2])"
)
LIMIT_S = 4 * 3_600.0  # after which a training is taken to be stuck


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
                raise ValueError(f"{name} must be different numbers of at least {least}, got {values}.")
        if self.members and 1 not in self.members:
            raise ValueError(f"members must have 1 among them, the measure of all others, got {self.members}.")
        if not self.members and not self.processes:
            raise ValueError("members and processes must not both be empty, or nothing is measured. Give one of them.")

    def config(self, **changes: Any) -> Config:
        """Settings of a training run without evaluations on its way, or stops before its end.

        Raises:
            ValueError: a value out of range.
        """
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
        told = {name: getattr(self, name) for name in ("total_steps", "hidden_dims", "batch_size")}
        overrides = {name: value for name, value in told.items() if value is not None} | changes
        starts = max(config.learning_starts, overrides.get("batch_size", 0))
        return config.replace(**{"learning_starts": starts, **overrides})

    def learner_config(self, members: int) -> Config:
        """The run's settings, with a replay as large as what it is filled with.

        Raises:
            ValueError: a value out of range.
        """
        config, transitions = self.config(), self.transitions
        if transitions is None or transitions < config.batch_size:
            raise ValueError(f"transitions must be at least batch_size ({config.batch_size}), got {transitions}.")
        return config.replace(seeds=members, buffer_size=transitions, learning_starts=config.batch_size)


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, _ = harness.start(Settings, "members", QUESTION, argv)
    with harness.one_line("members"):
        settings, plan = prepare(settings)
    reporter = Reporter("members", QUESTION, settings, argv)
    names = ("algo", "preset", "hidden_dims", "batch_size", "num_envs")
    sizes = {"obs_dim": plan.spec.obs_dim, "action_dim": plan.spec.action_dim}
    sizes |= {name: getattr(plan.config, name) for name in names}
    about = {"mode": plan.mode, "device": plan.device.type, "sizes": sizes}

    rows = updates(settings, plan)
    program.tidy_up(plan.device)  # the processes may need the memory
    runs: list[harness.Row] = []
    for run in train_all(settings, plan.mode):
        runs.append(run)
        print(outcome(run), flush=True)
        reporter.finish(**about, complete=False, rows=rows, runs=runs)
    report = reporter.finish(**about, complete=True, rows=rows, **compare(runs), runs=runs)
    tables.show(figures(report))
    charts.save_beside(settings.json, draw(report), report)
    return report


def prepare(settings: Settings) -> tuple[Settings, Plan]:
    """The settings with all defaults worked in, and the plan of the training run with one member.

    Raises:
        ValueError: the environment or a value is wrong.
    """
    if settings.quick:
        told = {name for name in QUICK if getattr(settings, name) != getattr(Settings, name)}
        settings = replace(settings, **{name: QUICK[name] for name in QUICK if name not in told})
    config = settings.config()
    transitions = settings.transitions or min(config.buffer_size, TRANSITIONS)
    settings = replace(settings, total_steps=config.total_steps, transitions=transitions)
    settings.learner_config(1)
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(config.replace(run_dir=folder))
    return settings, plan


# Updates alone ------------------------------------------------------------------------------------------------------


def updates(settings: Settings, plan: Plan) -> list[harness.Row]:
    """One row per number of members: updates a second, and what one costs beside that of one member."""
    counts = sorted(settings.members)
    candidates = [make_candidate(settings, plan, m) for m in counts]
    rows = harness.interleave(candidates, settings.repeats, settings.seconds)
    for row, m in zip(rows, counts, strict=True):
        row["members"] = m
        if "median" in row:
            cost = harness.ratio(rows, rows[0]["name"], row["name"])  # of rates: of wall times the other way round
            row["member_updates_per_s"] = m * row["median"]
            row["cost"] = cost and {key: cost[key] for key in ("of_medians", "by_round")}
    return rows


def make_candidate(settings: Settings, plan: Plan, members: int) -> harness.Candidate | harness.Absent:
    """Updates of all members, draw included; where it cannot be made, for lack of memory above all, why."""
    name = tables.plural(members, "member")
    try:
        config = settings.learner_config(members).replace(algo=plan.config.algo)
        check_memory(config, plan.spec, plan.device)
        program.set_precision(config, plan.device)
        parts = make_parts(config, plan.spec, plan.device, plan.mode)
        program.fill_(parts, config.buffer_size)
        candidate = program.updates_of(parts.learner, name)
        candidate.run(config.updates_per_graph)
    except Exception as error:
        why = describe(error)
    else:
        return replace(candidate, run=partial(run_or_fail, candidate.run))
    program.tidy_up(plan.device)  # here, because the error held what there was
    return harness.Absent(name, why, failed=True)


def run_or_fail(run: harness.Run, units: int) -> int | harness.Timed:
    """Run; whatever is raised is this candidate's error, and the others go on."""
    try:
        return run(units)
    except Exception as error:
        raise harness.Failed(describe(error)) from None


def describe(error: BaseException) -> str:
    """What went wrong; clears the stack, which would hold on to memory."""
    traceback.clear_frames(error.__traceback__)
    return f"{type(error).__name__}: {error}"[:2000]


# Processes ----------------------------------------------------------------------------------------------------------


class ProcessError(Exception):
    """A training process that did not come to its end."""


def train_all(settings: Settings, mode: Mode) -> Iterator[harness.Row]:
    """Train in every arrangement, round by round; yields what each came to.  One that failed is not run again."""
    config = settings.config(compile="off" if mode == "eager" else "on")
    failed = set()
    with ExitStack() as stack:
        cache = None
        if settings.processes and settings.compile_cache == "warm" and mode != "eager":
            cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            short = config.replace(total_steps=config.learning_starts + 1, eval_episodes=1)
            for seeds in (1, *settings.processes):  # what fails here will fail again where it is reported
                run_process(short.replace(seeds=seeds), cache, set())
        for i in range(settings.repeats):
            for count in settings.processes:
                for arrangement in ARRANGEMENTS:
                    if (count, arrangement) in failed:
                        continue
                    run: harness.Row = {"processes": count, "arrangement": arrangement, "round": i + 1}
                    try:
                        run |= train(config, count, arrangement, cache)
                    except ProcessError as error:
                        failed.add((count, arrangement))
                        run["error"] = str(error)
                    yield run


def train(config: Config, count: int, arrangement: Arrangement, cache: Path | None) -> harness.Row:
    """Train so many agents, as members of one process or in a process each; wall seconds are from start to end.

    Raises:
        ProcessError: a process failed.
    """
    configs = [config.replace(seed=config.seed + i) for i in range(count)]
    if arrangement == "together":
        configs = [config.replace(seeds=count)]
    running: processes.Running = set()
    cpu_s_before = children_cpu_s()
    at_once = arrangement == "at once"
    with ThreadPoolExecutor(count if at_once else 1) as pool:
        try:
            trained = list(pool.map(partial(run_process, cache=cache, running=running), configs))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in tuple(running):  # those that Ctrl-C finds at work
                process.terminate()
    if errors := [t["error"] for t in trained if "error" in t]:
        raise ProcessError(errors[0])
    wall_s, compile_s = [t["process_s"] for t in trained], [t["compile_s"] for t in trained]
    first, last = min(t["began"] for t in trained), max(t["began"] + t["process_s"] for t in trained)
    return {
        "wall_s": last - first if at_once else sum(wall_s),
        "compile_s": max(compile_s) if at_once else sum(compile_s),
        "cpu_s": children_cpu_s() - cpu_s_before,  # compilers that they started are in it
        "each": [{"wall_s": s, "compile_s": c} for s, c in zip(wall_s, compile_s, strict=True)],
        "members": [
            {name: m[name] for name in ("seed", "env_steps", "grad_steps", "eval_return_mean")}
            for t in trained
            for m in t["members"]
        ],
    }


def run_process(config: Config, cache: Path | None, running: processes.Running) -> harness.Row:
    """Train in a fresh process; returns its summary, or its error.

    Args:
        config: of the run.
        cache: folder of the compile cache; None is an empty one.
        running: has the process meanwhile.
    """
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "settings.json").write_text(config.replace(run_dir=str(here / "run")).to_json())
        command = [sys.executable, "-c", TRAIN, str(here / "settings.json"), str(here / "outcome.json")]
        variables = processes.variables(config.cpu_threads, **processes.caches(cache or here / "cache"))
        return processes.run_process(lambda _: command, here / "outcome.json", variables, running, LIMIT_S)


def children_cpu_s() -> float:
    """Processor seconds of all processes that were started here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def compare(runs: Sequence[harness.Row]) -> dict[str, list[harness.Row]]:
    """Wall seconds by arrangement, their ratios by number of processes, and returns side by side."""
    rows, found = [], []
    for count in dict.fromkeys(run["processes"] for run in runs):
        mine = [summarise(runs, count, arrangement) for arrangement in ARRANGEMENTS]
        together, in_turn, at_once = (row["name"] for row in mine)
        pairs = [(together, in_turn), (together, at_once), (at_once, in_turn)]
        found += [{"what": "wall", **ratio} for ratio in harness.ratios(mine, pairs)]
        bare = [without_compiling(row) for row in mine]
        found += [{"what": "without compiling", **ratio} for ratio in harness.ratios(bare, pairs[:1])]
        rows += mine
    return {"process_rows": rows, "process_ratios": found}


def summarise(runs: Sequence[harness.Row], count: int, arrangement: Arrangement) -> harness.Row:
    """One arrangement over its rounds; with an error where one of them failed."""
    mine = [run for run in runs if (run["processes"], run["arrangement"]) == (count, arrangement)]
    row: harness.Row = {"name": ARRANGEMENTS[arrangement].format(count), "processes": count}
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


def without_compiling(row: harness.Row) -> harness.Row:
    """The row with wall seconds less those of compiling."""
    if "values" not in row:
        return row
    left = [wall - compiling for wall, compiling in zip(row["values"], row["compile_s"]["values"], strict=True)]
    return {"name": row["name"], **harness.summary(left)}


def outcome(run: harness.Row) -> str:
    """What one arrangement came to in one round, for a log."""
    name = f"round {run['round']}, {ARRANGEMENTS[run['arrangement']].format(run['processes'])}"
    if "error" in run:
        return f"{name}: {tables.problem(run)}"
    mean = statistics.mean(member["eval_return_mean"] for member in run["members"])
    return f"{name}: {run['wall_s']:.1f} s, of which compiling {run['compile_s']:.1f}; mean return {mean:.1f}"


# Tables and chart ---------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[tables.Figures]:
    """The updates alone, the processes, and their ratios."""
    found = []
    told = report["settings"]
    if report["rows"]:
        columns = ["", "updates/s", "min", "max", "member-updates/s", "times one member", "min", "max", "compiling s"]
        lines = [
            [
                row["name"],
                *tables.spread(row, 1),
                tables.number(row.get("member_updates_per_s"), 1),
                *tables.spread((row.get("cost") or {}).get("by_round", {}), 2),
                tables.number(row.get("notes", {}).get("compile_s"), 1),
                tables.problem(row),
            ]
            for row in report["rows"]
        ]
        found.append(tables.Figures(f"updates alone, {what(report)}", [*columns, "notes"], lines))
    if rows := report.get("process_rows"):
        columns = ["", "wall s", "min", "max", "compiling s", "CPU s", "updates per member", "notes"]
        lines = [
            [row["name"], *tables.spread(row, 1)]
            + [tables.number(row.get(key, {}).get("median"), 1) for key in ("compile_s", "cpu_s")]
            + [" or ".join(f"{steps:,}" for steps in row.get("grad_steps", [])), tables.problem(row)]
            for row in rows
        ]
        cache = f"{told['compile_cache']} compile cache"
        title = f"whole processes, {told['env']}, {told['total_steps']:,} steps, {cache}"
        found.append(tables.Figures(title, columns, lines))
        columns = ["", "seconds", "of medians", "by round: median", "min", "max"]
        lines = [
            [f"{r['of']} / {r['to']}", r["what"], tables.number(r["of_medians"], 2), *tables.spread(r["by_round"], 2)]
            for r in report["process_ratios"]
        ]
        found.append(tables.Figures("ratios", columns, lines))
    return found


def what(report: harness.Report) -> str:
    """`Pendulum-v1, hidden layers 64 and 64, batch 256, compiled`."""
    sizes = report["sizes"]
    hidden = " and ".join(map(str, sizes["hidden_dims"]))
    env = report["settings"]["env"].rpartition(":")[2]
    return f"{env}, hidden layers {hidden}, batch {sizes['batch_size']:,}, {report['mode']}"


def draw(report: harness.Report) -> dict[str, Figure]:
    """Member-updates per second, and the cost of an update beside that of one member, over members."""
    rows = [row for row in report["rows"] if row.get("cost")]
    if not rows:
        return {}
    figure, (left, right) = charts.new_figure(f"Members in one graph: {what(report)}", panels=2)
    x = [row["members"] for row in rows]
    one = rows[0]["median"]
    rates = [{key: row["members"] * row[key] for key in ("median", "min", "max")} for row in rows]
    draw_line(left, x, rates, [m * one for m in x], "if members were free", ",.0f")
    charts.finish(left, "members", "member-updates/s", log=True)
    costs = [row["cost"]["by_round"] for row in rows]
    draw_line(right, x, costs, list(map(float, x)), "one after the other", ".2f")
    charts.finish(right, "members", "wall time per update, that of one member = 1", log=True)
    right.yaxis.set_major_locator(LogLocator(base=2))
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return {"": charts.sign(figure, report)}


def draw_line(
    axes: Axes, x: Sequence[int], rows: Sequence[harness.Row], bound: Sequence[float], name: str, form: str
) -> None:
    """What was measured, with its figures, beside a dashed line."""
    axes.plot(x, bound, color=charts.GREY, linestyle="--", linewidth=1.2, label=name)
    charts.with_range(axes, x, rows, color=COLOURS[0], marker="o", label="measured")
    for at, row in zip(x, rows, strict=True):
        place: dict[str, Any] = {"textcoords": "offset points", "va": "top", "fontsize": 8}
        axes.annotate(format(row["median"], form), (at, row["median"]), (5, -4), **place)
    charts.powers_of_two(axes, x)
    axes.margins(x=0.1)


def page(results: Sequence[Result]) -> Iterator[str]:
    """The cost of members in updates alone, and in whole trainings."""
    for result in first_of_each(results, "rows"):
        lines = [
            [
                row["name"],
                tables.number(row["median"], 0),
                tables.number(row["member_updates_per_s"], 0),
                extent(row["cost"]["by_round"], 2),
            ]
            for row in result.report["rows"]
            if row.get("cost")
        ]
        columns = [f"{what(result.report)} on {result.machine}", "updates/s", "of all members", "times one member"]
        yield tables.Figures("", columns, lines).markdown()
        yield result.picture("", f"Updates by number of members on {result.machine}")
    for result in first_of_each(results, "process_rows"):
        report = result.report
        lines = [
            [row["name"], tables.number(row["median"], 1), tables.number(row["cpu_s"]["median"], 1)]
            for row in report["process_rows"]
            if "median" in row
        ]
        columns = [f"whole trainings of {report['settings']['total_steps']:,} steps on {result.machine}"]
        yield tables.Figures("", [*columns, "wall seconds", "processor seconds"], lines).markdown()


PAGE = {"Members": page}

if __name__ == "__main__":
    main()
