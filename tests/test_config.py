"""Settings: ranges, presets, JSON."""

import dataclasses
import json
import re

import pytest

from fastsac.config import Config
from fastsac.presets import PRESETS, find_preset

BASE = Config(env="Pendulum-v1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0."),
        ({"batch_size": -3}, "batch_size must be at least 1, got -3."),
        ({"total_steps": 0}, "total_steps must be at least 1, got 0."),
        ({"seed": -1}, "seed must be at least 0, got -1."),
        ({"num_envs": 2.5}, "num_envs must be a whole number, got 2.5."),
        ({"utd_ratio": 0.0}, "utd_ratio must be above 0, got 0.0."),
        ({"critic_lr": -1e-3}, "critic_lr must be above 0, got -0.001."),
        ({"gamma": 1.5}, "gamma must be in [0, 1], got 1.5."),
        ({"tau": 1.5}, "tau must be in (0, 1], got 1.5."),
        ({"reward_scale": float("nan")}, "reward_scale must be finite, got nan."),
        ({"hidden_dims": ()}, "hidden_dims must be one or more widths of at least 1, got ()."),
        ({"hidden_dims": (64, 0)}, "hidden_dims must be one or more widths"),
        ({"batch_size": 2000}, "batch_size must be at most learning_starts (1000)"),
        ({"buffer_size": 500}, "buffer_size must be at least learning_starts (1000), got 500."),
        ({"num_envs": 1000, "buffer_size": 1000}, "buffer_size must hold more than n_step = 1"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda or cuda:N, got 'gpu'."),
        ({"seed": 2**31}, "seed must be in"),
    ],
)
def test_values_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BASE.replace(**changes)


def test_json_round_trip():
    config = BASE.replace(hidden_dims=(32, 16), env_kwargs={"a": [1, 2]}, target_entropy=-3.0, run_dir="x")
    assert Config.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "must hold a JSON object, got list"),
        ('{"env": "a", "speed": 3}', "fields that this version does not know: speed"),
        ("{}", "has no field env"),
        ('{"env": "a", "num_envs": "many"}', "num_envs must be a whole number, got 'many'"),
        ('{"env": "a", "gamma": "high"}', "wrong type"),
    ],
)
def test_bad_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Config.from_json(text)


@pytest.mark.parametrize(
    ("env", "preset"),
    [
        ("Pendulum-v1", "pendulum"),
        ("envpool:Pendulum-v1", "pendulum"),
        ("gymnasium:Pendulum-v1", "pendulum"),
        ("InvertedPendulum-v5", "inverted-pendulum"),
        ("InvertedDoublePendulum-v5", "inverted-double-pendulum"),
        ("HalfCheetah-v5", "gym-mujoco"),
        ("HalfCheetah-v4", "gym-mujoco"),
        ("Hopper-v5", "gym-mujoco"),
        ("Swimmer-v5", "swimmer"),
        ("CheetahRun-v1", "dm-control"),
        ("HopperHop-v1", "dm-control"),
        ("PendulumSwingup-v1", "dm-control"),
        ("BipedalWalker-v3", "box2d"),
        ("LunarLanderContinuous-v3", "box2d"),
        ("LunarLander-v3", "lunar-lander"),
        ("Pong-v5", "atari"),
        ("gymnasium:ALE/Pong-v5", "none"),
        ("CartPole-v1", "cartpole"),
        ("MountainCarContinuous-v0", "mountain-car"),
        ("G1JoystickFlatTerrain-v1", "playground"),
        ("my_robots.arm:Reach", "none"),
    ],
)
def test_auto_picks_the_preset_of_the_family(env, preset):
    assert find_preset(env)[0] == preset
    assert Config.for_env(env).preset == preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_known(name):
    config = Config.for_env("x:y", name)
    fields = {f.name for f in dataclasses.fields(Config)}
    assert set(PRESETS[name].values) <= fields
    for key, value in PRESETS[name].values.items():
        assert getattr(config, key) == value


def test_overrides_win_over_presets():
    assert Config.for_env("Pendulum-v1", batch_size=32).batch_size == 32
    assert Config.for_env("Pendulum-v1", preset="none").hidden_dims == (256, 256)
    with pytest.raises(ValueError, match="unknown preset 'fast'; choose from auto, none, pendulum"):
        Config.for_env("Pendulum-v1", preset="fast")


def test_config_json_of_an_older_field_order_loads(tmp_path):
    values = json.loads(BASE.to_json())
    (tmp_path / "config.json").write_text(json.dumps(dict(reversed(values.items()))))
    assert Config.load(tmp_path) == BASE


def test_presets_have_values_for_an_algorithm():
    assert Config.for_env("Pendulum-v1", algo="sql").batch_size == 64
    assert Config.for_env("Pendulum-v1").batch_size == 256
    assert Config.for_env("Pendulum-v1", algo="sac-v1").init_alpha == 0.2
    assert Config.for_env("Pendulum-v1", algo="sac-v1", init_alpha=0.5).init_alpha == 0.5
    assert Config.for_env("Pendulum-v1", preset="none", algo="sql").init_alpha == 1.0
