"""What goes wrong with environments: the errors, the checks of what they return, and the one line that tells of it.

Owns the words.  Knows nothing of training: who steps environments says by a `Locate` whose they are, and when.

Axes: N environments, O obs_dim, A action_dim.
"""

import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastsac.config.settings import Config
from fastsac.env import OWN_BACKENDS, FloatArray, ObsArray, Step, VectorEnv, first_line
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
    """Whose environment it is and what time it is there, as parts of a sentence."""

    env: str
    owner: str = ""
    when: str = ""
    after: str = ""  # the sentence that follows


Locate = Callable[[int | None], Place]  # from the number of an environment; None: which one it is is not known


def of_nobody(index: int | None) -> Place:
    """The place of environments that no run owns."""
    return Place("the environments" if index is None else f"environment {index}")


def of_members(config: Config, num_envs: int, env_steps: Callable[[], Sequence[int]], during: str = "") -> Locate:
    """Places in a run.

    Args:
        config: of the run.
        num_envs: environments of each member.
        env_steps: gives the env steps of each member by now.
        during: what goes on, as in " in an evaluation"; nothing while the agents learn.
    """

    def locate(index: int | None) -> Place:
        kept = " Checkpoints written so far are kept."
        if index is None:
            return Place("the environments", "", f"{during} at env step {min(env_steps())}", kept)
        member, env = divmod(index, num_envs)
        owner, when = f" of {config.member_name(member)}", f"{during} at env step {env_steps()[member]}"
        return Place(f"environment {env}", owner, when, kept)

    return locate


# What environments raise ----------------------------------------------------------------------------------------------


def told(call: Callable[[], T], doing: str, locate: Locate) -> T:
    """What `call` returns; what it raises is told in one line.

    Raises:
        EnvFailedError: it raised something, were it SystemExit; only a signal's Stopped passes.
    """
    try:
        return call()
    except Stopped:
        raise
    except BaseException as error:
        raise env_failed(error, doing, locate(None)) from error


def made(make: Callable[[], VectorEnv]) -> VectorEnv:
    """What `make` builds before any work has begun.

    Raises:
        ValueError: it cannot.
    """
    try:
        return make()
    except (KeyboardInterrupt, ValueError):
        raise
    except BaseException as error:
        raise ValueError(f"the environments cannot be made: {_said(error)}.") from error


def env_failed(error: BaseException, doing: str, place: Place) -> EnvFailedError:
    """One line on what an environment raised.

    Args:
        error: it.
        doing: what the environment was asked for.
        place: where.
    """
    return EnvFailedError(f"{place.env}{place.owner} failed in {doing}{place.when}: {_said(error)}.{place.after}")


def _said(error: BaseException) -> str:
    """Kind, message and line of the code, which is the user's where it comes into it."""
    kind, line = type(error).__name__, first_line(error)
    text = kind if line == kind else f"{kind}: {line}"
    filename, lineno = _raised_at(error)
    return f"{text} ({filename}, line {lineno})"


def _raised_at(error: BaseException) -> tuple[str, int]:
    """The last line outside of installed packages on the way to `error`, or to what it came of; else the very last."""
    cause: BaseException | None = error
    seen: list[BaseException] = []
    while cause is not None and cause not in seen:  # `raise e from e` is a circle
        seen.append(cause)
        own = [(f.f_code.co_filename, n) for f, n in traceback.walk_tb(cause.__traceback__) if not _is_installed(f)]
        if own:
            return own[-1]
        cause = cause.__cause__ or cause.__context__
    frame, lineno = [*traceback.walk_tb(error.__traceback__)][-1]
    return frame.f_code.co_filename, lineno


def _is_installed(frame: FrameType) -> bool:
    """Whether this is code of an installed package, of the standard library or of ours."""
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    ours = package in ("fastsac", OWN_BACKENDS) or package in sys.stdlib_module_names
    return ours or any(f"{name}-packages" in frame.f_code.co_filename for name in ("site", "dist"))


# What environments return ---------------------------------------------------------------------------------------------

Form = tuple[np.dtype[Any], tuple[int, ...]]

FLOAT32, UINT8, BOOL = np.dtype(np.float32), np.dtype(np.uint8), np.dtype(np.bool_)


class CheckedEnv:
    """A vector environment that is held to its contract; every fault is one line that says where it lies.

    Args:
        env: it.
        locate: whose environments these are, and when.
        ages: gives the steps that each one's episode has had, [N]; -1 where it is over and the next step resets.
        obs_shape: (N, O).
    """

    def __init__(
        self, env: VectorEnv, locate: Locate, ages: Callable[[], NDArray[np.int64]], obs_shape: tuple[int, int]
    ) -> None:
        self._env, self._locate, self._ages = env, locate, ages
        self._obs: Form = (FLOAT32 if env.spec.image is None else UINT8, obs_shape)
        self._reward: Form = (FLOAT32, obs_shape[:1])
        self._flag: Form = (BOOL, obs_shape[:1])

    def reset(self) -> ObsArray:
        """As of `VectorEnv`.

        Raises:
            BadStepError: an environment failed, or gave something else than the contract says.
            NotFiniteError: an observation is not finite.
        """
        obs = self._call("reset")
        self.check_obs(obs)
        return obs

    def send(self, action: FloatArray) -> None:
        """As of `VectorEnv`.

        Raises:
            ActionError: an action is not finite; the environments do not see it.
            BadStepError: an environment failed.
        """
        if not np.isfinite(action).all():
            place = self._locate(_first_bad(action))
            raise ActionError(f"the policy{place.owner} gave an action that is not finite{place.when}.")
        self._call("send", action)

    def recv(self) -> Step:
        """As of `VectorEnv`.

        Raises:
            BadStepError: an environment failed, or gave something else than the contract says.
            NotFiniteError: an observation or a reward is not finite.
        """
        step = self._call("recv")
        if not isinstance(step, Step):
            self._refuse("a step as fastsac.Step(obs, reward, terminated, truncated)", step, "step")
        self._check_form("reward", step.reward, self._reward, "step")
        self._check_form("terminated", step.terminated, self._flag, "step")
        self._check_form("truncated", step.truncated, self._flag, "step")
        self.check_obs(step.obs, "step")
        self._check_finite("a reward", step.reward, "step")
        return step

    def check_obs(self, obs: Any, doing: str = "reset") -> None:
        """Check observations.

        Raises:
            BadStepError: they are of another type or shape than the contract says.
            NotFiniteError: one is not finite.
        """
        self._check_form("obs", obs, self._obs, doing)
        if self._obs[0] is FLOAT32:
            self._check_finite("an observation", obs, doing)

    def _call(self, method: str, *args: Any) -> Any:
        try:
            return getattr(self._env, method)(*args)
        except Stopped:
            raise
        except BaseException as error:
            given: Any = getattr(error, "env_index", None)
            is_known = isinstance(given, int | np.integer) and 0 <= given < self._obs[1][0]
            index = int(given) if is_known else None
            doing = method if method == "reset" else self._doing("step", index)
            raise env_failed(error, doing, self._locate(index)) from error

    def _check_form(self, name: str, value: Any, form: Form, doing: str) -> None:
        dtype, shape = form
        # Not a subclass: a masked array, for one, hides from `isfinite` what would be stored.
        if not (type(value) is np.ndarray and value.dtype == dtype and value.shape == shape):
            self._refuse(f"{name} as {dtype} {list(shape)}", value, doing)

    def _refuse(self, wanted: str, value: Any, doing: str) -> NoReturn:
        place = self._locate(None)
        raise BadStepError(
            f"{self._env.spec.env_id} must return {wanted}, got {_describe(value)} in {doing}{place.when}. Its back "
            f"end must keep to the contract in fastsac/env/contract.py.{place.after}"
        )

    def _check_finite(self, what: str, value: NDArray[np.float32], doing: str) -> None:
        if np.isfinite(value).all():
            return
        index = _first_bad(value)
        place = self._locate(index)
        raise NotFiniteError(
            f"{place.env}{place.owner} returned {what} that is not finite in {self._doing(doing, index)}{place.when}."
            f"{place.after}"
        )

    def _doing(self, doing: str, index: int | None) -> str:
        """What an environment does in a step of all: one of its episode's, or begin the next episode."""
        if doing != "step" or index is None:
            return doing
        age = int(self._ages()[index])
        return "reset" if age < 0 else f"step {age + 1} of its episode"


def _first_bad(value: NDArray[np.float32]) -> int:
    """The first row that is not finite."""
    return int(np.argwhere(~np.isfinite(value))[0, 0])


def _describe(value: Any) -> str:
    """Type and shape of what is no such array as it should be."""
    if type(value) is np.ndarray:
        return f"{value.dtype} {list(value.shape)}"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return f"{name} of length {len(value)}" if isinstance(value, list | tuple) else name
