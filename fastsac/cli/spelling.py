"""Flags as people write them, and the right form where it is not certain what they mean.  Knows no command."""

import difflib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fastsac.cli.flags import Flag, flag_name

TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
NEAR = 0.75  # share of letters in common


def near_match(word: str, choices: Iterable[str]) -> str:
    """`; did you mean train?` for a misspelt word, or a full stop."""
    close = difflib.get_close_matches(word.lower(), sorted(choices), 1, NEAR)
    return f"; did you mean {close[0]}?" if close else "."


def as_usual(args: Sequence[str], flags: Sequence[Flag]) -> list[str]:
    """The arguments in the usual form: of `--num_envs`, `--obs-norm=true`, `--learn-alpha false`, `--algo SAC`."""
    return list(_as_usual(deque(args), {flag.name: flag for flag in flags if not flag.is_positional}))


def _as_usual(rest: deque[str], flags: Mapping[str, Flag]) -> Iterator[str]:
    while rest:
        name, equals, value = rest.popleft().partition("=")
        name = name.replace("_", "-") if name.startswith("--") else name
        flag = flags.get(name)
        following = value if equals else rest[0] if rest else ""
        if flag is not None and flag.kind is bool and following.lower() in TRUTHS:
            usual = _switch(flag, TRUTHS[following.lower()])
        elif flag is not None and flag.words and following:
            usual = [f"{name}={_one_of(following, flag.words)}"]
        else:
            yield name + equals + value
            continue
        if not equals:
            rest.popleft()
        yield from usual


def _switch(flag: Flag, on: bool) -> list[str]:
    if on:
        return [flag.name]
    return [flag_name(f"no_{flag.field}")] if flag.is_pair else []


def _one_of(text: str, words: Sequence[str]) -> str:
    """The word that is meant, whatever its case, with `_` for `-`; or the text."""
    word = text.lower().replace("_", "-")
    return word if word in words else text


def check_names(args: Sequence[str], flags: Sequence[Flag], elsewhere: Mapping[str, str], hint: str) -> None:
    """Raise a ValueError for a flag that there is not.

    Args:
        args: as `as_usual` gives them.
        flags: those that there are.
        elsewhere: what to say of flags that other programs have.
        hint: the end of what to say of others.
    """
    known = {name for flag in flags for name in flag.names}
    for arg in args:
        name = arg.partition("=")[0]
        if not name.startswith("--") or name in known:
            continue
        if name in elsewhere:
            raise ValueError(f"{name} {elsewhere[name]}")
        bare = near_match(name[2:], (each[2:] for each in known)).replace("mean ", "mean --")
        raise ValueError(f"unknown option {name}{bare} {hint}")
