"""Messages of back ends in one line: misspelt names, keywords and figures, and how a simulator's own begins."""

import difflib
import re
from collections.abc import Collection, Iterable, Sequence

from fastsac.env.contract import EnvKwargs

_VERSION = re.compile(r"-v\d+$")


def near_matches(name: str, choices: Sequence[str]) -> str:
    """`; did you mean A or B?` for a misspelt name, or the empty string.

    A version such as `-v1` only decides between names that are equally near: any two share one.
    """

    def likeness(a: str, b: str) -> float:
        return difflib.SequenceMatcher(None, a, b).ratio()

    def nearness(choice: str) -> tuple[float, float, str]:
        a, b = name.lower(), choice.lower()
        return likeness(_VERSION.sub("", a), _VERSION.sub("", b)), likeness(a, b), b

    close = [c for c in choices if nearness(c)[0] > 0.65]
    close = sorted(close, key=nearness, reverse=True)[:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def check_known_kwargs(
    env_id: str, env_kwargs: EnvKwargs, known: Sequence[str], unlisted: Collection[str] = ()
) -> None:
    """Raise a ValueError for a keyword that is neither in `known`, which it proposes, nor in `unlisted`."""
    for key in env_kwargs:
        if key not in known and key not in unlisted:
            choices = f"; choose from {', '.join(known)}." if known else "; it takes none."
            raise ValueError(f"{env_id} takes no env_kwargs {key!r}{near_matches(key, known) or choices}")


def check_info_metrics(wanted: Iterable[str], env_id: str, names: Sequence[str]) -> None:
    """Raise a ValueError for a figure that is not among the `names` of those that an environment tells."""
    for name in wanted:
        if name not in names:
            raise ValueError(
                f"info_metrics must name figures that {env_id} tells of its steps, got {name!r}{told(name, names)}"
            )


def told(name: str, names: Sequence[str]) -> str:
    """The figures there are, after a name that is not among them."""
    if not names:
        return "; it tells none."
    near = near_matches(name, names)
    return f"{near} Those told: {', '.join(names)}." if near else f"; choose from {', '.join(names)}."


def first_line(error: BaseException) -> str:
    """A simulator's message without its full stop, or the kind of error where there is none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:")[:300] if lines else type(error).__name__
