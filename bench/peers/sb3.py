"""Stable-Baselines3's SAC by its public functions, unchanged.

Equal: sizes, twin critics, learned temperature from 1, one update of everything per gradient step, Adam's rates, gamma,
tau, float32.  Not equal: it reads its losses after every update, which waits for the device; its replay is NumPy in
host memory and stores each next observation; the actor's loss also works out gradients of the critics' weights, which
are dropped; environments are Gymnasium's with `Monitor` and `DummyVecEnv`, whose observations are float64 and are kept
so.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers.common import Asked, Sizes, Task, Work, make_idle_env, random_transitions, torch_device, wait_for


def make_sac(cls: Any, env: Any, asked: Asked, **changes: Any) -> Any:
    """Its SAC, or SBX's, with its defaults, which include a learned temperature, and the sizes asked for."""
    from stable_baselines3.common.logger import Logger

    model = cls(
        "MlpPolicy",
        env,
        seed=1,
        batch_size=asked.batch_size,
        learning_rate=asked.lr,
        gamma=asked.gamma,
        tau=asked.tau,
        policy_kwargs={"net_arch": list(asked.hidden_dims)},
        **changes,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def hyper_parameters(model: Any) -> dict[str, Any]:
    """Read back from the model."""
    names = ("batch_size", "buffer_size", "learning_rate", "gamma", "tau", "gradient_steps", "learning_starts")
    found = {name: getattr(model, name) for name in names}
    return {**found, "train_freq": str(model.train_freq), "target_entropy": float(model.target_entropy)}


def for_updates(cls: Any, sizes: Sizes, **changes: Any) -> Any:
    """A model with random transitions in its replay."""
    env = make_idle_env(sizes.obs_dim, sizes.action_dim)
    model = make_sac(cls, env, sizes, buffer_size=sizes.transitions, **changes)
    obs, action, reward, next_obs = random_transitions(sizes)
    for t in range(sizes.transitions):
        now = slice(t, t + 1)
        model.replay_buffer.add(obs[now], next_obs[now], action[now], reward[now], np.zeros(1), [{}])
    return model


def updates(sizes: Sizes) -> Work:
    """Gradient steps of `SAC.train`, which draws from its own replay."""
    from stable_baselines3 import SAC

    model = for_updates(SAC, sizes, device=torch_device(sizes.device))

    def run(num_updates: int) -> int:
        model.train(gradient_steps=num_updates, batch_size=sizes.batch_size)
        wait_for(sizes.device)
        return num_updates

    return Work(run, hyper=hyper_parameters(model))


def env_steps(task: Task) -> Work:
    """Environment steps of `SAC.learn`, past the random ones."""
    from stable_baselines3 import SAC

    model = for_training(SAC, task, device=torch_device(task.device))
    return Work(learn(model, task), hyper=hyper_parameters(model))


def for_training(cls: Any, task: Task, **changes: Any) -> Any:
    """A model that updates after every vector step of Gymnasium's environments, in its vector of them."""
    from stable_baselines3.common.env_util import make_vec_env

    schedule = {"train_freq": 1, "gradient_steps": task.updates_per_vec_step}
    sizes = {"learning_starts": task.learning_starts, "buffer_size": task.buffer_size}
    return make_sac(cls, make_vec_env(task.env, task.num_envs, seed=1), task, **schedule, **sizes, **changes)


def learn(model: Any, task: Task) -> Callable[[int], int]:
    """`run` for a model that is past its random steps."""

    def run(num_steps: int) -> int:
        before = model.num_timesteps
        model.learn(num_steps, reset_num_timesteps=False)
        wait_for(task.device)
        return int(model.num_timesteps - before)

    run(task.learning_starts)
    return run
