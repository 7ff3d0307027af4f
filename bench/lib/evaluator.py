"""What the processes of `bench.lib.curves` share: their task, the evaluator of all systems, and when a run is over.

Runs in the peers' own interpreters: imports NumPy and Gymnasium, and nothing of this program.

Axes: N episodes.
"""

import json
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Array = NDArray[Any]
Act = Callable[[Array], Array]

NO_LIMIT = 10_000
"""Steps after which an episode is cut off where the task has no time limit; as in `fastsac.acting.evaluation`."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run: which system, on what, how often it is evaluated, and when it is over."""

    system: str
    env: str
    seed: int
    goal: float | None
    """Return at which the run is over; None is at none."""
    eval_every: int
    eval_episodes: int
    max_steps: int
    max_wall_s: float
    threads: int
    device: str
    hyper: dict[str, Any] = field(default_factory=dict)
    """What a system is told beside what it was tuned to."""


def peer_of(system: str) -> str:
    """Whose system it is, `sb3` or `sbx`; nothing for this program.  Names are `PEER` or `PEER-WAY`."""
    name = system.split("-")[0]
    return "" if name == "fastsac" else name


class Over(Exception):
    """The run need not go on: an evaluation reached the goal, or a limit was passed; the argument says which."""


class Watch:
    """The evaluations of a run, the last of which ends it, and the clock that stands still for them.

    Args:
        task: the run.
        began: what `time.monotonic()` showed when its process was started: on Linux and macOS all processes see the
            same clock.
    """

    def __init__(self, task: Task, began: float) -> None:
        self.task = task
        self.rows: list[dict[str, Any]] = []
        self.evaluating_s = 0.0
        self._began = began

    @cached_property
    def envs(self) -> list[gymnasium.Env[Any, Any]]:
        """One environment per episode, made when they are first asked for: while the clock stands still.

        Raises:
            ValueError: Gymnasium does not have the environment, or it is not one for the peers.
        """
        return [make_gym_env(self.task.env) for _ in range(self.task.eval_episodes)]

    def add(self, act: Act, env_steps: int) -> list[float]:
        """Evaluate now; returns the returns.  The k-th evaluation has the same episodes' seeds for all systems.

        Raises:
            Over: this was the last one.
        """
        began = time.monotonic()
        wall_s = began - self._began - self.evaluating_s
        seeds = episode_seeds(self.task.seed, len(self.rows), self.task.eval_episodes)
        returns = evaluate(act, self.envs, seeds)
        self.evaluating_s += time.monotonic() - began
        mean = float(np.mean(returns))
        row = {"env_steps": env_steps, "wall_s": wall_s, "return_mean": mean, "return_std": float(np.std(returns))}
        self.rows.append(row | {"episodes": len(returns)})
        if self.task.goal is not None and mean >= self.task.goal:
            raise Over("goal")
        if env_steps >= self.task.max_steps:
            raise Over("steps")
        if wall_s >= self.task.max_wall_s:
            raise Over("seconds")
        return returns


def work(train: Callable[[Task, Watch, dict[str, Any]], None], task_json: str, out: str, began: str) -> None:
    """One run in a process of its own; what came of it goes into a file as JSON, an error included.

    Args:
        train: trains until `Over`; puts into its third argument what else is to be known of the run.
        task_json: a `Task`.
        out: the file.
        began: what `time.monotonic()` showed when the process was started.
    """
    task = Task(**json.loads(task_json))
    watch, outcome = Watch(task, float(began)), dict[str, Any]()
    try:
        train(task, watch, outcome)
        raise RuntimeError("the training ended before its last evaluation")
    except Over as over:
        outcome["ended"] = str(over)
    except Exception as error:
        traceback.print_exc()
        outcome["error"] = f"{type(error).__name__}: {error}"
    outcome |= {"evaluations": watch.rows, "evaluating_s": watch.evaluating_s}
    Path(out).write_text(json.dumps(outcome))


# Evaluating ---------------------------------------------------------------------------------------------------------


def episode_seeds(seed: int, count: int, episodes: int) -> list[int]:
    """Seeds in [0, 2^31) of the episodes of a run's evaluation number `count`."""
    words = np.random.SeedSequence([seed, count]).generate_state(episodes)
    return [int(word) >> 1 for word in words]


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
