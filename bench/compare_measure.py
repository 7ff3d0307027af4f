"""The task that a run of the comparison is given."""

from dataclasses import dataclass
from typing import Any

from fastsac.algorithms import registry
from fastsac.config.settings import Auto, Config

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
    def algorithm(self) -> str:
        """The algorithm's name among `fastsac.algorithms.registry`, for one of ours."""
        return registry.resolve_algorithm("auto" if self.algo == "sac" else self.algo, self.discrete)

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
