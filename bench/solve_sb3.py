"""One run of SAC of Stable-Baselines3 or of SBX for `bench.solve`: `python -m bench.solve_sb3 TASK FILE BEGAN`.

Runs in the peer's own interpreter: imports the peer, and nothing of this program but the evaluator.
"""

import importlib
import importlib.metadata
import sys
from typing import Any

from bench.sb3_run import make_callback, settings_of
from bench.solve_task import Task, Watch, peer_of, work

MODULES = {"sb3": "stable_baselines3", "sbx": "sbx"}
PACKAGES = {"sb3": ("stable_baselines3", "torch"), "sbx": ("sbx-rl", "jax", "stable_baselines3")}
"""Whose versions are told."""

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
"""The values of rl-baselines3-zoo, `hyperparams/sac.yml` (github.com/DLR-RM/rl-baselines3-zoo, commit c94924e), for
both: SBX has no file of its own there for these environments, and its README trains with the zoo's.  What is not named
is the peer's default, as in the zoo.  The MuJoCo rows are those of -v3, the newest there are.  MuJoCo's
InvertedDoublePendulum is not in the file; it has the values of PyBullet's, which solve it sooner than the MuJoCo rows
and than the peers' defaults."""

QUICK: dict[str, Any] = {"learning_starts": 32, "batch_size": 16, "policy_kwargs": {"net_arch": [8, 8]}}
"""What --quick overrides."""


def hyper_parameters(task: Task) -> dict[str, Any]:
    """The keyword arguments of the peer's class."""
    tuned = {} if task.system.endswith("-defaults") else TUNED[task.env]
    return {**tuned, **(QUICK if task.quick else {})}


def train(task: Task, watch: Watch, about: dict[str, Any]) -> None:
    """Train in one environment, as the zoo does."""
    peer = peer_of(task.system)
    if peer == "sb3":
        import torch

        torch.set_num_threads(task.threads)
    cls = importlib.import_module(MODULES[peer]).SAC
    from stable_baselines3.common.env_util import make_vec_env

    hyper = hyper_parameters(task)
    env = make_vec_env(task.env, 1, seed=task.seed)
    device = {"device": task.device} if peer == "sb3" else {}  # JAX takes the best there is
    model = cls("MlpPolicy", env, seed=task.seed, **device, **hyper)
    about |= {"mode": "jit" if peer == "sbx" else "eager", "hyper": {**settings_of(model), **hyper}}
    about["versions"] = {name: importlib.metadata.version(name) for name in PACKAGES[peer]}
    try:
        model.learn(task.max_steps, callback=make_callback(model, watch, task.eval_every, task.max_steps))
    finally:
        about["grad_steps"] = int(model._n_updates)


if __name__ == "__main__":
    work(train, *sys.argv[1:])
