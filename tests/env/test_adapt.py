"""What back ends share: images, scaled and chosen actions, limits."""

import numpy as np
import pytest

from fastsac.env import (
    ActionChoice,
    ActionScale,
    channels_first,
    image_shape,
    make_env,
    make_spec,
    one_hot,
)
from tests.support import scripted_env


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


def test_action_limit_bounds_what_has_no_bounds():
    env = make_env("tests.support.scripted_env:3t", [0], env_kwargs={"bound": "inf"}, action_limit=2.5)
    env.reset()
    env.send(np.array([[1, -0.5]], np.float32))
    assert env.recv().obs[0, scripted_env.ACTION :].tolist() == [1, -0.5]
    assert isinstance(env, scripted_env.ScriptedEnv)
    assert env.scaled_action.tolist() == [[2.5, -1.25]]
    assert make_spec("LqrLqr21-v1", action_limit=1.0).action_dim == 1


@pytest.mark.parametrize(("limit", "bound"), [(0.5, 0.5), (5.0, 2.0)])
def test_action_limit_narrows_wider_bounds_and_widens_none(limit, bound):
    env = make_env("tests.support.scripted_env:3t", [0], env_kwargs={"bound": 2.0}, action_limit=limit)
    env.reset()
    env.send(np.array([[1, -0.5]], np.float32))
    env.recv()
    assert isinstance(env, scripted_env.ScriptedEnv)
    assert env.scaled_action.tolist() == [[bound, -bound / 2]]
    assert env.spec.action_bounds == ((-bound, bound),) * 2
    assert make_spec("Pendulum-v1", action_limit=1.0).action_bounds == ()  # is [-1, 1], which needs no scaling


def test_action_limit_must_leave_room():
    with pytest.raises(
        ValueError, match=r"^action_limit must leave room within the action space of x, got 1.0\. Raise"
    ):
        ActionScale([2.0], [4.0], np.float32, 1.0, "x")


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
