"""Environments as users give them, by name or as objects, and those that a trained policy is used in."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch

from fastsac.acting.errors import call_env, of_nobody, try_make
from fastsac.config.settings import Config
from fastsac.env import OBJECT_BACKEND, EnvSpec, VectorEnv, make_env, register_env
from fastsac.env.foreign import check_env
from fastsac.nn.philox import Purpose, derive_seeds
from fastsac.policy import Policy

LOG = logging.getLogger("fastsac")


class HasSpaces(Protocol):
    """A Gymnasium environment or vector environment."""

    @property
    def observation_space(self) -> Any:
        """What it shows."""

    @property
    def action_space(self) -> Any:
        """What it takes."""


Env = str | Callable[..., object] | HasSpaces
"""A name, or what `register_env` takes."""


def name_of(env: Env, before: str = "") -> str:
    """The name of an environment, which is that of `before` in a run that goes on, if both are objects."""
    if isinstance(env, str):
        return env
    backend, _, task = before.partition(":")
    return register_env(env, task if backend == OBJECT_BACKEND else None)


@contextmanager
def environments_for(
    policy: Policy,
    env: Env | None,
    num_envs: int,
    seed: int,
    env_kwargs: Mapping[str, Any] | None,
    of_run: Mapping[str, Any],
) -> Iterator[VectorEnv]:
    """New environments for a policy, and torch's generator at `seed`; `of_run` are the keywords of its own task."""
    config = policy.config
    if env is None:
        check_env(config.env, policy.run_dir, is_trusted=False, say=LOG.info)
    name = config.env if env is None else name_of(env)
    if env_kwargs is None:
        env_kwargs = of_run if _is_of_run(name, config) else {}
    seeds = seeds_of(seed, num_envs)
    made = try_make(partial(make_env, name, seeds, config.num_env_threads, env_kwargs, config.action_limit))
    try:
        check_fits(policy.spec, made.spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield made
    finally:
        call_env(made.close, "close", of_nobody)


def seeds_of(seed: int, num_envs: int) -> list[int]:
    """Seeds of the environments of a call."""
    return derive_seeds(seed, Purpose.EVAL_SEED, num_envs)


def _is_of_run(name: str, config: Config) -> bool:
    """Whether an environment is that of a run: by its name, or as an object of the same id or class."""
    are_objects = all(each.partition(":")[0] == OBJECT_BACKEND for each in (name, config.env))
    return name == config.env or (are_objects and name.rpartition(":")[2] == config.task)


def check_fits(mine: EnvSpec, other: EnvSpec) -> None:
    """Refuse a task whose arrays are not those of a policy's own, with a ValueError."""
    if name := mine.difference(other):
        raise ValueError(
            f"{other.env_id} does not fit the policy, which was trained in {mine.env_id}: {name} "
            f"{getattr(other, name)}, not {getattr(mine, name)}."
        )
