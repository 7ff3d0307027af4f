"""The flags of a command, as the fields of its dataclass make them.  Knows no command."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from fastsac.config.fields import docs_of

NAMES = {int: "N", float: "X", str: "TEXT", Path: "PATH", NoneType: "none", dict: "JSON"}
LARGE = 10_000  # from here on whole numbers are shown in groups of digits, as flags take them
POSITIONAL = get_args(tyro.conf.Positional[int])[1]
UNPAIRED = get_args(tyro.conf.FlagCreatePairsOff[bool])[1]  # a bool that can only be switched on


@dataclass(frozen=True)
class Flag:
    """One field of a command's dataclass."""

    field: str  # its name
    kind: Any  # its type
    marks: tuple[Any, ...]  # what else its annotation says, for tyro
    text: str  # what it is for
    default: Any  # MISSING where it has none
    traits: Mapping[str, Any]

    @property
    def is_positional(self) -> bool:
        """Whether it is given by its place, without its name."""
        return POSITIONAL in self.marks

    @property
    def is_pair(self) -> bool:
        """Whether there is a flag for yes, and one for no."""
        return self.kind is bool and UNPAIRED not in self.marks

    @property
    def name(self) -> str:
        """`--num-envs`."""
        return flag_name(self.field)

    @property
    def names(self) -> list[str]:
        """`--num-envs`, or `--obs-norm` and `--no-obs-norm`."""
        return [self.name, *([flag_name(f"no_{self.field}")] if self.is_pair else [])]

    @property
    def words(self) -> list[str]:
        """The words that its value can be, or be one of."""
        return [word for kind in alternatives(self.kind) if get_origin(kind) is Literal for word in get_args(kind)]

    @property
    def usage(self) -> str:
        """`--num-envs N`, `--obs-norm / --no-obs-norm`, `RUN_DIR`."""
        if self.is_positional:
            dots = " ..." if get_origin(self.kind) is tuple else ""
            name = self.field.upper().removesuffix("S" if dots else "") + dots
            return name if self.default is dataclasses.MISSING else f"[{name}]"
        return f"{' / '.join(self.names)} {self.traits.get('metavar', metavar(self.kind))}".strip()


def flag_name(field: str) -> str:
    """`--num-envs`."""
    return f"--{field.replace('_', '-')}"


def flags_of(cls: Any) -> list[Flag]:
    """The flags of a dataclass, in its order."""
    hints, docs = get_type_hints(cls, include_extras=True), docs_of(cls)
    flags = []
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        flags.append(Flag(field.name, kind, tuple(marks), docs.get(field.name, ""), default, field.metadata))
    return flags


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or the one that it is."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def metavar(kind: Any) -> str:
    """How help shows a value of such a type: `N`, `X | none`, `auto | on | off`, `N ...`; nothing for a bool."""
    if kind is bool:
        return ""
    if get_origin(kind) in (Union, UnionType):
        return " | ".join(map(metavar, get_args(kind)))
    if get_origin(kind) is Literal:
        return " | ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return f"{metavar(get_args(kind)[0])} ..."
    return NAMES.get(get_origin(kind) or kind, "VALUE")


def value_text(value: object) -> str:
    """A value as help shows it: `1_000_000`, `256 256`, `on`, `not set`."""
    if value is None or value in ((), {}):
        return "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, tuple):
        return " ".join(map(value_text, value))
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:_}" if isinstance(value, int) and value >= LARGE else str(value)
