"""This program, for all questions: learners over random numbers, the training loop, environments alone, evaluations."""

import contextlib
import dataclasses
import io
import itertools
import math
import tempfile
import time
import weakref
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces

from bench.lib.evaluator import Array, Watch
from bench.lib.harness import Row
from bench.peers.common import Sizes
from fastsac.config.settings import Config
from fastsac.env import EnvSpec, make_env
from fastsac.learning.gradient_step import NO_FAULT_STEP
from fastsac.learning.learner import Learner, Parts, make_parts
from fastsac.run.evaluator import Evaluation, Evaluator
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run
from fastsac.runtime.launch import Mode

Precision = Literal["highest", "high", "bf16"]

ENDLESS = 2**31  # steps: neither the update budget nor a log point comes during a measurement
FILL_STEPS = 64  # vector steps that the random replay seems to come from: few and wide ones are fast on a GPU


def make_learner(
    sizes: Sizes, mode: Mode, device: torch.device, members: int = 1, precision: Precision = "high", **settings: Any
) -> Learner:
    """A learner, not compiled yet, with random transitions in its replay; `settings` are further fields of `Config`.

    Learners that differ in `updates_per_launch` alone share what is compiled, and capture graphs of their own.
    """
    parts = make_empty(sizes, mode, device, members, precision, **settings)
    set_precision(parts.learner.config, device)
    fill_(parts, sizes.transitions)
    return parts.learner


def make_empty(
    sizes: Sizes, mode: Mode, device: torch.device, members: int = 1, precision: Precision = "high", **settings: Any
) -> Parts:
    """A learner as that of `make_learner`, with nothing in its replay."""
    spec = EnvSpec("random numbers", sizes.obs_dim, sizes.action_dim, (("obs", sizes.obs_dim),), None)
    config = Config(
        env=spec.env_id,
        num_envs=max(1, sizes.transitions // FILL_STEPS),
        seeds=members,
        batch_size=sizes.batch_size,
        learning_starts=sizes.batch_size,
        hidden_dims=sizes.hidden_dims,
        buffer_size=sizes.transitions,
        **precision_settings(precision),
        **settings,
    )
    return make_parts(config, spec, device, mode)


def precision_settings(precision: Precision) -> dict[str, Any]:
    """Fields of `Config` for float32, TensorFloat-32 (high) or bfloat16 in matrix products."""
    return {"matmul_precision": "highest" if precision == "highest" else "high", "bf16": precision == "bf16"}


def set_precision(config: Config, device: torch.device) -> None:
    """Give the whole process the precision of `config`, which its learner must find when it compiles and runs."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision(config.matmul_precision)


def fill_(parts: Parts, transitions: int) -> None:
    """Put at least `transitions` random transitions into the replay, none of them the end of an episode."""
    learner, replay = parts.learner, parts.replay
    config, algorithm = learner.config, learner.algorithm
    shape = (config.num_members, config.num_envs)
    generator = torch.Generator(learner.device).manual_seed(0)
    never = torch.zeros(shape, dtype=torch.bool, device=learner.device)

    def normal(*rest: int) -> torch.Tensor:
        return torch.randn(*shape, *rest, device=learner.device, generator=generator)

    replay.reset_(normal(algorithm.encoder.obs_dim))
    for _ in range(-(-transitions // config.num_envs)):
        replay.add_(normal(algorithm.action_dim).tanh(), normal(), never, never, normal(algorithm.encoder.obs_dim))


def compile_seconds(learner: Learner) -> float:
    """Seconds for compiling (and capturing) now; a cache on disk makes it shorter, and 0 is for eager."""
    if learner.mode == "eager":
        return 0.0
    began = time.perf_counter()
    learner.warm_up()
    return time.perf_counter() - began


def compiled_mode(device: torch.device) -> Mode:
    """What `auto` chooses for a long run on this device."""
    return "captured" if device.type == "cuda" else "compiled"


def wait_for(learner: Learner) -> None:
    """One log point, as in training: read the metrics, which waits for the device, and see that they are finite."""
    learner.read_metrics()
    if any(step != NO_FAULT_STEP for step in learner.fault_steps()):
        raise RuntimeError(f"the losses were not finite from gradient step {learner.fault_steps()} on")


def hyper_parameters(config: Config) -> Row:
    """The settings that affect what is learned and how fast; tables have task and preset elsewhere."""
    names = {*Config.names(affects="learning"), *Config.names(affects="speed")} - {"env", "preset"}
    return {name: value for name, value in dataclasses.asdict(config).items() if name in names}


def endless(config: Config, run_dir: str, device: str) -> Config:
    """The settings of a run that comes to no log point and to no end."""
    return config.replace(
        total_steps=ENDLESS, log_every=ENDLESS, eval_every=0, checkpoint_every=0, tensorboard=False, run_dir=run_dir,
        device=device, cpu_threads=torch.get_num_threads(),
    )  # fmt: skip


class Training:
    """A training run without log points; made compiled and past the steps with random actions."""

    def __init__(self, config: Config, mode: Mode, device: torch.device) -> None:
        stack = contextlib.ExitStack()
        self.close = weakref.finalize(self, stack.close)  # closes the run, and removes what it wrote
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        config = endless(config, f"{folder}/run", str(device))
        with contextlib.redirect_stdout(io.StringIO()):
            self._run = stack.enter_context(Run(dataclasses.replace(make_plan(config), mode=mode)))
            self._run.start()
        self._launched: list[list[int]] = []
        self.learner, self.collector, self.compile_s = self._run.learner, self._run.collector, self._run.compile_s
        self.run(config.learning_starts)

    def run(self, num_steps: int) -> int:
        """At least so many environment steps; returns how many."""
        before = self._run.env_steps
        while self._run.env_steps < before + num_steps:
            self._run.step()
        return self._run.env_steps - before

    def run_and_wait(self, num_steps: int) -> int:
        """As `run`, and wait for the device."""
        done = self.run(num_steps)
        wait_for(self.learner)
        return done

    def step(self, vec_steps: int) -> int:
        """So many vector steps, which `learn_alone` has the updates of; waits for the device."""
        self._launched = []
        for _ in range(vec_steps):
            self._launched.append(self.collector.due())
            self._run.step()
        wait_for(self.learner)
        return vec_steps

    def learn_alone(self, vec_steps: int) -> int:
        """As many updates as the last ones of `step` made, back to back; `step` goes on as if they had not been."""
        launches = list(itertools.islice(itertools.cycle(self._launched), vec_steps))
        for due in launches:
            self.learner.launch(due)
        utd = self._run.config.utd_ratio
        again = [math.ceil(sum(updates) / utd) for updates in zip(*launches, strict=True)]  # steps that bring as many
        self.collector.env_steps = [s + more for s, more in zip(self.collector.env_steps, again, strict=True)]
        wait_for(self.learner)
        return vec_steps


class RandomSteps:
    """Environments alone, stepped with random actions that were drawn before."""

    def __init__(self, env: str, num_envs: int, num_threads: int) -> None:
        self.env = make_env(env, list(range(num_envs)), num_threads)
        self.env.reset()
        shape = (16, num_envs, self.env.spec.action_dim)
        self._actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

    def run(self, vec_steps: int) -> int:
        """So many vector steps, resets included."""
        for i in range(vec_steps):
            self.env.send(self._actions[i % len(self._actions)])
            self.env.recv()
        return vec_steps


# Evaluations --------------------------------------------------------------------------------------------------------


def evaluator_of(watch: Watch) -> Evaluator:
    """The evaluator that all systems share, for a run with one member."""

    def evaluate(run: Run) -> Evaluation:
        def act(obs: Array) -> Array:
            """Best actions for Gymnasium's observations [N, ...], in Gymnasium's units."""
            env = watch.envs[0]
            flat = np.stack([np.asarray(spaces.flatten(env.observation_space, o), np.float32) for o in obs])  # [N, O]
            with torch.no_grad():
                action = run.learner.act_deterministic(torch.from_numpy(flat)[None].to(run.plan.device))[0]
            return in_units(action.cpu().numpy(), env.action_space)

        return Evaluation(np.array([watch.add(act, run.env_steps)]))

    return evaluate


def in_units(action: Array, space: spaces.Space[Any]) -> Array:
    """Actions [N, A] in [-1, 1], or one-hot, as `space` has them."""
    if isinstance(space, spaces.Discrete):
        choices: Array = space.start + action.argmax(-1)
        return choices
    assert isinstance(space, spaces.Box)
    scaled: Array = np.clip(space.low + (space.high - space.low) * (action + 1) / 2, space.low, space.high)
    return scaled.astype(space.dtype)
