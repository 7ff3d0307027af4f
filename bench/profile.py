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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.lib import harness, program, tables
from bench.lib.record import Reporter
from fastsac.config.settings import Auto, Config
from fastsac.run.plan import Plan, make_plan
from fastsac.run.run_dir import RunDir
from fastsac.run.trainer import Run
from fastsac.runtime.device import choose_device

QUESTION = __doc__ or ""
SETTLING_UPDATES = 64  # after the first: caches and threads are warm then
GROUPS = ("environment", "acting", "learner", "storing", "host", "log points", "rest")
"""What the time is divided into; `rest` is what no wrapped method took: the loop's own lines."""

Method = Callable[..., Any]


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
    compile: Auto = "auto"
    """As in `fastsac train`."""
    learning_starts: int = 1_000
    """Environment steps with random actions before the first update; they are not timed."""
    utd_ratio: float = 1.0
    """Updates per environment step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.at_least_1(self, "num_envs")
        if not self.num_envs:
            raise ValueError("num_envs must be at least 1, got none.")


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "profile", QUESTION, argv)
    with harness.one_line("profile"):
        plans = [plan(settings, n) for n in settings.num_envs]
    reporter = Reporter("profile", QUESTION, settings, argv)
    rows = [measure(settings, each) for each in plans]
    report = reporter.finish(unit="us per environment step", device=device.type, rows=rows)
    tables.show(figures(report))
    return report


def plan(settings: Settings, num_envs: int) -> Plan:
    """The plan of a run without end, compiled or not as one of the preset's length would be.

    Raises:
        ValueError: it cannot be run here.
    """
    config = Config.for_env(
        settings.env,
        num_envs=num_envs,
        learning_starts=settings.learning_starts,
        utd_ratio=settings.utd_ratio,
        compile=settings.compile,
        device=str(choose_device(settings.device)),
        cpu_threads=settings.threads,
        eval_every=0,
        checkpoint_every=0,
        stop_at_return=None,
        stop_at_episode_return=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        found = make_plan(config.replace(run_dir=folder))
        found.place.release()
    return dataclasses.replace(found, config=found.config.replace(total_steps=program.ENDLESS))


def measure(settings: Settings, plan: Plan) -> harness.Row:
    """Run the loop until everything is measured; one row of the report."""
    torch.compiler.reset()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        place = RunDir(Path(folder) / "run")
        place.acquire()
        run = stack.enter_context(Run(dataclasses.replace(plan, place=place)))
        run.start()
        while run.learner.grad_steps[0] < SETTLING_UPDATES:
            run.step()
        rounds, bare = [], []
        for _ in range(settings.repeats):
            stopwatch = Stopwatch()
            with wrapped(run, stopwatch.timed):
                rounds.append(one_round(run, settings.seconds) | {"s": stopwatch.seconds, "calls": stopwatch.calls})
            alone = one_round(run, settings.seconds)
            bare.append(alone["steps"] / alone["took_s"])
        names = [name for _, _, name in parts(run)]
    return summarise(plan, names, rounds, bare)


def one_round(run: Run, seconds: float) -> harness.Row:
    """Vector steps for so many seconds; returns their number, that of environment steps, and the seconds."""
    steps, vec_steps, began = run.env_steps, run.collector.vec_steps, time.perf_counter()
    while run.env_steps == steps or time.perf_counter() - began < seconds:
        run.step()
    took_s = time.perf_counter() - began
    return {"steps": run.env_steps - steps, "vec_steps": run.collector.vec_steps - vec_steps, "took_s": took_s}


# Wrapping -----------------------------------------------------------------------------------------------------------


class Stopwatch:
    """Seconds of spans that may lie within each other, each without what is spent in those inside it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, list[float]] = defaultdict(list)  # seconds of each call
        self._clock = clock
        self._inside = [0.0]

    def timed(self, name: str, method: Method) -> Method:
        """`method`, timed as `name`."""
        clock, seconds, calls, inside = self._clock, self.seconds, self.calls, self._inside

        def call(*args: Any, **kwargs: Any) -> Any:
            inside.append(0.0)
            began = clock()
            try:
                return method(*args, **kwargs)
            finally:
                took = clock() - began
                own = took - inside.pop()
                inside[-1] += took
                seconds[name] += own
                calls[name].append(own)

        return call


def parts(run: Run) -> list[tuple[Any, str, str]]:
    """Owner, method and name of every span; names begin with their group."""
    collector, learner = run.collector, run.learner
    actor, store = collector.actor, collector.store
    found = [
        (run.env, "send", "environment: send"),
        (run.env, "recv", "environment: recv"),
        (actor, "act", "acting: policy, actions to the host"),
        (learner, "launch", "learner: launch"),
        (store, "add", "storing: launch"),
        (actor.staging, "write", "storing: into staging memory"),
        (actor.staging, "copy", "storing: to the device"),
        (run.replay, "add_", "storing: replay"),  # in a captured graph on CUDA: part of the launch
        (run.normalizer, "update_", "storing: normaliser"),
        (collector, "send", "host: send, check of the actions"),
        (collector, "due", "host: updates that are due"),
        (collector, "recv", "host: recv, checks and flags"),
        (collector.stats, "add", "host: episode statistics"),
        (run.guard, "check", "log points: look for faults"),
        (run.guard, "hold", "log points: copy of the state"),
        (run.checkpointer.thread, "check", "log points: look for checkpoints"),
        (collector.stats, "take", "log points: episodes"),
        (learner, "read_metrics", "log points: read losses"),
        (run.files.sinks, "metrics", "log points: files"),
        (run.display, "update", "log points: display"),
    ]
    if learner.device.type == "cuda":
        found.append((torch.cuda.Event, "synchronize", "acting: wait for the device"))
    return found


@contextlib.contextmanager
def wrapped(run: Run, wrap: Callable[[str, Method], Method]) -> Iterator[None]:
    """Every part wrapped; afterwards it is as it was."""
    with contextlib.ExitStack() as stack:
        for owner, method, name in parts(run):
            original = getattr(owner, method)
            setattr(owner, method, wrap(name, original))
            undo = (setattr, owner, method, original) if isinstance(owner, type) else (delattr, owner, method)
            stack.callback(*undo)
        yield


def summarise(plan: Plan, names: Sequence[str], rounds: Sequence[harness.Row], bare: Sequence[float]) -> harness.Row:
    """What was measured, by environment step."""
    spans = {name: [r["s"].get(name, 0.0) for r in rounds] for name in names}
    spans["rest: the loop's own lines"] = [r["took_s"] - sum(r["s"].values()) for r in rounds]
    took_s, vec_steps = (sum(r[key] for r in rounds) for key in ("took_s", "vec_steps"))
    calls = {name: [s for r in rounds for s in r["calls"].get(name, ())] for name in spans}
    found = [
        {
            "name": name,
            **harness.summary([1e6 * s / r["steps"] for s, r in zip(seconds, rounds, strict=True)]),
            "share": sum(seconds) / took_s,
            "calls_per_vec_step": len(calls[name]) / vec_steps,
            "call_us": 1e6 * statistics.median(calls[name]) if calls[name] else None,
        }
        for name, seconds in spans.items()
        if any(seconds)
    ]
    groups = {group: [s for s in found if s["name"].startswith(f"{group}:")] for group in GROUPS}
    return {
        "name": f"{plan.config.task}, {tables.plural(plan.config.num_envs, 'env')}",
        "num_envs": plan.config.num_envs,
        "mode": plan.mode,
        "env_steps_per_s": harness.summary([r["steps"] / r["took_s"] for r in rounds]),
        "env_steps_per_s_bare": harness.summary(bare),
        "step_us": harness.summary([1e6 * r["took_s"] / r["steps"] for r in rounds]),
        "groups": {
            group: {"us": sum(s["median"] for s in mine), "share": sum(s["share"] for s in mine)}
            for group, mine in groups.items()
        },
        "spans": found,
    }


# Tables --------------------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[tables.Figures]:
    """The groups of all profiles side by side, then the spans of each."""
    found = [grouped(f"profile: {report['settings']['env']}, {report['rows'][0]['mode']}", report["rows"])]
    columns = ["", "us per env step", "min", "max", "share", "calls per vector step", "a call, median us"]
    for row in report["rows"]:
        lines = [
            [
                s["name"],
                *tables.spread(s, 2),
                f"{s['share']:.1%}",
                f"{s['calls_per_vec_step']:.3g}",
                tables.number(s["call_us"], 1),
            ]
            for s in sorted(row["spans"], key=lambda s: GROUPS.index(s["name"].partition(":")[0]))
        ]
        found.append(tables.Figures(f"{row['name']}: spans", columns, lines))
    return found


def grouped(title: str, rows: Sequence[harness.Row]) -> tables.Figures:
    """Microseconds and shares of the groups, two columns for every profile."""
    lines = []
    for group in GROUPS:
        told = [row["groups"][group] for row in rows]
        lines.append([group, *(text for g in told for text in (f"{g['us']:.1f}", f"{g['share']:.1%}"))])
    lines.append(["together", *(text for row in rows for text in (f"{row['step_us']['median']:.1f}", ""))])
    bare = [tables.number(row["env_steps_per_s_bare"]["median"], 0) for row in rows]
    lines.append(["env steps/s without timing", *(text for rate in bare for text in (rate, ""))])
    columns = [text for row in rows for text in (row["name"], "share")]
    return tables.Figures(title, ["us per environment step", *columns], lines)


if __name__ == "__main__":
    main()
