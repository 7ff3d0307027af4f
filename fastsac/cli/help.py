"""`--help`: the flags of a command in groups, each with its value, its text and its default.  ASCII only."""

import dataclasses
import inspect
import re
import shutil
import textwrap
from collections.abc import Sequence

from fastsac.cli.flags import Flag, flag_name, flags_of, value_text
from fastsac.config.fields import GROUPS, range_text

COLUMN = 31  # where texts begin
NARROWEST, WIDEST = 80, 110  # of the terminal's columns
LONGEST_WHOLE = 30  # letters of a fact that is not broken
NO_BREAK = "\N{NO-BREAK SPACE}"
OPTIONS = "options"  # the group of flags that have none


def help_text(
    cls: type,
    prog: str,
    about: str | None = None,
    default: object = None,
    only_common: bool = False,
) -> str:
    """Usage, what the command does, and its flags.

    Args:
        cls: dataclass of the flags.
        prog: how the command is called.
        about: what it does; the docstring of `cls` by default.
        default: has the values of flags that are not given; those that are not the fields' own are marked `here`.
        only_common: show only the flags that have the trait.
    """
    width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    flags = sorted(flags_of(cls), key=lambda flag: not flag.is_positional)
    shown = [flag for flag in flags if flag.traits.get("common") or not only_common]
    needed = [flag.usage for flag in flags if flag.is_positional or flag.default is dataclasses.MISSING]
    lines = [" ".join(["usage:", prog, *needed, "[OPTIONS]"]), ""]
    lines += wrap(inspect.cleandoc(about or cls.__doc__ or ""), width)
    for group in (*GROUPS, OPTIONS):
        members = [flag for flag in shown if flag.traits.get("group", OPTIONS) == group]
        lines += ["", f"{group}:"] * bool(members)
        for flag in members:
            lines += columns(flag.usage, with_flags(description(flag, default), flags), width)
    if only_common:
        lines += ["", f"`{prog} --help-all` shows the other {len(flags) - len(shown)} options too."]
    return "\n".join(lines)


def description(flag: Flag, default: object) -> str:
    """The flag's text, its range and its default."""
    value = getattr(default, flag.field, flag.default)
    facts = [range_text(flag.traits)] * ("at_most" in flag.traits)
    if value is dataclasses.MISSING:
        facts += ["required"] * (not flag.is_positional)
    elif value != flag.default:
        facts.append(f"here: {value_text(value)}")
    elif value is None and "unset" in flag.traits:
        facts.append(f"default: {flag.traits['unset']}")
    elif flag.is_pair or not (flag.is_positional or flag.kind is bool):
        facts.append(value_text(value) if value in (None, (), {}) else f"default: {value_text(value)}")
    facts = [fact if len(fact) > LONGEST_WHOLE else fact.replace(" ", NO_BREAK) for fact in facts]
    return f"{flag.text} ({'; '.join(facts)})" if facts else flag.text


def with_flags(text: str, flags: Sequence[Flag]) -> str:
    """The text, with flags in place of the names of fields that nobody takes for plain words."""
    names = "|".join(flag.field for flag in flags if "_" in flag.field)
    return re.sub(rf"\b({names})\b(?!=)", lambda found: flag_name(found[0]), text) if names else text


def columns(usage: str, text: str, width: int) -> list[str]:
    """The usage in one column and the text in the next, one line lower where the usage is too long."""
    lines = textwrap.wrap(text, width - COLUMN, break_on_hyphens=False, break_long_words=False)
    lines = [line.replace(NO_BREAK, " ") for line in lines] or [""]
    if len(usage) + 4 > COLUMN:
        return [f"  {usage}", *(" " * COLUMN + line for line in lines)]
    return [f"  {usage:{COLUMN - 2}}{lines[0]}", *(" " * COLUMN + line for line in lines[1:])]


def wrap(text: str, width: int) -> list[str]:
    """The lines of a text, wrapped; what is indented stays so, and is continued further in."""
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(line, width, subsequent_indent=indent and f"{indent}  ", break_on_hyphens=False) or [""]
    return lines
