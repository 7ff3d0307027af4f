"""Environments that draw themselves: the same numbers as others, pictures that show their state, remedies for the rest.

MuJoCo's pictures need a driver for OpenGL, which some machines lack.
"""

import os
import subprocess
import sys
from contextlib import closing
from functools import partial
from types import SimpleNamespace
from typing import Any

import envpool
import numpy as np
import pytest
from fastsac_envs import _opengl, _speeds

from fastsac.acting.filming import check_drawing
from fastsac.env import list_tasks, make_env, make_rendered_env, make_spec, register_env
from tests.support import gym_envs
from tests.support.rollouts import same

DRAWN = "gymnasium:tests.support.gym_envs:Drawn-v0"


def can_draw_mujoco() -> bool:
    code = "from fastsac.env import make_rendered_env as m; e = m('Hopper-v5', 0); e.reset(); e.render()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.fixture(scope="session")
def mujoco() -> None:
    if not can_draw_mujoco():
        pytest.skip("needs a driver for OpenGL")


def play(env: Any, actions: Any) -> tuple[list[Any], list[Any]]:
    """Steps and pictures, if it draws."""
    steps, pictures = [], []
    env.reset()
    for action in actions:
        env.send(action)
        steps.append(env.recv())
        if hasattr(env, "render"):
            pictures.append(env.render())
    return steps, pictures


def check(name: str, num_steps: int = 12, **env_kwargs: Any) -> list[Any]:
    """Compare the numbers of an environment with those of one that is not drawn; returns the pictures."""
    with (
        closing(make_env(name, [7], env_kwargs=env_kwargs)) as plain,
        closing(make_rendered_env(name, 7, env_kwargs)) as drawn,
    ):
        rng, A = np.random.default_rng(0), plain.spec.action_dim
        actions = rng.uniform(-1, 1, (num_steps, 1, A)).astype(np.float32)
        if plain.spec.discrete:
            actions = np.eye(A, dtype=np.float32)[rng.integers(A, size=(num_steps, 1))]
        expected, _ = play(plain, actions)
        steps, pictures = play(drawn, actions)
        assert (drawn.spec, drawn.num_envs) == (plain.spec, 1)
    assert all(same(a, b) for a, b in zip(expected, steps, strict=True))
    assert all(picture.dtype == np.uint8 and picture.shape[2:] == (3,) for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[-1])
    assert all(picture.std() > 1 for picture in pictures)
    return pictures


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Pendulum-v1", (500, 500)), ("CartPole-v1", (400, 600)), ("LunarLander-v3", (400, 600)),
        ("Pong-v5", (210, 160)), (DRAWN, (40, 60)),
    ],
)  # fmt: skip
def test_drawing_changes_no_number_and_shows_what_happens(name, size):
    assert check(name)[0].shape == (*size, 3)


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "CheetahRun-v1"])
def test_mujoco_draws_itself_without_a_display(mujoco, name):
    assert check(name)[0].shape == (480, 480, 3)


def test_a_picture_is_upright_and_of_the_state_after_the_last_step():
    pictures = check(DRAWN, num_steps=4)
    for number, picture in enumerate(pictures, start=1):
        rows, columns = np.nonzero(picture[:, :, 1])
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 19, number, number + 9)


def test_episodes_end_in_a_picture_of_their_last_state():
    env = make_rendered_env(DRAWN, 0)
    steps, pictures = play(env, np.zeros((5, 1, 1), np.float32))
    assert steps[-1].truncated
    assert np.nonzero(pictures[-1])[1].min() == 5


@pytest.mark.parametrize(
    ("name", "env_kwargs", "steps_per_s"),
    [
        ("Pendulum-v1", {}, 30), ("CartPole-v1", {}, 50), ("BipedalWalker-v3", {}, 50), ("Pong-v5", {}, 15),
        ("Pong-v5", {"frame_skip": 2}, 30), ("BabyAI-GoTo-v0", {}, 10), ("highway-v0", {"policy_frequency": 5}, 5),
        (DRAWN, {}, 12),
    ],
)  # fmt: skip
def test_steps_per_second(name, env_kwargs, steps_per_s):
    with closing(make_rendered_env(name, 0, env_kwargs)) as env:
        assert env.steps_per_s == pytest.approx(steps_per_s)


@pytest.mark.parametrize(
    ("family", "name", "steps_per_s"),
    [
        ("gym", "HalfCheetah-v5", 20), ("gym", "Hopper-v5", 125), ("gym", "Humanoid-v5", 1 / 0.015),
        ("gym", "HumanoidStandup-v5", 1 / 0.015), ("gym", "InvertedPendulum-v5", 25), ("gym", "Reacher-v5", 50),
        ("gym", "InvertedDoublePendulum-v5", 20), ("dmc", "CheetahRun-v1", 100), ("dmc", "WalkerWalk-v1", 40),
        ("dmc", "HumanoidWalk-v1", 40), ("dmc", "HumanoidCMUWalk-v1", 50), ("dmc", "SwimmerSwimmer6-v1", 1 / 0.03),
        ("robotics", "FetchReach-v4", 25), ("metaworld", "MetaWorld/Reach-v3", 80),
        ("playground", "Go1JoystickFlatTerrain-v1", 50),
    ],
)  # fmt: skip
def test_steps_per_second_of_mujoco(family, name, steps_per_s):
    """As the simulators' own documents say."""
    config = envpool.make_spec(name).config._asdict()
    assert _speeds.steps_per_s(name, family, config) == pytest.approx(steps_per_s)


def test_max_episode_steps_holds_in_films():
    assert make_rendered_env("Pendulum-v1", 0, {"max_episode_steps": 9}).spec.max_episode_steps == 9


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Taxi-v3", "^envpool:Taxi-v3 cannot be drawn: render not implemented for this environment.$"),
        ("gymnasium:tests.support.gym_envs:Choices-v0", r"cannot be drawn: \"rgb_array\" is not among its metadata"),
        ("Pendulm-v1", "did you mean Pendulum-v1"),
        ("gymnasium:Nope-v1", "unknown gymnasium id"),
    ],
)
def test_what_cannot_be_drawn_says_why(name, message):
    with pytest.raises(ValueError, match=message):
        check_drawing(partial(make_rendered_env, name, 0))


def test_environments_of_a_script_draw_themselves_if_they_were_made_for_it():
    name = register_env(lambda: gym_envs.Drawn(render_mode="rgb_array"), "drawn")
    assert len(check(name, max_episode_steps=3)) == 12
    blind = register_env(gym_envs.Drawn, "blind")
    with pytest.raises(ValueError, match=r'^python:blind cannot be drawn: .* render_mode "rgb_array", got None\.'):
        make_rendered_env(blind, 0)
    assert make_rendered_env(blind, 0, {"render_mode": "rgb_array"}).steps_per_s == 12


def test_vector_environments_of_a_script_draw_themselves_if_they_can():
    scripted = "tests.support.scripted_env:5c"
    can = register_env(lambda seeds: make_rendered_env(scripted, seeds[0]), "can")
    assert make_rendered_env(can, 0).render().shape == (30, 41, 3)
    cannot = register_env(lambda seeds: make_env(scripted, seeds), "cannot")
    with pytest.raises(ValueError, match="its environment lacks steps_per_s and render"):
        make_rendered_env(cannot, 0)


def test_mujoco_without_a_driver_is_a_line_and_not_the_end_of_the_program():
    code = (
        "from functools import partial; from fastsac.acting.filming import check_drawing; "
        "from fastsac.env import make_rendered_env, make_env; e = make_env('Hopper-v5', [0]); e.reset()\n"
        "try: check_drawing(partial(make_rendered_env, 'Hopper-v5', 0))\n"
        "except ValueError as error: print(error)"
    )
    environment = {**os.environ, "__EGL_VENDOR_LIBRARY_FILENAMES": "/nowhere.json"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("envpool:Hopper-v5 cannot be drawn: MuJoCo draws with OpenGL, for which there is no ")


def test_mujoco_of_gymnasium_takes_the_first_that_works(monkeypatch):
    """What `import mujoco` does is told here: it is not installed everywhere."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setitem(sys.modules, "mujoco", SimpleNamespace())
    monkeypatch.setattr(_opengl, "TRY", "import os; assert os.environ['MUJOCO_GL'] == 'osmesa'")
    _opengl.choose_mujoco_gl()
    assert os.environ["MUJOCO_GL"] == "osmesa"
    monkeypatch.setenv("MUJOCO_GL", "glfw")  # a user's own choice
    _opengl.choose_mujoco_gl()
    assert os.environ["MUJOCO_GL"] == "glfw"
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(_opengl, "TRY", "assert False")
    with pytest.raises(ValueError, match=r"neither EGL nor OSMesa works here. Install one \(Debian: libegl1 and lib"):
        _opengl.choose_mujoco_gl()


def test_parts_of_back_ends_are_no_back_ends():
    assert {task.backend for task in list_tasks("Pendulum")} <= {"envpool", "gymnasium", "python"}
    with pytest.raises(ValueError, match="unknown back end '_opengl'"):
        make_spec("_opengl:x")
