"""What the wrappers around a Gymnasium environment tell of it, and the functions that each of them must have."""

import inspect
from collections.abc import Iterator
from typing import Any

import gymnasium
from gymnasium import wrappers
from gymnasium.vector import VectorWrapper

from fastsac.env import place_of

GymEnv = gymnasium.Env[Any, Any]
# The setting that does for all environments what a wrapper does for each, and what is wrong with that.
NORMALISERS = {
    "NormalizeObservation": ("obs_norm", "evaluations begin with new ones, and none are saved with the policy"),
    "NormalizeReward": ("reward_norm", "and returns are those of its rewards, not of the task's"),
}


def levels(env: Any) -> Iterator[Any]:
    """The wrappers of an environment or a vector environment, outermost first, and what is in them."""
    while isinstance(env, gymnasium.Wrapper | VectorWrapper):
        yield env
        env = env.env
    yield env


def time_limit(env: GymEnv) -> int | None:
    """The steps after which an episode is cut off, by the spec or by a wrapper; None where neither tells."""
    limits = [getattr(env.spec, "max_episode_steps", None)]
    limits += [level._max_episode_steps for level in levels(env) if isinstance(level, wrappers.TimeLimit)]
    return min((limit for limit in limits if limit is not None), default=None)


def notes(name: str, env: GymEnv) -> Iterator[str]:
    """What a run is to say of the wrappers."""
    for kind, (setting, wrong) in NORMALISERS.items():
        if has(env, kind):
            what = f"{name} has the wrapper {kind}: each environment has statistics of its own"
            yield f"{what}, {wrong}. {in_place(setting)}"


def remedies(env: Any) -> str:
    """What to do instead of normalising in wrappers, if that is done."""
    return "".join(f" {in_place(setting)}" for kind, (setting, _) in NORMALISERS.items() if has(env, kind))


def has(env: Any, kind: str) -> bool:
    """Whether a wrapper of Gymnasium with this name is around an environment."""
    classes = tuple(getattr(module, kind) for module in (wrappers, wrappers.vector))
    return any(isinstance(level, classes) for level in levels(env))


def in_place(setting: str) -> str:
    """The advice to use a setting in place of a wrapper."""
    return f"Leave it out and use {setting} (--{setting.replace('_', '-')}), which has one for all."


def check_reset(env: GymEnv) -> None:
    """Raise a TypeError where a `reset` does not take what Gymnasium gives it."""
    for level in levels(env):
        try:
            signature = inspect.signature(level.reset)
        except ValueError:  # it is not known
            continue
        try:
            signature.bind(seed=None, options=None)
        except TypeError as error:
            wanted = "take seed and options, as reset(*, seed=None, options=None)"
            raise blaming(level, "reset", f"{wanted}, got reset{signature}") from error


def blaming(env: GymEnv, function: str, what: str) -> TypeError:
    """The error of an environment whose `function` must do `what`, at the user's line."""
    kind = type(env)
    error, code = TypeError(f"{function} of {kind.__name__} must {what}"), getattr(kind, function)
    is_inherited = isinstance(env, gymnasium.Wrapper) and code is getattr(gymnasium.Wrapper, function)
    error.place = place_of(kind if is_inherited else code)  # type: ignore[attr-defined]
    return error


def own_level(env: GymEnv) -> GymEnv:
    """The outermost wrapper that is not Gymnasium's, or the environment itself."""
    *around, inner = levels(env)
    return next((level for level in around if not type(level).__module__.startswith("gymnasium.")), inner)
