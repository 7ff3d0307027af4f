"""Figures of steps: from a simulator's info to `Step.info`."""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import gymnasium
import numpy as np
import pytest

import fastsac
from fastsac.acting.errors import BadStepError, CheckedEnv, of_nobody
from fastsac.env import ReportsInfo, VectorEnv, make_env, make_spec
from tests.support import scripted_env
from tests.support.told_env import Told

TOLD = "gymnasium:tests.support.told_env:Told-v0"


def infos_of(env: Any, names: Sequence[str], count: int) -> list[dict[str, list[float]]]:
    """`info` of the first steps, as lists."""
    assert isinstance(env, ReportsInfo)
    env.report_info(names)
    env = cast(VectorEnv, env)
    env.reset()
    found = []
    for _ in range(count):
        env.send(np.zeros((env.num_envs, env.spec.action_dim), np.float32))
        step = env.recv()
        assert step.info is not None
        assert all(figure.dtype == np.float32 and figure.shape == (env.num_envs,) for figure in step.info.values())
        found.append({name: figure.tolist() for name, figure in step.info.items()})
    return found


def test_gymnasium_tells_numbers_whatever_their_type_and_those_of_dictionaries_within():
    """Gymnasium itself makes an array of whole numbers where the first environment tells one, and cuts the others."""
    env: Any = make_env(TOLD, [2, 1], env_kwargs={"first": 1})
    assert infos_of(env, ["step", "log:height"], 2) == [
        {"step": [2.0, 1.5], "log:height": [20.0, 10.0]}, {"step": [3.5, 2.0], "log:height": [30.0, 20.0]},
    ]  # fmt: skip
    assert env.info_names == ["log:height", "step"], "those of the first step that are numbers"
    env.close()


def test_what_is_told_at_the_end_alone_is_nan_before():
    env = make_env(TOLD, [2, 1], env_kwargs={"first": 1})
    np.testing.assert_equal([info["late"] for info in infos_of(env, ["late"], 3)], [[np.nan] * 2, [1, np.nan], [0, 1]])
    env.close()


def test_where_all_environments_are_reset_nothing_is_told():
    env = make_env(TOLD, [1, 3])
    np.testing.assert_equal(infos_of(env, ["step"], 4)[-1], {"step": [np.nan] * 2})
    env.close()


def test_what_is_no_number_is_told_with_the_environment():
    env: Any = make_env(TOLD, [1, 3])
    env.report_info(["name"])
    checked = CheckedEnv(env, of_nobody, lambda: np.zeros(2, int), (2, 2), ["name"])
    checked.reset()
    checked.send(np.zeros((2, 1), np.float32))
    with pytest.raises(
        BadStepError,
        match=r"environment 0 failed in step 1 of its episode: TypeError: the info 'name', which info_metrics asks "
        r"for, must be one number, got 'told'",
    ):
        checked.recv()
    env.close()


@pytest.mark.parametrize("vector_class", [gymnasium.vector.SyncVectorEnv, gymnasium.vector.AsyncVectorEnv])
def test_environments_that_are_objects_tell_likewise(vector_class):
    name = fastsac.register_env(partial(vector_class, [Told, Told]))
    env = make_env(name, [1, 3])
    assert infos_of(env, ["step"], 2) == [{"step": [1.5, 1.5]}, {"step": [2.0, 2.0]}]
    env.close()


def test_envpool_tells_what_its_own_info_does():
    import envpool

    env: Any = make_env("HalfCheetah-v5", [4, 5])
    names = ("reward_run", "reward_ctrl", "x_position", "x_velocity")
    assert env.spec.info_names == env.info_names == names
    native = envpool.make_gymnasium("HalfCheetah-v5", num_envs=2, seed=0, env_seed=[4, 5])
    native.reset()
    for told in infos_of(env, ["x_velocity", "reward_run"], 3):
        info = native.step(np.zeros((2, 6)))[-1]
        assert told == {name: info[name].astype(np.float32).tolist() for name in ("x_velocity", "reward_run")}
    env.close()


def test_envpool_knows_before_a_step_which_numbers_there_are():
    assert make_spec("Pendulum-v1").info_names == ()
    assert make_spec("FetchReach-v4").info_names == ("is_success", "distance")
    walk = make_spec("G1JoystickFlatTerrain-v1").info_names or ()
    assert "reward_tracking_lin_vel" in walk
    assert "command" not in walk, "three numbers"
    assert make_spec(TOLD).info_names is None


@pytest.mark.parametrize("name", ["HalfCheetah-v5", TOLD])
def test_nothing_is_told_where_nobody_asks(name):
    env = make_env(name, [1, 2])
    env.reset()
    env.send(np.zeros((2, env.spec.action_dim), np.float32))
    assert env.recv().info is None
    env.close()


def checked(info):
    """One step of an environment that returns this, asked for "height"."""
    env = scripted_env.make("3t", [1, 2], 0, {}, None)
    recv = env.recv
    env.recv = lambda: recv()._replace(info=info)  # type: ignore[method-assign]
    env.reset()
    every = CheckedEnv(env, of_nobody, lambda: np.zeros(2, int), (2, 5), ["height"])
    every.send(np.zeros((2, 2), np.float32))
    return every.recv()


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (None, "figures that tests.support.scripted_env:3t tells of its steps, got 'height'; it tells none."),
        ({"hight": np.zeros(2, np.float32)}, "got 'height'; did you mean hight? Those told: hight."),
        ({"a": 1, "b": 2}, "got 'height'; choose from a, b."),
        ([1], "must return info as a dictionary of figures, got list of length 1 in step."),
        ({"height": np.zeros(2)}, "must return info['height'] as float32 [2], got float64 [2] in step."),
        ({"height": np.zeros((2, 1), np.float32)}, "info['height'] as float32 [2], got float32 [2, 1] in step."),
    ],
)
def test_own_environments_are_held_to_the_figures_that_are_asked_for(info, message):
    with pytest.raises(BadStepError) as error:
        checked(info)
    assert message in str(error.value)


def test_own_environments_may_tell_more():
    assert checked({"height": np.ones(2, np.float32), "name": "told"}).info["height"].tolist() == [1, 1]
