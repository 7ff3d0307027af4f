"""Flags into dataclasses, by tyro; a wrong call becomes a ValueError of one line.  Knows no command."""

import contextlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from fastsac import policies
from fastsac.cli.flags import alternatives, flags_of, metavar
from fastsac.cli.help import help_text
from fastsac.cli.spelling import as_usual, check_names
from fastsac.config.kinds import as_kind, read_json, shown

T = TypeVar("T")
RULES = ConstructorRegistry()
HELP = {"-h", "--help"}
NUMBERS = (int, float)
RunDir = Annotated[
    Path,
    tyro.conf.Positional,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda texts: policies.resolve(texts[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    ),
]
"""A run directory, given by its place; "demo:NAME" is that of a policy of the package."""
RunDirs = Annotated[
    tuple[Path, ...],
    tyro.conf.Positional,
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="PATH ...",
        instance_from_str=lambda texts: tuple(map(policies.resolve, texts)),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda paths: list(map(str, paths)),
    ),
]
"""Several of them, or none."""


def parse(cls: type[T], prog: str, args: Sequence[str], about: str | None = None) -> T:
    """Parse flags into a dataclass; help says `about`, or the docstring of the dataclass.

    Raises ValueError for a wrong call, in one line that names the flag, and SystemExit once help has been printed.
    """
    if wants_help(args):
        print(help_text(cls, prog, about))
        raise SystemExit(0)
    flags = flags_of(cls)
    args = as_usual(args, flags)
    check_names(args, flags, {}, f"`{prog} --help` lists the options.")
    return read_flags(cls, prog, args)


def wants_help(args: Sequence[str]) -> bool:
    """Whether the arguments ask for help."""
    return not HELP.isdisjoint(args)


def read_flags(cls: type[T], prog: str, args: Sequence[str], default: T | None = None, lists: str = "--help") -> T:
    """As `parse`, of arguments in the usual form.

    Args:
        cls: dataclass of the flags.
        prog: how the command is called.
        args: as `as_usual` gives them, with flags that there are.
        default: has the values of flags that are not given; the fields' own if None.
        lists: the flag that lists all.
    """
    errors = io.StringIO()
    known: dict[str, Any] = {"prog": prog, "args": args, "registry": RULES}
    try:
        with contextlib.redirect_stderr(errors):
            result: T = tyro.cli(cls, **known) if default is None else tyro.cli(cls, default=default, **known)
            return result
    except SystemExit:
        needed = " and ".join(flag.usage for flag in flags_of(cls) if flag.is_positional)
        message = re.sub(r"^Missing from .*", f"{needed} must be given.", one_line(errors.getvalue()))
        raise ValueError(f"{message} `{prog} {lists}` lists the options.") from None


def one_line(text: str) -> str:
    """The message in the box that tyro draws around it, with lines or, where stdout is not UTF-8, with hyphens."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    title, *parts = re.split(r"^╭.*╮$|^[│ ]*[─-]{9,}[│ ]*$|^╰.*╯$", text, flags=re.MULTILINE)
    message = " ".join(parts[0].replace("│", " ").split()) if parts else title
    message = re.sub(r"^Error parsing (--[\w-]+): (?=must )", r"\1 ", message)
    message = re.sub(r"^Error parsing ([\w .\[\]]+: |(?=--))", "", message)
    message = re.sub(r"^Unrecognized options: ", "there is no place for ", message)
    message = re.sub(r"^Missing value for argument '(--[\w-]+)'.*", r"\1 must have a value", message)
    return f"{message.rstrip('.')}."


@RULES.primitive_rule
def settings_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """How tyro reads numbers, words beside numbers, lists of numbers, JSON objects and text or none: as `as_kind`."""
    kind = info.type
    if not is_ours(kind):
        return None
    return PrimitiveConstructorSpec(
        nargs="*" if takes_several(kind) else 1,
        metavar=metavar(kind),
        instance_from_str=lambda texts: read(texts, kind),
        is_instance=lambda value: True,  # defaults are of the types of their fields
        str_from_instance=texts_of,
    )


def is_ours(kind: Any) -> bool:
    """Whether values of such a type are read here, and not by tyro."""
    kinds = alternatives(kind)
    return (
        get_origin(kind) is dict
        or any(each in NUMBERS or is_list(each) for each in kinds)
        or {*kinds} == {str, NoneType}
    )


def is_list(kind: Any) -> bool:
    """Whether values of such a type are lists of numbers."""
    return get_origin(kind) is tuple and get_args(kind) in [(number, ...) for number in NUMBERS]


def takes_several(kind: Any) -> bool:
    """Whether several values may follow a flag; one that may also be a number has its list in one, with commas."""
    kinds = alternatives(kind)
    return any(map(is_list, kinds)) and int not in kinds


def read(texts: list[str], kind: Any) -> Any:
    """The value of such a type that the texts of a flag are; those of a list have commas or spaces between them."""
    if get_origin(kind) is dict:
        with contextlib.suppress(ValueError):
            return as_kind(read_json(texts[0]), kind)
        raise ValueError(f'must be a JSON object such as {{"ctrl_cost_weight": 0.2}}, got {shown(texts[0])}')
    kinds = alternatives(kind)
    if str in kinds:
        return None if texts[0].lower() == "none" else texts[0]
    if not any(map(is_list, kinds)):
        return as_kind(number_or_text(texts[0]), kind)
    values = [number_or_text(part) for text in texts for part in text.split(",")]
    is_one = len(values) == 1 and (int in kinds or values[0] is None)
    return as_kind(values[0] if is_one else values, kind)


def number_or_text(text: str) -> int | float | str | None:
    """The number that a text is, whole if it can be (`1_000_000`, `1e6`); None for "none"; or the text."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        number = float(text)
        return int(number) if number.is_integer() else number
    return None if text.lower() == "none" else text


def texts_of(value: object) -> list[str]:
    """A value as it is given after a flag."""
    if isinstance(value, dict):
        return [json.dumps(value)]
    return [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
