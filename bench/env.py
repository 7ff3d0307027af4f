"""How many steps a second do environments make, by back end, number and threads, and what of them does learning hide?

Alone: vector steps with random actions.  Beside the learner: the training loop with a fixed number of updates per
vector step, once with the environments stepping while the updates are made (overlap on) and once in turn (off), next to
the same environments alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure

from bench.lib import charts, harness, program, tables
from bench.lib.record import Reporter
from bench.lib.results import Result, first_of_each, measured
from fastsac.config.settings import Auto, Config
from fastsac.env import backend_names, make_spec
from fastsac.report.style import COLOURS
from fastsac.run.plan import choose_mode

QUESTION = __doc__ or ""
WAYS = ("alone", "off", "on")
"""The environments alone, training with overlap off, and with overlap on."""


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    json: Path | None = None
    """File to write the report to, with the chart beside it."""
    repeats: int = 3
    """Timed rounds; each runs every candidate once.  At least 1."""
    seconds: float = 0.5
    """About how long one candidate runs in one round; beside the learner twice as long.  Above 0."""
    threads: int = 1
    """Threads of torch.  At least 1."""

    envs: tuple[str, ...] = ("HalfCheetah-v5", "Pendulum-v1")
    """Environments, without back end."""
    backends: tuple[str, ...] = ("envpool", "gymnasium")
    """Back ends.  Threads are for those that have some."""
    num_envs: tuple[int, ...] = (1, 8, 64)
    """Environments stepped together, alone."""
    env_threads: tuple[int, ...] = (1, 2)
    """Threads of the simulator; more than there are environments are left out."""
    overlap_envs: tuple[int, ...] = (64,)
    """Environments stepped together beside the learner; none leaves that part out."""
    updates: int = 1
    """Updates per vector step beside the learner.  At least 1."""
    compile: Auto = "auto"
    """As in `fastsac train`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.at_least_1(self, "num_envs", "env_threads", "overlap_envs", "updates")
        for name in ("envs", "backends", "num_envs", "env_threads"):
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one, got none.")
        harness.among("backends", self.backends, backend_names())


@dataclass(frozen=True)
class Case:
    """One back end and task, so many environments on so many threads."""

    backend: str
    task: str
    num_envs: int
    threads: int

    @property
    def env(self) -> str:
        """With the back end."""
        return f"{self.backend}:{self.task}"

    @property
    def name(self) -> str:
        """`envpool:Pendulum-v1, 64 envs, 2 threads`."""
        envs, threads = tables.plural(self.num_envs, "env"), tables.plural(self.threads, "thread")
        return f"{self.env}, {envs}, {threads}"


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "env", QUESTION, argv)
    reporter = Reporter("env", QUESTION, settings, argv)
    found = cases(settings, settings.num_envs)
    rows = harness.interleave([alone_or_absent(case) for case in found], settings.repeats, settings.seconds)
    rows = [{**row, **vars(case), "env": case.env} for row, case in zip(rows, found, strict=True)]
    if not any("values" in row for row in rows):
        raise SystemExit(f"bench.env: no environment could be made: {rows[0]['skipped']}")
    overlap = [beside_learner(settings, c, device) for c in cases(settings, settings.overlap_envs)]
    report = reporter.finish(unit="environment steps/s", rows=rows, overlap=overlap)
    tables.show(figures(report))
    charts.save_beside(settings.json, draw(report), report)
    return report


def cases(settings: Settings, num_envs: Sequence[int]) -> list[Case]:
    """All that is to be measured; a back end without threads has one case per number of environments."""
    return [
        Case(backend, task, n, threads)
        for task in settings.envs
        for backend in settings.backends
        for n in num_envs
        for threads in settings.env_threads
        if threads == 1 or (backend != "gymnasium" and threads <= n)
    ]


def alone_or_absent(case: Case) -> harness.Candidate | harness.Absent:
    """Environments alone with random actions, or why they cannot be made."""
    try:
        make_spec(case.env)
    except ValueError as error:
        return harness.Absent(case.name, str(error))
    steps = program.RandomSteps(case.env, case.num_envs, case.threads)
    return harness.Candidate(case.name, steps.run_steps, {"make_s": steps.make_s})


def beside_learner(settings: Settings, case: Case, device: torch.device) -> harness.Row:
    """Training with and without overlap and the environments alone, in turn; what overlap hides."""
    try:
        make_spec(case.env)
    except ValueError as error:
        return {"name": case.name, "skipped": str(error)}
    torch.compiler.reset()
    trainings = {way: training(settings, case, way, device) for way in ("off", "on")}
    steps = program.RandomSteps(case.env, case.num_envs, case.threads)
    runs: dict[str, harness.Run] = {"alone": steps.run_steps}
    runs |= {way: one.run_and_wait for way, one in trainings.items()}
    candidates = [harness.Candidate(way, runs[way]) for way in WAYS]
    try:
        rows = harness.interleave(candidates, settings.repeats, 2 * settings.seconds)
    finally:
        steps.env.close()
        for one in trainings.values():
            one.close()
    return {
        "name": case.name,
        **vars(case),
        "env": case.env,
        "mode": trainings["on"].learner.mode,
        "updates_per_vec_step": settings.updates,
        **overlap_of({row["name"]: row["values"] for row in rows}, case.num_envs),
    }


def training(settings: Settings, case: Case, way: str, device: torch.device) -> program.Training:
    """The loop, compiled and past its random steps, with so many updates per vector step."""
    config = Config.for_env(
        case.env,
        num_envs=case.num_envs,
        env_threads=case.threads,
        utd_ratio=settings.updates / case.num_envs,
        overlap=way,
        compile=settings.compile,
    )
    mode = choose_mode(config.replace(utd_ratio=1.0), device)[0]  # as in a run of the preset
    config = config.replace(total_steps=program.ENDLESS, learning_starts=max(config.batch_size, 4 * case.num_envs))
    program.set_precision(config, device)
    return program.Training(config, mode, device)


def overlap_of(rates: dict[str, list[float]], num_envs: int) -> harness.Row:
    """Milliseconds per vector step of each way, and the share of the environments' time that overlap hides, by round.

    The share is (off - on) / alone: 1 where training takes as long as if the environments took no time, 0 where
    overlap changes nothing, below where it makes things worse.
    """
    ms = {way: [1000 * num_envs / rate for rate in rates[way]] for way in WAYS}
    hidden = [(off - on) / alone for alone, off, on in zip(*(ms[way] for way in WAYS), strict=True)]
    return {
        "env_steps_per_s": {way: harness.summary(rates[way]) for way in WAYS},
        "ms_per_vec_step": {way: harness.summary(ms[way]) for way in WAYS},
        "hidden": harness.summary(hidden),
    }


# Tables and chart ---------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[tables.Figures]:
    """Environments alone, and beside the learner."""
    found = []
    columns = ["", "steps/s", "min", "max", "us per step", "us per vector step", "notes"]
    lines = []
    for row in report["rows"]:
        us = [1e6 / row["median"], 1e6 * row["num_envs"] / row["median"]] if "median" in row else [None, None]
        lines.append([row["name"], *tables.spread(row, 0), *map(tables.number, us), tables.problem(row)])
    found.append(tables.Figures("env: environments alone, random actions", columns, lines))
    columns = ["ms per vector step", "alone", "overlap off", "overlap on", "hidden", "min", "max", "notes"]
    lines = []
    for row in report["overlap"]:
        ms = row.get("ms_per_vec_step", {})
        hidden = [f"{row['hidden'][key]:.0%}" if ms else "" for key in ("median", "min", "max")]
        times = [tables.number(ms[way]["median"], 2) if ms else "" for way in WAYS]
        lines.append([row["name"], *times, *hidden, tables.problem(row)])
    title = f"env: beside {tables.plural(report['settings']['updates'], 'update')} per vector step; share of the "
    return [*found, *([tables.Figures(f"{title}environments' time that is hidden", columns, lines)] if lines else [])]


def draw(report: harness.Report) -> dict[str, Figure]:
    """Steps per second against the number of environments, a panel per task, a line per back end and threads."""
    rows = measured(report)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure, panels = charts.new_figure("Environments alone, random actions", panels=len(tasks))
    lines = list(dict.fromkeys((row["backend"], row["threads"]) for row in rows))
    for axes, task in zip([panels] if len(tasks) == 1 else panels, tasks, strict=True):
        for i, (backend, threads) in enumerate(lines):
            line = [r for r in rows if (r["task"], r["backend"], r["threads"]) == (task, backend, threads)]
            line.sort(key=lambda row: row["num_envs"])
            style = {"color": COLOURS[i % len(COLOURS)], "marker": charts.MARKERS[i % len(charts.MARKERS)]}
            label = f"{backend}, {tables.plural(threads, 'thread')}"
            charts.with_range(axes, [row["num_envs"] for row in line], line, label=label, **style)
        charts.powers_of_two(axes, [row["num_envs"] for row in rows])
        axes.set_title(task, fontsize=10)
        charts.finish(axes, "environments", "environment steps/s", log=True)
    return {"": charts.sign(figure, report)}


def page(results: Sequence[Result]) -> Iterator[str]:
    """A line per back end and threads, a column per number of environments; what overlap hides."""
    for result in first_of_each(results, "rows"):
        rows = measured(result.report)
        numbers = sorted({row["num_envs"] for row in rows})
        rates = {(row["env"], row["threads"], row["num_envs"]): row["median"] for row in rows}
        beside = [row for row in result.report["overlap"] if "hidden" in row]
        hidden = {(row["env"], row["threads"]): f"{row['hidden']['median']:.0%}" for row in beside}
        lines = [
            [f"{env}, {tables.plural(threads, 'thread')}"]
            + [tables.number(rates.get((env, threads, n)), 0) for n in numbers]
            + [hidden.get((env, threads), "")]
            for env, threads in dict.fromkeys(key[:2] for key in rates)
        ]
        columns = [f"env steps/s alone, on {result.machine}", *(tables.plural(n, "env") for n in numbers)]
        yield tables.Figures("", [*columns, "hidden by learning"], lines).markdown()
        yield result.picture("", f"Steps per second of environments alone on {result.machine}")


PAGE = {"Environments": page}

if __name__ == "__main__":
    main()
