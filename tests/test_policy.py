"""A policy acts on what the task's own step returned, whatever the kind of observation and action."""

import json
import math
from typing import Any

import envpool
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

import fastsac
import tests.support.gym_envs
import tests.support.nested_env  # noqa: F401  # both register environments
from fastsac import checkpoint
from fastsac.env import Box, Dict, Discrete, flatten
from tests.support.runs import BASE

SMALL: dict[str, Any] = {
    "total_steps": 48, "num_envs": 2, "learning_starts": 16, "conv_channels": (2,), "env_kwargs": {},
    "eval_episodes": 1, "max_episode_steps": 9, "cpu_threads": 1,
}  # fmt: skip
TASKS = {
    "vector": "gymnasium:Pendulum-v1",
    "dictionaries": "gymnasium:Nested-v0",
    "state": "gymnasium:CliffWalking-v1",
    "choices from 3": "gymnasium:Choices-v0",
    "image": "gymnasium:Pictures-v0",
}


@pytest.fixture(scope="module", params=TASKS)
def trained(request, tmp_path_factory):
    """An environment of Gymnasium, and a policy that was trained in it."""
    folder, env = tmp_path_factory.mktemp("run") / "run", TASKS[request.param]
    result = fastsac.train(BASE.replace(env=env, run_dir=folder, **SMALL))
    return gymnasium.make(env.removeprefix("gymnasium:"), disable_env_checker=True), fastsac.load(result.run_dir)


def test_acts_on_what_step_returned(trained):
    env, policy = trained
    obs, _ = env.reset(seed=0)
    seen = []
    for _ in range(4):
        action = policy.act(obs)
        assert action in env.action_space
        assert policy.action_space.contains(action)
        seen.append(action)
        obs, *_ = env.step(action)
    assert policy.observation_space.contains(obs)


def test_a_batch_gives_the_actions_of_each(trained):
    env, policy = trained
    name, space = env.spec.id, policy.action_space
    envs = gymnasium.make_vec(name, 3, vectorization_mode="sync", disable_env_checker=True)
    assert isinstance(envs, SyncVectorEnv)
    batch, _ = envs.reset(seed=[5, 6, 7])
    action = policy.act(batch)
    assert action.shape == (3, *space.shape)
    assert isinstance(space, Discrete) == isinstance(envs.single_action_space, gymnasium.spaces.Discrete)
    for i, seed in enumerate((5, 6, 7)):
        single = policy.act(env.reset(seed=seed)[0])
        np.testing.assert_allclose(single, action[i], rtol=1e-5, atol=1e-6)
    envs.step(action)


def test_tensors_and_flattened_observations_give_the_same(trained):
    env, policy = trained
    obs, _ = env.reset(seed=3)
    expected = policy.act(obs)
    rows, is_single = flatten(policy.spec, obs)
    assert is_single
    np.testing.assert_array_equal(policy.act(rows.astype(np.float32)[0]), expected)
    np.testing.assert_array_equal(policy.act(rows.astype(np.float32)), expected[None])

    def tensors(value):
        return {k: tensors(v) for k, v in value.items()} if isinstance(value, dict) else torch.as_tensor(value)

    action = policy.act(tensors(obs))
    assert isinstance(action, torch.Tensor)
    np.testing.assert_array_equal(action.numpy(), expected)


def test_predict_returns_a_pair(trained):
    env, policy = trained
    obs, _ = env.reset(seed=3)
    action, state = policy.predict(obs, state="mine", deterministic=True)
    np.testing.assert_array_equal(action, policy.act(obs))
    assert state == "mine"
    torch.manual_seed(0)
    sampled, _ = policy.predict(obs)
    torch.manual_seed(0)
    np.testing.assert_array_equal(sampled, policy.act(obs, deterministic=False))


def test_the_representation_is_one_line(trained):
    env, policy = trained
    text = repr(policy)
    assert "\n" not in text
    assert len(text) < 180
    assert text.startswith(f"Policy(gymnasium:{env.spec.id}, sac")


def test_spaces_are_those_of_the_task(trained):
    env, policy = trained
    space, own = policy.action_space, env.action_space
    if isinstance(space, Discrete):
        assert (space.n, space.start) == (own.n, own.start)
        assert not space.contains(own.start - 1)
    else:
        assert space.shape == own.shape
        np.testing.assert_array_equal(np.broadcast_to(np.asarray(space.high), own.shape), own.high)
        assert not space.contains(own.high + 1)
    if isinstance(env.observation_space, gymnasium.spaces.Box):
        assert isinstance(policy.observation_space, Box)
        assert policy.observation_space.shape == env.observation_space.shape


def test_envpools_dictionaries_are_taken(tmp_path):
    small = {**SMALL, "max_episode_steps": None}
    result = fastsac.train(BASE.replace(env="FetchReach-v4", run_dir=tmp_path / "run", **small))
    policy = fastsac.load(result.run_dir)
    env = envpool.make_gymnasium("FetchReach-v4", num_envs=2)
    obs, _ = env.reset()
    action: Any = policy.act(obs)
    assert isinstance(policy.observation_space, Dict)
    assert env.step(action)[0].keys() == {*policy.observation_space}


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        ({"action": 2}, "obs must have the part 'count', got a dictionary of action."),
        ({"action": 99, "count": np.zeros(2), "noise": np.zeros(1)}, "an observation must be in [2, 7)"),
        ({"action": 2, "count": np.zeros(3), "noise": np.zeros(1)}, "got int64 [], float64 [3], float64 [1]."),
        (
            {"action": [2, 3], "count": np.zeros(2), "noise": np.zeros(1)},
            "obs must be a dictionary of action []",
        ),
        (
            {"action": 2, "count": np.zeros(2), "noise": np.array([math.nan])},
            "obs must be finite, got NaN or",
        ),
        (
            np.zeros(7),
            "obs must be a dictionary of action [], count [2], noise [1], or [8] or [B, 8], got float64 [7].",
        ),
        (np.zeros((0, 8)), "or [8] or [B, 8], got float64 [0, 8]."),
        (np.full(8, np.inf), "obs must be finite"),
        (({"action": 2}, {}), "obs must be numbers (action, count, noise), without the info of `reset`, got tuple."),
        ("obs", "obs must be numbers"),
    ],
)
def test_other_observations_are_refused(choices, obs, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the message is compared below
        choices.act(obs)
    assert message in str(error.value)


@pytest.fixture(scope="module")
def choices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("choices") / "run"
    return fastsac.load(fastsac.train(BASE.replace(env=TASKS["choices from 3"], run_dir=folder, **SMALL)).run_dir)


def test_a_checkpoint_of_an_earlier_version_takes_flattened_observations(tmp_path, choices, monkeypatch):
    meta = checkpoint.find(choices.run_dir).meta
    assert {part["name"] for part in meta["obs_parts"]} == {"action", "count", "noise"}
    json.dumps(meta)
    earlier = {name: value for name, value in meta.items() if name not in ("obs_parts", "action_shape", "action_start")}
    spec = fastsac.run.run_state.RunState.from_json(earlier).spec
    assert (spec.obs_parts, spec.action_start) == ((), 0)
    assert flatten(spec, np.zeros(8))[0].shape == (1, 8)
    with pytest.raises(ValueError, match=r"obs must have the part 'obs'"):
        flatten(spec, {"action": 2})
