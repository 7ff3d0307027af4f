"""The environment contract, point by point, for every back end and kind of task."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, cast

import gymnasium
import numpy as np
import pytest

from fastsac.env import (
    MIN_IMAGE_SIDE,
    ReportsInfo,
    VectorEnv,
    make_env,
    make_spec,
)
from tests.support import scripted_env
from tests.support.rollouts import NUM_STEPS, SEEDS, actions, arrays, chosen, other_actions, rollout, same, same_actions

TAXI = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))  # its version is that of Gymnasium


# (environment, env_kwargs): short episodes, so that a few steps see some resets.
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "classic": ("Pendulum-v1", {"max_episode_steps": 5}),
    "classic-car": ("MountainCarContinuous-v0", {"max_episode_steps": 5}),
    "mujoco": ("HalfCheetah-v5", {"max_episode_steps": 5}),
    "mujoco-terminates": ("InvertedPendulum-v5", {"max_episode_steps": 5}),
    "dm_control": ("CheetahRun-v1", {"max_episode_steps": 5}),
    "box2d": ("BipedalWalker-v3", {"max_episode_steps": 5}),
    "dm_control-reset-reward": ("CartpoleBalance-v1", {"max_episode_steps": 5}),
    "playground": ("Go1JoystickFlatTerrain-v1", {"max_episode_steps": 5}),
    "robotics-goal": ("FetchReach-v4", {"max_episode_steps": 5}),
    "metaworld": ("MetaWorld/Reach-v3", {"max_episode_steps": 5}),
    "gymnasium": ("gymnasium:Pendulum-v1", {"max_episode_steps": 5}),
    "gymnasium-dict": ("gymnasium:tests.support.nested_env:Nested-v0", {}),
    "scripted": ("tests.support.scripted_env:3t,5c,2b", {}),
    "discrete-cartpole": ("CartPole-v1", {"max_episode_steps": 5}),
    "discrete-acrobot": ("Acrobot-v1", {"max_episode_steps": 5}),
    "discrete-lander": ("LunarLander-v3", {"max_episode_steps": 5}),
    "discrete-states": ("Taxi-v3", {"max_episode_steps": 5}),
    "discrete-gymnasium": ("gymnasium:CartPole-v1", {"max_episode_steps": 5}),
    "discrete-gymnasium-states": (f"gymnasium:{TAXI}", {"max_episode_steps": 5}),
    "discrete-gymnasium-dict": ("gymnasium:tests.support.gym_envs:Choices-v0", {"max_episode_steps": 5}),
    "discrete-scripted": ("tests.support.scripted_env:3t,5c,2b", {"discrete": True, "action_dim": 3}),
    "discrete-tabular": ("tests.support.chain_env:random:97,4,0", {"max_episode_steps": 5}),
    "discrete-atari": ("Breakout-v5", {"max_episode_steps": 5}),
    "discrete-minigrid": ("MiniGrid-Dynamic-Obstacles-Random-5x5-v0", {"max_episode_steps": 5}),
    "image-car": ("CarRacing-v3", {"max_episode_steps": 5}),
    "image-gymnasium": ("gymnasium:tests.support.gym_envs:Pictures-v0", {"max_episode_steps": 5}),
}


IMAGES = {"discrete-atari", "image-car", "image-gymnasium"}


class Case:
    """Makes environments of one of the TASKS, and closes them."""

    def __init__(self, label: str) -> None:
        self.label, (self.name, self.env_kwargs) = label, TASKS[label]
        self.made: list[VectorEnv] = []

    def __call__(self, seeds: Sequence[int] = SEEDS, **more: Any) -> VectorEnv:
        self.made.append(make_env(self.name, seeds, num_threads=1, env_kwargs={**self.env_kwargs, **more}))
        return self.made[-1]

    def close(self) -> None:
        for env in self.made:
            env.close()


@pytest.fixture(params=list(TASKS))
def case(request):
    with closing(Case(request.param)) as case:
        yield case


def test_contract_arrays(case):
    """1, 7: shapes and dtypes; the layout adds up; returned arrays are not written again."""
    env = case()
    n, spec = len(SEEDS), env.spec
    dtype = np.dtype(np.uint8 if case.label in IMAGES else np.float32)
    first, steps = rollout(env, actions(env))
    assert (env.num_envs, first.shape, first.dtype) == (n, (n, spec.obs_dim), dtype)
    assert first.flags.c_contiguous
    assert sum(size for _, size in spec.obs_layout) == spec.obs_dim
    kept = [array.copy() for step in steps for array in arrays(step)]
    for step in steps:
        assert [x.shape for x in arrays(step)] == [(n, spec.obs_dim), *[(n,)] * (len(arrays(step)) - 1)]
        assert [x.dtype for x in step[:4]] == [dtype, np.float32, np.bool_, np.bool_]
        assert step.success is None or step.success.dtype == np.bool_
        assert np.isfinite(step.obs).all()
        assert np.isfinite(step.reward).all()
    env.send(actions(env, 1)[0])
    env.recv()
    env.reset()
    env.close()
    assert same([array for step in steps for array in arrays(step)], kept)


def test_contract_figures(case):
    """12: what is asked for is told at every step, float32 [N], and changes nothing else."""
    env, plain = case(), case()
    names = ("not there",) if env.spec.info_names is None else env.spec.info_names
    if isinstance(env, ReportsInfo) and names:
        env.report_info(names)
        _, steps = rollout(cast(VectorEnv, env), actions(plain))
        infos = [step.info or {} for step in steps]
        assert all([*info] == [*names] for info in infos)
        figures = [figure for info in infos for figure in info.values()]
        assert all(figure.dtype == np.float32 and figure.shape == (len(SEEDS),) for figure in figures)
        for step, other in zip(steps, rollout(plain, actions(plain))[1], strict=True):
            assert same(step._replace(info=None), other)
    else:
        assert all(step.info is None for step in rollout(env, actions(env))[1])


def test_contract_next_step_reset(case):
    """4, 5: the row after a done is a dummy, whose action does not matter, and starts an episode."""
    env = case()
    action = actions(env)
    _, steps = rollout(env, action)
    dummy = np.zeros((NUM_STEPS, len(SEEDS)), bool)  # [T, N]
    dummy[1:] = [step.terminated | step.truncated for step in steps[:-1]]
    assert dummy.any(axis=0).all(), "no episode ended: the test is blind"
    for step, row in zip(steps, dummy, strict=True):
        assert not step.reward[row].any()
        assert not (step.terminated | step.truncated)[row].any()
    action = np.where(dummy[:, :, None], other_actions(env, action), action)
    again = rollout(case(), action)[1]
    assert all(same(x, y) for x, y in zip(steps, again, strict=True))


@pytest.mark.parametrize("case", [t for t in TASKS if "max_episode_steps" in TASKS[t][1]], indirect=True)
def test_contract_final_obs(case):
    """4: the obs at the end of an episode is the one that a longer episode has at that step, not the next first one."""
    short, long = case(), case(max_episode_steps=50)
    action = actions(short)[:5]
    (_, cut), (_, whole) = rollout(short, action), rollout(long, action)
    assert any((step.terminated | step.truncated).any() for step in cut)
    assert np.array_equal(cut[4].obs, whole[4].obs)
    assert np.array_equal(cut[4].reward, whole[4].reward)
    assert not whole[4].truncated.any()


def test_contract_seeds(case):
    """6: an environment's numbers depend on its own seed and actions, not on its place or its neighbours."""
    env, other = case(), case([*SEEDS[::-1], 99])
    action = actions(env)
    first, steps = rollout(env, action)
    extra = np.concatenate([action[:, ::-1], action[:, :1]], axis=1)
    first2, steps2 = rollout(other, extra)
    assert np.array_equal(first, first2[2::-1])
    for a, b in zip(steps, steps2, strict=True):
        assert same(a, [x[2::-1] for x in arrays(b)])


def test_contract_seeds_differ(case):
    """6: other seeds give other numbers, also in later episodes."""
    env = case()
    first, steps = rollout(env, same_actions(env))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(steps[-1].obs[0], steps[-1].obs[1])


def test_contract_reset_again(case):
    """A second `reset` starts a new episode everywhere, in the middle of one."""
    env = case()
    action = actions(env)
    first, _ = rollout(env, action[:2])
    second, steps = rollout(env, action[:2])
    assert second.shape == first.shape
    assert not np.array_equal(first, second)
    assert not steps[0].truncated.any()


def test_contract_spec(case):
    """`make_spec` and the environment agree."""
    spec = case().spec
    assert make_spec(case.name, case.env_kwargs) == spec
    assert spec.max_episode_steps == (None if "Nested" in case.name else 5)
    assert spec.discrete == case.label.startswith("discrete")
    assert not (spec.discrete and spec.action_bounds)
    assert (spec.image is not None) == (case.label in IMAGES)
    assert spec.image is None or (spec.obs_dim == np.prod(spec.image) and min(spec.image[1:]) >= MIN_IMAGE_SIDE)


def test_scripted_env_plays_its_script():
    """Two environments of "2t,1b": the table in full."""
    env = make_env("tests.support.scripted_env:2t,1b", [4, 1031], env_kwargs={"action_dim": 1})
    first = env.reset()
    assert first.tolist() == [[4, 0, 0, 0], [1031, 0, 0, 0]]
    table = [  # (episode, step, terminated, truncated) of both environments
        ((0, 1, 0, 0), (0, 1, 1, 1)),
        ((0, 2, 1, 0), (1, 0, 0, 0)),
        ((1, 0, 0, 0), (1, 1, 0, 0)),
        ((1, 1, 1, 1), (1, 2, 1, 0)),
        ((2, 0, 0, 0), (2, 0, 0, 0)),
    ]
    for t, rows in enumerate(table, 1):
        env.send(np.full((2, 1), t / 8, np.float32))
        step = env.recv()
        for i, (episode, k, terminated, truncated) in enumerate(rows):
            dummy = k == 0
            assert step.obs[i].tolist() == [[4, 1031][i], episode, k, 0 if dummy else t / 8]
            assert step.reward[i] == (0 if dummy else t + [4, 7][i] / 1024)
            assert (step.terminated[i], step.truncated[i]) == (terminated, truncated)


def test_scripted_env_takes_one_hot_rows_and_nothing_else():
    env = make_env("tests.support.scripted_env:3t", [0, 1], env_kwargs={"discrete": True, "action_dim": 3})
    _, (step,) = rollout(env, [chosen(env, [2, 0])])
    assert step.obs[:, scripted_env.ACTION :].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert isinstance(env, scripted_env.ScriptedEnv)
    assert env.scaled_action.tolist() == [2, 0]
    for row in ([0, 0, 0], [1, 1, 0], [0.5, 0.5, 0], [1, -1, 1]):
        with pytest.raises(AssertionError, match="not one-hot"):
            env.send(np.array([row, [1, 0, 0]], np.float32))


def test_scripted_env_emits_nan_where_told():
    env = make_env("tests.support.scripted_env:9t", [0, 1], env_kwargs={"nan_obs": [1, 2], "nan_reward": [0, 3]})
    _, steps = rollout(env, np.zeros((4, 2, 2), np.float32))
    assert [np.isnan(s.obs).all(axis=1).tolist() for s in steps] == [[0, 0], [0, 1], [0, 0], [0, 0]]
    assert [np.isnan(s.reward).tolist() for s in steps] == [[0, 0], [0, 0], [1, 0], [0, 0]]
