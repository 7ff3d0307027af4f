"""How each figure of `bench.gpu` is measured: updates alone, training end to end, environments alone, kernels."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from bench import floor, harness, launches, own
from fastsac.config.settings import Config
from fastsac.env import make_spec
from fastsac.runtime.launch import Mode

# Figures to reach on an H200 with hidden layers 256 and 256, batches of 256 and TensorFloat-32.
MIN_UPDATES_PER_S, AIM_UPDATES_PER_S = 6_000, 9_500
MIN_MEMBER_UPDATES_PER_S = 30_000  # eight members
MAX_NODES, MAX_HOST_SHARE, MAX_RATIO = 50, 0.03, 1.15


@dataclass(frozen=True)
class Point:
    """One setting of the updates alone."""

    batch_size: int
    members: int
    precision: own.Precision
    per_launch: int

    @property
    def name(self) -> str:
        """`batch 256, 8 members, high, K 16`."""
        members = "1 member" if self.members == 1 else f"{self.members} members"
        return f"batch {self.batch_size:,}, {members}, {self.precision}, K {self.per_launch}"


@dataclass(frozen=True)
class Bench:
    """What all figures have in common.

    Attributes:
        mode: how updates run.
        device: of the learner.
        repeats: timed rounds of every figure.
        seconds: about how long one round takes; end to end four times as long.
        hidden_dims: widths of the hidden layers.
        transitions: in the replay of the updates alone.
    """

    mode: Mode
    device: torch.device
    repeats: int
    seconds: float
    hidden_dims: tuple[int, ...]
    transitions: int

    def sizes(self, point: Point) -> own.Sizes:
        """Those of an update, with the observation and action of HalfCheetah."""
        return own.Sizes(hidden_dims=self.hidden_dims, batch_size=point.batch_size, transitions=self.transitions)

    def updates(self, point: Point, fresh: bool = False) -> harness.Row:
        """Updates alone; `fresh` forgets what was compiled before, of which torch keeps only a few variants."""
        if fresh:
            torch.compiler.reset()
        sizes, k = self.sizes(point), point.per_launch
        learner = own.make_filled(sizes, self.mode, self.device, point.members, point.precision, k).learner
        with launches.kept_graphs() as graphs:
            compile_s = own.compile_seconds(learner)
            learner.launch([k] * point.members)
            own.wait_for(learner)
        row = {"unit": "updates/s", **asdict(point), "compile_s": compile_s}
        row |= launches.rate(learner, k, self.seconds, self.repeats)
        row |= launches.times(learner, k)
        host_s, gpu_s = row["host_s_per_launch"], row["gpu_s_per_launch"]
        row |= {
            "member_updates_per_s": point.members * row["median"],
            "gpu_us_per_update": gpu_s and 1e6 * gpu_s / k,
            "gpu_busy_share": gpu_s and gpu_s / k * row["median"],
            "host_share": gpu_s and host_s / gpu_s,
            "floor_us_per_update": gpu_s and 1e6 * floor.floor_s(sizes, point.members, point.precision),
            **nodes_per_update(graphs, k),
        }
        return {**row, "targets": self.update_targets(point, row)}

    def update_targets(self, point: Point, row: harness.Row) -> list[harness.Row]:
        """What the figures of this point should be, where that was said."""
        if self.hidden_dims != (256, 256) or (point.batch_size, point.precision, point.per_launch) != (256, "high", 16):
            return []
        if point.members == 8:
            return [target("member-updates/s", row["member_updates_per_s"], ">=", MIN_MEMBER_UPDATES_PER_S)]
        if point.members != 1:
            return []
        return [
            target("updates/s", row["median"], ">=", MIN_UPDATES_PER_S, AIM_UPDATES_PER_S),
            target("nodes", row["nodes_per_update"], "<=", MAX_NODES),
            target("host share", row["host_share"], "<=", MAX_HOST_SHARE),
        ]

    def end_to_end(self, env: str, num_envs: int, threads: int, utd_ratio: float, point: Point) -> harness.Row:
        """Training, its updates alone, and its environments alone, in turn, each with equally many vector steps.

        Args:
            env: the environment's name.
            num_envs: stepped together.
            threads: of the environments.
            utd_ratio: updates per environment step.
            point: batch and precision of the updates.
        """
        config = Config.for_env(
            env,
            num_envs=num_envs,
            env_threads=threads,
            utd_ratio=utd_ratio,
            hidden_dims=self.hidden_dims,
            batch_size=point.batch_size,
            learning_starts=max(4 * num_envs, point.batch_size),
            **own.precision_settings(point.precision),
        )
        own.set_precision(config, self.device)
        training = own.Training(config, self.mode, self.device)
        alone = own.RandomSteps(env, num_envs, threads)
        try:
            rounds = TrainingRounds(training, alone, 4 * self.seconds)
            for _ in range(self.repeats):
                rounds.run()
        finally:
            training.close()
            alone.env.close()
        told = {"env": env, "num_envs": num_envs, "env_threads": threads, "utd_ratio": utd_ratio}
        row = {"unit": "env steps/s", **told, "compile_s": training.compile_s, **rounds.results()}
        judged = self.hidden_dims == (256, 256)
        return {**row, "targets": [target("ratio", row["ratio"]["median"], "<=", MAX_RATIO)] if judged else []}

    def env_steps(self, env: str, num_envs: int, threads: int) -> harness.Row:
        """Environments alone; one that is not installed is skipped."""
        try:
            make_spec(env)
        except ValueError as error:
            return {"skipped": str(error)}
        steps = own.RandomSteps(env, num_envs, threads)
        try:
            vec_steps = harness.calibrate(steps.run, self.seconds)
            rounds = [harness.measure(steps.run, vec_steps) for _ in range(self.repeats)]
        finally:
            steps.env.close()
        rates = harness.summary([vec_steps * num_envs / s for _, s in rounds])
        told = {"env": env, "num_envs": num_envs, "env_threads": threads, "make_s": steps.make_s}
        return {"unit": "env steps/s", **rates, **told, "vec_steps_per_round": vec_steps}

    def kernels(self, point: Point) -> harness.Row:
        """The kernels of one launch."""
        if self.device.type != "cuda":
            return {"skipped": "needs a CUDA GPU"}
        torch.compiler.reset()
        learner = own.make_filled(
            self.sizes(point), self.mode, self.device, point.members, point.precision, point.per_launch
        ).learner
        own.compile_seconds(learner)
        learner.launch([point.per_launch] * point.members)
        own.wait_for(learner)
        return launches.profile(learner, point.per_launch)


class TrainingRounds:
    """Rounds of training, updates alone and environments alone, and what they took.

    Args:
        training: the loop, warm.
        alone: environments like its own.
        seconds: about how long training takes in one round.
    """

    def __init__(self, training: own.Training, alone: own.RandomSteps, seconds: float) -> None:
        self.training, self.alone = training, alone
        self.launched: list[list[int]] = []  # by the last vector steps
        self.seconds: dict[str, list[float]] = {"wall": [], "learner": [], "env": []}
        self.waited_s: dict[str, float] = {}
        self.updates: list[int] = []
        self.vec_steps = harness.calibrate(self._train, seconds)
        self._learn(self.vec_steps)
        self.alone.run(self.vec_steps)

    def run(self) -> None:
        """One round of each."""
        before = self._waited()
        self.seconds["wall"].append(harness.measure(self._train, self.vec_steps)[1])
        for name, now in self._waited().items():
            self.waited_s[name] = self.waited_s.get(name, 0.0) + now - before.get(name, 0.0)
        self.updates.append(sum(due[0] for due in self.launched))
        self.seconds["learner"].append(harness.measure(self._learn, self.vec_steps)[1])
        self.seconds["env"].append(harness.measure(self.alone.run, self.vec_steps)[1])

    def results(self) -> harness.Row:
        """Rates, times per vector step, shares of waiting, and wall time over the larger of the other two."""
        steps = self.vec_steps * self.alone.env.num_envs
        rounds = zip(*self.seconds.values(), strict=True)
        wall_s = sum(self.seconds["wall"])
        return {
            **harness.summary([steps / s for s in self.seconds["wall"]]),
            "vec_steps_per_round": self.vec_steps,
            "updates_per_round": self.updates,
            **{
                f"{name}_ms_per_vec_step": harness.summary([1000 * s / self.vec_steps for s in seconds])
                for name, seconds in self.seconds.items()
            },
            "waited_share": {name: s / wall_s for name, s in self.waited_s.items()} or None,
            "ratio": harness.summary([wall / max(learner, env) for wall, learner, env in rounds]),
        }

    def _waited(self) -> dict[str, float]:
        return dict(getattr(self.training.collector, "waited", {}))

    def _train(self, vec_steps: int) -> int:
        self.launched = [self.training.step() for _ in range(vec_steps)]
        own.wait_for(self.training.learner)
        return vec_steps

    def _learn(self, vec_steps: int) -> int:
        self.training.learn_alone(self.launched)
        own.wait_for(self.training.learner)
        return vec_steps


def nodes_per_update(graphs: Sequence[Any], per_launch: int) -> harness.Row:
    """Nodes of the largest graph by its updates; None without graphs, or where they cannot be counted."""
    try:
        return {"nodes_per_update": max(map(launches.count_nodes, graphs)) / per_launch if graphs else None}
    except Exception as error:
        return {"nodes_per_update": None, "nodes_error": f"{type(error).__name__}: {error}"}


def target(
    figure: str, value: float | None, sign: Literal["<=", ">="], bound: float, aim: float | None = None
) -> harness.Row:
    """One target and whether it is met; None where there is no figure."""
    met = None if value is None else (value <= bound if sign == "<=" else value >= bound)
    return {"figure": figure, "value": value, "sign": sign, "bound": bound, "aim": aim, "met": met}
