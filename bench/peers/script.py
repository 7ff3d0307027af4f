"""Scripts of a checkout that the user names, run as they are: what the adapters of CleanRL and LeanRL share.

A script is one endless loop over `gymnasium.vector.SyncVectorEnv.step`.  It runs in a thread with arguments of its own
command line, and waits for its turn in that function, which is the only thing that is not as it finds it: between two
of its steps, so that each has all of the script's own work.
"""

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.common import ENDLESS, Asked, Gate, Unsupported, Work, wait_for

IDLE = "Idle-v0"


def start(script: Path, arguments: dict[str, Any], num_envs: int, device: str) -> Gate:
    """Have a script wait at its first step; its units are environment steps.

    Args:
        script: the file.
        arguments: of its command line; True and False are flags.
        num_envs: environments that one of its steps advances.
        device: that it works on.
    """
    import gymnasium

    if not script.is_file():
        raise FileNotFoundError(f"{script} is not there; the checkout is another version, or another repository")
    vector: Any = gymnasium.vector.SyncVectorEnv
    step_envs = vector.step

    def loop(gate: Gate) -> None:
        calls = 0

        def step(envs: Any, actions: Any) -> Any:
            nonlocal calls
            if calls:
                gate.progress(num_envs)
            calls += 1
            return step_envs(envs, actions)

        vector.step = step
        sys.argv = [str(script), *command_line(arguments)]
        sys.path[:0] = [str(script.parent), str(script.parents[1])]  # the checkout has modules of its own
        os.environ["WANDB_MODE"] = "disabled"
        runpy.run_path(str(script), run_name="__main__")

    return Gate(loop, lambda: wait_for(device))


def work(path: Path, arguments: dict[str, Any], num_envs: int, first_steps: int, **notes: Any) -> Work:
    """A script past its first environment steps: random ones, and those in which it compiles."""
    gate = start(path, arguments, num_envs, "cuda" if arguments["cuda"] else "cpu")
    gate.run(first_steps)
    return Work(gate.run, notes, arguments)


def command_line(arguments: dict[str, Any]) -> list[str]:
    """As tyro reads it."""
    words = []
    for name, value in arguments.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(value)]
    return words


def arguments(asked: Asked) -> dict[str, Any]:
    """What both scripts are told, delayed updates of the policy switched off."""
    if asked.hidden_dims != (256, 256):
        raise Unsupported(f"its networks are 256, 256, not {asked.hidden_dims}")
    return {
        "total_timesteps": ENDLESS,
        "batch_size": asked.batch_size,
        "gamma": asked.gamma,
        "tau": asked.tau,
        "policy_lr": asked.lr,
        "q_lr": asked.lr,
        "policy_frequency": 1,
        "target_network_frequency": 1,
        "cuda": asked.device.startswith("cuda"),
    }


def known_env(env: str) -> str:
    """The environment, or its version 4 where Gymnasium is older than version 5."""
    import gymnasium

    older = env.removesuffix("-v5") + "-v4"
    return older if env not in gymnasium.registry and older in gymnasium.registry else env


def register_idle_env(obs_dim: int, action_dim: int) -> str:
    """An environment of random numbers that costs next to nothing, for a script's updates alone; returns its name."""
    import gymnasium

    class Idle(gymnasium.Env[np.ndarray, np.ndarray]):
        """Random observations, whatever the action."""

        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)

        def __init__(self) -> None:
            self._rng = np.random.default_rng(0)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
            return self._rng.standard_normal(obs_dim, np.float32), {}

        def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
            obs = self._rng.standard_normal(obs_dim, np.float32)
            return obs, float(obs[0]), False, False, {}

    make: Any = Idle
    gymnasium.register(IDLE, make, disable_env_checker=True, order_enforce=False)
    return IDLE
