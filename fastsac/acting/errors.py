"""What goes wrong with environments: the errors, the checks of what they return, and the one line that tells of it.

Owns the words.  Knows nothing of training: who steps environments says by a `Locate` whose they are, and when.

Axes: N environments, O obs_dim, A action_dim.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastsac.config.settings import Config
from fastsac.env import FloatArray, ObsArray, Step, VectorEnv, check_info_metrics, describe_error
from fastsac.runtime.signals import Stopped

T = TypeVar("T")


class BadStepError(RuntimeError):
    """An environment broke the contract of `fastsac.env`."""


class EnvFailedError(BadStepError):
    """An environment raised an exception."""


class NotFiniteError(RuntimeError):
    """A number that is NaN or infinite came from an environment or out of a loss."""


class ActionError(NotFiniteError):
    """A policy gave NaN for an action; no environment has seen it."""


# Whose environment, and when ------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Parts of a sentence: "ENVIRONMENT OWNER failed in a step WHEN."."""

    env: str
    owner: str = ""
    when: str = ""


Locate = Callable[[int | None], Place]  # from the number of an environment; None where that is not known


def of_nobody(index: int | None) -> Place:
    """`Locate` of environments that no run owns."""
    return Place("the environments" if index is None else f"environment {index}")


def of_members(
    config: Config, num_envs: int, env_steps: Callable[[], Sequence[int]], during: str = "", first: int = 0
) -> Locate:
    """`Locate` of a run with `num_envs` environments for each member, of which the first has number `first`.

    `during` may be " in an evaluation".
    """

    def locate(index: int | None) -> Place:
        if index is None:
            return Place("the environments", "", f"{during} at env step {min(env_steps())}")
        member, env = divmod(index, num_envs)
        owner, when = f" of {config.member_name(member)}", f"{during} at env step {env_steps()[member]}"
        return Place(f"environment {first + env}", owner, when)

    return locate


# Exceptions of environments -------------------------------------------------------------------------------------------


def call_env(call: Callable[[], T], doing: str, locate: Locate) -> T:
    """The result of `call`; anything it raises, SystemExit included, is an EnvFailedError; only `Stopped` passes."""
    try:
        return call()
    except Stopped:
        raise
    except BaseException as error:
        raise _env_failed(error, doing, locate(None)) from error


def try_make(make: Callable[[], T]) -> T:
    """The result of `make`, before any work has begun; anything it raises, SystemExit included, is a ValueError."""
    try:
        return make()
    except (KeyboardInterrupt, ValueError):
        raise
    except BaseException as error:
        raise ValueError(f"the environments cannot be made: {describe_error(error)}.") from error


def _env_failed(error: BaseException, doing: str, place: Place) -> EnvFailedError:
    said = describe_error(error)
    return EnvFailedError(f"{place.env}{place.owner} failed in {doing}{place.when}: {said}.")


# Checks of what environments return -----------------------------------------------------------------------------------


class CheckedEnv:
    """A vector environment that is held to its contract; every fault is one line that says where it lies.

    All methods raise BadStepError where an environment failed or returned something else than the contract says, and
    NotFiniteError where an action, an observation or a reward is not finite.

    Args:
        env: to check.
        locate: for the errors.
        ages: gives the steps that each one's episode has had, [N]; -1 where it is over and the next step resets.
        obs_shape: (N, O).
        info_metrics: names of figures that its steps must tell.
    """

    def __init__(
        self,
        env: VectorEnv,
        locate: Locate,
        ages: Callable[[], NDArray[np.int64]],
        obs_shape: tuple[int, int],
        info_metrics: Sequence[str] = (),
    ) -> None:
        self._env, self._locate, self._ages, self._info_metrics = env, locate, ages, info_metrics
        self._obs_shape, self._has_images = obs_shape, env.spec.image is not None
        self._is_over = ages() < 0  # [N], episodes that ended with the step before

    def reset(self) -> ObsArray:
        """As of `VectorEnv`."""
        obs = self._call(self._env.reset, "reset")
        self._is_over = np.zeros(self._obs_shape[0], np.bool_)
        self.check_obs(obs)
        return obs

    def send(self, action: FloatArray) -> None:
        """As of `VectorEnv`; an ActionError where an action is not finite, which the environments do not see."""
        self.check_action(action)
        self._call(partial(self._env.send, action), "step")

    def check_action(self, action: FloatArray) -> None:
        """Raise an ActionError where an action is not finite."""
        if not np.isfinite(action).all():
            place = self._locate(_first_not_finite(action))
            raise ActionError(f"the policy{place.owner} gave an action that is not finite{place.when}.")

    def recv(self) -> Step:
        """As of `VectorEnv`."""
        step = self._call(self._env.recv, "step")
        if not isinstance(step, Step):
            self._refuse("a step as fastsac.Step(obs, reward, terminated, truncated)", step, "step")
        for name, dtype in (("reward", np.float32), ("terminated", np.bool_), ("truncated", np.bool_)):
            self._check_array(name, getattr(step, name), dtype, self._obs_shape[:1], "step")
        if step.success is not None:
            self._check_array("success", step.success, np.bool_, self._obs_shape[:1], "step")
        if self._info_metrics:
            self._check_info(step)
        self.check_obs(step.obs, "step")
        self._check_finite("a reward", step.reward, "step")
        done = step.terminated | step.truncated
        self._check_resets(step, done)
        self._is_over = done
        return step

    def check_obs(self, obs: ObsArray, doing: str = "reset") -> None:
        """Check observations that came of `doing`."""
        self._check_array("obs", obs, np.uint8 if self._has_images else np.float32, self._obs_shape, doing)
        if not self._has_images:
            self._check_finite("an observation", obs, doing)

    def _check_info(self, step: Step) -> None:
        info = {} if step.info is None else step.info
        if not isinstance(info, Mapping):
            self._refuse("info as a dictionary of figures", info, "step")
        try:
            check_info_metrics(self._info_metrics, self._env.spec.env_id, [*info])
        except ValueError as error:
            raise BadStepError(str(error)) from None
        for name in self._info_metrics:
            self._check_array(f"info[{name!r}]", info[name], np.float32, self._obs_shape[:1], "step")

    def _check_resets(self, step: Step, done: NDArray[np.bool_]) -> None:
        """Refuse a step of an environment that had to reset in it."""
        if not (wrong := self._is_over & (done | (step.reward != 0))).any():
            return
        index = int(wrong.argmax())
        place, names = self._locate(index), ("reward", "terminated", "truncated")
        got = ", ".join(f"{name} {getattr(step, name)[index]!s}" for name in names)
        raise BadStepError(
            f"{place.env}{place.owner} must reset in the step after the end of its episode, and return reward 0 and "
            f"no flag with its first observation, got {got}{place.when}. Where the simulator resets in the step that "
            f"ends an episode, fastsac.env.NextStepReset makes these steps of its own."
        )

    def _call(self, call: Callable[[], T], doing: str) -> T:
        try:
            return call()
        except Stopped:
            raise
        except BaseException as error:
            given: object = getattr(error, "env_index", None)
            index = int(given) if isinstance(given, int | np.integer) and 0 <= given < self._obs_shape[0] else None
            raise _env_failed(error, self._doing(doing, index), self._locate(index)) from error

    def _check_array(
        self, name: str, value: object, dtype: type[np.generic], shape: tuple[int, ...], doing: str
    ) -> None:
        # Not a subclass: a masked array, for one, hides from `isfinite` what would be stored.
        if not (type(value) is np.ndarray and value.dtype == dtype and value.shape == shape):
            self._refuse(f"{name} as {np.dtype(dtype)} {list(shape)}", value, doing)

    def _refuse(self, wanted: str, value: object, doing: str) -> NoReturn:
        place = self._locate(None)
        raise BadStepError(
            f"{self._env.spec.env_id} must return {wanted}, got {_describe_value(value)} in {doing}{place.when}. Its "
            f"back end must keep to the contract in fastsac/env/contract.py."
        )

    def _check_finite(self, name: str, value: NDArray[np.float32], doing: str) -> None:
        if np.isfinite(value).all():
            return
        index = _first_not_finite(value)
        place, doing = self._locate(index), self._doing(doing, index)
        raise NotFiniteError(f"{place.env}{place.owner} returned {name} that is not finite in {doing}{place.when}.")

    def _doing(self, doing: str, index: int | None) -> str:
        """Of one environment in a vector step: a step of its episode, or the reset to its next one."""
        if doing != "step" or index is None:
            return doing
        age = int(self._ages()[index])
        return "reset" if age < 0 else f"step {age + 1} of its episode"


def _first_not_finite(value: NDArray[np.float32]) -> int:
    return int(np.argwhere(~np.isfinite(value))[0, 0])


def _describe_value(value: object) -> str:
    if type(value) is np.ndarray:
        return f"{value.dtype} {list(value.shape)}"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return f"{name} of length {len(value)}" if isinstance(value, list | tuple) else name
