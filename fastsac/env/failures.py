"""What an exception of an environment says in one line: kind, message, and the line of the user's own code."""

import inspect
import sys
import traceback
from types import FrameType
from typing import Any

from fastsac.env.contract import EnvKwargs
from fastsac.env.messages import first_line
from fastsac.env.modules import OWN_BACKENDS


def describe_error(error: BaseException, anywhere: bool = True) -> str:
    """Kind, message and line of code: the user's line, if the error came through one.

    Args:
        error: told of.
        anywhere: take the last line if none is the user's; else there is none then.
    """
    kind, line = type(error).__name__, first_line(error)
    text = kind if line == kind else f"{kind}: {line}"
    place = _place(error, anywhere)
    return text if not place or place in text else f"{text} ({place})"


def cannot_make(backend: str, task: str, env_kwargs: EnvKwargs, error: BaseException) -> ValueError:
    """The error of a simulator that refuses to make a task."""
    given = f" with env_kwargs {dict(env_kwargs)}" if env_kwargs else ""
    return ValueError(f"{backend} cannot make {task}{given}: {describe_error(error, anywhere=False)}.")


def place_of(code: Any) -> str:
    """Where a function or a class is written; the empty string where that is not known."""
    try:
        code = inspect.unwrap(code)
        return _in_file(inspect.getsourcefile(code) or "", inspect.findsource(code)[1] + 1)
    except (OSError, TypeError):
        return ""


def _in_file(path: str, line: int) -> str:
    return f"{path}, line {line}"


def _place(error: BaseException, anywhere: bool) -> str:
    """What a back end told as `place`, or the last line outside of installed packages on the way to the error."""
    cause: BaseException | None = error
    seen: list[BaseException] = []
    while cause is not None and cause not in seen:  # `raise e from e` is a circle
        seen.append(cause)
        if told := getattr(cause, "place", ""):
            return str(told)
        own = [place for place in traceback.walk_tb(cause.__traceback__) if not _is_installed(place[0])]
        if own:
            return _in_file(own[-1][0].f_code.co_filename, own[-1][1])
        cause = cause.__cause__ or cause.__context__
    places = [*traceback.walk_tb(error.__traceback__)] if anywhere else []
    return _in_file(places[-1][0].f_code.co_filename, places[-1][1]) if places else ""


def _is_installed(frame: FrameType) -> bool:
    """Whether this is code of an installed package, of the standard library or of ours."""
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    ours = package in ("fastsac", OWN_BACKENDS) or package in sys.stdlib_module_names
    return ours or any(f"{name}-packages" in frame.f_code.co_filename for name in ("site", "dist"))
