"""What does one GPU give: updates by launch size, batch, members and precision; environments alone; both together?

Every figure is a job.  Jobs run in the order of their importance, each on its own: one that fails or for which no time
is left is a row that says so, and the report is written again after every job.  On a CPU all runs but the kernels.
"""

import gc
import itertools
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch

from bench.lib import harness, kernels, program, record, tables
from bench.lib.tables import Figures, number, plural
from bench.peers import products
from bench.peers.common import Sizes
from fastsac.config.settings import Config
from fastsac.env import make_spec
from fastsac.learning.learner import Learner
from fastsac.runtime.device import num_cpus
from fastsac.runtime.launch import Mode

Section = Literal["headline", "end-to-end", "launch", "envs", "sweep", "kernels"]
ABOUT_S: dict[Section, float] = {"headline": 45, "end-to-end": 50, "launch": 10, "envs": 10, "sweep": 30, "kernels": 20}
"""Seconds that a job of each section may take, before one has shown how long it does."""
PRECISIONS = {"highest": "float32", "high": "TF32", "bf16": "bf16"}
PARTS = {"wall": "ms per vector step", "env": "environments alone", "learner": "updates alone"}


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 3
    """Timed rounds of every figure.  At least 1."""
    seconds: float = 0.5
    """About how long one round takes; end to end four times as long.  Above 0."""
    budget_s: float = 460.0
    """Seconds to use; jobs that would not end in time are left out, and their rows say so."""
    sections: tuple[Section, ...] = tuple(ABOUT_S)
    """Parts to run."""
    eager: bool = False
    """Do not compile, to see in seconds that all of it runs; figures mean nothing."""

    hidden_dims: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""
    transitions: int = 100_000
    """Transitions in the replay of the updates alone.  At least the largest batch."""
    updates_per_launch: tuple[int, ...] = (16, 1, 2, 4, 8, 32)
    """Updates per launch; the first is that of all other figures."""
    batch_sizes: tuple[int, ...] = (256, 2048, 8192)
    """Batches; the first is that of all other figures."""
    members: tuple[int, ...] = (1, 8, 4, 16)
    """Members; the first is that of all other figures, the second is measured early."""
    precisions: tuple[program.Precision, ...] = ("high", "bf16", "highest")
    """Matrix products in float32 (highest), TensorFloat-32 (high) or bf16; the first is that of all other figures."""

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
        cores = num_cpus()
        if not self.env_threads:
            object.__setattr__(self, "env_threads", tuple(dict.fromkeys((cores, -(-cores // 2), -(-cores // 4)))))
        if self.transitions < max(self.batch_sizes):
            raise ValueError(f"transitions must be at least the largest batch, got {self.transitions}.")


class Point(NamedTuple):
    """One setting of the updates alone."""

    batch_size: int
    members: int
    precision: program.Precision
    per_launch: int

    @property
    def name(self) -> str:
        """`batch 256, 8 members, high, K 16`."""
        return f"batch {self.batch_size:,}, {plural(self.members, 'member')}, {self.precision}, K {self.per_launch}"


class Job(NamedTuple):
    """One row of the report: the part that it belongs to, its name, and what measures it."""

    section: Section
    name: str
    run: Callable[[], harness.Row]


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device, reporter = record.start(Settings, "gpu", __doc__, argv)
    mode: Mode = "eager" if settings.eager else program.compiled_mode(device)
    report: harness.Report = {}
    rows: list[harness.Row] = []
    for row in run_in_time(make_jobs(settings, mode, device), settings.budget_s, device):
        rows.append(row)
        said = tables.problem(row) or f"{tables.extent(row)} {row.get('unit', '')}"
        print(f"{row['section']}: {row['name']}: {said}", flush=True)
        report = reporter.finish(mode=mode, rows=rows)
    return reporter.show(report, figures(report))


# Jobs ---------------------------------------------------------------------------------------------------------------


def make_jobs(settings: Settings, mode: Mode, device: torch.device) -> list[Job]:
    """All jobs, the most important first; the kernels last, because nothing should be timed after profiling."""
    s, bench = settings, Bench(settings, mode, device)
    first = Point(s.batch_sizes[0], s.members[0], s.precisions[0], s.updates_per_launch[0])
    points: dict[Section, list[Point]] = {
        "headline": [first._replace(members=m) for m in s.members[:2]],
        "launch": [first._replace(per_launch=k) for k in s.updates_per_launch[1:]],  # compiled with the headline
        "sweep": [
            *(first._replace(batch_size=b) for b in s.batch_sizes[1:]),
            *(first._replace(precision=p) for p in s.precisions[1:]),
            *(first._replace(members=m) for m in s.members[2:]),
        ],
    }
    jobs = [Job(of, p.name, partial(bench.updates, p, of == "sweep")) for of, these in points.items() for p in these]
    for utd in s.utd_ratios:
        name = f"{s.envs[0]}, {s.num_envs[0]:,} envs, utd {utd:g}"
        jobs.append(Job("end-to-end", name, partial(bench.end_to_end, utd, first)))
    pairs = [(n, s.env_threads[0]) for n in s.num_envs] + [(s.num_envs[0], t) for t in s.env_threads[1:]]
    for (num_envs, threads), env in itertools.product(pairs, s.envs):
        name = f"{env}, {num_envs:,} envs, {plural(threads, 'thread')}"
        jobs.append(Job("envs", name, partial(bench.env_steps, env, num_envs, threads)))
    jobs.append(Job("kernels", f"one launch, {first.name}", partial(bench.kernels, first)))
    order = list(ABOUT_S)
    return sorted((job for job in jobs if job.section in s.sections), key=lambda job: order.index(job.section))


def run_in_time(jobs: Sequence[Job], budget_s: float, device: torch.device) -> Iterator[harness.Row]:
    """The rows of the jobs, whatever happens to them; one that might not end in time is left out."""
    began, about_s = time.perf_counter(), dict(ABOUT_S)
    for job in jobs:
        started = time.perf_counter()
        row: harness.Row = {"section": job.section, "name": job.name}
        kept_s = about_s["kernels"] if jobs[-1].section == "kernels" != job.section else 0.0
        if started - began + about_s[job.section] + kept_s > budget_s:
            yield {**row, "skipped": f"no time left of {budget_s:g} s"}
            continue
        try:
            free_memory(device)
            row |= job.run()
        except Exception as error:  # keep what was measured, and measure the rest
            row |= {"error": f"{type(error).__name__}: {error}"[:2000], "traceback": traceback.format_exc()[-4000:]}
        took_s = time.perf_counter() - started
        so_far = 0.0 if about_s[job.section] == ABOUT_S[job.section] else about_s[job.section]
        about_s[job.section] = max(so_far, took_s)
        yield row


def free_memory(device: torch.device) -> None:
    """Free what is no longer held, so that the next job's memory is its own."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


# What is measured ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """How each figure is measured."""

    settings: Settings
    mode: Mode
    device: torch.device

    def learner(self, point: Point) -> Learner:
        """One with HalfCheetah's observation and action, not compiled yet."""
        k = point.per_launch
        return program.make_learner(
            self.sizes(point), self.mode, self.device, point.members, point.precision, updates_per_launch=k
        )

    def sizes(self, point: Point) -> Sizes:
        """Those of its update."""
        return Sizes(
            hidden_dims=self.settings.hidden_dims,
            batch_size=point.batch_size,
            transitions=self.settings.transitions,
            device=str(self.device),
        )

    def timed(self, run: harness.Run, seconds: float) -> harness.Row:
        """Units a second: the median of the rounds, and their range."""
        return harness.interleave([harness.Candidate("", run)], self.settings.repeats, seconds)[0]

    def updates(self, point: Point, fresh: bool = False) -> harness.Row:
        """Updates alone; `fresh` forgets what was compiled before, of which torch keeps only a few variants."""
        if fresh:
            torch.compiler.reset()
        learner = self.learner(point)
        compile_s = program.compile_seconds(learner)
        due = [point.per_launch] * point.members

        def run(updates: int) -> int:
            launches = -(-updates // point.per_launch)
            for _ in range(launches):
                learner.launch(due)
            program.wait_for(learner)
            return launches * point.per_launch

        row = point._asdict() | self.timed(run, self.settings.seconds)
        del row["name"]  # the job has one
        peak = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None
        row |= {"unit": "updates/s", "compile_s": compile_s, "peak_allocated_bytes": peak}
        return row | {"products_per_s": self.products_alone(point)}

    def products_alone(self, point: Point) -> float | None:
        """Updates a second if they were their matrix products alone: no update is faster than those on this device."""
        try:
            run = products.updates(self.sizes(point), point.members, point.precision, point.per_launch).run
            return float(self.timed(run, min(0.2, self.settings.seconds))["median"])
        except Exception:  # what else was measured is worth keeping
            traceback.print_exc()
            return None

    def end_to_end(self, utd_ratio: float, point: Point) -> harness.Row:
        """Training, its updates again back to back, and its environments alone, in turn."""
        s, num_envs, threads = self.settings, self.settings.num_envs[0], self.settings.env_threads[0]
        config = Config(
            env=s.envs[0],
            num_envs=num_envs,
            env_threads=threads,
            utd_ratio=utd_ratio,
            hidden_dims=s.hidden_dims,
            batch_size=point.batch_size,
            learning_starts=max(4 * num_envs, point.batch_size),
            **program.precision_settings(point.precision),
        )
        program.set_precision(config, self.device)
        training = program.Training(config, self.mode, self.device)
        alone = program.RandomSteps(s.envs[0], num_envs, threads)
        runs = {"wall": training.step, "env": alone.run, "learner": training.learn_alone}
        try:
            candidates = [harness.Candidate(name, run) for name, run in runs.items()]
            rows = harness.interleave(candidates, s.repeats, 4 * s.seconds)
        finally:
            training.close()
            alone.env.close()
        rates = [row["values"] for row in rows]  # of vector steps
        ratios = [min(env, learner) / wall for wall, env, learner in zip(*rates, strict=True)]
        return {
            "unit": "env steps/s",
            **{"env": s.envs[0], "num_envs": num_envs, "env_threads": threads, "utd_ratio": utd_ratio},
            "compile_s": training.compile_s,
            **harness.summary([num_envs * rate for rate in rates[0]]),
            **{f"{row['name']}_ms_per_vec_step": harness.summary([1000 / v for v in row["values"]]) for row in rows},
            "ratio": harness.summary(ratios),
        }

    def env_steps(self, env: str, num_envs: int, threads: int) -> harness.Row:
        """Environments alone; one that is not installed is skipped."""
        try:
            make_spec(env)
        except ValueError as error:
            return {"skipped": str(error)}
        steps = program.RandomSteps(env, num_envs, threads)
        try:
            row = self.timed(steps.run, self.settings.seconds)
        finally:
            steps.env.close()
        told = {"unit": "env steps/s", "env": env, "num_envs": num_envs, "env_threads": threads}
        return told | harness.summary([num_envs * rate for rate in row["values"]])

    def kernels(self, point: Point) -> harness.Row:
        """The kernels of one launch."""
        if self.device.type != "cuda":
            return {"skipped": "needs a CUDA GPU"}
        torch.compiler.reset()
        learner = self.learner(point)
        program.compile_seconds(learner)
        learner.launch([point.per_launch] * point.members)
        program.wait_for(learner)
        return kernels.profile(learner, point.per_launch)


# Tables -------------------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[Figures]:
    """What was measured, question by question."""
    rows: dict[str, list[harness.Row]] = {section: [] for section in ABOUT_S}
    for row in report["rows"]:
        if "skipped" not in row and "error" not in row:
            rows[row["section"]].append(row)
    updates = rows["headline"] + rows["sweep"]
    first = updates[:1]
    found = [environments(rows["envs"]), training(rows["end-to-end"])]
    if first:
        on_cpu = not report["machine"]["gpu"] or report["settings"]["device"] == "cpu"
        precisions = PRECISIONS | ({"high": "float32"} if on_cpu else {})  # what is TF32 on a GPU
        found.append(members(like(first[0], updates, "members"), first[0], precisions, report))
        found.append(batches([row for row in updates if row["members"] == first[0]["members"]], precisions))
        found.append(by_launch(like(first[0], first + rows["launch"], "per_launch"), precisions))
    found.append(of_kernels(rows["kernels"]))
    return [table for table in found if table.rows]


def like(first: harness.Row, rows: Sequence[harness.Row], but_for: str) -> list[harness.Row]:
    """Those that differ from the first one in one setting alone, in its order."""
    same = [name for name in Point._fields if name != but_for]
    return sorted((r for r in rows if all(r[name] == first[name] for name in same)), key=lambda r: int(r[but_for]))


def environments(rows: Sequence[harness.Row]) -> Figures:
    """Environments alone, a column per number."""
    numbers = sorted({row["num_envs"] for row in rows})
    rates = {(row["env"], row["env_threads"], row["num_envs"]): row["median"] for row in rows}
    lines = [
        [f"{env}, {plural(threads, 'thread')}", *(number(rates.get((env, threads, n)), 0) for n in numbers)]
        for env, threads in dict.fromkeys(key[:2] for key in rates)
    ]
    return Figures("env steps/s alone", [plural(n, "env") for n in numbers], lines, "Environments")


def training(rows: Sequence[harness.Row]) -> Figures:
    """Training beside its parts."""
    lines = [
        [f"{row['env']}, {row['num_envs']:,} envs, UTD {row['utd_ratio']:g}", number(row["median"], 0)]
        + [number(row[f"{name}_ms_per_vec_step"]["median"], 2) for name in PARTS]
        + [number(row["ratio"]["median"], 2)]
        for row in rows
    ]
    return Figures("training", ["env steps/s", *PARTS.values(), "over the larger"], lines, "Environments")


def members(
    rows: Sequence[harness.Row], first: harness.Row, precisions: dict[str, str], report: harness.Report
) -> Figures:
    """Updates of one and more members, and the most memory that tensors took."""
    lines = []
    for row in rows:
        memory = row["peak_allocated_bytes"]
        figures = [row["median"], row["members"] * row["median"], first["median"] / row["median"]]
        cells = map(number, [*figures, memory and memory / 2**20])
        lines.append([plural(row["members"], "member"), *cells])
    size = f"{report['settings']['transitions']:,} transitions each"
    title = f"batch {first['batch_size']:,}, {precisions[first['precision']]}, {size}"
    return Figures(title, ["updates/s", "of all members", "times one member", "device memory, MiB"], lines, "Members")


def batches(rows: Sequence[harness.Row], precisions: dict[str, str]) -> Figures:
    """Updates by batch and precision."""
    lines = []
    for row in sorted(rows, key=lambda row: (row["batch_size"], row["precision"])):
        cells = map(number, (row["median"], row["batch_size"] * row["median"], row.get("products_per_s")))
        lines.append([f"batch {row['batch_size']:,}, {precisions[row['precision']]}", *cells])
    return Figures(
        "updates alone",
        ["updates/s", "transitions/s", "their matrix products alone/s"],
        lines,
        "Batch" if len(lines) > 1 else "",
    )


def by_launch(rows: Sequence[harness.Row], precisions: dict[str, str]) -> Figures:
    """Updates a second, a column per number of them in a launch."""
    name = f"batch {rows[0]['batch_size']:,}, {precisions[rows[0]['precision']]}" if rows else ""
    lines = [[name, *(number(row["median"], 0) for row in rows)]] if len(rows) > 1 else []
    return Figures("updates/s by updates per launch", [str(row["per_launch"]) for row in rows], lines, "Batch")


def of_kernels(rows: Sequence[harness.Row]) -> Figures:
    """What one update is on a GPU."""
    lines = [[r["name"], *(number(r[key], 1) for key in ("nodes_per_update", "span_us", "busy_us"))] for r in rows]
    return Figures("an update, profiled", ["graph nodes", "us", "us in kernels"], lines)


if __name__ == "__main__":
    main()
