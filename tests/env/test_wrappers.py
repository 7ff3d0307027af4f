"""What wrappers of Gymnasium tell a run, and the line of a user's code that is to blame."""

import inspect
import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from fastsac.acting.errors import EnvFailedError
from fastsac.acting.evaluation import rollout
from fastsac.env import make_env, make_spec, register_env

Box = gymnasium.spaces.Box


class Still(gymnasium.Env[Any, Any]):
    """Void moves, and no episode ends."""

    observation_space, action_space = Box(-1, 1, (2,)), Box(-1, 1, (1,))

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), 0.0, False, False, {}


gymnasium.register("Still-v0", Still, max_episode_steps=20)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (Still, None),
        (lambda: wrappers.TimeLimit(Still(), 60), 60),
        (lambda: wrappers.NormalizeObservation(wrappers.TimeLimit(Still(), 60)), 60),
        (lambda: wrappers.TimeLimit(wrappers.OrderEnforcing(wrappers.TimeLimit(Still(), 30)), 60), 30),
        (lambda: gymnasium.make("Still-v0"), 20),
        (lambda: wrappers.TimeLimit(gymnasium.make("Still-v0"), 60), 20),
        (lambda: wrappers.TimeLimit(gymnasium.make("Still-v0"), 10), 10),
    ],
)
def test_the_shortest_time_limit_counts(make, limit):
    name = register_env(make)
    assert make_spec(name).max_episode_steps == limit
    assert make_spec(name, {"max_episode_steps": 5}).max_episode_steps == 5
    if limit is not None:
        with pytest.raises(ValueError, match=rf"max_episode_steps must be at most {limit}, the environment's own"):
            make_spec(name, {"max_episode_steps": limit + 1})


def test_an_evaluation_ends_with_the_limit_of_a_wrapper():
    env = make_env(register_env(lambda: wrappers.ClipReward(wrappers.TimeLimit(Still(), 7), -1, 1)), [1, 2])
    result = rollout(env, lambda obs: np.zeros((2, 1), np.float32))
    assert result.lengths.tolist() == [7, 7]
    assert not result.cut.any()


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (Still, []),
        (lambda: wrappers.ClipReward(wrappers.NormalizeObservation(Still()), -1, 1), ["obs_norm (--obs-norm)"]),
        (lambda: wrappers.NormalizeReward(Still()), ["reward_norm (--reward-norm)"]),
        (
            lambda: wrappers.NormalizeReward(wrappers.NormalizeObservation(Still())),
            ["obs_norm (--obs-norm)", "reward_norm (--reward-norm)"],
        ),
    ],
)
def test_normalisation_in_wrappers_has_a_note(make, settings):
    notes = make_spec(register_env(make)).notes
    assert [re.findall(r"use (\S+ \S+),", note) for note in notes] == [[setting] for setting in settings]
    assert all("each environment has statistics of its own" in note for note in notes)


class Four(Still):
    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, {}


class Six(Still):
    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {}, 1


class Void(Still):
    def step(self, action):
        return None


class NoInfo(Still):
    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, None


class Text(Still):
    def step(self, action):
        return np.zeros(2, np.float32), "1.0", False, False, {}


class ObsAlone(Still):
    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32)


class ObsAndNothing(Still):
    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), None


class Passing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper of one's own, whose line is named."""

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, [reward, reward], terminated, truncated, info


FIVE = r"\(obs, reward, terminated, truncated, info\)"


def failure(make):
    """What is said of an environment."""
    with pytest.raises(EnvFailedError) as error:
        rollout(make_env(register_env(make), [1, 2]), lambda obs: np.zeros((2, 1), np.float32))
    return str(error.value)


def line_of(function):
    return re.escape(f"({__file__}, line {inspect.getsourcelines(function)[1]})")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (Four.step, rf"step of Four must return {FIVE}, got 4 values"),
        (Six.step, rf"step of Six must return {FIVE}, got (6|more) values"),
        (Void.step, rf"step of Void must return {FIVE}, got NoneType"),
        (NoInfo.step, "step of NoInfo must return info as a dictionary, got None"),
        (Text.step, "step of Text must return reward as one number, got '1.0'"),
        (ObsAlone.reset, r"reset of ObsAlone must return \(obs, info\), got array\(\[0\., 0\.\], dtype=float32\)"),
        (ObsAndNothing.reset, "reset of ObsAndNothing must return info as a dictionary, got None"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda env: env, lambda env: wrappers.TimeLimit(wrappers.OrderEnforcing(env), 9)])
def test_what_an_environment_returns_wrongly_is_told_with_its_own_line(function, told, wrap):
    kind = globals()[function.__qualname__.partition(".")[0]]
    assert re.match(
        rf"environment 0 failed in .*: TypeError: {told} {line_of(function)}\.", failure(lambda: wrap(kind()))
    )


def test_a_wrapper_of_ones_own_is_to_blame_for_what_it_returns():
    assert re.search(
        rf"step of Passing must return reward as one .* {line_of(Passing.step)}", failure(lambda: Passing(Still()))
    )


def test_a_wrapper_of_ones_own_that_unpacks_is_the_line_to_look_at():
    line = inspect.getsourcelines(Passing.step)[1] + 1
    assert f"ValueError: not enough values to unpack (expected 5, got 4) ({__file__}, line {line})" in failure(
        lambda: Passing(Four())
    )


class NoSeed(Still):
    def reset(self):  # type: ignore[override]
        return np.zeros(2, np.float32), {}


class SeedAlone(Still):
    def reset(self, seed=None):  # type: ignore[override]
        return np.zeros(2, np.float32), {}


class AnyKeyword(Still):
    def reset(self, **kwargs):
        return np.zeros(2, np.float32), {}


@pytest.mark.parametrize(("kind", "got"), [(NoSeed, "reset()"), (SeedAlone, "reset(seed=None)")])
def test_a_reset_without_seed_or_options_is_refused_before_any_work(kind, got):
    said = f"reset of {kind.__name__} must take seed and options, as reset(*, seed=None, options=None), got {got}"
    for make in (kind, lambda: wrappers.TimeLimit(kind(), 9)):
        with pytest.raises(ValueError, match=rf": TypeError: {re.escape(said)} {line_of(kind.reset)}\.$"):
            make_env(register_env(make), [1])


def test_a_reset_with_any_keywords_is_taken():
    assert make_env(register_env(AnyKeyword), [1]).reset().tolist() == [[0, 0]]
