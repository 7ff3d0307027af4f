"""From a name to environments: what is found, listed and refused."""

import sys
from types import ModuleType

import numpy as np
import pytest

from fastsac.env import (
    backend_names,
    list_envs,
    list_slow_envs,
    make_env,
    make_spec,
    near_matches,
    resolve,
)
from tests.support import scripted_env
from tests.support.gym_envs import CHOICES, PICTURES, SPACES


@pytest.mark.parametrize(
    ("env", "env_kwargs", "message"),
    [
        ("HalfCheeta-v5", {}, r"unknown envpool id 'HalfCheeta-v5'; did you mean HalfCheetah-v5"),
        ("BinPack-v2", {}, r"BinPack-v2 takes discrete actions of shape \(2,\)"),
        ("PacMan-v1", {}, r"an integer observation \(frightened_state_time\) without bounds"),
        ("Pong-v5", {"img_height": 20}, r"observations of shape \(4, 20, 84\) and type uint8 \(obs\), too large .* 36"),
        ("Pong-v5", {"gray_scal": True}, "takes no env_kwargs 'gray_scal'; did you mean gray_scale"),
        ("Basic-v1", {}, "without bounds.*--action-limit"),
        ("CliffWalking-v1", {"max_episode_steps": 5}, "max_episode_steps has no effect on envpool:CliffWalking-v1"),
        ("Maze-v0", {"max_episode_steps": 5}, "max_episode_steps has no effect on envpool:Maze-v0"),
        ("Go9x9-v1", {}, "Go9x9-v1 is a task for several players"),
        ("LqrLqr21-v1", {}, "without bounds.*--action-limit"),
        ("LaneKeeping-v0", {}, "never ends an episode"),
        ("Parking-v0", {"max_episode_steps": 3}, "max_episode_steps has no effect.*duration"),
        ("HalfCheetah-v5", {"frame_skp": 1}, "HalfCheetah-v5 takes no env_kwargs 'frame_skp'; did you mean frame_skip"),
        ("HalfCheetah-v5", {"num_envs": 1}, "takes no env_kwargs 'num_envs'"),
        ("HalfCheetah-v5", {"frame_skip": "x"}, r"env_kwargs\['frame_skip'\] .* must be of the kind .* 5, got 'x'"),
        ("HalfCheetah-v5", {"max_episode_steps": 0}, "max_episode_steps must be at least 1, got 0"),
        (PICTURES, {"shape": (33, 33, 4), "dtype": "float32"}, r"of shape \(33, 33, 4\) and type float32 .* no image"),
        (PICTURES, {"shape": (84, 84, 3), "dtype": "float32"}, "no image; an image is uint8, .* sides of at least 36"),
        (PICTURES, {"shape": (4, 84, 84, 3)}, r"of shape \(4, 84, 84, 3\) and type uint8 \(obs\), too large"),
        (PICTURES, {"parts": ("speed", "image")}, r"has an image \(image of shape \(36, 40, 3\)\) beside .* \(speed\)"),
        ("gymnasium:pendulum-v1", {}, "unknown gymnasium id 'pendulum-v1'; did you mean Pendulum-v1"),
        (CHOICES, {"action_space": SPACES.MultiDiscrete([2, 3])}, "has a MultiDiscrete action space.*one discrete"),
        (CHOICES, {"action_space": SPACES.MultiBinary(2)}, "has a MultiBinary action space.*one discrete"),
        (CHOICES, {"action_space": SPACES.Box(0, 3, (1,), np.int64)}, "has a Box action space.*int64.*one discrete"),
        ("gymnasium:Blackjack-v1", {}, "has observations of space Tuple.*FlattenObservation"),
        ("gymnasium:no_such_module:Foo-v0", {}, "No module named 'no_such_module'"),
        ("gymnasium:Pendulum-v1", {"gravity": 1}, "unexpected keyword argument 'gravity'"),
        ("gymnasium:Pendulum-v1", {"num_envs": 1}, "must not hold 'num_envs'"),
        (
            "gymnasium:tests.support.nested_env:Nested-v0",
            {"bad": True},
            r"RuntimeError: first line \(.*nested_env.py, line \d+\)\.$",
        ),
        ("gymnasium:tests.support.nested_env:Nested-v0", {"low": -np.inf}, "without bounds.*--action-limit"),
        ("tests.support.scripted_env:3x", {}, "task must look like"),
        ("tests.support.scripted_env:3t", {"bound": "inf"}, "without bounds.*--action-limit"),
        ("tests.support.chain_env:random:5,3", {}, "task must look like"),
        ("nothing:Task", {}, "unknown back end 'nothing'; choose from envpool, gymnasium"),
        ("no.such.module:Task", {}, "cannot be imported"),
        (
            "tests.support.image_env:Sied",
            {},
            "unknown tests.support.image_env id 'Sied'; did you mean Side[?] `fastsac en",
        ),
        ("tests.support.image_env:X", {}, r"'X'\. `fastsac envs --back-end tests.support.image_env` lists them\.$"),
        ("json.decoder:Task", {}, "lacks make_spec, make, list_tasks"),
        (":Task", {}, "env must be"),
    ],
)
def test_refuses(env, env_kwargs, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_spec(env, env_kwargs)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        make_env(env, [0], env_kwargs=env_kwargs)


def test_gymnasium_names_the_missing_package(monkeypatch):
    for module in [m for m in sys.modules if m.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "mujoco", None)  # as if it were not installed
    with pytest.raises(
        ValueError, match=r"gymnasium cannot make HalfCheetah-v5: DependencyNotInstalled: MuJoCo is not installed"
    ):
        make_spec("gymnasium:HalfCheetah-v5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [-1]}, r"in \[0, 2\^31\), got -1"),
        ({"seeds": [2**31]}, r"in \[0, 2\^31\)"),
        ({"seeds": [0], "num_threads": -1}, "num_threads must be at least 0, got -1"),
        ({"seeds": [0], "num_threads": 2, "env": "gymnasium:Pendulum-v1"}, "num_threads must be 0 or 1"),
        ({"seeds": [0], "action_limit": 0.0}, "action_limit must be positive and finite"),
    ],
)
def test_make_env_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_env(**{"env": "Pendulum-v1", **arguments})


def test_a_module_that_falls_over_is_named_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "points.py").write_text("GRAVITY = 9.81\nMASS = WEIGHT / GRAVITY\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    line = r"NameError: name 'WEIGHT' is not defined \(.*points\.py, line 2\)\.$"
    with pytest.raises(ValueError, match=rf"^back end 'broken.points' cannot be imported: {line}"):
        make_spec("broken.points:Point")


def test_a_back_end_may_take_more_than_it_lists():
    assert "9t" not in scripted_env.list_tasks()
    assert make_spec("tests.support.scripted_env:9t").max_episode_steps == 9


def test_largest_seed_works():
    env = make_env("Pendulum-v1", [2**31 - 1])
    assert np.isfinite(env.reset()).all()


def test_near_matches():
    assert near_matches("hoper", ["Hopper", "Walker"]) == "; did you mean Hopper?"
    assert near_matches("zzz", ["Hopper", "Walker"]) == ""
    # A version in common makes no likeness, and decides between equals.
    versions = ["Hopper-v4", "Hopper-v5", "Ant-v1"]
    assert near_matches("Nope-v1", versions) == ""
    assert near_matches("hoper-v4", versions) == "; did you mean Hopper-v4 or Hopper-v5?"
    assert near_matches("Hopper", versions) == "; did you mean Hopper-v5 or Hopper-v4?"


def test_resolve_defaults_to_envpool():
    backend, name, task = resolve("Pendulum-v1")
    assert isinstance(backend, ModuleType)
    assert (backend.__name__, name, task) == ("fastsac_envs.envpool", "envpool", "Pendulum-v1")
    assert resolve("tests.support.scripted_env:3t")[0] is scripted_env


def test_list_envs():
    names = [spec.env_id for spec in list_envs("PENDULUM-V1")]
    assert "envpool:Pendulum-v1" in names
    assert "gymnasium:Pendulum-v1" in names
    assert [spec.env_id for spec in list_envs("envpool:halfcheetah-v[45]")] == [
        "envpool:HalfCheetah-v4",
        "envpool:HalfCheetah-v5",
    ]
    assert {spec.env_id for spec in list_envs("cartpole-v1") if spec.discrete} >= {
        "envpool:CartPole-v1",
        "gymnasium:CartPole-v1",
    }
    assert ("envpool:CarRacing-v3", (3, 96, 96)) in [(spec.env_id, spec.image) for spec in list_envs("racing-v3")]
    assert len({spec.env_id for spec in list_envs()}) > 1000


def test_list_envs_describes_slow_tasks_where_their_names_match():
    assert [(spec.env_id, spec.image) for spec in list_envs("pong-V5")] == [("envpool:Pong-v5", (4, 84, 84))]
    slow = list_slow_envs()
    assert len(slow) == 104
    assert "envpool:Pong-v5" in slow
    assert not set(slow) & {spec.env_id for spec in list_envs()}


def test_a_checkout_that_is_not_installed_has_its_back_ends(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])
    assert backend_names() == ["envpool", "gymnasium", "python"]
    assert make_spec("Pendulum-v1").env_id == "envpool:Pendulum-v1"
