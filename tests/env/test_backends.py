"""The two back ends: images, spaces, flags and numbers as the simulators have them."""

import math
from typing import SupportsFloat

import envpool
import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from fastsac.env import (
    make_env,
    make_spec,
)
from tests.support import nested_env
from tests.support.gym_envs import CHOICES
from tests.support.rollouts import (
    SEEDS,
    actions,
    chosen,
    rollout,
    same,
    step_with,
)


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
        assert (step.obs.dtype, step.obs.shape) == (np.dtype(np.uint8), (2, np.prod(shape)))
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
    monkeypatch.setattr("fastsac_envs.envpool.has_opengl", lambda: False)
    with pytest.raises(ValueError, match=r"from_pixels of envpool:CheetahRun-v1 draws with OpenGL.*LD_PRELOAD="):
        make_env("CheetahRun-v1", [0], env_kwargs={"from_pixels": True})
    assert make_spec("CheetahRun-v1", {"from_pixels": False}).image is None
    monkeypatch.setattr("fastsac_envs.envpool.has_opengl", lambda: True)
    assert make_spec("CheetahRun-v1", {"from_pixels": True, "frame_stack": 3}).image == (9, 84, 84)


def test_envpool_actions_of_two_axes():
    """Two searchers, two actuators each."""
    env = make_env("SearchAndRescue-v0", SEEDS)
    _, steps = rollout(env, actions(env))
    assert env.spec.action_dim == 4
    assert np.isfinite(steps[-1].obs).all()


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
