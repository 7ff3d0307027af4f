"""The Gymnasium back end names the environment that raised, or gave something else than the contract asks for."""

from contextlib import closing

import numpy as np
import pytest

from fastsac.env import make_env, make_spec


def index_told(error):
    """Of the environment that an exception came from."""
    return getattr(error.value, "env_index", None)


def test_gymnasium_tells_which_environment_it_was():
    env = make_env("gymnasium:tests.support.failing_env:Falls-v0", [2, 4, 7, 9], env_kwargs={"after": 3})
    env.reset()
    action = np.zeros((4, 1), np.float32)
    for _ in range(3):
        env.send(action)
        env.recv()
    env.send(action)
    with pytest.raises(ArithmeticError, match="joint 3 came off") as error:
        env.recv()
    assert index_told(error) == 2
    env.close()


@pytest.mark.parametrize("model", ["property", "half", "joints"])
def test_a_model_that_is_not_mujocos_names_no_joints(model):
    spec = make_spec("gymnasium:tests.support.failing_env:Models-v0", {"model": model})
    assert spec.joint_names == ()


@pytest.mark.parametrize("seeds", [[5, 2, 4], [2, 5, 4], [2, 4, 5]])
def test_gymnasium_tells_which_environment_gave_another_shape(seeds):
    env = make_env("gymnasium:tests.support.failing_env:Grows-v0", seeds, env_kwargs={"after": 1})
    env.reset()
    env.send(np.zeros((3, 1), np.float32))
    with pytest.raises(TypeError, match="step of Grows must return an observation of Box") as error:
        env.recv()
    assert index_told(error) == seeds.index(5)
    env.close()


def two_steps(task, **env_kwargs):
    """The second step of three copies in Gymnasium, of which the middle one does something else."""
    env = make_env(f"gymnasium:tests.support.failing_env:{task}-v0", [2, 5, 4], env_kwargs=env_kwargs)
    with closing(env):
        env.reset()
        for _ in range(2):
            env.send(np.zeros((3, 1), np.float32))
            step = env.recv()
    return step


@pytest.mark.parametrize(
    ("key", "gift", "message"),
    [
        *[
            (key, gift, f"step of Gives must return {key} as True or False, got ")
            for key in ("terminated", "truncated")
            for gift in ("nan", "text", "no", "none", "two", "complex", "pair")
        ],
        *[
            ("reward", gift, "step of Gives must return reward as one number, got ")
            for gift in ("text", "none", "complex", "pair")
        ],
        *[
            ("obs", gift, "step of Gives must return an observation of Box")
            for gift in ("complexes", "objects", "text", "none")
        ],
    ],
)
def test_gymnasium_takes_truths_and_numbers_only_and_tells_who_gave_others(key, gift, message):
    with pytest.raises(TypeError, match=message) as error:
        two_steps("Gives", key=key, gift=gift)
    assert index_told(error) == 1


def test_gymnasium_takes_whatever_holds_a_truth_or_a_number():
    for gift in ("bool", "numpy bool", "one", "1.0", "int8", "array", "tensor", "float16"):
        for key in ("reward", "terminated", "truncated"):
            step = two_steps("Gives", key=key, gift=gift)
            expected: dict[str, list[float]] = {
                "reward": [0.5] * 3, "terminated": [False] * 3, "truncated": [False] * 3,
            }  # fmt: skip
            expected[key][1] = 1.0 if key == "reward" else True
            for name, values in expected.items():
                assert getattr(step, name).tolist() == values
            assert (step.reward.dtype, step.terminated.dtype, step.truncated.dtype) == (np.float32, bool, bool)
    assert np.isnan(two_steps("Gives", key="reward", gift="nan").reward).tolist() == [False, True, False]


@pytest.mark.parametrize("where", ["reset", "step"])
def test_gymnasium_tells_which_environment_wanted_to_end_the_program(where):
    with pytest.raises(SystemExit, match="no licence") as error:
        two_steps("Quits", where=where)
    assert index_told(error) == (1 if where == "reset" else 0)


def test_gymnasium_makes_a_wrong_call_of_a_constructor_that_ends_the_program():
    line = r"SystemExit: no licence \(.*failing_env.py, line \d+\)\.$"
    with pytest.raises(ValueError, match=rf"^gymnasium cannot make .*Quits-v0 with env_kwargs .*: {line}"):
        two_steps("Quits", where="make")
