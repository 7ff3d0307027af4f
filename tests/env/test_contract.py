"""The contract of fastsac/env/contract.py, point by point, on every back end; and what a back end refuses."""

import math
import sys
from collections.abc import Sequence
from contextlib import closing
from types import ModuleType
from typing import Any, SupportsFloat

import envpool
import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from fastsac.env import (
    MIN_IMAGE_SIDE,
    ActionChoice,
    ActionScale,
    VectorEnv,
    backend_names,
    channels_first,
    image_shape,
    list_envs,
    list_slow_envs,
    make_env,
    make_spec,
    near_matches,
    one_hot,
    resolve,
)
from tests.support import nested_env, scripted_env

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
    "discrete-gymnasium-dict": ("gymnasium:Choices-v0", {"max_episode_steps": 5}),
    "discrete-scripted": ("tests.support.scripted_env:3t,5c,2b", {"discrete": True, "action_dim": 3}),
    "discrete-tabular": ("tests.support.chain_env:random:97,4,0", {"max_episode_steps": 5}),
    "discrete-atari": ("Breakout-v5", {"max_episode_steps": 5}),
    "discrete-minigrid": ("MiniGrid-Dynamic-Obstacles-Random-5x5-v0", {"max_episode_steps": 5}),
    "image-car": ("CarRacing-v3", {"max_episode_steps": 5}),
    "image-gymnasium": ("gymnasium:Pictures-v0", {"max_episode_steps": 5}),
}
IMAGES = {"discrete-atari", "image-car", "image-gymnasium"}
CHOICES, PICTURES, SPACES = "gymnasium:Choices-v0", "gymnasium:Pictures-v0", gymnasium.spaces
SEEDS = [11, 12, 13]
NUM_STEPS = 14


class Choices(gymnasium.Env):
    """Discrete actions from 3 to 6, integers and numbered states as observations; shows the action that it got."""

    def __init__(self, num_actions=4, action_space=None, outside=False):
        spaces = gymnasium.spaces
        self.observation_space = spaces.Dict(
            action=spaces.Discrete(num_actions + 1, start=2),  # 2 after a reset
            count=spaces.Box(-9, 9, (2,), np.int64),
            noise=spaces.Box(0, 1, (1,), np.float64),
        )
        self.action_space = action_space or spaces.Discrete(num_actions, start=3)
        self.steps, self.outside = 0, outside

    def obs(self, action):
        noise = self.np_random.uniform(size=1)
        return {"action": action + 9 * self.outside, "count": np.array([self.steps, -self.steps]), "noise": noise}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.obs(2), {}

    def step(self, action):
        assert isinstance(action, np.integer)
        assert action in self.action_space
        self.steps += 1
        return self.obs(action), float(action), False, False, {}


class Pictures(gymnasium.Env):
    """Draws its step in a corner and the number of each pixel elsewhere; a space is given by shape and dtype."""

    def __init__(self, shape=(36, 40, 3), dtype="uint8", parts=()):
        self.shape, self.dtype, self.parts = tuple(shape), np.dtype(dtype), parts
        image, vector = gymnasium.spaces.Box(0, 255, self.shape, self.dtype), gymnasium.spaces.Box(-1, 1, (2,))
        spaces: dict[str, gymnasium.Space[Any]] = {part: image if part == "image" else vector for part in parts}
        self.observation_space = gymnasium.spaces.Dict(spaces) if parts else image
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,))
        self.steps = 0

    def obs(self):
        image = (np.arange(np.prod(self.shape)) * 7 % 251).reshape(self.shape).astype(self.dtype)
        image.flat[0] = self.steps
        image.flat[1] = self.noise
        return {part: image if part == "image" else np.ones(2, np.float32) for part in self.parts} or image

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.noise = 0, self.np_random.integers(256)
        return self.obs(), {}

    def step(self, action):
        self.steps += 1
        return self.obs(), float(action[0]), False, False, {}


gymnasium.register("Choices-v0", entry_point=f"{__name__}:Choices")
gymnasium.register("Pictures-v0", entry_point=f"{__name__}:Pictures")


def actions(env, seed=0):
    rng = np.random.default_rng(seed)
    shape = (NUM_STEPS, len(SEEDS), env.spec.action_dim)
    if env.spec.discrete:
        return chosen(env, rng.integers(shape[-1], size=shape[:-1]))
    return rng.uniform(-1, 1, shape).astype(np.float32)  # [T, N, A]


def chosen(env, choice):
    """One-hot rows of choices."""
    return np.eye(env.spec.action_dim, dtype=np.float32)[choice]


def other_actions(env, action):
    """Actions that differ from `action` everywhere."""
    return np.roll(action, 1, axis=-1) if env.spec.discrete else -action


def same_actions(env):
    """The same action for every environment and step."""
    action = np.zeros_like(actions(env))
    if env.spec.discrete:
        action[..., 0] = 1
    return action


def rollout(env, action):
    """Reset, then every action in turn: the first obs and the steps."""
    first, steps = env.reset(), []
    for a in action:
        env.send(a)
        steps.append(env.recv())
    return first, steps


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))


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
    dtype = np.uint8 if case.label in IMAGES else np.float32
    first, steps = rollout(env, actions(env))
    assert (env.num_envs, first.shape, first.dtype) == (n, (n, spec.obs_dim), dtype)
    assert first.flags.c_contiguous
    assert sum(size for _, size in spec.obs_layout) == spec.obs_dim
    kept = [array.copy() for step in steps for array in step]
    for step in steps:
        assert [x.shape for x in step] == [(n, spec.obs_dim), (n,), (n,), (n,)]
        assert [x.dtype for x in step] == [dtype, np.float32, np.bool_, np.bool_]
        assert np.isfinite(step.obs).all()
        assert np.isfinite(step.reward).all()
    env.send(actions(env, 1)[0])
    env.recv()
    env.reset()
    env.close()
    assert same([array for step in steps for array in step], kept)


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
        assert same(a, [x[2::-1] for x in b])


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


def step_with(env, action):
    env.send(action)
    return env.recv()


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((36, 40, 3), (3, 36, 40)),
        ((40, 36, 1), (1, 40, 36)),
        ((36, 40, 4), (4, 36, 40)),
        ((4, 84, 84), (4, 84, 84)),
        ((40, 84), (1, 40, 84)),
    ],
)
def test_gymnasium_images_come_channels_first(shape, image):
    """Every pixel at the place that the contract gives it, in memory that the next step does not write."""
    for parts in ((), ("image",)):
        env = make_env("gymnasium:Pictures-v0", [1, 2], env_kwargs={"shape": shape, "parts": parts})
        first, step = env.reset(), step_with(env, np.zeros((2, 1), np.float32))
        assert (env.spec.image, env.spec.obs_dim) == (image, np.prod(shape))
        assert (step.obs.dtype, step.obs.shape) == (np.uint8, (2, np.prod(shape)))
        assert (first[:, 0].tolist(), step.obs[:, 0].tolist()) == ([0, 0], [1, 1])
        channels, height, width = image
        source = (np.arange(np.prod(shape)) * 7 % 251).reshape(shape)
        for c, y, x in [(0, 5, 7), (channels - 1, height - 1, width - 1), (channels - 1, 3, 0), (channels // 2, 0, 9)]:
            pixel = source[y, x] if len(shape) == 2 else source[c, y, x] if shape[0] == channels else source[y, x, c]
            assert step.obs[1, c * height * width + y * width + x] == pixel


def test_envpool_turns_images_with_their_channels_last():
    """A racing car's picture as envpool itself hands it over, (height, width, channels)."""
    env = make_env("CarRacing-v3", SEEDS)
    native = envpool.make_gymnasium("CarRacing-v3", num_envs=3, env_seed=SEEDS)
    assert env.spec.image == (3, 96, 96)
    assert np.array_equal(env.reset().reshape(3, 3, 96, 96), native.reset()[0].transpose(0, 3, 1, 2))


def test_atari_images_are_envpools_own():
    """Four frames of Pong, the newest last, not copied."""
    env = make_env("Pong-v5", SEEDS)
    native = envpool.make_gymnasium("Pong-v5", num_envs=3, env_seed=SEEDS)
    assert (env.spec.image, env.spec.action_dim, env.spec.max_episode_steps) == ((4, 84, 84), 6, 27000)
    assert np.array_equal(env.reset(), native.reset()[0].reshape(3, -1))
    frames = []
    for choice in (0, 2, 3, 2, 2):
        step = step_with(env, chosen(env, [choice] * 3))
        assert np.array_equal(step.obs, native.step(np.full(3, choice, np.int32))[0].reshape(3, -1))
        assert not step.obs.flags.owndata
        frames.append(step.obs.reshape(3, 4, 84, 84))
    assert np.array_equal(frames[-1][:, 0], frames[-4][:, 3])
    assert not np.array_equal(frames[-1][:, 3], frames[-4][:, 3])


def lives_of_breakout(**env_kwargs):
    """(step, terminated, truncated) of the first ends of FIRE and nothing else, and the step after each."""
    env = make_env("Breakout-v5", [0], env_kwargs=env_kwargs)
    ends: list[tuple[int, bool, bool]] = []
    env.reset()
    for t in range(400):
        step = step_with(env, chosen(env, [1]))
        if ends and ends[-1][0] == t - 1:
            assert (step.reward[0], step.terminated[0], step.truncated[0]) == (0, False, False)
        if step.terminated[0] or step.truncated[0]:
            ends.append((t, bool(step.terminated[0]), bool(step.truncated[0])))
    return ends


def test_atari_a_lost_life_terminates_where_asked_and_the_limit_is_the_games():
    (game, *_), lives = lives_of_breakout(), lives_of_breakout(episodic_life=True)
    assert game[1:] == (True, False)
    assert len([end for end in lives if end[0] <= game[0] + 10]) >= 5
    assert all(end[1:] == (True, False) for end in lives)
    first = lives[0][0] + 1  # steps of the first life; the reset row between is none of the game's
    cut = lives_of_breakout(episodic_life=True, max_episode_steps=first + 9)
    assert cut[:2] == [(first - 1, True, False), (first + 9, False, True)]


def test_small_pictures_and_tables_become_vectors():
    spec = make_spec("MiniGrid-Empty-5x5-v0")
    assert (spec.obs_layout, spec.image) == ((("direction", 4), ("image", 147), ("mission", 96)), None)
    assert make_spec("Sokoban-v0").obs_layout == (("grid", 200), ("step_count", 121))
    assert make_spec("BabyAI-GoToRedBall-v0").max_episode_steps is None  # it depends on the mission
    for shape, dtype in [((7, 7, 3), "uint8"), ((10, 200), "uint8"), ((16, 16, 16), "float32"), ((9, 9, 9), "int64")]:
        env = make_env("gymnasium:Pictures-v0", [3, 4], env_kwargs={"shape": shape, "dtype": dtype})
        assert (env.spec.image, env.spec.obs_dim) == (None, math.prod(shape))
        env.reset()
        step = step_with(env, np.zeros((2, 1), np.float32))
        assert step.obs.dtype == np.float32
        assert step.obs[0, 0] == 1
        assert step.obs[1, 2:].tolist() == (np.arange(2, np.prod(shape)) * 7 % 251).tolist()
    parts = {"shape": (7, 7, 3), "parts": ("image", "other")}
    assert make_spec("gymnasium:Pictures-v0", parts).obs_layout == (("image", 147), ("other", 2))


def test_football_is_cut_off_where_its_spec_says():
    env = make_env("gfootball/academy_empty_goal_close-v1", [0], env_kwargs={"max_episode_steps": 3})
    assert (env.spec.image, env.spec.max_episode_steps) == ((4, 72, 96), 4)
    _, steps = rollout(env, actions(env)[:, :1])
    assert [bool(step.truncated[0]) for step in steps[:9]] == [0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_envpool_does_not_start_to_draw_without_opengl(monkeypatch):
    """MuJoCo would end the process."""
    monkeypatch.setattr("fastsac_envs.envpool._has_opengl", lambda: False)
    with pytest.raises(ValueError, match=r"from_pixels of envpool:CheetahRun-v1 draws with OpenGL.*LD_PRELOAD="):
        make_env("CheetahRun-v1", [0], env_kwargs={"from_pixels": True})
    assert make_spec("CheetahRun-v1", {"from_pixels": False}).image is None
    monkeypatch.setattr("fastsac_envs.envpool._has_opengl", lambda: True)
    assert make_spec("CheetahRun-v1", {"from_pixels": True, "frame_stack": 3}).image == (9, 84, 84)


def test_envpool_actions_of_two_axes():
    """Two searchers, two actuators each."""
    env = make_env("SearchAndRescue-v0", SEEDS)
    _, steps = rollout(env, actions(env))
    assert env.spec.action_dim == 4
    assert np.isfinite(steps[-1].obs).all()


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((36, 36), (1, 36, 36)),
        ((3, 64, 64), (3, 64, 64)),
        ((64, 64, 3), (3, 64, 64)),
        ((35, 64, 3), None),
        ((64, 3, 64), None),
        ((4, 84, 84, 3), None),
        ((84,), None),
    ],
)
def test_image_shape(shape, image):
    assert image_shape(shape, np.uint8) == image
    assert image_shape(shape, np.float32) is None
    if image:
        turned = channels_first(np.zeros((2, *shape), np.uint8))
        assert turned.shape[1:] == (image if len(shape) == 3 else shape)


def test_gymnasium_scales_flattens_and_keeps_both_flags():
    env = make_env("gymnasium:tests.support.nested_env:Nested-v0", [1, 2], env_kwargs={"length": 1})
    assert env.spec.obs_layout == (("a:x", 4), ("a:y", 2), ("b", 2))
    env.reset()
    env.send(np.array([[-1], [0.5]], np.float32))
    step = env.recv()
    assert step.obs[:, :6].tolist() == [[1, 1, 1, 1, -3, -3], [1, 1, 1, 1, 0, 0]]
    assert step.terminated.all()
    assert step.truncated.all()


def test_gymnasium_flatten_order_is_gymnasiums():
    env = make_env("gymnasium:tests.support.nested_env:Nested-v0", [5])
    single = nested_env.Nested()
    obs, _ = single.reset(seed=5)
    assert np.allclose(env.reset()[0], np.asarray(gymnasium.spaces.utils.flatten(single.observation_space, obs)))


def test_envpool_agrees_with_gymnasium_on_pendulum():
    """Actions reach the simulator in its own units: one step from the same state in both simulators."""
    env = make_env("Pendulum-v1", [3])
    cos, sin, speed = (float(x) for x in env.reset()[0])
    env.send(np.array([[0.75]], np.float32))
    step = env.recv()
    angle, torque = np.arctan2(sin, cos), 1.5
    assert step.reward[0] == pytest.approx(-(angle**2 + 0.1 * speed**2 + 0.001 * torque**2), rel=1e-4)
    assert step.obs[0, 2] == pytest.approx(speed + (15 * np.sin(angle) + 3 * torque) * 0.05, rel=1e-3)


def test_one_hot_actions_choose_the_action_in_gymnasium():
    """CartPole as gymnasium itself steps it with integers, two episodes long."""
    env, single = make_env("gymnasium:CartPole-v1", [3]), gymnasium.make("CartPole-v1")
    rng = np.random.default_rng(0)
    assert np.array_equal(env.reset()[0], single.reset(seed=3)[0])
    done, episodes = False, 0
    reward: SupportsFloat
    while episodes < 2:
        choice = int(rng.integers(2))
        env.send(chosen(env, [choice]))
        step = env.recv()
        if done:
            obs, reward, done = single.reset()[0], 0, False
        else:
            obs, reward, done, _, _ = single.step(choice)
        assert np.array_equal(step.obs[0], obs)
        assert (step.reward[0], step.terminated[0], step.truncated[0]) == (reward, done, False)
        episodes += done


@pytest.mark.filterwarnings("ignore:.*Box low:UserWarning")  # envpool describes its own spaces
@pytest.mark.filterwarnings("ignore:.*Box high:UserWarning")
@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "LunarLander-v3", "Blackjack-v1"])
def test_one_hot_actions_choose_the_action_in_envpool(name):
    """As envpool itself steps with integers; the three environments take different actions."""
    env = make_env(name, SEEDS)
    native = envpool.make_gymnasium(name, num_envs=3, env_seed=SEEDS)
    assert np.array_equal(env.reset(), native.reset()[0])
    choice = np.random.default_rng(0).integers(env.spec.action_dim, size=(60, 3), dtype=np.int32)
    for c in choice:
        env.send(chosen(env, c))
        step = env.recv()
        obs, reward, terminated, truncated, _ = native.step(c)
        assert same(step, (obs.astype(np.float32), reward, terminated, truncated))
    assert len(np.unique(choice)) == env.spec.action_dim


def test_envpool_agrees_with_gymnasium_on_cartpole():
    """Every choice is the one of that number in the reference: one step from the same state in both simulators."""
    env, single = make_env("CartPole-v1", [5]), CartPoleEnv()
    single.reset()
    obs, length = env.reset()[0], 0
    while True:
        single.state = obs.astype(np.float64)
        choice = int(length % 3 > 0)  # to the right on the whole, until the pole falls
        env.send(chosen(env, [choice]))
        step = env.recv()
        expected, reward, terminated, _, _ = single.step(choice)
        assert np.allclose(step.obs[0], expected, atol=1e-5)
        assert (step.reward[0], step.terminated[0]) == (reward, terminated)
        obs, length = step.obs[0], length + 1
        if terminated:
            break
    assert 8 < length < 100
    env.send(chosen(env, [0]))
    assert (np.abs(env.recv().obs) <= 0.05).all()  # the first observation of the next episode


def test_numbered_states_become_one_hot():
    """FrozenLake's and CliffWalking's states, walked step by step."""
    env = make_env("CliffWalking-v1", [0, 1])
    assert env.spec.obs_layout == (("obs", 48),)
    assert env.reset().tolist() == np.eye(48)[[36, 36]].tolist()
    for choice, state in [(0, 24), (1, 25), (0, 13), (3, 12)]:
        env.send(chosen(env, [choice, choice]))
        assert env.recv().obs.tolist() == np.eye(48)[[state, state]].tolist()
    assert make_spec("FrozenLake-v1").obs_dim == make_spec("gymnasium:FrozenLake-v1").obs_dim == 16


def test_gymnasium_counts_actions_and_states_from_their_start():
    env = make_env(CHOICES, [0, 1, 2, 3])
    assert env.spec.obs_layout == (("action", 5), ("count", 2), ("noise", 1))
    assert env.spec.action_dim == 4
    assert env.reset()[:, :7].tolist() == [[1, 0, 0, 0, 0, 0, 0]] * 4
    env.send(chosen(env, [0, 1, 2, 3]))
    step = env.recv()
    assert step.reward.tolist() == [3, 4, 5, 6]
    assert step.obs[:, :5].tolist() == np.eye(5)[[1, 2, 3, 4]].tolist()
    assert step.obs[:, 5:7].tolist() == [[1, -1]] * 4


def test_a_state_outside_its_space_is_an_error():
    env = make_env(CHOICES, [0], env_kwargs={"outside": True})
    with pytest.raises(ValueError, match=r"must be in \[2, 7\), as its space says, got \[11\]"):
        env.reset()


def test_envpool_joins_parts_by_name_and_drops_privileged_state():
    assert make_spec("CheetahRun-v1").obs_layout == (("position", 8), ("velocity", 9))
    assert [name for name, _ in make_spec("FetchReach-v4").obs_layout] == [
        "achieved_goal",
        "desired_goal",
        "observation",
    ]
    assert make_spec("Go1JoystickFlatTerrain-v1").obs_layout == (("state", 48),)


def test_envpool_passes_env_kwargs():
    """Ant without contact forces has 27 observations instead of 105."""
    assert make_spec("Ant-v5").obs_dim == 105
    assert make_spec("Ant-v5", {"use_contact_force": False}).obs_dim == 27
    assert make_spec("Pendulum-v1", {"max_episode_steps": 7}).max_episode_steps == 7
    assert make_spec("CartPole-v1", {"max_episode_steps": 7}).max_episode_steps == 7


def test_envpool_does_not_believe_a_limit_that_is_not_kept():
    """2048 goes on after the 1000 steps that its spec names; a maze ends after its 100."""
    assert make_spec("Game2048-v1").max_episode_steps is None
    board = {"game2048_add_random_cell": False, "game2048_initial_board": ",".join("1000000000000000")}
    env = make_env("Game2048-v1", [0], env_kwargs=board)
    env.reset()
    for t in range(1010):
        env.send(chosen(env, [1 + t % 2 * 2]))  # one tile, to and fro
        step = env.recv()
        assert not (step.terminated | step.truncated).any()
    assert make_spec("Maze-v0").max_episode_steps == 100


def test_envpool_threads_do_not_change_numbers():
    one, many = (make_env("HalfCheetah-v5", SEEDS, num_threads=n) for n in (1, 3))
    action = actions(one)[:6]
    (first, steps), (first2, steps2) = rollout(one, action), rollout(many, action)
    assert np.array_equal(first, first2)
    assert all(same(a, b) for a, b in zip(steps, steps2, strict=True))


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
        ("gymnasium:tests.support.nested_env:Nested-v0", {"bad": True}, r"first line\.$"),
        ("gymnasium:tests.support.nested_env:Nested-v0", {"low": -np.inf}, "without bounds.*--action-limit"),
        ("tests.support.scripted_env:3x", {}, "task must look like"),
        ("tests.support.scripted_env:3t", {"bound": "inf"}, "without bounds.*--action-limit"),
        ("tests.support.chain_env:random:5,3", {}, "task must look like"),
        ("nothing:Task", {}, "unknown back end 'nothing'; choose from envpool, gymnasium"),
        ("no.such.module:Task", {}, "cannot be imported"),
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
    with pytest.raises(ValueError, match=r"gymnasium cannot make HalfCheetah-v5: MuJoCo is not installed"):
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


def test_largest_seed_works():
    env = make_env("Pendulum-v1", [2**31 - 1])
    assert np.isfinite(env.reset()).all()


def test_action_limit_bounds_what_has_no_bounds():
    env = make_env("tests.support.scripted_env:3t", [0], env_kwargs={"bound": "inf"}, action_limit=2.5)
    env.reset()
    env.send(np.array([[1, -0.5]], np.float32))
    assert env.recv().obs[0, scripted_env.ACTION :].tolist() == [1, -0.5]
    assert isinstance(env, scripted_env.ScriptedEnv)
    assert env.scaled_action.tolist() == [[2.5, -1.25]]
    assert make_spec("LqrLqr21-v1", action_limit=1.0).action_dim == 1


@pytest.mark.parametrize(
    ("env", "env_kwargs"),
    [
        ("CartPole-v1", {}),
        ("gymnasium:CartPole-v1", {}),
        ("tests.support.scripted_env:3t", {"discrete": True}),
        ("tests.support.chain_env:random:5,3,0", {}),
    ],
)
def test_action_limit_is_not_for_discrete_actions(env, env_kwargs):
    for function in (make_spec, lambda *args: make_env(args[0], [0], 0, *args[1:])):
        with pytest.raises(ValueError, match=r"has a discrete action space, which has no bounds.*--action-limit"):
            function(env, env_kwargs, 1.0)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_action_choice(dtype):
    choice = ActionChoice(range(3, 6), dtype, None, "x")
    out = choice(np.eye(3, dtype=np.float32)[[2, 0, 1, 1]])
    assert (out.dtype, out.tolist()) == (dtype, [5, 3, 4, 4])
    assert (choice.dim, choice.discrete, choice.bounds) == (3, True, ())


def test_one_hot():
    rows = one_hot(np.array([[-1], [1]], np.int8), range(-1, 2))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1, 0, 0], [0, 0, 1]]
    for value in (-2, 2):
        with pytest.raises(ValueError, match=r"must be in \[-1, 2\)"):
            one_hot(np.array([0, value]), range(-1, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_action_scale(dtype):
    scale = ActionScale([-1, 0, 3], [1, 4, 3], dtype, None, "x")
    out = scale(np.array([[-1, -1, 1], [0.5, 0.5, 0]], np.float32))
    assert out.dtype == dtype
    assert out.tolist() == [[-1, 0, 3], [0.5, 3, 3]]


def test_action_scale_stays_inside_the_bounds():
    rng = np.random.default_rng(0)
    low = rng.uniform(-2, 0, 1000).astype(np.float32)
    high = low + rng.uniform(0, 3, 1000).astype(np.float32)
    scale = ActionScale(low, high, np.float32, None, "x")
    ends = scale(np.array([[-1] * 1000, [1] * 1000], np.float32))
    assert (ends >= low).all()
    assert (ends <= high).all()


def test_action_scale_copies_nothing_where_there_is_nothing_to_scale():
    action = np.zeros((2, 3), np.float32)
    assert ActionScale([-1] * 3, [1] * 3, np.float32, None, "x")(action) is action


@pytest.mark.parametrize("bound", [np.inf, np.nan, 1e10, np.finfo(np.float64).max])
def test_action_scale_knows_the_ways_to_write_no_bound(bound):
    with pytest.raises(ValueError, match="without bounds"):
        ActionScale([-1, -bound], [1, bound], np.float64, None, "x")
    assert ActionScale([-1, -bound], [1, bound], np.float64, 2.0, "x").high.tolist() == [1, 2]


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


def test_a_checkout_that_is_not_installed_has_its_back_ends(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])
    assert backend_names() == ["envpool", "gymnasium"]
    assert make_spec("Pendulum-v1").env_id == "envpool:Pendulum-v1"
