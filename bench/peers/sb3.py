"""Stable-Baselines3's SAC as a candidate, by its public functions, unchanged.

Its packages are optional: every import is inside a function, and what is missing becomes a skipped row.
"""

import contextlib
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.harness import Candidate, Skipped
from bench.own import Sizes


def or_skipped(build: Callable[..., Candidate], name: str, *args: Any) -> Candidate | Skipped:
    """The candidate `build(name, *args)`, or the reason why it cannot be built here."""
    from gymnasium.error import DependencyNotInstalled

    try:
        return build(name, *args)
    except (ImportError, DependencyNotInstalled) as error:
        return Skipped(name, f'not run: {error} (pip install "fastsac[bench]")')


def make_sac(env: Any, device: torch.device, **changes: Any) -> Any:
    """Its SAC with its defaults, which include a learned temperature, two hidden layers of 256 and batches of 256."""
    from stable_baselines3 import SAC
    from stable_baselines3.common.logger import Logger

    model = SAC("MlpPolicy", env, seed=1, device=device, **changes)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def make_idle_env(obs_dim: int, action_dim: int) -> Any:
    """An environment that is never stepped: `SAC` asks for one to know the spaces."""
    import gymnasium

    env: Any = gymnasium.Env()
    env.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32)
    env.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
    return env


def fill_(buffer: Any, sizes: Sizes) -> None:
    """Put random transitions into its replay, none of them the end of an episode."""
    rng = np.random.default_rng(0)
    for _ in range(sizes.transitions):
        obs, next_obs = rng.standard_normal((2, 1, sizes.obs_dim), np.float32)
        action = np.tanh(rng.standard_normal((1, sizes.action_dim), np.float32))
        buffer.add(obs, next_obs, action, rng.standard_normal(1), np.zeros(1), [{}])


def updates(name: str, sizes: Sizes, device: torch.device) -> Candidate:
    """Gradient steps of `SAC.train`, which draws from its own replay."""
    policy = {"net_arch": list(sizes.hidden_dims)}
    env = make_idle_env(sizes.obs_dim, sizes.action_dim)
    model = make_sac(env, device, buffer_size=sizes.transitions, batch_size=sizes.batch_size, policy_kwargs=policy)
    fill_(model.replay_buffer, sizes)

    def run(num_updates: int) -> int:
        model.train(gradient_steps=num_updates, batch_size=sizes.batch_size)
        _wait_for(device)
        return num_updates

    return Candidate(name, run)


def env_steps(name: str, env_id: str, num_envs: int, learning_starts: int, device: torch.device) -> Candidate:
    """Environment steps of `SAC.learn`, past the random ones, on Gymnasium's environments, one update per step."""
    from stable_baselines3.common.env_util import make_vec_env

    # MuJoCo leaves a log of its deprecations in the working directory.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        env = make_vec_env(env_id, num_envs, seed=1)
    # -1 means as many as there were environment steps; with one environment the default, 1, is the same.
    per_step = 1 if num_envs == 1 else -1
    model = make_sac(env, device, learning_starts=learning_starts, train_freq=1, gradient_steps=per_step)

    def run(num_steps: int) -> int:
        before = model.num_timesteps
        model.learn(num_steps, reset_num_timesteps=False)
        _wait_for(device)
        return int(model.num_timesteps - before)

    run(learning_starts)
    return Candidate(name, run)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
