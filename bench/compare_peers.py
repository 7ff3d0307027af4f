"""PPO, DDPG and TD3 of Stable-Baselines3 and TRPO of sb3-contrib, by their public functions, unchanged.

Their packages are optional: they are imported inside functions.
"""

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench import harness
from bench.compare_measure import Task
from bench.evaluator import Evaluations
from bench.sb3_run import make_callback, settings_of
from fastsac.config.settings import Config


@dataclass(frozen=True)
class Peer:
    """One algorithm of another program.

    Attributes:
        name: in tables and charts.
        system: the program.
        module: where its class is.
        on_policy: it learns from what its newest policy did, and keeps its own schedule.
        discrete: it can act in tasks with discrete actions.
    """

    name: str
    system: str
    module: str
    on_policy: bool
    discrete: bool

    @property
    def missing(self) -> str | None:
        """Why it cannot be run here, if it cannot."""
        packages = dict.fromkeys(("stable_baselines3", self.module))
        absent = [name for name in packages if importlib.util.find_spec(name) is None]
        return f'{" and ".join(absent)} not installed (pip install "fastsac[bench]")' if absent else None


SB3 = "Stable-Baselines3"
PEERS = {
    "ppo": Peer("PPO", SB3, "stable_baselines3", on_policy=True, discrete=True),
    "ddpg": Peer("DDPG", SB3, "stable_baselines3", on_policy=False, discrete=False),
    "td3": Peer("TD3", SB3, "stable_baselines3", on_policy=False, discrete=False),
    "trpo": Peer("TRPO", "sb3-contrib", "sb3_contrib", on_policy=True, discrete=True),
}

TUNED: dict[tuple[str, str], dict[str, Any]] = {
    ("ppo", "Pendulum-v1"): {
        "num_envs": 4, "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_epochs": 10, "ent_coef": 0.0,
        "learning_rate": 1e-3, "clip_range": 0.2, "use_sde": True, "sde_sample_freq": 4,
    },
    ("trpo", "Pendulum-v1"): {
        "num_envs": 2, "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_critic_updates": 15,
        "learning_rate": 1e-3, "use_sde": True, "sde_sample_freq": 4,
    },
}  # fmt: skip
"""The values that rl-baselines3-zoo found for the on-policy ones, by algorithm and environment."""

NOISE = 0.1  # of the actions of DDPG and TD3, as a share of half their range


def train(task: Task, evaluations: Evaluations) -> harness.Row:
    """Train one peer; the clock covers its environments, the building of its model and `learn` but evaluations."""
    cls = getattr(importlib.import_module(PEERS[task.algo].module), task.algo.upper())
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(task.threads)
    hyper = hyper_parameters(task)
    told = {name: value for name, value in hyper.items() if name != "num_envs"}

    evaluations.clock.start()
    env = make_vec_env(task.gym_id, hyper["num_envs"], seed=task.seed)
    if not PEERS[task.algo].on_policy:
        told["action_noise"] = make_noise(env.action_space.shape or ())
    model = cls("MlpPolicy", env, seed=task.seed, device=task.device, **told)
    callback = make_callback(model, evaluations, task.eval_every, task.total_steps)
    model.learn(task.total_steps, callback=callback)

    return {
        "evaluations": evaluations.rows,
        "evaluating_s": evaluations.clock.stopped_s,
        "compile_s": 0.0,
        "mode": "eager",
        "hyper": {**settings_of(model), **hyper},
    }


def hyper_parameters(task: Task) -> dict[str, Any]:
    """What the peer is told: the keyword arguments of its class, and num_envs."""
    config = task.config()
    equal = {"gamma": config.gamma, "policy_kwargs": {"net_arch": list(config.hidden_dims)}}
    if not PEERS[task.algo].on_policy:
        return {**equal, **off_policy(config)}
    tuned = TUNED.get((task.algo, task.gym_id), {})
    quick = {"n_steps": 16, "batch_size": 16} if task.quick else {}
    return {"num_envs": 1, **equal, **tuned, **quick}


def off_policy(config: Config) -> dict[str, Any]:
    """Replay and schedule of our SAC: as many updates per environment step, in as many environments."""
    return {
        "num_envs": config.num_envs,
        "learning_rate": config.actor_lr,
        "batch_size": config.batch_size,
        "buffer_size": config.buffer_size,
        "learning_starts": config.learning_starts,
        "tau": config.tau,
        "train_freq": 1,  # vector steps
        "gradient_steps": max(1, round(config.utd_ratio * config.num_envs)),
    }


def make_noise(shape: tuple[int, ...]) -> Any:
    """The customary normal noise on actions scaled to [-1, 1]."""
    from stable_baselines3.common.noise import NormalActionNoise

    return NormalActionNoise(np.zeros(shape), np.full(shape, NOISE))
