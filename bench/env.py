"""How many steps a second do environments make, by back end, number and threads, and what of them does learning hide?

Alone: vector steps with random actions.  Beside the learner: the training loop with a fixed number of updates per
vector step, once with the environments stepping while the updates are made (overlap on) and once in turn (off), next to
the same environments alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from bench import chart, harness, own
from bench.gpu_show import MARKERS, finish, new_figure, powers_of_two, source, with_range
from fastsac.config.settings import Auto, Config
from fastsac.env import backend_names, make_spec
from fastsac.report.style import COLOURS
from fastsac.run.plan import choose_mode

ENDLESS = 2**31  # the update budget must not end during the measurement
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
        for name, may_be_empty in (("num_envs", False), ("env_threads", False), ("overlap_envs", True)):
            values = getattr(self, name)
            if (not values and not may_be_empty) or any(v < 1 for v in values):
                told = ", ".join(map(str, values)) or "none"
                raise ValueError(f"{name} must be numbers of at least 1, got {told}.")
        if not self.envs or not self.backends:
            raise ValueError(f"{'backends' if self.envs else 'envs'} must name at least one, got none.")
        if unknown := set(self.backends) - set(backend_names()):
            raise ValueError(f"unknown back end {min(unknown)!r}; choose from {', '.join(backend_names())}.")
        if self.updates < 1:
            raise ValueError(f"updates must be at least 1, got {self.updates}.")


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
        plural = "s" * (self.num_envs > 1)
        return f"{self.env}, {self.num_envs} env{plural}, {self.threads} thread{'s' * (self.threads > 1)}"


def main(argv: Sequence[str] | None = None) -> harness.Report:
    try:
        settings, device = harness.start(Settings, "env", __doc__, argv)
    except ValueError as error:
        raise SystemExit(f"bench.env: {' '.join(str(error).split())}") from None
    reporter = harness.Reporter("env", __doc__, settings)
    found = cases(settings, settings.num_envs)
    alone = dict(zip((c.name for c in found), map(alone_or_skipped, found), strict=True))
    rows = harness.interleave(list(alone.values()), settings.repeats, settings.seconds)
    rows = [{**row, **vars(case), "env": case.env} for row, case in zip(rows, found, strict=True)]
    if not any("values" in row for row in rows):
        raise SystemExit(f"bench.env: no environment could be made: {rows[0]['skipped']}")
    overlap = [beside_learner(settings, c, device) for c in cases(settings, settings.overlap_envs)]
    report = reporter.finish(unit="environment steps/s", rows=rows, overlap=overlap)
    for table in figures(report):
        table.show()
    chart.save_beside(settings.json, draw_chart(report), report)
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


def alone_or_skipped(case: Case) -> harness.Candidate | harness.Skipped:
    """Environments alone with random actions, or why they cannot be made."""
    try:
        make_spec(case.env)
    except ValueError as error:
        return harness.Skipped(case.name, str(error))
    steps = own.RandomSteps(case.env, case.num_envs, case.threads)
    return harness.Candidate(case.name, in_env_steps(steps), {"make_s": steps.make_s})


def in_env_steps(steps: own.RandomSteps) -> Any:
    """A function that makes at least so many environment steps; returns how many."""
    return lambda num: steps.run(-(-num // steps.env.num_envs))


def beside_learner(settings: Settings, case: Case, device: torch.device) -> harness.Row:
    """Training with and without overlap and the environments alone, in turn; what overlap hides."""
    try:
        make_spec(case.env)
    except ValueError as error:
        return {"name": case.name, "skipped": str(error)}
    torch.compiler.reset()
    trainings = {way: training(settings, case, way, device) for way in ("off", "on")}
    steps = own.RandomSteps(case.env, case.num_envs, case.threads)

    def train(way: str) -> Any:
        def run(num_steps: int) -> int:
            done = trainings[way].run(num_steps)
            own.wait_for(trainings[way].learner)
            return done

        return run

    runs = {"alone": in_env_steps(steps), **{way: train(way) for way in trainings}}
    try:
        rows = harness.interleave(
            [harness.Candidate(way, runs[way]) for way in WAYS], settings.repeats, 2 * settings.seconds
        )
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


def training(settings: Settings, case: Case, way: str, device: torch.device) -> own.Training:
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
    config = config.replace(total_steps=ENDLESS, learning_starts=max(config.batch_size, 4 * case.num_envs))
    own.set_precision(config, device)
    return own.Training(config, mode, device)


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


def figures(report: harness.Report) -> list[harness.Figures]:
    """Environments alone, and beside the learner."""
    columns = ["", "steps/s", "min", "max", "us per step", "us per vector step"]
    rows = [
        [row["name"], f"skipped: {row['skipped'][:80]}", *[""] * 4]
        if "skipped" in row
        else [
            row["name"],
            *(f"{row[k]:,.0f}" for k in ("median", "min", "max")),
            f"{1e6 / row['median']:.2f}",
            f"{1e6 * row['num_envs'] / row['median']:,.0f}",
        ]
        for row in report["rows"]
    ]
    tables = [harness.Figures("env: environments alone, random actions", columns, rows)]
    columns = ["ms per vector step", "alone", "overlap off", "overlap on", "hidden", "min", "max"]
    rows = [
        [row["name"], f"skipped: {row['skipped'][:80]}", *[""] * 5]
        if "skipped" in row
        else [
            row["name"],
            *(f"{row['ms_per_vec_step'][way]['median']:.2f}" for way in WAYS),
            *(f"{100 * row['hidden'][k]:.0f}%" for k in ("median", "min", "max")),
        ]
        for row in report["overlap"]
    ]
    if rows:
        title = (
            f"env: beside {report['settings']['updates']} update(s) per vector step; share of the environments' time"
        )
        tables.append(harness.Figures(f"{title} that is hidden", columns, rows))
    return tables


def draw_chart(report: harness.Report) -> Figure:
    """Steps per second against the number of environments, a panel per task, a line per back end and threads."""
    rows = [row for row in report["rows"] if "values" in row]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure, panels = new_figure("Environments alone, random actions", panels=len(tasks))
    lines = list(dict.fromkeys((row["backend"], row["threads"]) for row in rows))
    for axes, task in zip([panels] if len(tasks) == 1 else panels, tasks, strict=True):
        for i, (backend, threads) in enumerate(lines):
            line = [r for r in rows if (r["task"], r["backend"], r["threads"]) == (task, backend, threads)]
            line.sort(key=lambda row: row["num_envs"])
            style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
            label = f"{backend}, {threads} thread{'s' * (threads > 1)}"
            with_range(axes, [row["num_envs"] for row in line], line, label=label, **style)
        powers_of_two(axes, [row["num_envs"] for row in rows])
        axes.set_title(task, fontsize=10)
        finish(axes, "environments", "environment steps/s", log=True)
    figure.text(0.01, 0.01, source(report), fontsize=7, color="#777777")
    return figure


if __name__ == "__main__":
    main()
