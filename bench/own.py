"""This program as a candidate: a learner over a replay of random numbers, and the training loop over environments."""

import time
from dataclasses import dataclass

import torch

from bench.harness import Candidate
from fastsac import random
from fastsac.collect import Collector
from fastsac.config import Config
from fastsac.env import EnvSpec, make_env, make_spec
from fastsac.launch import Mode
from fastsac.learner import NEVER, Learner

FILL_ENVS = 16  # environments that the random replay seems to come from


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What an update costs depends on these alone."""

    obs_dim: int = 17
    """Length of the observation."""
    action_dim: int = 6
    """Length of the action."""
    hidden_dims: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of actor and critics."""
    batch_size: int = 256
    """Transitions per update."""
    transitions: int = 100_000
    """Transitions in the replay that batches are drawn from."""


def make_learner(sizes: Sizes, mode: Mode, device: torch.device) -> Learner:
    """A learner with random transitions in its replay, not compiled yet."""
    spec = EnvSpec("random numbers", sizes.obs_dim, sizes.action_dim, (("obs", sizes.obs_dim),), None)
    config = Config(
        env=spec.env_id,
        num_envs=FILL_ENVS,
        batch_size=sizes.batch_size,
        learning_starts=sizes.batch_size,
        hidden_dims=sizes.hidden_dims,
        buffer_size=sizes.transitions,
    )
    learner = Learner(config, spec, device, mode)
    fill_(learner, sizes.transitions)
    return learner


def fill_(learner: Learner, transitions: int) -> None:
    """Put at least `transitions` random transitions into the replay, none of them the end of an episode."""
    replay, agent = learner.replay, learner.agent
    generator = torch.Generator(learner.device).manual_seed(0)
    never = torch.zeros(1, FILL_ENVS, dtype=torch.bool, device=learner.device)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(1, FILL_ENVS, *shape, device=learner.device, generator=generator)

    replay.begin_(normal(agent.obs_dim))
    for _ in range(-(-transitions // FILL_ENVS)):
        replay.add_(normal(agent.action_dim).tanh(), normal(), never, never, normal(agent.obs_dim))


def compile_seconds(learner: Learner) -> float:
    """Seconds for compiling (and capturing) now; a cache on disk makes it shorter, and 0 is for eager."""
    if learner.mode == "eager":
        return 0.0
    began = time.perf_counter()
    learner.warm_up()
    return time.perf_counter() - began


def wait_for(learner: Learner) -> None:
    """One log point, as in training: read the metrics, which waits for the device, and see that they are finite."""
    learner.read_metrics()
    if any(step != NEVER for step in learner.bad_steps()):
        raise RuntimeError(f"the losses were not finite from gradient step {learner.bad_steps()} on")


def updates(name: str, sizes: Sizes, mode: Mode, device: torch.device) -> Candidate:
    """Updates of the learner alone, draw included."""
    learner = make_learner(sizes, mode, device)
    notes = {"mode": mode, "compile_s": compile_seconds(learner)}

    def run(num_updates: int) -> int:
        learner.launch([num_updates])
        wait_for(learner)
        return num_updates

    return Candidate(name, run, notes)


def env_steps(name: str, config: Config, mode: Mode, device: torch.device) -> Candidate:
    """Environment steps of the training loop, past the random ones; the loop is that of `fastsac.training`."""
    learner = Learner(config, make_spec(config.env), device, mode)
    seeds = random.derive_seeds(config.seed, random.Purpose.ENV_SEED, config.num_envs)
    collector = Collector(config, make_env(config.env, seeds, config.env_threads), learner)
    notes = {"mode": mode, "compile_s": compile_seconds(learner)}

    def run(num_steps: int) -> int:
        before = collector.env_steps[0]
        while collector.env_steps[0] < before + num_steps:
            collector.send()
            learner.launch(collector.due())
            collector.recv()
        wait_for(learner)
        return collector.env_steps[0] - before

    collector.begin()
    run(config.learning_starts)
    return Candidate(name, run, notes)
