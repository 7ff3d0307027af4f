"""What does one GPU give: updates by launch size, batch, members and precision; environments alone; both together?

Every figure is a job.  Jobs run in the order of their importance, each on its own: one that fails or for which no time
is left is a row that says so, and the report is written again after every job.  On a CPU all runs but the kernels.
"""

import itertools
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import torch

from bench.lib import harness, launches, program, tables
from bench.lib.record import Reporter
from bench.lib.results import Result, measured
from bench.peers import common, products
from fastsac.config.settings import Config
from fastsac.env import make_spec
from fastsac.learning.learner import Learner
from fastsac.runtime.device import num_cpus
from fastsac.runtime.launch import Mode

QUESTION = __doc__ or ""
Section = Literal["headline", "end-to-end", "launch", "envs", "sweep", "kernels"]
SECTIONS: tuple[Section, ...] = ("headline", "end-to-end", "launch", "envs", "sweep", "kernels")
ABOUT_S: dict[Section, float] = {"headline": 45, "end-to-end": 50, "launch": 10, "envs": 10, "sweep": 30, "kernels": 20}
"""Seconds that a job of each section may take, before one has shown how long it does."""
PRECISIONS = {"highest": "float32", "high": "TF32", "bf16": "bf16"}


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
    precisions: tuple[program.Precision, ...] = ("high", "bf16", "highest")
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
class Point:
    """One setting of the updates alone."""

    batch_size: int
    members: int
    precision: program.Precision
    per_launch: int

    @property
    def name(self) -> str:
        """`batch 256, 8 members, high, K 16`."""
        members = tables.plural(self.members, "member")
        return f"batch {self.batch_size:,}, {members}, {self.precision}, K {self.per_launch}"


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
    settings, device = harness.start(Settings, "gpu", QUESTION, argv)
    settings = fill_in(settings)
    with harness.one_line("gpu"):
        mode, budget = choose_mode(settings, device), Budget(settings.budget_s)
    reporter = Reporter("gpu", QUESTION, settings, argv)

    rows: list[harness.Row] = []
    for job in make_jobs(settings, mode, device):
        rows.append(run_job(job, budget, device))
        figure = f"{tables.number(rows[-1].get('median'))} {rows[-1].get('unit', '')} {notes(rows[-1])}"
        print(f"[{budget.used_s():4.0f} s] {job.section}: {job.name}: {figure.strip()}", flush=True)
        reporter.finish(mode=mode, complete=False, rows=rows)
    report = reporter.finish(mode=mode, complete=True, used_s=budget.used_s(), rows=rows)
    tables.show(figures(report))
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
        return program.compiled_mode(device)
    if settings.mode == "captured" and device.type != "cuda":
        raise ValueError(f"mode captured needs a CUDA device, got {device}. Give --mode compiled.")
    return settings.mode


# What is measured, in which order -----------------------------------------------------------------------------------


def make_jobs(settings: Settings, mode: Mode, device: torch.device) -> list[Job]:
    """All jobs, the most important first; the kernels last, because nothing should be timed after profiling."""
    s = settings
    bench = Bench(s, mode, device)
    first = Point(s.batch_sizes[0], s.members[0], s.precisions[0], s.updates_per_launch[0])
    headline = [replace(first, members=m) for m in s.members[:2]]
    others = [replace(first, per_launch=k) for k in s.updates_per_launch[1:]]  # share what the headline compiled
    jobs = [Job("headline", point.name, partial(bench.updates, point)) for point in headline]
    for utd in s.utd_ratios:
        name = f"{s.envs[0]}, {s.num_envs[0]:,} envs, utd {utd:g}"
        jobs.append(Job("end-to-end", name, partial(bench.end_to_end, s.envs[0], utd, first)))
    jobs += [Job("launch", point.name, partial(bench.updates, point)) for point in others]
    pairs = [(n, s.env_threads[0]) for n in s.num_envs] + [(s.num_envs[0], t) for t in s.env_threads[1:]]
    for (num_envs, threads), env in itertools.product(pairs, s.envs):
        name = f"{env}, {num_envs:,} envs, {tables.plural(threads, 'thread')}"
        jobs.append(Job("envs", name, partial(bench.env_steps, env, num_envs, threads)))
    jobs += [Job("sweep", point.name, partial(bench.updates, point, fresh=True)) for point in sweep(s, first, headline)]
    jobs.append(Job("kernels", f"one launch, {first.name}", partial(bench.kernels, first)))
    return [job for job in jobs if job.section in s.sections]


def sweep(settings: Settings, first: Point, done: Sequence[Point]) -> list[Point]:
    """Batch x members x precision without what is done; points closer to the first come first, then fewer members."""
    s = settings
    points = [Point(b, m, p, first.per_launch) for b, m, p in itertools.product(s.batch_sizes, s.members, s.precisions)]

    def rank(point: Point) -> tuple[int, int]:
        pairs = zip(asdict(point).values(), asdict(first).values(), strict=True)
        return sum(a != b for a, b in pairs), s.members.index(point.members)

    return sorted((point for point in points if point not in done), key=rank)


@dataclass(frozen=True)
class Bench:
    """How each figure is measured."""

    settings: Settings
    mode: Mode
    device: torch.device

    def updates(self, point: Point, fresh: bool = False) -> harness.Row:
        """Updates alone; `fresh` forgets what was compiled before, of which torch keeps only a few variants."""
        if fresh:
            torch.compiler.reset()
        k, learner = point.per_launch, self.learner(point)
        with launches.kept_graphs() as graphs:
            compile_s = program.compile_seconds(learner)
            learner.launch([k] * point.members)
            program.wait_for(learner)
        row = {"unit": "updates/s", **asdict(point), "compile_s": compile_s}
        row |= launches.rate(learner, k, self.settings.seconds, self.settings.repeats) | launches.times(learner, k)
        host_s, gpu_s = row["host_s_per_launch"], row["gpu_s_per_launch"]
        return row | {
            "peak_allocated_bytes": peak_bytes(self.device),  # without the products below
            "member_updates_per_s": point.members * row["median"],
            "gpu_us_per_update": gpu_s and 1e6 * gpu_s / k,
            "host_share": gpu_s and host_s / gpu_s,
            **self.products_alone(point),
            **launches.nodes_per_update(graphs, k),
        }

    def products_alone(self, point: Point) -> harness.Row:
        """What the matrix products of an update take alone on this device: it can be no faster than they are."""
        told = asdict(self.sizes(point)) | {"device": str(self.device)}
        try:
            run = products.updates(common.Sizes(**told), point.members, point.precision, point.per_launch).run
            done, seconds = harness.measure(run, harness.calibrate(run, min(0.2, self.settings.seconds)))
            return {"products_us_per_update": 1e6 * seconds / done}
        except Exception as error:  # what else was measured is worth keeping
            return {"products_us_per_update": None, "products_error": f"{type(error).__name__}: {error}"}

    def end_to_end(self, env: str, utd_ratio: float, point: Point) -> harness.Row:
        """Training, its updates alone, and its environments alone, in turn, each with equally many vector steps.

        Args:
            env: the environment's name.
            utd_ratio: updates per environment step.
            point: batch and precision of the updates.
        """
        s, num_envs, threads = self.settings, self.settings.num_envs[0], self.settings.env_threads[0]
        config = Config.for_env(
            env,
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
        alone = program.RandomSteps(env, num_envs, threads)
        try:
            rounds = TrainingRounds(training, alone, 4 * s.seconds)
            for _ in range(s.repeats):
                rounds.run()
        finally:
            training.close()
            alone.env.close()
        told = {"env": env, "num_envs": num_envs, "env_threads": threads, "utd_ratio": utd_ratio}
        return {"unit": "env steps/s", **told, "compile_s": training.compile_s, **rounds.results()}

    def env_steps(self, env: str, num_envs: int, threads: int) -> harness.Row:
        """Environments alone; one that is not installed is skipped."""
        try:
            make_spec(env)
        except ValueError as error:
            return {"skipped": str(error)}
        steps = program.RandomSteps(env, num_envs, threads)
        candidate = harness.Candidate("", steps.run_steps)
        try:
            (row,) = harness.interleave([candidate], self.settings.repeats, self.settings.seconds)
        finally:
            steps.env.close()
        told = {"env": env, "num_envs": num_envs, "env_threads": threads, "make_s": steps.make_s}
        return {"unit": "env steps/s", **told, **{key: row[key] for key in ("median", "min", "max", "values")}}

    def kernels(self, point: Point) -> harness.Row:
        """The kernels of one launch."""
        if self.device.type != "cuda":
            return {"skipped": "needs a CUDA GPU"}
        torch.compiler.reset()
        learner = self.learner(point)
        program.compile_seconds(learner)
        learner.launch([point.per_launch] * point.members)
        program.wait_for(learner)
        return launches.profile(learner, point.per_launch)

    def sizes(self, point: Point) -> program.Sizes:
        """Those of an update, with the observation and action of HalfCheetah."""
        s = self.settings
        return program.Sizes(hidden_dims=s.hidden_dims, batch_size=point.batch_size, transitions=s.transitions)

    def learner(self, point: Point) -> Learner:
        """One that is not compiled yet."""
        k = point.per_launch
        return program.make_filled(self.sizes(point), self.mode, self.device, point.members, point.precision, k).learner


class TrainingRounds:
    """Rounds of training, updates alone and environments alone, and what they took.

    Args:
        training: the loop, warm.
        alone: environments like its own.
        seconds: about how long training takes in one round.
    """

    def __init__(self, training: program.Training, alone: program.RandomSteps, seconds: float) -> None:
        self.training, self.alone = training, alone
        self.launched: list[list[int]] = []  # by the last vector steps
        self.seconds: dict[str, list[float]] = {"wall": [], "learner": [], "env": []}
        self.vec_steps = harness.calibrate(self._train, seconds)
        self._learn(self.vec_steps)
        self.alone.run(self.vec_steps)

    def run(self) -> None:
        """One round of each."""
        for name, part in (("wall", self._train), ("learner", self._learn), ("env", self.alone.run)):
            self.seconds[name].append(harness.measure(part, self.vec_steps)[1])

    def results(self) -> harness.Row:
        """Rates, times per vector step, and wall time over the larger of the other two."""
        steps = self.vec_steps * self.alone.env.num_envs
        rounds = zip(*self.seconds.values(), strict=True)
        return {
            **harness.summary([steps / s for s in self.seconds["wall"]]),
            "vec_steps_per_round": self.vec_steps,
            **{
                f"{name}_ms_per_vec_step": harness.summary([1000 * s / self.vec_steps for s in seconds])
                for name, seconds in self.seconds.items()
            },
            "ratio": harness.summary([wall / max(learner, env) for wall, learner, env in rounds]),
        }

    def _train(self, vec_steps: int) -> int:
        self.launched = [self.training.step() for _ in range(vec_steps)]
        program.wait_for(self.training.learner)
        return vec_steps

    def _learn(self, vec_steps: int) -> int:
        self.training.learn_alone(self.launched)
        program.wait_for(self.training.learner)
        return vec_steps


# Running it ---------------------------------------------------------------------------------------------------------


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
        program.tidy_up(device)
        row |= job.run()
        row.setdefault("peak_allocated_bytes", peak_bytes(device))
    except Exception as error:  # keep what was measured, and measure the rest
        row |= {"error": f"{type(error).__name__}: {error}"[:2000], "traceback": traceback.format_exc()[-4000:]}
    row["job_s"] = time.perf_counter() - began
    budget.took(job.section, row["job_s"])
    return row


def peak_bytes(device: torch.device) -> int | None:
    """The most device memory that tensors took in this job; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


# Table --------------------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[tables.Figures]:
    """One line per job."""
    columns = ["", "median", "min", "max", "unit", "GPU us", "products us", "nodes", "host %", "MiB", "notes"]
    lines = []
    for row in report["rows"]:
        share, memory = row.get("host_share"), row.get("peak_allocated_bytes")
        lines.append(
            [f"{row['section']}: {row['name']}", *tables.spread(row, 0), row.get("unit", "")]
            + [tables.number(row.get(key), 1) for key in ("gpu_us_per_update", "products_us_per_update")]
            + [tables.number(row.get("nodes_per_update"), 1), tables.number(share and 100 * share, 1)]
            + [tables.number(memory and memory / 2**20, 0), notes(row)]
        )
    title = "gpu: times and nodes are per update of all members; host time is a share of GPU time"
    return [tables.Figures(title, columns, lines)]


def notes(row: harness.Row) -> str:
    """What else a line should say."""
    said = [tables.problem(row)]
    if row.get("members", 1) > 1 and "median" in row:
        said.append(f"{row['member_updates_per_s']:,.0f} member-updates/s")
    if "ratio" in row:
        ms = {name: row[f"{name}_ms_per_vec_step"]["median"] for name in ("wall", "env", "learner")}
        said.append("ms per vector step: wall {wall:.2f}, env {env:.2f}, learner {learner:.2f}".format(**ms))
        said.append(f"ratio {row['ratio']['median']:.2f}")
    if "busy_us" in row:
        said.append(f"{row['span_us']:.1f} us per update, of which kernels {row['busy_us']:.1f}")
    return "; ".join(filter(None, said))


def by_launch(rows: Sequence[harness.Row]) -> list[harness.Row]:
    """The headline and what differs from it in the updates per launch alone."""
    first = next((row for row in rows if row["section"] == "headline"), None)
    keys = ("batch_size", "members", "precision")
    same = [row for row in rows if first and row["section"] in ("headline", "launch")]
    same = [row for row in same if first and all(row[key] == first[key] for key in keys)]
    return sorted(same, key=lambda row: int(row["per_launch"]))


def members_of(row: harness.Row) -> int:
    """How many."""
    return int(row["members"])


def described(row: harness.Row) -> str:
    """`batch 256, 1 member, TF32`; what is TF32 on a GPU is float32 on a CPU."""
    on_cpu = row.get("gpu_us_per_update") is None
    precision = PRECISIONS["highest" if on_cpu and row["precision"] == "high" else row["precision"]]
    return f"batch {row['batch_size']:,}, {tables.plural(row['members'], 'member')}, {precision}"


# The results page ---------------------------------------------------------------------------------------------------


def page_environments(results: Sequence[Result]) -> Iterator[str]:
    """Environments alone, a column per number; training beside its parts."""
    for result in results:
        rows = [row for row in measured(result.report) if row["section"] == "envs"]
        numbers = sorted({row["num_envs"] for row in rows})
        rates = {(row["env"], row["env_threads"], row["num_envs"]): row["median"] for row in rows}
        lines = []
        for env, threads in dict.fromkeys(key[:2] for key in rates):
            figures = (tables.number(rates.get((env, threads, n)), 0) for n in numbers)
            lines.append([f"{env}, {tables.plural(threads, 'thread')}", *figures])
        columns = [f"env steps/s alone, on {result.machine}", *(tables.plural(n, "env") for n in numbers)]
        yield tables.Figures("", columns, lines).markdown() if lines else ""
    for result in results:
        rows = [row for row in measured(result.report) if row["section"] == "end-to-end"]
        lines = []
        for row in rows:
            line = [
                f"{row['env']}, {row['num_envs']:,} envs, UTD {row['utd_ratio']:g}",
                tables.number(row["median"], 0),
            ]
            line += [tables.number(row[f"{name}_ms_per_vec_step"]["median"], 2) for name in ("wall", "env", "learner")]
            lines.append([*line, tables.number(row["ratio"]["median"], 2)])
        columns = [f"training on {result.machine}", "env steps/s", "ms per vector step", "environments alone"]
        columns += ["updates alone", "over the larger"]
        yield tables.Figures("", columns, lines).markdown() if lines else ""


def page_members(results: Sequence[Result]) -> Iterator[str]:
    """Updates of one and more members."""
    for result in results:
        rows = [row for row in measured(result.report) if row["section"] in ("headline", "sweep")]
        rows = [r for r in rows if (r["batch_size"], r["precision"]) == (rows[0]["batch_size"], rows[0]["precision"])]
        one = next((row["median"] for row in rows if row["members"] == 1), None)
        lines = [
            [
                tables.plural(row["members"], "member"),
                tables.number(row["median"], 0),
                tables.number(row["member_updates_per_s"], 0),
                tables.number(one and one / row["median"], 2),
            ]
            for row in sorted(rows, key=members_of)
        ]
        columns = [f"{described(rows[0]).replace('1 member, ', '')} on {result.machine}" if rows else "", "updates/s"]
        yield (
            tables.Figures("", [*columns, "of all members", "times one member"], lines).markdown()
            if len(lines) > 1
            else ""
        )


def page_batch(results: Sequence[Result]) -> Iterator[str]:
    """Updates of one member by batch and precision; by launch in one line."""
    for result in results:
        rows = [r for r in measured(result.report) if r["section"] in ("headline", "sweep") and r["members"] == 1]
        lines = []
        for row in sorted(rows, key=lambda row: (row["batch_size"], row["precision"])):
            line = [
                described(row),
                tables.number(row["median"], 0),
                tables.number(row["batch_size"] * row["median"], 0),
            ]
            line += [tables.number(row.get(key), 1) for key in ("gpu_us_per_update", "products_us_per_update")]
            lines.append([*line, tables.number(row.get("nodes_per_update"), 0)])
        columns = [f"updates alone on {result.machine}", "updates/s", "transitions/s", "GPU us", "products alone, us"]
        yield tables.Figures("", [*columns, "graph nodes"], lines).markdown() if rows else ""
        same = by_launch(measured(result.report))
        rates = ", ".join(f"{row['per_launch']}: {row['median']:,.0f}" for row in same)
        yield f"Updates/s on {result.machine} by updates per launch: {rates}." if len(same) > 1 else ""


def page_memory(results: Sequence[Result]) -> Iterator[str]:
    """The most that tensors took."""
    for result in results:
        rows = [r for r in measured(result.report) if r["section"] == "headline" and r.get("peak_allocated_bytes")]
        told = [f"{tables.plural(r['members'], 'member')} {r['peak_allocated_bytes'] / 2**20:,.0f} MiB" for r in rows]
        size = result.report["settings"]["transitions"]
        yield f"On {result.machine}, device memory with {size:,} transitions each: {', '.join(told)}." if rows else ""


PAGE = {
    "Environments": page_environments,
    "Members": page_members,
    "Batch": page_batch,
    "Memory": page_memory,
}

if __name__ == "__main__":
    main()
