"""What does one GPU give: updates by launch size, batch, members and precision; environments alone; both together?

Every figure is a job.  Jobs run in the order of their importance, each on its own: one that fails or for which no time
is left is a row that says so, and the report is written again after every job.
"""

import gc
import itertools
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import torch

from bench import gpu_show, harness, own
from bench.gpu_measure import Bench, Point
from fastsac.runtime.device import num_cpus
from fastsac.runtime.launch import Mode

Section = Literal["headline", "end-to-end", "launch", "envs", "sweep", "kernels"]
SECTIONS: tuple[Section, ...] = ("headline", "end-to-end", "launch", "envs", "sweep", "kernels")
ABOUT_S: dict[Section, float] = {"headline": 45, "end-to-end": 50, "launch": 10, "envs": 10, "sweep": 30, "kernels": 20}
"""Seconds that a job of each section may take, before one has shown how long it does."""


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 3
    """Timed rounds of every figure.  At least 1."""
    seconds: float = 0.5
    """About how long one round takes; end to end four times as long.  Above 0."""
    budget_s: float = 460.0
    """Seconds to use; jobs that would not end in time are left out, and their rows say so."""
    sections: tuple[Section, ...] = SECTIONS
    """Parts to run."""
    mode: Literal["auto", "eager", "compiled", "captured"] = "auto"
    """How updates run; auto is captured on cuda, else compiled."""
    quick: bool = False
    """Tiny sizes and short rounds, eager unless told otherwise, to see that all of it runs; figures mean nothing."""

    hidden_dims: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""
    transitions: int = 100_000
    """Transitions in the replay of the updates alone.  At least the largest batch."""
    updates_per_launch: tuple[int, ...] = (16, 1, 2, 4, 8, 32)
    """Updates per launch; the first is that of all other figures."""
    batch_sizes: tuple[int, ...] = (256, 2048, 8192)
    """Batches; the first is the headline's."""
    members: tuple[int, ...] = (1, 8, 4, 16)
    """Members; the first two are the headline's."""
    precisions: tuple[own.Precision, ...] = ("high", "bf16", "highest")
    """Matrix products in float32 (highest), TensorFloat-32 (high) or bf16; the first is the headline's."""

    envs: tuple[str, ...] = ("HalfCheetah-v5", "Ant-v5", "G1JoystickFlatTerrain-v1")
    """Environments to step alone; the first is trained end to end."""
    num_envs: tuple[int, ...] = (256, 64, 1024)
    """Numbers of environments; the first is that of the end-to-end figures."""
    env_threads: tuple[int, ...] = ()
    """Threads of the environments; the first is that of all other figures.  Default all cores, half, a quarter."""
    utd_ratios: tuple[float, ...] = (1.0, 0.25, 0.0625)
    """Updates per environment step, end to end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.transitions < max(self.batch_sizes):
            raise ValueError(f"transitions must be at least the largest batch, got {self.transitions}.")


QUICK: dict[str, Any] = {
    "repeats": 2, "seconds": 0.02, "hidden_dims": (8, 8), "transitions": 128,
    "updates_per_launch": (2, 1), "batch_sizes": (8, 16), "members": (1, 2), "envs": ("Pendulum-v1",),
    "num_envs": (4, 2), "env_threads": (2, 1), "utd_ratios": (1.0, 0.25),
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One row of the report.

    Attributes:
        section: the part that it belongs to.
        name: of its row.
        run: measures, and returns what the row says.
    """

    section: Section
    name: str
    run: Callable[[], harness.Row]


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "gpu", __doc__, argv)
    settings = fill_in(settings)
    reporter = harness.Reporter("gpu", __doc__, settings)
    mode, budget = choose_mode(settings, device), Budget(settings.budget_s)

    rows: list[harness.Row] = []
    for job in make_jobs(settings, mode, device):
        rows.append(run_job(job, budget, device))
        print(f"[{budget.used_s():4.0f} s] {job.section}: {job.name}: {gpu_show.outcome(rows[-1])}", flush=True)
        reporter.finish(mode=mode, complete=False, rows=rows)
    report = reporter.finish(mode=mode, complete=True, used_s=budget.used_s(), rows=rows)
    gpu_show.show(report)
    if settings.json is not None:
        gpu_show.draw_all(report, settings.json)
    return report


def fill_in(settings: Settings) -> Settings:
    """The settings with --quick and the machine's cores worked in."""
    if settings.quick:
        settings = replace(settings, mode="eager" if settings.mode == "auto" else settings.mode, **QUICK)
    cores = num_cpus()
    threads = settings.env_threads or tuple(dict.fromkeys((cores, -(-cores // 2), -(-cores // 4))))
    return replace(settings, env_threads=threads)


def choose_mode(settings: Settings, device: torch.device) -> Mode:
    """How updates run."""
    if settings.mode == "auto":
        return "captured" if device.type == "cuda" else "compiled"
    if settings.mode == "captured" and device.type != "cuda":
        raise ValueError(f"mode captured needs a CUDA device, got {device}. Give --mode compiled.")
    return settings.mode


# What is measured, in which order -------------------------------------------------------------------------------------


def make_jobs(settings: Settings, mode: Mode, device: torch.device) -> list[Job]:
    """All jobs, the most important first; the kernels last, because nothing should be timed after profiling."""
    s = settings
    bench = Bench(mode, device, s.repeats, s.seconds, s.hidden_dims, s.transitions)
    first = Point(s.batch_sizes[0], s.members[0], s.precisions[0], s.updates_per_launch[0])
    headline = [replace(first, members=m) for m in s.members[:2]]
    others = [replace(first, per_launch=k) for k in s.updates_per_launch[1:]]  # share what the headline compiled
    jobs = [Job("headline", point.name, partial(bench.updates, point)) for point in headline]
    for utd in s.utd_ratios:
        name = f"{s.envs[0]}, {s.num_envs[0]:,} envs, utd {utd:g}"
        run = partial(bench.end_to_end, s.envs[0], s.num_envs[0], s.env_threads[0], utd, first)
        jobs.append(Job("end-to-end", name, run))
    jobs += [Job("launch", point.name, partial(bench.updates, point)) for point in others]
    for num_envs, threads in env_points(s):
        for env in s.envs:
            name = f"{env}, {num_envs:,} envs, {threads} thread{'s' * (threads > 1)}"
            jobs.append(Job("envs", name, partial(bench.env_steps, env, num_envs, threads)))
    jobs += [Job("sweep", point.name, partial(bench.updates, point, fresh=True)) for point in sweep(s, first, headline)]
    jobs.append(Job("kernels", f"one launch, {first.name}", partial(bench.kernels, first)))
    return [job for job in jobs if job.section in s.sections]


def env_points(settings: Settings) -> list[tuple[int, int]]:
    """(environments, threads): every number of environments with the first threads, and the first with all threads."""
    s = settings
    return [(n, s.env_threads[0]) for n in s.num_envs] + [(s.num_envs[0], t) for t in s.env_threads[1:]]


def sweep(settings: Settings, first: Point, done: Sequence[Point]) -> list[Point]:
    """Batch x members x precision without what is done; points closer to the first come first, then fewer members."""
    s = settings
    points = [Point(b, m, p, first.per_launch) for b, m, p in itertools.product(s.batch_sizes, s.members, s.precisions)]

    def rank(point: Point) -> tuple[int, int]:
        pairs = zip(asdict(point).values(), asdict(first).values(), strict=True)
        return sum(a != b for a, b in pairs), s.members.index(point.members)

    return sorted((point for point in points if point not in done), key=rank)


# Running it -----------------------------------------------------------------------------------------------------------


class Budget:
    """Seconds that may be used from now on, and how long the jobs of each section took.

    Args:
        seconds: in all.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.perf_counter()
        self._longest_s: dict[Section, float] = {}

    def used_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began

    def allows(self, section: Section) -> bool:
        """Whether a job may be expected to end in time; some is kept back for the kernels, which come last."""
        about_s = self._longest_s.get(section, ABOUT_S[section])
        kept_s = 0.0 if section == "kernels" else ABOUT_S["kernels"]
        return self.used_s() + about_s + kept_s <= self.seconds

    def took(self, section: Section, seconds: float) -> None:
        """Note how long a job took."""
        self._longest_s[section] = max(seconds, self._longest_s.get(section, 0.0))


def run_job(job: Job, budget: Budget, device: torch.device) -> harness.Row:
    """The job's row, whatever happens to it."""
    row: harness.Row = {"section": job.section, "name": job.name}
    if not budget.allows(job.section):
        return {**row, "skipped": f"no time left of {budget.seconds:g} s"}
    began = time.perf_counter()
    try:
        tidy_up(device)
        row |= job.run()
        row |= peak_memory(device)
    except Exception as error:  # keep what was measured, and measure the rest
        row |= {"error": f"{type(error).__name__}: {error}"[:2000], "traceback": traceback.format_exc()[-4000:]}
    row["job_s"] = time.perf_counter() - began
    budget.took(job.section, row["job_s"])
    return row


def tidy_up(device: torch.device) -> None:
    """Free what the job before held, so that memory is counted by job."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> harness.Row:
    """The most device memory that tensors took, and that was reserved for them; None on a CPU."""
    if device.type != "cuda":
        return {"peak_allocated_bytes": None, "peak_reserved_bytes": None}
    return {
        "peak_allocated_bytes": torch.cuda.max_memory_allocated(device),
        "peak_reserved_bytes": torch.cuda.max_memory_reserved(device),
    }


if __name__ == "__main__":
    main()
