"""Stable-Baselines3's SAC by its public functions, unchanged.

Equal: sizes, twin critics, learned temperature from 1, one update of everything per gradient step, Adam's rates, gamma,
tau, float32.  Not equal: it reads its losses after every update, which waits for the device; its replay is NumPy in
host memory and stores each next observation; the actor's loss also works out gradients of the critics' weights, which
are dropped; environments are Gymnasium's with `Monitor` and `DummyVecEnv`, whose observations are float64 and are kept
so.
"""

from typing import Any

import numpy as np

from bench.peers.common import Asked, Sizes, Task, Work, make_idle_env, random_transitions, torch_device, wait_for


def make_sac(env: Any, asked: Asked, **changes: Any) -> Any:
    """Its SAC with its defaults, which include a learned temperature, and the sizes asked for."""
    from stable_baselines3 import SAC
    from stable_baselines3.common.logger import Logger

    model = SAC("MlpPolicy", env, seed=1, device=torch_device(asked.device), **shared(asked), **changes)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def shared(asked: Asked) -> dict[str, Any]:
    """Arguments that its SAC and SBX's have in common."""
    return {
        "batch_size": asked.batch_size,
        "learning_rate": asked.lr,
        "gamma": asked.gamma,
        "tau": asked.tau,
        "policy_kwargs": {"net_arch": list(asked.hidden_dims)},
    }


def hyper_parameters(model: Any) -> dict[str, Any]:
    """Read back from the model."""
    names = ("batch_size", "buffer_size", "learning_rate", "gamma", "tau", "gradient_steps", "learning_starts")
    found = {name: getattr(model, name) for name in names}
    return {**found, "train_freq": str(model.train_freq), "target_entropy": float(model.target_entropy)}


def fill_(buffer: Any, sizes: Sizes) -> None:
    """Put random transitions into its replay."""
    obs, action, reward, next_obs = random_transitions(sizes)
    for t in range(sizes.transitions):
        now = slice(t, t + 1)
        buffer.add(obs[now], next_obs[now], action[now], reward[now], np.zeros(1), [{}])


def updates(sizes: Sizes) -> Work:
    """Gradient steps of `SAC.train`, which draws from its own replay."""
    model = make_sac(make_idle_env(sizes.obs_dim, sizes.action_dim), sizes, buffer_size=sizes.transitions)
    fill_(model.replay_buffer, sizes)

    def run(num_updates: int) -> int:
        model.train(gradient_steps=num_updates, batch_size=sizes.batch_size)
        wait_for(sizes.device)
        return num_updates

    return Work(run, hyper=hyper_parameters(model))


def env_steps(task: Task) -> Work:
    """Environment steps of `SAC.learn`, past the random ones."""
    model = make_sac(make_envs(task), task, **schedule(task))
    return Work(learn(model, task), hyper=hyper_parameters(model))


def make_envs(task: Task) -> Any:
    """Its vector of Gymnasium's environments, stepped one after the other, as its users make them."""
    from stable_baselines3.common.env_util import make_vec_env

    return make_vec_env(task.env, task.num_envs, seed=1)


def schedule(task: Task) -> dict[str, Any]:
    """When it updates: after every vector step."""
    return {
        "train_freq": 1,
        "gradient_steps": task.updates_per_vec_step,
        "learning_starts": task.learning_starts,
        "buffer_size": task.buffer_size,
    }


def learn(model: Any, task: Task) -> Any:
    """`run` for a model that is past its random steps."""

    def run(num_steps: int) -> int:
        before = model.num_timesteps
        model.learn(num_steps, reset_num_timesteps=False)
        wait_for(task.device)
        return int(model.num_timesteps - before)

    run(task.learning_starts)
    return run
