"""Transitions whose numbers tell them apart: obs_k is k, reward_k is 2^-k, and an action is k/100."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastsac.learning.demonstrations import Transitions

FINAL = 0.5  # what a true final observation has beside the number of its transition


def transitions(ends: str, with_next: bool = True, obs_dim: int = 3, action_dim: int = 2) -> Transitions:
    """One for each letter: "." goes on, "T" terminates, "C" is cut off, "|" has another one's successor after it."""
    obs = np.repeat(np.arange(len(ends), dtype=np.float32)[:, None], obs_dim, 1)
    marks = np.array([*ends])
    next_obs = obs + np.where(marks == ".", 1, FINAL).astype(np.float32)[:, None]
    return Transitions(
        obs,
        (obs[:, :1].repeat(action_dim, 1) / 100).astype(np.float32),
        (0.5 ** np.arange(len(ends))).astype(np.float32),
        marks == "T",
        marks == "C",
        next_obs if with_next else None,
    )


def arrays(t: Transitions, action_dim: int = 2) -> dict[str, Any]:
    """As a file has them."""
    names = ("observations", "actions", "rewards", "terminations", "truncations", "next_observations")
    return {name: column for name, column in zip(names, t, strict=True) if column is not None}


def write(path: Path, t: Transitions, without: Sequence[str] = (), **changes: Any) -> str:
    """A .npz of them; returns its name."""
    np.savez(path, **{name: value for name, value in {**arrays(t), **changes}.items() if name not in without})
    return str(path)
