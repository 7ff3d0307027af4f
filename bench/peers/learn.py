"""One run of an algorithm of Stable-Baselines3, sb3-contrib or SBX for `bench.lib.curves`, by its public functions.

`python -m bench.peers.learn TASK FILE BEGAN`, in the peer's own interpreter: imports the peer, and nothing of this
program but the evaluator.
"""

import importlib
import sys
from typing import Any

from bench.lib.evaluator import Task, Watch, peer_of, work
from bench.peers.common import wait_for
from bench.peers.serve import versions

CLASSES = {
    "sb3": ("stable_baselines3", "SAC"),
    "sb3-ppo": ("stable_baselines3", "PPO"),
    "sb3-ddpg": ("stable_baselines3", "DDPG"),
    "sb3-td3": ("stable_baselines3", "TD3"),
    "sb3-trpo": ("sb3_contrib", "TRPO"),
    "sbx": ("sbx", "SAC"),
    "sb3-ours": ("stable_baselines3", "SAC"),
    "sbx-ours": ("sbx", "SAC"),
}
MUJOCO: dict[str, Any] = {"learning_starts": 10_000}
BULLET: dict[str, Any] = {
    "learning_rate": 7.3e-4, "buffer_size": 300_000, "batch_size": 256, "gamma": 0.98, "tau": 0.02, "train_freq": 8,
    "gradient_steps": 8, "learning_starts": 10_000, "use_sde": True,
    "policy_kwargs": {"log_std_init": -3, "net_arch": [400, 300]},
}  # fmt: skip
TUNED: dict[str, dict[str, Any]] = {
    "Pendulum-v1": {"learning_rate": 1e-3},
    "InvertedDoublePendulum-v5": BULLET,
    "HalfCheetah-v5": MUJOCO,
    "Hopper-v5": MUJOCO,
    "Walker2d-v5": MUJOCO,
    "Ant-v5": MUJOCO,
}
"""SAC's values of rl-baselines3-zoo, `hyperparams/sac.yml` (github.com/DLR-RM/rl-baselines3-zoo, commit c94924e), for
Stable-Baselines3 and SBX: the latter has no file of its own there for these environments, and its README trains with
the zoo's.  What is not named is the peer's default, as in the zoo.  The MuJoCo rows are those of -v3, the newest there
are.  MuJoCo's InvertedDoublePendulum is not in the file; it has the values of PyBullet's, which solve it sooner than
the MuJoCo rows and than the peers' defaults."""
TUNED_ON_POLICY: dict[tuple[str, str], dict[str, Any]] = {
    ("sb3-ppo", "Pendulum-v1"): {
        "num_envs": 4, "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_epochs": 10, "ent_coef": 0.0,
        "learning_rate": 1e-3, "clip_range": 0.2, "use_sde": True, "sde_sample_freq": 4,
    },
    ("sb3-trpo", "Pendulum-v1"): {
        "num_envs": 2, "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_critic_updates": 15,
        "learning_rate": 1e-3, "use_sde": True, "sde_sample_freq": 4,
    },
}  # fmt: skip
"""The zoo's, too."""
NOISE = 0.1  # of the actions of DDPG and TD3, as a share of half their range: the customary one


def hyper_parameters(task: Task) -> dict[str, Any]:
    """What the peer is told: the keyword arguments of its class, and num_envs."""
    if task.system in ("sb3", "sbx"):
        return TUNED.get(task.env, {})
    return {**task.hyper, **TUNED_ON_POLICY.get((task.system, task.env), {})}


def train(task: Task, watch: Watch, about: dict[str, Any]) -> None:
    """Train as the zoo does."""
    peer = peer_of(task.system)
    if peer == "sb3":
        import torch

        torch.set_num_threads(task.threads)
    module, name = CLASSES[task.system]
    cls = getattr(importlib.import_module(module), name)
    from stable_baselines3.common.env_util import make_vec_env

    hyper = hyper_parameters(task)
    told = {key: value for key, value in hyper.items() if key != "num_envs"}
    env = make_vec_env(task.env, hyper.get("num_envs", 1), seed=task.seed)
    if name in ("DDPG", "TD3"):
        told["action_noise"] = make_noise(env.action_space.shape or ())
    device = {"device": task.device} if peer == "sb3" else {}  # JAX takes the best there is
    model = cls("MlpPolicy", env, seed=task.seed, **device, **told)
    about |= {"hyper": hyper, "versions": versions()}
    try:
        model.learn(task.max_steps, callback=make_callback(model, watch, task.eval_every, task.max_steps))
    finally:
        about["grad_steps"] = int(model._n_updates)


def make_noise(shape: tuple[int, ...]) -> Any:
    """Normal noise on actions scaled to [-1, 1]."""
    import numpy as np
    from stable_baselines3.common.noise import NormalActionNoise

    return NormalActionNoise(np.zeros(shape), np.full(shape, NOISE))


def make_callback(model: Any, watch: Watch, every: int, total: int) -> Any:
    """Evaluates whenever `every` steps are passed and at `total`, where it ends the training.

    It is called after each vector step, before the updates that this step makes due.
    """
    before = 0

    def act(obs: Any) -> Any:
        return model.predict(obs, deterministic=True)[0]

    def after_step(*_: Any) -> bool:
        nonlocal before
        now = model.num_timesteps
        if now >= total or before // every < now // every:
            wait_for(str(getattr(model, "device", "")))
            watch.add(act, now)
        before = now
        return bool(now < total)

    return after_step


if __name__ == "__main__":
    work(train, *sys.argv[1:])
