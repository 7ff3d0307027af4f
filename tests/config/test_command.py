"""The command that repeats a run gives its settings, and names those alone that differ."""

import shlex
from typing import Any

import pytest

from fastsac.cli.train import train_config
from fastsac.config.command import repeat_command
from fastsac.config.settings import Config

GIVEN: list[dict[str, Any]] = [
    {"env": "Pendulum-v1"},
    {"env": "HalfCheetah-v5", "algo": "sac", "preset": "none", "seeds": (3, 7), "hidden_dims": (64, 32)},
    {"env": "Walker2d-v5", "sweep": ("critic_lr=1e-3,3e-3", "tau=0.01"), "seeds": 3, "obs_norm": True},
    {"env": "Pong-v5", "env_kwargs": {"a b": [1, "it's"]}, "eval_env_kwargs": {}, "conv_channels": (8, 16)},
    {"env": "Pendulum-v1", "algo": "sac-v1", "stop_at_return": -180.5, "learn_alpha": False, "tau": 1e-5},
    {"env": "Ant-v5", "preset": "flashsac", "actor_hidden_dims": None, "target_sigma": None, "hidden_dims": (8,)},
    {"env": "Hopper-v5", "wandb_tags": ("a", "b c"), "max_wall_time": "3h55m", "tensorboard": False},
    {"env": "HalfCheetah-v5", "preset": "flashsac-cpu-sim", "actor_hidden_dims": (32, 32), "total_steps": 30_000},
]


@pytest.mark.parametrize("settings", GIVEN, ids=lambda settings: settings["env"])
def test_the_command_gives_the_same_settings(settings: dict[str, Any]) -> None:
    config = Config(**settings)
    program, command, *args = shlex.split(repeat_command(config))
    assert (program, command) == ("fastsac", "train")
    assert train_config(args) == config


def test_the_run_directory_and_what_preset_and_defaults_give_are_left_out() -> None:
    config = Config(env="Pendulum-v1", tau=0.02, gamma=0.9, run_dir="here")
    assert repeat_command(config) == "fastsac train --env Pendulum-v1 --gamma 0.9"
