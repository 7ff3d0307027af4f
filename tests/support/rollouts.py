"""Actions for any environment, and what comes of them."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastsac.env import FloatArray, Step, VectorEnv

SEEDS = [11, 12, 13]
NUM_STEPS = 14


def actions(env: VectorEnv, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    shape = (NUM_STEPS, len(SEEDS), env.spec.action_dim)
    if env.spec.discrete:
        return chosen(env, rng.integers(shape[-1], size=shape[:-1]))
    return rng.uniform(-1, 1, shape).astype(np.float32)  # [T, N, A]


def chosen(env: VectorEnv, choice: NDArray[np.integer[Any]] | list[int]) -> FloatArray:
    """One-hot rows of choices."""
    return np.eye(env.spec.action_dim, dtype=np.float32)[choice]


def other_actions(env: VectorEnv, action: FloatArray) -> FloatArray:
    """Actions that differ from `action` everywhere."""
    return np.roll(action, 1, axis=-1) if env.spec.discrete else -action


def same_actions(env: VectorEnv) -> FloatArray:
    """The same action for every environment and step."""
    action = np.zeros_like(actions(env))
    if env.spec.discrete:
        action[..., 0] = 1
    return action


def rollout(env: VectorEnv, action: Iterable[FloatArray]) -> tuple[NDArray[Any], list[Step]]:
    """Reset, then every action in turn: the first obs and the steps."""
    first, steps = env.reset(), []
    for a in action:
        env.send(a)
        steps.append(env.recv())
    return first, steps


def arrays(step: Step) -> list[NDArray[Any]]:
    return [array for array in (*step[:5], *(step.info or {}).values()) if array is not None]


def same(a: Iterable[NDArray[Any]] | Step, b: Iterable[NDArray[Any]] | Step) -> bool:
    pairs = zip(*(arrays(x) if isinstance(x, Step) else x for x in (a, b)), strict=True)
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)


def step_with(env: VectorEnv, action: FloatArray) -> Step:
    env.send(action)
    return env.recv()
