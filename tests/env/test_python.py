"""Environments as Python objects: what is taken, how it is called, and what is refused in one line."""

import multiprocessing
import os
import re
import signal
from contextlib import closing
from functools import partial
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv

from fastsac.env import make_env, make_spec, register_env, why_only_here
from tests.support.python_envs import KINDS, Endless, pendulum, scripted, vector
from tests.support.rollouts import SEEDS, actions, rollout, same


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_numbers_of_the_name(kind):
    name = register_env(KINDS[kind]())
    assert re.fullmatch(r"python:(\d+:)?Pendulum-v1", name)
    envs = [make_env(env, SEEDS, env_kwargs={"max_episode_steps": 5}) for env in (name, "gymnasium:Pendulum-v1")]
    (first, steps), (other, others) = (rollout(env, actions(env)) for env in envs)
    assert np.array_equal(first, other)
    assert all(same(a, b) for a, b in zip(steps, others, strict=True))
    assert make_spec(name, {"max_episode_steps": 5}) == envs[0].spec
    assert envs[0].spec.max_episode_steps == 5
    assert make_spec(name).max_episode_steps == 200


def test_a_function_that_comes_by_once_more_is_the_same():
    def of(pay):
        return lambda: Endless(pay)

    one, other = object(), object()
    names = [register_env(lambda: Endless(3.25)) for _ in range(3)]
    names.append(register_env(lambda: Endless(3.25)))  # on another line
    assert len(set(names)) == 1
    assert register_env(lambda: Endless(3)) != names[0]
    assert register_env(lambda: Endless(3)) != register_env(lambda: Endless(3.0))
    assert register_env(of(one)) == register_env(of(one)) != register_env(of(other))


def test_a_name_is_kept_for_its_object():
    class Mine(Endless):
        pass

    def make():
        return Mine()

    assert [register_env(env) for env in (Mine, make, Mine, make)] == ["python:Mine", "python:2:Mine"] * 2
    assert register_env(Mine, "other") == "python:other"
    assert register_env(partial(Mine, 9.0), "Mine") == "python:Mine"  # the newer one has the name
    with closing(make_env("python:Mine", [0])) as env:
        env.reset()
        env.send(np.array([[0, 1, 0]], np.float32))
        assert env.recv().reward == 9


def test_keywords_go_to_the_callable():
    with closing(make_env(register_env(Endless), [0, 1], env_kwargs={"pay": 2.5, "max_episode_steps": 2})) as env:
        env.reset()
        env.send(np.array([[0, 1, 0], [1, 0, 0]], np.float32))
        assert env.recv().reward.tolist() == [2.5, 0]
        env.send(np.array([[0, 1, 0], [1, 0, 0]], np.float32))
        assert env.recv().truncated.all()
        assert env.spec.max_episode_steps == 2


def test_the_functions_of_a_vector_environment_take_turns():
    given = gymnasium.vector.SyncVectorEnv([partial(Endless, pay) for pay in (1, 2, 3)])
    made = list(given.envs)
    with closing(make_env(register_env(given), range(5))) as env:
        env.reset()
        env.send(np.tile(np.array([0, 1, 0], np.float32), (5, 1)))
        assert env.recv().reward.tolist() == [1, 2, 3, 1, 2]
    assert given.envs == made, "the vector environment itself is left alone"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it forks, as Gymnasium does by default
def test_an_asynchronous_vector_environment_has_processes_that_leave_ctrl_c_alone():
    given, before = AsyncVectorEnv([pendulum] * 2), {*multiprocessing.active_children()}
    given.close()
    with closing(make_env(register_env(given), [3, 4, 5], env_kwargs={"max_episode_steps": 5})) as env:
        first, steps = rollout(env, actions(env))
        processes = {*multiprocessing.active_children()} - before
        assert len(processes) == 3
        for process in processes:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGINT)
        env.send(actions(env)[0])
        assert env.recv().obs.shape == (3, 3)
    with closing(make_env("gymnasium:Pendulum-v1", [3, 4, 5], env_kwargs={"max_episode_steps": 5})) as env:
        other, others = rollout(env, actions(env))
    assert np.array_equal(first, other)
    assert all(same(a, b) for a, b in zip(steps, others, strict=True))


def test_ones_own_vector_environment_gets_seeds_and_keywords():
    name = register_env(scripted)
    with closing(make_env(name, [7, 8], env_kwargs={"action_dim": 3})) as env:
        assert env.reset()[:, 0].tolist() == [7, 8]
        assert env.spec.action_dim == 3
    with pytest.raises(ValueError, match="action_limit has no effect on python:scripted"):
        make_spec(name, action_limit=1.0)
    with pytest.raises(ValueError, match="takes no env_kwargs 'max_episode_steps'"):
        make_spec(name, {"max_episode_steps": 3})


class Device(Endless):
    """An environment of which there can be one at a time, as of a robot."""

    alive = 0

    def __init__(self) -> None:
        super().__init__()
        Device.alive += 1
        assert Device.alive == 1

    def close(self) -> None:
        Device.alive -= 1


def test_one_environment_lives_at_a_time_and_none_after_a_refusal():
    name = register_env(Device)
    make_spec(name)
    make_env(name, [0]).close()
    with pytest.raises(ValueError, match="action_limit could replace"):
        make_env(name, [0], action_limit=1.0)
    assert Device.alive == 0


def needs(argument):
    return argument


class Unrecorded(gymnasium.Wrapper):
    """A wrapper whose arguments its spec does not know."""


class Wrapped(gymnasium.vector.VectorWrapper):
    pass


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (3, "env must be a name, a Gymnasium environment or a callable, got int."),
        (scripted([0]), "got ScriptedEnv. In place of a fastsac.VectorEnv give a callable that takes seeds and makes"),
        (Endless(), "Endless has no spec to make further ones from. Give a callable that makes one"),
        (
            lambda: 3,
            "env must make a Gymnasium environment, or take seeds and make a fastsac.VectorEnv; lambda made",
        ),
        (lambda: 1 / 0, f"python cannot make lambda: ZeroDivisionError: division by zero ({__file__}, line "),
        (Wrapped(vector(1)), "Wrapped cannot be made again for other seeds. Give a SyncVectorEnv"),
        (
            gymnasium.wrappers.vector.NormalizeReward(vector(1)),
            "made again for other seeds. Leave it out and use reward_norm (--reward-norm), which has one for all. Give",
        ),
        (
            gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point"),
            "CartPoleVectorEnv cannot be made again",
        ),
        (
            Unrecorded(pendulum()),
            "Pendulum-v1 cannot be made again from its spec",
        ),
    ],
)
def test_what_cannot_be_taken_is_refused(env, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        register_env(env)


def test_what_cannot_be_made_is_refused():
    for env, env_kwargs, message in (
        (needs, {}, "python:needs takes seeds, and must make a fastsac.VectorEnv .*, got list"),
        (Endless, {"pays": 1}, "python cannot make .*Endless with env_kwargs .* unexpected keyword argument 'pays'"),
        (pendulum, {"max_episode_steps": 500}, "max_episode_steps must be at most 200, the environment's own"),
    ):
        with pytest.raises(ValueError, match=message):
            make_spec(register_env(env), env_kwargs)
    with pytest.raises(ValueError, match=r"env_threads must be auto, 0 or 1 for python:.*, got 2"):
        make_env(register_env(pendulum), [0], num_threads=2)
    with pytest.raises(ValueError, match=r"^python:Nothing was made in a Python script, and exists only there\."):
        make_spec("python:Nothing")


def test_what_exists_in_this_process_alone_is_known():
    gymnasium.register("OnlyHere-v0", cast("Any", Endless))
    assert why_only_here("gymnasium:OnlyHere-v0").startswith("its id was registered in this process")
    assert why_only_here(register_env(pendulum)) == "it was made in this script"
    for name in ("Pendulum-v1", "gymnasium:Pendulum-v1", "gymnasium:tests.support.nested_env:Nested-v0"):
        assert why_only_here(name) == ""
