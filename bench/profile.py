"""Where does a second of training go: environments, acting, learner, storing, host work, log points?

Times the loop of `fastsac train` itself: public methods of its parts are wrapped from outside for a round, and left
alone for the next, which tells what the wrapping costs.  At the end some vector steps run under torch's profiler, with
the same parts as spans, and leave a Chrome trace.
"""

import contextlib
import dataclasses
import io
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from bench import chart, harness
from bench.profile_show import GROUPS, draw_chart, figures
from fastsac.config.settings import Auto, Config
from fastsac.run.plan import Plan, make_plan
from fastsac.run.run_dir import RunDir
from fastsac.run.trainer import Run
from fastsac.runtime.device import choose_device

SETTLING_UPDATES = 64  # after the first: caches and threads are warm then
SHOWN_OPERATORS = 12
ENDLESS = 2**31  # the update budget must not end during the measurement

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


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
    out: str = "runs/profile"
    """Folder for the Chrome traces (trace-N.json, for chrome://tracing or ui.perfetto.dev)."""
    compile: Auto = "auto"
    """As in `fastsac train`."""
    learning_starts: int = 1_000
    """Environment steps with random actions before the first update; they are not timed."""
    utd_ratio: float = 1.0
    """Updates per environment step."""
    clock: Literal["wall", "cpu"] = "wall"
    """What is timed: seconds, or processor seconds of this process, where others keep the cores busy."""
    trace_updates: int = 100
    """About how many updates a trace shows; it has at least 3 vector steps.  At least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.num_envs or min(self.num_envs) < 1:
            raise ValueError(
                f"num_envs must be numbers of at least 1, got {', '.join(map(str, self.num_envs)) or 'none'}."
            )
        if self.trace_updates < 1:
            raise ValueError(f"trace_updates must be at least 1, got {self.trace_updates}.")


def main(argv: Sequence[str] | None = None) -> harness.Report:
    # Graphs that were captured before and the profiler's end do not go together.
    os.environ["DISABLE_CUPTI_LAZY_REINIT"], os.environ["TEARDOWN_CUPTI"] = "1", "0"
    try:
        settings, device = harness.start(Settings, "profile", __doc__, argv)
        plans = {n: plan(settings, n) for n in settings.num_envs}
    except ValueError as error:
        raise SystemExit(f"bench.profile: {' '.join(str(error).split())}") from None
    reporter = harness.Reporter("profile", __doc__, settings)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    rows = [measure(settings, plans[n]) for n in settings.num_envs]
    report = reporter.finish(unit="us per environment step", device=device.type, rows=rows)
    for table in figures(report):
        table.show()
    print(*(out / row["trace"] for row in rows), sep="\n")
    chart.save_beside(settings.json, draw_chart(report), report)
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
    return dataclasses.replace(found, config=found.config.replace(total_steps=ENDLESS))


def measure(settings: Settings, plan: Plan) -> harness.Row:
    """Run the loop until everything is measured; one row of the report."""
    torch.compiler.reset()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        place = RunDir(Path(folder) / "run")
        place.acquire()
        run = stack.enter_context(Run(dataclasses.replace(plan, place=place)))
        watch = Watch(run, settings)
        run.start()
        watch.measure()
    return watch.row()


# The loop, watched --------------------------------------------------------------------------------------------------


class Stopwatch:
    """Seconds of spans that may lie within each other, each without what is spent in those inside it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, list[float]] = defaultdict(list)  # seconds of each call
        self._clock = clock
        self._inside = [0.0]

    def timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
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


def span(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """`method`, as a span of that name in the profiler's trace."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with torch.profiler.record_function(name):
            return method(*args, **kwargs)

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


class Watch:
    """Steps a run through its rounds.

    Args:
        run: before `start`.
        settings: of the measurement.
    """

    def __init__(self, run: Run, settings: Settings) -> None:
        self.run, self.settings = run, settings
        self.rounds: list[harness.Row] = []  # with timing
        self.bare: list[float] = []  # environment steps a second, without
        self.trace = Path(settings.out) / f"trace-{run.config.num_envs}.json"
        self._clock = CLOCKS[settings.clock]

    def measure(self) -> None:
        """All rounds, and the trace."""
        c, run = self.run.config, self.run
        while run.learner.grad_steps[0] < SETTLING_UPDATES:
            run.step()
        for _ in range(self.settings.repeats):
            stopwatch = Stopwatch(self._clock)
            with self._wrapped(stopwatch.timed):
                before = run.collector.vec_steps
                steps, took_s = self._round()
                found = {"vec_steps": run.collector.vec_steps - before, "steps": steps, "took_s": took_s}
            self.rounds.append({**found, "s": stopwatch.seconds, "calls": stopwatch.calls})
            steps, took_s = self._round()
            self.bare.append(steps / took_s)
        self._trace(max(3, round(self.settings.trace_updates / (c.utd_ratio * c.num_envs))))

    def _round(self) -> tuple[int, float]:
        """Vector steps for so many seconds; returns environment steps and seconds."""
        run, clock = self.run, self._clock
        before, began = run.env_steps, clock()
        while run.env_steps == before or clock() - began < self.settings.seconds:
            run.step()
        return run.env_steps - before, clock() - began

    def _trace(self, vec_steps: int) -> None:
        """So many vector steps under the profiler, a log point among them."""
        c, collector = self.run.config, self.run.collector
        while c.log_every - self.run.env_steps % c.log_every > max(1, vec_steps // 2) * c.num_envs:
            self.run.step()
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if self.run.learner.device.type == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        before, updates = collector.env_steps[0], self.run.learner.grad_steps[0]
        with self._wrapped(span), torch.profiler.profile(activities=kinds) as profiler:
            for _ in range(vec_steps):
                self.run.step()
        profiler.export_chrome_trace(str(self.trace))
        names = {name for _, _, name in parts(self.run)}
        steps, updates = collector.env_steps[0] - before, self.run.learner.grad_steps[0] - updates
        self.operators = operators(profiler.key_averages(), names, steps, updates)

    @contextlib.contextmanager
    def _wrapped(self, wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
        """Every part wrapped; afterwards it is as it was."""
        with contextlib.ExitStack() as stack:
            for owner, method, name in parts(self.run):
                original = getattr(owner, method)
                setattr(owner, method, wrap(name, original))
                undo = (setattr, owner, method, original) if isinstance(owner, type) else (delattr, owner, method)
                stack.callback(*undo)
            yield

    def row(self) -> harness.Row:
        """What was measured, by environment step."""
        config, plan = self.run.config, self.run.plan
        spans = {name: [r["s"].get(name, 0.0) for r in self.rounds] for _, _, name in parts(self.run)}
        spans["rest: the loop's own lines"] = [r["took_s"] - sum(r["s"].values()) for r in self.rounds]
        steps = [r["steps"] for r in self.rounds]
        took_s, vec_steps = (sum(r[key] for r in self.rounds) for key in ("took_s", "vec_steps"))
        calls = {name: [s for r in self.rounds for s in r["calls"].get(name, ())] for name in spans}
        found = [
            {
                "name": name,
                **harness.summary([1e6 * s / n for s, n in zip(seconds, steps, strict=True)]),
                "share": sum(seconds) / took_s,
                "calls_per_vec_step": len(calls[name]) / vec_steps,
                "call_us": 1e6 * statistics.median(calls[name]) if calls[name] else None,
            }
            for name, seconds in spans.items()
            if any(seconds)
        ]
        return {
            "name": f"{config.task}, {config.num_envs} env{'s' * (config.num_envs > 1)}",
            "num_envs": config.num_envs,
            "mode": plan.mode,
            "env_steps_per_s": harness.summary([r["steps"] / r["took_s"] for r in self.rounds]),
            "env_steps_per_s_bare": harness.summary(self.bare),
            "step_us": harness.summary([1e6 * r["took_s"] / r["steps"] for r in self.rounds]),
            "groups": {
                group: {
                    "us": sum(s["median"] for s in found if s["name"].startswith(f"{group}:")),
                    "share": sum(s["share"] for s in found if s["name"].startswith(f"{group}:")),
                }
                for group in GROUPS
            },
            "spans": found,
            "operators": self.operators,
            "trace": self.trace.name,
        }


def operators(averages: Any, spans: set[str], env_steps: int, updates: int) -> list[harness.Row]:
    """What took longest in the trace, by its own time: operators on a CPU, kernels on CUDA.

    Args:
        averages: the profiler's.
        spans: names of ours, which are no operators.
        env_steps: that the trace has.
        updates: that it has.
    """
    found = [e for e in averages if e.key not in spans]
    on_device = any(e.self_device_time_total > 0 for e in found)
    own_us = {e.key: e.self_device_time_total if on_device else e.self_cpu_time_total for e in found}
    longest = sorted(found, key=lambda e: -own_us[e.key])[:SHOWN_OPERATORS]
    return [
        {"name": e.key[:60], "us": own_us[e.key] / max(1, env_steps), "per_update": e.count / max(1, updates)}
        for e in longest
    ]


if __name__ == "__main__":
    main()
