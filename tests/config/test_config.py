"""Settings: types, ranges, presets, JSON; whatever a config.json holds, it is read or refused in one line."""

import copy
import dataclasses
import itertools
import json
import os
import pathlib
import pickle
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastsac.config.fields import GROUPS, docs_of
from fastsac.config.kinds import as_kind
from fastsac.config.presets import PRESETS, find_preset
from fastsac.config.seeds import seeds_text
from fastsac.config.settings import Config

BASE = Config(env="Pendulum-v1", preset="none")
SWEEP_101 = "{}=" + ",".join(f"0.{i}1" for i in range(101))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0."),
        ({"batch_size": -3}, "batch_size must be at least 1, got -3."),
        ({"total_steps": 0}, "total_steps must be at least 1, got 0."),
        ({"seed": -1}, "seed must be at least 0, got -1."),
        ({"num_envs": 2.5}, "num_envs must be a whole number, got 2.5."),
        ({"total_steps": float("inf")}, "total_steps must be a whole number, got inf."),
        ({"total_steps": 1e30}, "total_steps must be a number that fits into 64 bits, got 1e+30."),
        ({"hidden_dims": (8, 8.5)}, "hidden_dims must be a list of whole numbers, got (8, 8.5)."),
        ({"utd_ratio": 0.0}, "utd_ratio must be above 0, got 0.0."),
        ({"critic_lr": -1e-3}, "critic_lr must be above 0, got -0.001."),
        ({"gamma": 1.5}, "gamma must be in [0, 1], got 1.5."),
        ({"tau": 1.5}, "tau must be in (0, 1], got 1.5."),
        ({"reward_scale": float("nan")}, "reward_scale must be finite, got nan."),
        ({"hidden_dims": ()}, "hidden_dims must be one or more widths of at least 1, got ()."),
        ({"actor_hidden_dims": ()}, "actor_hidden_dims must be one or more widths of at least 1, got ()."),
        ({"critic_hidden_dims": (0,)}, "critic_hidden_dims must each be at least 1, got 0."),
        ({"activation": "swish"}, "activation must be one of relu, silu, tanh, elu, gelu, got 'swish'."),
        ({"lr_final": 2.0}, "lr_final must be in [0, 1], got 2.0."),
        ({"adam_beta1": 1.0}, "adam_beta1 must be below 1, got 1.0. Lower it."),
        ({"adam_beta2": -0.1}, "adam_beta2 must be at least 0, got -0.1."),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, got -1.0."),
        ({"target_sigma": 0.0}, "target_sigma must be above 0, got 0.0."),
        (
            {"target_sigma": 0.1, "target_entropy": -1.0},
            "target_entropy and target_sigma both set the target entropy. Give one, and none for the preset's.",
        ),
        ({"update_order": "actor"}, "update_order must be one of joint, actor-first, critics-first, got 'actor'."),
        ({"log_std_min": 2.0}, "log_std_min must be below log_std_max (2.0), got 2.0. Lower it."),
        (
            {"reward_norm": True, "value_min": -9.0, "value_max": -1.0},
            "value_max must be above 0 with reward_norm, which scales returns down to it, got -1.0. Raise it.",
        ),
        ({"noise_repeat": 0}, "noise_repeat must be at least 1, got 0."),
        ({"random_steps": -1}, "random_steps must be at least 0, got -1."),
        ({"hidden_dims": (64, 0)}, "hidden_dims must each be at least 1, got 0."),
        ({"conv_channels": (1, 2, 3, 4)}, "conv_channels must be one to three widths, got (1, 2, 3, 4)."),
        ({"batch_size": 2000}, "batch_size must be at most learning_starts (1000)"),
        ({"buffer_size": 500}, "buffer_size must be at least learning_starts (1000), got 500."),
        ({"num_envs": 1000, "buffer_size": 1000}, "buffer_size must hold more than n_step = 1"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda or cuda:N, got 'gpu'."),
        ({"seed": 2**31}, "seed must be in"),
        ({"gamma": True}, "gamma must be a number, got True."),
        ({"env": None}, "env must be text, got None."),
        ({"hidden_dims": "abc"}, "hidden_dims must be a list of whole numbers, got 'abc'."),
        ({"hidden_dims": 256}, "hidden_dims must be a list of whole numbers, got 256."),
        ({"hidden_dims": [64, True]}, "hidden_dims must be a list of whole numbers, got [64, True]."),
        ({"sweep": "random:3"}, "sweep must be a list of texts, got 'random:3'."),
        ({"compile": 1}, "compile must be one of auto, on, off, got 1."),
        ({"bf16": "yes"}, "bf16 must be true or false, got 'yes'."),
        ({"stop_at_return": "high"}, "stop_at_return must be None or a number, got 'high'."),
        ({"updates_per_launch": True}, "updates_per_launch must be auto or a whole number, got True."),
        ({"updates_per_launch": 0}, "updates_per_launch must be at least 1, got 0."),
        ({"total_steps": 10**30}, "total_steps must be a number that fits into 64 bits, got 1000"),
        ({"total_steps": 10**5000}, "total_steps must be a number that fits into 64 bits, got a int too long to show."),
        ({"gamma": 10**400}, "gamma must be a number that fits into 64 bits, got 1000"),
        ({"env_kwargs": [1]}, "env_kwargs must be a JSON object, got [1]."),
        ({"env_kwargs": {"a": [float("nan")]}}, "env_kwargs must hold finite numbers, got nan."),
        ({"env_kwargs": {"a": {1: 2}}}, "env_kwargs must have texts as keys, got 1."),
        ({"eval_env_kwargs": {"a": {1, 2}}}, "eval_env_kwargs must hold what JSON can, got {1, 2}."),
        ({"env_kwargs": {"a": 10**30}}, "env_kwargs must hold numbers of at most 64 bits"),
        ({"run_dir": "a\0b"}, "run_dir must be text without control characters, got 'a\\x00b'."),
        ({"run_dir": "\udcff"}, "run_dir must be text without control characters, got '\\udcff'."),
        ({"sweep": ("gamma=0.5\n",)}, "sweep must be text without control characters, got 'gamma=0.5\\n'."),
        ({"device": "cuda:01"}, "device must be auto, cpu, cuda or cuda:N, got 'cuda:01'."),
        ({"max_wall_time": "9" * 5000}, "max_wall_time must be a time above 0"),
        ({"sweep": ("random:1000000000000",)}, "sweep must have at most 10,000 settings, got more."),
        (
            {"sweep": (SWEEP_101.format("gamma"), SWEEP_101.format("tau"))},
            "sweep must have at most 10,000 settings, got more.",
        ),
    ],
)
def test_values_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BASE.replace(**changes)


def test_numbers_and_paths_of_other_libraries_become_plain():
    given = BASE.replace(
        batch_size=np.int64(8), gamma=np.float64(0.5), tau=1, bf16=np.bool_(True), hidden_dims=np.array([3, 4]),
        run_dir=pathlib.Path("x"), env_kwargs={"a": (np.int32(1), 2.0)},
    )  # fmt: skip
    plain = BASE.replace(
        batch_size=8, gamma=0.5, tau=1.0, bf16=True, hidden_dims=(3, 4), run_dir="x", env_kwargs={"a": [1, 2.0]}
    )
    assert repr(given) == repr(plain)
    assert Config.from_json(given.to_json()) == given


def test_whole_numbers_may_be_written_as_floats_in_python_and_in_json():
    given = BASE.replace(total_steps=1e4, hidden_dims=(8.0, 8), seeds=2.0, updates_per_launch=np.float32(4))
    for config in (given, Config.from_json(given.to_json().replace('steps": 10000', 'steps": 1e4'))):
        values = (config.total_steps, *config.hidden_dims, config.seeds, config.updates_per_launch)
        assert values == (10_000, 8, 8, 2, 4)
        assert all(type(value) is int for value in values)
    assert type(as_kind(3.0, int | float)) is float  # where it may be either


def test_json_round_trip():
    config = BASE.replace(hidden_dims=(32, 16), env_kwargs={"a": [1, 2]}, target_entropy=-3.0, run_dir="x")
    assert Config.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "must hold a JSON object, got list"),
        ('{"env": "a", "speed": 3}', "fields that this version does not know: 'speed'"),
        ("{}", "has no field env"),
        ('{"env": "a", "num_envs": "many"}', "num_envs must be a whole number, got 'many'"),
        ('{"env": "a", "gamma": "high"}', "config: gamma must be a number, got 'high'."),
    ],
)
def test_bad_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Config.from_json(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "config.json is not JSON: Expecting value"),
        (b'{"env": "\xff"}', "config.json is not JSON: byte 9 is not UTF-8."),
        (b"[" * 100_000, "config.json is not JSON: it is nested too deeply."),
        (b'{"env": "a", "env_kwargs": ' + b'{"a":' * 21 + b"1" + b"}" * 22, "must not be nested more than 20 deep"),
        (b'{"env": "a", "env": "b"}', "config.json is not JSON: the key 'env' occurs twice."),
        (b'{"env": "a", "gamma": NaN}', "config.json: gamma must be finite, got nan."),
        (b'{"env": "a", "gamma": 1e400}', "config.json: gamma must be finite, got inf."),
        (b'{"env": "a", "seed": ' + b"1" * 5000 + b"}", "config.json is not JSON: Exceeds the limit"),
        (b'{"env": null}', "config.json: env must be text, got None."),
        (
            b'{"env": "a", "b\\n": 1, "c": 2, "d": 3, "e": 4, "f": 5, "g": 6, "h": 7}',
            r"know: 'b\n', 'c', 'd', 'e', 'f', 'g', ....",
        ),
    ],
    ids=lambda value: str(value[:12]),
)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json") as error:
        Config.load(tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_only_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "config.json")  # who reads it waits for a writer
    (tmp_path / "b" / "config.json").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"^cannot read .*config.json: it is not a regular file\.$"):
        Config.load(tmp_path)
    with pytest.raises(ValueError, match=r"^cannot read .*config.json: Is a directory\.$"):
        Config.load(tmp_path / "b")
    with pytest.raises(ValueError, match=r"^cannot read 'a\\x00b': embedded null byte\.$"):
        Config.load("a\0b")


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "config.json").write_text(BASE.to_json(), encoding="utf-8-sig")
    assert Config.load(tmp_path) == BASE


FIELDS = [f.name for f in dataclasses.fields(Config)]
NUMBERS = st.integers() | st.integers(-(10**40), 10**40) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text() | st.sampled_from(["auto", "on", "none", "random:2", "gamma=0.9"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(changes=st.dictionaries(st.sampled_from(FIELDS) | st.text(), JSON, max_size=3))
@example(changes={"sweep": ["random:9999999"]})
@example(changes={"seeds": 2**31 - 1})
@settings(max_examples=500, deadline=None, derandomize=True, database=None)
def test_whatever_a_config_holds_it_is_read_or_refused_in_one_line(changes):
    text = json.dumps({"env": "a:b", **changes})
    try:
        config, refusal = Config.from_json(text), ValueError("in one line")
    except ValueError as error:
        config, refusal = BASE, error
    assert type(refusal) is ValueError
    assert len(str(refusal).splitlines()) == 1
    assert Config.from_json(config.to_json()) == config


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
    assert Config(env=env).preset == preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_known(name):
    config = Config(env="x:y", preset=name)
    fields = {f.name for f in dataclasses.fields(Config)}
    assert set(PRESETS[name].values) <= fields
    for key, value in PRESETS[name].values.items():
        assert getattr(config, key) == value


def test_overrides_win_over_presets():
    assert Config(env="Pendulum-v1", batch_size=32).batch_size == 32
    assert Config(env="Pendulum-v1", preset="none").hidden_dims == (256, 256)
    with pytest.raises(ValueError, match="unknown preset 'fast'; choose from auto, fastest, none, pendulum"):
        Config(env="Pendulum-v1", preset="fast")


def test_config_json_of_an_older_field_order_loads(tmp_path):
    values = json.loads(BASE.to_json())
    (tmp_path / "config.json").write_text(json.dumps(dict(reversed(values.items()))))
    assert Config.load(tmp_path) == BASE


def test_config_json_of_the_version_before_is_read_unless_it_asks_for_what_is_gone():
    values = {**json.loads(BASE.to_json()), "reset_envs_at": None}
    assert Config.from_json(json.dumps(values)) == BASE
    with pytest.raises(ValueError, match=r"^config has fields that this version does not know: 'reset_envs_at'\.$"):
        Config.from_json(json.dumps({**values, "reset_envs_at": 100}))


@pytest.mark.parametrize("field", dataclasses.fields(Config), ids=lambda field: field.name)
def test_each_setting_is_documented_and_has_a_group(field):
    doc = docs_of(Config)[field.name]
    assert doc[0].isupper()
    assert doc.endswith(".")
    assert field.metadata["group"] in GROUPS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds must be a count of at least 1, or a list such as 3,7,8, got 0."),
        ({"seeds": ()}, "seeds must be a count or a list of at least one seed, got ()."),
        ({"seeds": (3, 3)}, "seeds must differ from each other, got (3, 3)."),
        ({"seeds": (3, -1)}, "seeds must each be at least 0, got -1."),
        ({"seeds": (3, 2**31)}, "seeds must each be in [0, 2^31), got (3, 2147483648)."),
        ({"seeds": (3, 4), "seed": 7}, "seed has no place beside a list of seeds, got seed 7 and seeds (3, 4)."),
        ({"seeds": "1,2"}, "seeds must be a list of whole numbers or a whole number, got '1,2'."),
    ],
)
def test_wrong_seeds_are_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BASE.replace(**changes)


def test_seeds_are_a_count_from_seed_on_or_a_list():
    assert BASE.replace(seed=4, seeds=3).member_seeds == [4, 5, 6]
    listed = BASE.replace(seeds=[9, 0, 4], sweep=("gamma=0.9,0.99",))
    assert listed.member_seeds == [9, 0, 4] * 2
    assert listed.num_members == 6
    assert listed.member_setting(3) == {"gamma": 0.99}
    assert listed.member_name(4) == "member 4 (seed 0, gamma 0.99)"
    assert listed.of_member(5) == BASE.replace(seed=4, gamma=0.99)
    assert Config.from_json(listed.to_json()) == listed


def test_a_list_of_seeds_draws_a_random_sweep_by_its_first():
    assert (
        BASE.replace(seeds=(5, 1), sweep=("random:3",)).settings == BASE.replace(seed=5, sweep=("random:3",)).settings
    )


def test_seeds_as_text():
    texts = [seeds_text(seeds) for seeds in ([3], [1, 7], [1, 2, 3], [1, 3, 5, 7, 9])]
    assert texts == ["seed 3", "seeds 1, 7", "seeds 1 to 3", "5 seeds"]


def test_zero_threads_and_auto_mean_the_same():
    assert [BASE.replace(env_threads=n).num_env_threads for n in ("auto", 0, 3)] == [0, 0, 3]


def test_traits_select_settings():
    assert {"gamma", "critic_lr"} <= {*Config.names(sweepable=True)}
    assert {"algo", "seed", "sweep", "hidden_dims"} <= {*Config.names(fixed=True)}
    assert {"seeds", "run_dir", "log_every"} <= {*Config.names(affects="nothing")}
    assert {*Config.names(affects="learning")} > {*Config.names(sweepable=True)}
    names = [f.name for f in dataclasses.fields(Config)]
    kinds = [Config.names(affects=kind) for kind in ("learning", "speed", "evaluation", "nothing")]
    assert sorted(itertools.chain(*kinds)) == sorted(names)


def test_construction_refuses_values_of_wrong_types_by_name():
    for changes, message in (
        ({"env": None}, "env must be text, got None."),
        ({"env": "a", "algo": ["sac"]}, r"algo must be one of auto, sac, .*, got \['sac'\]\."),
        ({"env": "a", "preset": []}, r"unknown preset \[\]; choose from auto"),
    ):
        with pytest.raises(ValueError, match=message):
            Config(**changes)


def test_presets_have_values_for_an_algorithm():
    assert Config(env="Pendulum-v1", algo="sql").batch_size == 64
    assert Config(env="Pendulum-v1").batch_size == 256
    assert Config(env="Pendulum-v1", algo="sac-v1").init_alpha == 0.2
    assert Config(env="Pendulum-v1", algo="sac-v1", init_alpha=0.5).init_alpha == 0.5
    assert Config(env="Pendulum-v1", preset="none", algo="sql").init_alpha == 1.0


def test_copies_keep_every_value():
    config = Config(env="Pendulum-v1", seed=7)
    assert config.batch_size == 256
    assert config.num_envs == 4, "of the preset"
    moved = [config.replace(env="Ant-v5"), dataclasses.replace(config, env="Ant-v5")]
    assert moved == [dataclasses.replace(config, env="Ant-v5", preset="pendulum")] * 2
    assert (moved[0].num_envs, moved[0].preset, moved[0].seed) == (4, "pendulum", 7)
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config
    assert Config.from_json(config.replace(num_envs=16).to_json()).num_envs == 16
    with pytest.raises(ValueError, match="preset cannot be changed"):
        config.replace(preset="none")


def test_config_json_of_an_earlier_version_gets_defaults_and_not_the_presets_values():
    values = json.loads(Config(env="Pendulum-v1").to_json())
    del values["num_envs"]  # 4 in the preset
    assert Config.from_json(json.dumps(values)).num_envs == 16
    with pytest.raises(ValueError, match="config: preset must be none or the name of the preset"):
        Config.from_json('{"env": "Pendulum-v1", "preset": "auto"}')


def test_names_that_are_no_settings_are_refused_with_the_near_one():
    with pytest.raises(ValueError, match=r"^'total_step' is no setting; did you mean total_steps\?$"):
        Config(env="Pendulum-v1", total_step=5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"^'zzz' is no setting\. help\(fastsac\.Config\) lists all\.$"):
        Config(env="Pendulum-v1", zzz=5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="env must be given"):
        Config()  # type: ignore[call-arg]


def test_the_docstring_has_the_text_of_every_setting():
    doc = " ".join((Config.__doc__ or "").split())
    assert all(f" {name}: {text}" in doc for name, text in docs_of(Config).items())
    assert {*docs_of(Config)} == {*Config.names()}


def test_the_time_limit_goes_to_the_environments():
    config = BASE.replace(max_episode_steps=7, env_kwargs={"a": 1})
    assert config.env_kwargs_of_training == config.env_kwargs_of_evaluation == {"a": 1, "max_episode_steps": 7}
    longer = config.replace(eval_env_kwargs={"max_episode_steps": 9})
    assert longer.env_kwargs_of_evaluation["max_episode_steps"] == 9
    with pytest.raises(ValueError, match="max_episode_steps stands in env_kwargs too"):
        config.replace(env_kwargs={"max_episode_steps": 7})


def test_settings_are_given_by_name():
    with pytest.raises(ValueError, match=r"^settings must be given by name, for example env='Pendulum-v1'\.$"):
        Config("Pendulum-v1")  # type: ignore[call-arg]
