"""Where does a second of training go: environments, acting, learner, storing, host work, log points?

Times the loop of `fastsac train` itself: public methods of its parts are wrapped from outside for a round, and left
alone for the next, which tells what the wrapping costs.
"""

import contextlib
import dataclasses
import io
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.lib import harness, program, record, tables
from bench.lib.tables import Figures, number
from fastsac.config.settings import Config
from fastsac.run.plan import Plan, make_plan
from fastsac.run.trainer import Run
from fastsac.runtime.device import choose_device

SETTLING_UPDATES = 64  # after the first: caches and threads are warm then
GROUPS = ("environment", "acting", "learner", "storing", "host", "log points", "rest")
"""What the time is divided into; `rest` is what no wrapped method took: the loop's own lines."""

Method = Callable[..., Any]
Part = tuple[str, Any, str]


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 3
    """Timed rounds of each number of environments, and as many without timing.  At least 1."""
    threads: int = 1
    """Threads of torch.  At least 1."""

    env: str = "HalfCheetah-v5"
    """Environment, whose preset gives all other settings."""
    num_envs: tuple[int, ...] = (1, 64)
    """Environments stepped together; one profile each."""
    eager: bool = False
    """Do not compile."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.at_least_1(self, "num_envs")


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, _, reporter = record.start(Settings, "profile", __doc__, argv)
    rows = []
    for num_envs in settings.num_envs:
        with harness.one_line("profile"), contextlib.redirect_stdout(io.StringIO()):
            rows.append(profile(settings, num_envs))
    report = reporter.finish(unit="us per environment step", rows=rows)
    return reporter.show(report, figures(report))


def profile(settings: Settings, num_envs: int) -> harness.Row:
    """Run the loop until everything is measured; one row of the report."""
    torch.compiler.reset()
    with tempfile.TemporaryDirectory() as folder, Run(plan(settings, num_envs, folder)) as run:
        run.start()
        while run.learner.grad_steps[0] < SETTLING_UPDATES:
            run.step()
        rates: list[tuple[float, float]] = []  # with timing and without
        us: dict[str, list[float]] = {group: [] for group in GROUPS}
        for _ in range(settings.repeats):
            stopwatch = Stopwatch()
            with wrapped(parts(run), stopwatch.timed):
                steps, took_s = one_round(run, settings.seconds)
            stopwatch.seconds["rest"] = took_s - sum(stopwatch.seconds.values())
            for group in GROUPS:
                us[group].append(1e6 * stopwatch.seconds[group] / steps)
            bare_steps, bare_s = one_round(run, settings.seconds)
            rates.append((steps / took_s, bare_steps / bare_s))
    timed, bare = (harness.summary(values) for values in zip(*rates, strict=True))
    medians = {group: statistics.median(values) for group, values in us.items()}
    groups = {group: {"us": median, "share": median / sum(medians.values())} for group, median in medians.items()}
    about = {"name": f"{run.config.task}, {tables.plural(num_envs, 'env')}", "mode": run.plan.mode}
    return {**about, "env_steps_per_s": timed, "env_steps_per_s_bare": bare, "groups": groups}


def plan(settings: Settings, num_envs: int, folder: str) -> Plan:
    """The plan of a run without end, compiled or not as one of the preset's length would be.

    Raises:
        ValueError: it cannot be run here.
    """
    config = Config(
        env=settings.env,
        num_envs=num_envs,
        compile="off" if settings.eager else "auto",
        device=str(choose_device(settings.device)),
        cpu_threads=settings.threads,
        eval_every=0,
        checkpoint_every=0,
        run_dir=f"{folder}/run",
    )
    found = make_plan(config)
    return dataclasses.replace(found, config=found.config.replace(total_steps=program.ENDLESS))


def one_round(run: Run, seconds: float) -> tuple[int, float]:
    """Vector steps for so many seconds; returns the environment steps and the seconds."""
    steps, began = run.env_steps, time.perf_counter()
    while run.env_steps == steps or time.perf_counter() - began < seconds:
        run.step()
    return run.env_steps - steps, time.perf_counter() - began


# Wrapping -----------------------------------------------------------------------------------------------------------


class Stopwatch:
    """Seconds of spans that may lie within each other, each without what is spent in those inside it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._clock = clock
        self._inside = [0.0]

    def timed(self, name: str, method: Method) -> Method:
        """`method`, timed as `name`."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._inside.append(0.0)
            began = self._clock()
            try:
                return method(*args, **kwargs)
            finally:
                took = self._clock() - began
                self.seconds[name] += took - self._inside.pop()
                self._inside[-1] += took

        return call


def parts(run: Run) -> Iterator[Part]:
    """Group, owner and method of every span."""
    collector, learner = run.collector, run.learner
    methods: dict[str, list[tuple[Any, str]]] = {
        "environment": [(run.env, "send"), (run.env, "recv")],
        "acting": [(collector.actor, "act")],
        "learner": [(learner, "launch")],
        "storing": [(collector.store, "add")],
        "host": [(collector, "send"), (collector, "due"), (collector, "recv"), (collector.stats, "add")],
        "log points": [(run.log_points, "pass_by")],
    }
    for group, these in methods.items():
        yield from ((group, owner, method) for owner, method in these)


@contextlib.contextmanager
def wrapped(parts: Iterable[Part], wrap: Callable[[str, Method], Method]) -> Iterator[None]:
    """Every part wrapped; afterwards it is as it was."""
    with contextlib.ExitStack() as stack:
        for group, owner, method in parts:
            setattr(owner, method, wrap(group, getattr(owner, method)))
            stack.callback(delattr, owner, method)
        yield


# Table --------------------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[Figures]:
    """Microseconds and shares of the groups, two columns for every profile."""
    rows = report["rows"]
    lines = []
    for group in GROUPS:
        told = [row["groups"][group] for row in rows]
        lines.append([group, *(text for g in told for text in (f"{g['us']:.1f}", f"{g['share']:.1%}"))])
    for name, key in (("with", "env_steps_per_s"), ("without", "env_steps_per_s_bare")):
        rates = [number(row[key]["median"], 0) for row in rows]
        lines.append([f"env steps/s {name} timing", *(text for rate in rates for text in (rate, ""))])
    return [
        Figures(report["unit"], [text for row in rows for text in (f"{row['name']}, {row['mode']}", "share")], lines)
    ]


if __name__ == "__main__":
    main()
