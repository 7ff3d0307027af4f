"""What every run of the comparison shares: the task it is given, the clock, and the evaluation in Gymnasium.

Axes: N episodes, O obs_dim, A action_dim.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from bench import harness
from fastsac import random, variants
from fastsac.config import Auto, Config
from fastsac.evaluate import NO_LIMIT

Array = NDArray[Any]
Act = Callable[[Array], Array]

OWN = {"sac": "SAC", "sac-v1": "SAC v1", "sql": "SQL"}
"""Algorithms of this program that take part, and their names in tables and charts."""

QUICK: dict[str, Any] = {"num_envs": 2, "learning_starts": 32, "batch_size": 16, "hidden_dims": (8, 8)}
"""What --quick overrides."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run: what to train, where, how long, and with what."""

    algo: str
    env: str
    discrete: bool
    seed: int
    total_steps: int
    eval_every: int
    eval_episodes: int
    threads: int
    device: str
    compile: Auto
    quick: bool

    @property
    def gym_id(self) -> str:
        """The environment's name in Gymnasium."""
        return self.env.rpartition(":")[2]

    @property
    def variant(self) -> str:
        """The algorithm's name among `fastsac.variants`, for one of ours."""
        return variants.choose("auto" if self.algo == "sac" else self.algo, self.discrete)

    def config(self, **changes: Any) -> Config:
        """Settings of this program for the task; those of its SAC for a peer, which takes from them what is equal.

        Raises:
            ValueError: a value out of range.
        """
        return Config.for_env(
            self.env,
            algo=self.algo if self.algo in OWN and self.algo != "sac" else "auto",
            seed=self.seed,
            total_steps=self.total_steps,
            eval_every=self.eval_every,
            eval_episodes=self.eval_episodes,
            cpu_threads=self.threads,
            device=self.device,
            compile=self.compile,
            checkpoint_every=0,
            tensorboard=False,
            **{**(QUICK if self.quick else {}), **changes},
        )


class Clock:
    """Seconds since `start`, without those inside `stopped`."""

    def __init__(self) -> None:
        self.stopped_s = 0.0
        self.start()

    def start(self) -> None:
        """Begin at 0."""
        self._began, self.stopped_s = time.perf_counter(), 0.0

    def seconds(self) -> float:
        """What the clock shows."""
        return time.perf_counter() - self._began - self.stopped_s

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let time pass that does not count."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stopped_s += time.perf_counter() - began


class Evaluations:
    """The evaluations of one run, and the clock that stands still for them.

    Made before the clock starts, so that importing Gymnasium's environment is not in the figures.

    Args:
        task: the run.

    Raises:
        ValueError: Gymnasium does not have the environment, or it is not one for the peers.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.envs = [make_gym_env(task.gym_id) for _ in range(task.eval_episodes)]
        self.clock = Clock()
        self.rows: list[harness.Row] = []

    def add(self, act: Act, env_steps: int) -> list[float]:
        """Evaluate now; returns the returns.  The k-th evaluation has the same episodes' seeds for all systems."""
        wall_s, task = self.clock.seconds(), self.task
        with self.clock.stopped():
            purpose, count = random.Purpose.EVAL_SEED, len(self.rows)
            returns = evaluate(act, self.envs, random.derive_seeds(task.seed, purpose, task.eval_episodes, count))
        self.rows.append(
            {
                "env_steps": env_steps,
                "wall_s": wall_s,
                "return_mean": float(np.mean(returns)),
                "return_std": float(np.std(returns)),
                "episodes": len(returns),
            }
        )
        return returns


def evaluate(act: Act, envs: Sequence[gymnasium.Env[Any, Any]], seeds: Sequence[int]) -> list[float]:
    """Undiscounted return of one episode per environment.

    Args:
        act: maps observations [N, ...] to actions [N, ...], both as the environments have them.
        envs: N environments; their resets get `seeds`.
        seeds: one per environment.
    """
    obs = [env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)]
    returns, running = [0.0] * len(envs), [True] * len(envs)
    for _ in range(NO_LIMIT):
        actions = act(np.stack(obs))
        for i, env in enumerate(envs):
            if running[i]:
                obs[i], reward, terminated, truncated, _ = env.step(actions[i])
                returns[i] += float(reward)
                running[i] = not (terminated or truncated)
        if not any(running):
            break
    return returns


def make_gym_env(gym_id: str) -> gymnasium.Env[Any, Any]:
    """One of Gymnasium's environments, which the peers train in and all are evaluated in.

    Raises:
        ValueError: it does not exist, lacks a package, or has spaces that `MlpPolicy` does not take.
    """
    try:
        env = gymnasium.make(gym_id)
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"env must be one that Gymnasium has too, got {gym_id!r}: {error}") from error
    obs, action = env.observation_space, env.action_space
    for space in (obs, action):
        if not isinstance(space, spaces.Discrete) and not (isinstance(space, spaces.Box) and len(space.shape) == 1):
            raise ValueError(f"env must have vectors or choices as observations and actions, got {gym_id!r}: {space}.")
    return env
