"""What environments return and raise: held to the contract, and told in one line that says where it was."""

import itertools
import json
from functools import partial

import numpy as np
import pytest
import torch

from fastsac.acting.collector import Collector
from fastsac.acting.errors import (
    BadStepError,
    CheckedEnv,
    EnvFailedError,
    NotFiniteError,
    call_env,
    of_nobody,
    try_make,
)
from fastsac.acting.evaluation import rollout
from fastsac.acting.recording import record
from fastsac.env import Step, make_env
from fastsac.learning.learner import make_parts
from fastsac.runtime.signals import Stopped
from tests.support import image_env, scripted_env
from tests.support.learners import CPU
from tests.support.runs import BASE


def make(task="9t", **env_kwargs):
    return scripted_env.make(task, [1, 2], 0, env_kwargs, None)


def act(obs):
    return np.zeros((2, 2), np.float32)


def collect(env, steps=3, **changes):
    """So many vector steps of training, without learning."""
    config = BASE.replace(num_envs=2, **changes)
    collector = Collector(config, env, *make_parts(config, env.spec, CPU, "eager"))
    collector.start()
    for _ in range(steps):
        collector.send()
        collector.recv()


def evaluate(env):
    rollout(env, act)


def patched(method, change):
    """An environment that returns `change` of what it should."""
    env = make()
    original = getattr(env, method)
    setattr(env, method, lambda: change(original()))
    return env


def masked(reward):
    """NaN behind a mask, which `isfinite` does not look behind."""
    return np.ma.masked_invalid(np.full_like(reward, np.nan))


WRONG_STEPS = [
    (lambda s: s._replace(obs=s.obs[:1]), "obs as float32 [2, 5], got float32 [1, 5]"),
    (lambda s: s._replace(obs=s.obs.astype(np.float64)), "obs as float32 [2, 5], got float64 [2, 5]"),
    (lambda s: s._replace(obs=s.obs.astype(complex)), "obs as float32 [2, 5], got complex128 [2, 5]"),
    (lambda s: s._replace(obs=s.obs.astype(object)), "obs as float32 [2, 5], got object [2, 5]"),
    (lambda s: s._replace(obs=torch.from_numpy(s.obs)), "obs as float32 [2, 5], got torch.Tensor"),
    (lambda s: s._replace(reward=s.reward[1:]), "reward as float32 [2], got float32 [1]"),
    (lambda s: s._replace(reward=s.reward.astype(">f4")), "reward as float32 [2], got >f4 [2]"),
    (lambda s: s._replace(reward=s.reward.astype(np.int64)), "reward as float32 [2], got int64 [2]"),
    (lambda s: s._replace(reward=s.reward.tolist()), "reward as float32 [2], got list of length 2"),
    (lambda s: s._replace(reward=masked(s.reward)), "reward as float32 [2], got numpy.ma.MaskedArray"),
    (lambda s: s._replace(terminated=s.terminated.astype(np.int8)), "terminated as bool [2], got int8 [2]"),
    (lambda s: s._replace(terminated=s.terminated.astype(str)), "terminated as bool [2], got <U5 [2]"),
    (lambda s: s._replace(truncated=s.truncated.astype(np.float32)), "truncated as bool [2], got float32 [2]"),
    (lambda s: s._replace(truncated=None), "truncated as bool [2], got NoneType"),
    (lambda s: s._replace(success=s.truncated.astype(np.float32)), "success as bool [2], got float32 [2]"),
    (lambda s: (*s[:4], {}), "fastsac.Step(obs, reward, terminated, truncated), got tuple of length 5"),
    (lambda s: None, "fastsac.Step(obs, reward, terminated, truncated), got NoneType"),
]


@pytest.mark.parametrize(("change", "told"), WRONG_STEPS, ids=[told for _, told in WRONG_STEPS])
@pytest.mark.parametrize("use", [collect, evaluate])
def test_a_back_end_that_returns_something_else_is_told_what_and_where(use, change, told):
    with pytest.raises(BadStepError) as error:
        use(patched("recv", change))
    line = str(error.value)
    assert line.startswith("tests.support.scripted_env:9t must return ")
    assert f"{told} in step" in line
    assert "must keep to the contract in fastsac/env/contract.py." in line
    assert ("at env step 0" in line) == (use is collect)


@pytest.mark.parametrize("use", [collect, evaluate])
@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda obs: obs.astype(np.float16), BadStepError, "obs as float32 [2, 5], got float16 [2, 5] in reset"),
        (lambda obs: obs.tolist(), BadStepError, "obs as float32 [2, 5], got list of length 2 in reset"),
        (lambda obs: (obs, {}), BadStepError, "obs as float32 [2, 5], got tuple of length 2 in reset"),
        (lambda obs: obs * np.float32(np.nan), NotFiniteError, "an observation that is not finite in reset"),
    ],
)  # fmt: skip
def test_the_first_observations_are_checked_too(use, change, error, told):
    with pytest.raises(error) as caught:
        use(patched("reset", change))
    assert told in str(caught.value)


def test_images_must_be_bytes(monkeypatch):
    env = image_env.make("Side", [1, 2], 0, {}, None)
    rollout(env, act)
    recv = env.recv

    def recv_floats():
        step = recv()
        return step._replace(obs=step.obs.astype(np.float32))

    monkeypatch.setattr(env, "recv", recv_floats)
    with pytest.raises(BadStepError, match=r"obs as uint8 \[2, 1296\], got float32 \[2, 1296\] in step"):
        rollout(env, act)


def test_checked_arrays_are_the_environments_own():
    flags = np.zeros(2, bool), np.zeros(2, bool), np.ones(2, bool)
    step = make().reset(), np.zeros(2, np.float32), *flags, {"height": np.zeros(2, np.float32)}
    env = patched("recv", lambda _: Step(*step))
    checked = CheckedEnv(env, of_nobody, lambda: np.zeros(2, np.int64), (2, 5))
    checked.send(act(None))
    assert all(mine is given for mine, given in zip(checked.recv(), step, strict=True))


@pytest.mark.parametrize(
    ("at", "doing"), [(0, "reset"), (1, "step 1 of its episode"), (3, "step 3 of its episode"), (5, "reset")]
)
@pytest.mark.parametrize("key", ["fail", "nan_obs"])
@pytest.mark.parametrize("use", [collect, evaluate])
def test_an_environments_own_step_is_told(use, key, at, doing):
    """Environment 1 ends its first episode after 4 steps, and resets in the fifth; the other one goes on."""
    env = scripted_env.make("9t,4t", [0, 1], 0, {key: [1, at]}, None)
    with pytest.raises((BadStepError, NotFiniteError)) as error:
        use(env, 6) if use is collect else use(env)
    assert f" in {doing}" in str(error.value)
    assert str(error.value).startswith("environment 1 ")


def spoilt(**changes):
    """Environment 1 ends its first episode after 3 steps, and the fourth, which resets it, returns something else."""
    env = scripted_env.make("9t,3t", [0, 1], 0, {}, None)
    original, count = env.recv, itertools.count(1)

    def recv():
        step, at = original(), next(count)
        mine = {name: getattr(step, name).copy() for name in changes}
        for name, value in changes.items():
            mine[name][1] = value if at == 4 else mine[name][1]
        return step._replace(**mine)

    env.recv = recv  # type: ignore[method-assign]
    return env


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"reward": 0.5}, "reward 0.5, terminated False, truncated False"),
        ({"terminated": True}, "reward 0.0, terminated True, truncated False"),
        ({"truncated": True}, "reward 0.0, terminated False, truncated True"),
    ],
)
def test_an_environment_must_reset_in_the_step_after_an_end(changes, got):
    line = (
        "must reset in the step after the end of its episode, and return reward 0 and no flag with its first "
        "observation"
    )
    with pytest.raises(BadStepError, match=f"^environment 1 of member 0 .* {line}, got {got} at env step 6") as error:
        collect(spoilt(**changes), 6)
    assert str(error.value).endswith("fastsac.env.NextStepReset makes these steps of its own.")
    with pytest.raises(BadStepError, match=f"^environment 1 {line}, got {got}"):
        evaluate(spoilt(**changes))
    with pytest.raises(BadStepError, match=f"^environment 1 {line}, got {got}"):
        record(spoilt(**changes), act, 20)


def test_a_reset_of_all_ends_what_was_to_be_reset():
    env = make("3t")
    checked = CheckedEnv(env, of_nobody, lambda: np.zeros(2, np.int64), (2, 5))
    for _ in range(2):
        checked.reset()
        for _ in range(3):
            checked.send(act(None))
            step = checked.recv()
        assert step.terminated.all()


def test_a_resumed_run_knows_which_environments_must_reset():
    env = make("3t")
    env.reset()  # in place of a state that is loaded
    checked = CheckedEnv(env, of_nobody, lambda: np.array([-1, 0]), (2, 5))
    checked.send(act(None))
    with pytest.raises(BadStepError, match=r"^environment 0 must reset in the step after the end"):
        checked.recv()


def test_an_environment_that_is_not_known_is_not_named():
    for index in (None, "left arm", -1, 2):
        with pytest.raises(EnvFailedError, match=r"^the environments failed in step: RuntimeError: the simulator expl"):
            rollout(make(fail=[index, 2]), act)


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt", "RuntimeError"])
@pytest.mark.parametrize("at", [0, 2])
def test_whatever_an_environment_raises_is_its_failure(error, at):
    with pytest.raises(EnvFailedError, match=rf"^environment 1 failed in (reset|step 2 .*): {error}: the simulator "):
        rollout(make(fail=[1, at], error=error), act)
    with pytest.raises(EnvFailedError, match=f"^the environments failed in make: {error}: the simulator exploded"):
        call_env(lambda: make(fail=[1, -1], error=error), "make", of_nobody)


def test_signals_are_no_failures():
    def stop():
        raise Stopped("SIGTERM")

    env = make()
    env.recv = stop
    with pytest.raises(Stopped):
        rollout(env, act)
    for call in (lambda: call_env(stop, "make", of_nobody), lambda: try_make(stop)):
        with pytest.raises(Stopped):
            call()


def test_before_any_work_it_is_a_wrong_call():
    expected = r"^the environments cannot be made: SystemExit: the simulator exploded \(.*scripted_env.py, line \d+\).$"
    with pytest.raises(ValueError, match=expected):
        try_make(lambda: make(fail=[1, -1], error="SystemExit"))
    with pytest.raises(ValueError, match="task must look like"):
        try_make(lambda: make("9x"))


def test_the_line_is_the_users_where_a_package_raises():
    with pytest.raises(
        EnvFailedError, match=r"LinAlgError: Singular matrix \(.*scripted_env.py, line \d+\)\.$"
    ) as error:
        rollout(make(fail=[1, 2], error="LinAlgError"), act)
    assert isinstance(error.value.__cause__, np.linalg.LinAlgError)


def test_the_line_is_the_users_where_the_standard_library_raises_or_a_back_end_rewords():
    with pytest.raises(EnvFailedError, match=r"JSONDecodeError: .*test_env_errors.py, line \d+\)\.$"):
        call_env(lambda: json.loads("no"), "make", of_nobody)
    make = partial(make_env, "gymnasium:tests.support.nested_env:Nested-v0", [1], 0, {"bad": True})
    with pytest.raises(EnvFailedError, match=r"ValueError: gymnasium cannot .*first line \(.*nested_env.py, line \d+"):
        call_env(make, "make", of_nobody)


def test_the_line_is_the_last_one_where_none_is_the_users():
    with pytest.raises(EnvFailedError, match=r"JSONDecodeError: .*decoder.py, line \d+\)\.$"):
        call_env(partial(json.loads, "no"), "make", of_nobody)  # this file has no line on the way
