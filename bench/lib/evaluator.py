"""The evaluator that all systems share, and the clock that stands still for it.

Runs in the peers' own interpreters: imports NumPy and Gymnasium, and nothing of this program.

Axes: N episodes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Array = NDArray[Any]
Act = Callable[[Array], Array]

NO_LIMIT = 10_000
"""Steps after which an episode is cut off where the task has no time limit; as in `fastsac.acting.evaluation`."""


class Clock:
    """Seconds since `start`, without those inside `stopped`.

    Args:
        began: what `time.monotonic()` showed at the start, in whichever process: on Linux and macOS all see the same
            clock.  Default now.
    """

    def __init__(self, began: float | None = None) -> None:
        self.start(began)

    def start(self, began: float | None = None) -> None:
        """Begin at 0, now or at an earlier time."""
        self._began, self.stopped_s = time.monotonic() if began is None else began, 0.0

    def seconds(self) -> float:
        """What the clock shows."""
        return time.monotonic() - self._began - self.stopped_s

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let time pass that does not count."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.stopped_s += time.monotonic() - began


class Evaluations:
    """The evaluations of one run, and the clock that stands still for them.

    Args:
        gym_id: the environment's name in Gymnasium.
        seed: the run's.
        episodes: per evaluation.
        began: when the clock started; default now.
    """

    def __init__(self, gym_id: str, seed: int, episodes: int, began: float | None = None) -> None:
        self.gym_id, self.seed, self.episodes = gym_id, seed, episodes
        self.clock = Clock(began)
        self.rows: list[dict[str, Any]] = []

    @cached_property
    def envs(self) -> list[gymnasium.Env[Any, Any]]:
        """One environment per episode, made when they are first asked for: while the clock stands still.

        Raises:
            ValueError: Gymnasium does not have the environment, or it is not one for the peers.
        """
        return [make_gym_env(self.gym_id) for _ in range(self.episodes)]

    def add(self, act: Act, env_steps: int) -> list[float]:
        """Evaluate now; returns the returns.  The k-th evaluation has the same episodes' seeds for all systems."""
        wall_s = self.clock.seconds()
        with self.clock.stopped():
            returns = evaluate(act, self.envs, episode_seeds(self.seed, len(self.rows), self.episodes))
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
