"""The command that repeats a run gives its settings."""

import shlex
from typing import Any

import pytest

from fastsac.cli.train import train_config
from fastsac.config.command import repeat_command
from fastsac.config.settings import Config


@pytest.mark.parametrize(
    "settings",
    [
        {"env": "Pendulum-v1"},
        {"env": "Pendulum-v1", "algo": "sac", "run_dir": "somewhere", "resume": None},
        {"env": "Pendulum-v1", "preset": "none", "seeds": (3, 7), "stop_at_return": -150.0},
        {"env": "HalfCheetah-v5", "preset": "flashsac-cpu-sim", "hidden_dims": (64,), "actor_hidden_dims": (32, 32)},
        {"env": "Ant-v5", "env_kwargs": {"ctrl_cost_weight": 0.2}, "sweep": ("gamma=0.9,0.99", "tau=0.01,0.02")},
        {"env": "Pendulum-v1", "stop_at_return": None, "learn_alpha": False, "tensorboard": False, "wandb": True},
        {"env": "Walker2d-v5", "wandb_tags": ("a b", "c"), "updates_per_launch": 2, "obs_norm": True},
    ],
)
def test_it_gives_the_same_configuration(settings: dict[str, Any]):
    config = Config(**settings)
    program, command, *args = shlex.split(repeat_command(config))
    assert (program, command) == ("fastsac", "train")
    assert train_config(args) == config.replace(run_dir=None)


def test_what_preset_and_defaults_give_is_left_out():
    assert (
        repeat_command(Config(env="Pendulum-v1", tau=0.02, gamma=0.9)) == "fastsac train --env Pendulum-v1 --gamma 0.9"
    )
