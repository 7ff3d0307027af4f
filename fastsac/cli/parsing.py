"""Flags into dataclasses, by tyro; a wrong call becomes a ValueError of one line.  Knows no command."""

import ast
import contextlib
import inspect
import io
import itertools
import json
import re
from copy import copy
from dataclasses import fields, is_dataclass, make_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from fastsac.config.kinds import as_kind, read_json, shown

T = TypeVar("T")
RULES = ConstructorRegistry()
NUMBERS = {int: "INT", float: "FLOAT"}


def parse(cls: type[T], prog: str, args: list[str], default: T | None = None, description: str | None = None) -> T:
    """Parse flags into a dataclass; `default` has the values of flags that are not given.

    Raises ValueError for a wrong call, in one line that names the flag, and SystemExit once help has been printed.
    """
    errors = io.StringIO()
    known: dict[str, Any] = {"prog": prog, "args": args, "description": description, "registry": RULES}
    if not {"-h", "--help"}.isdisjoint(args):
        cls, default = for_help(cls, default)
    try:
        with contextlib.redirect_stderr(errors):
            result: T = tyro.cli(cls, **known) if default is None else tyro.cli(cls, default=default, **known)
            return result
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ValueError(one_line(errors.getvalue(), prog)) from None


def for_help(cls: Any, default: Any) -> Any:
    """A class with the same flags, and its default; help texts are not broken where the source breaks their lines."""
    hints, docs = get_type_hints(cls, include_extras=True), docs_of(cls)
    flags = [
        (each.name, Annotated[hints[each.name], tyro.conf.arg(help=docs.get(each.name))], copy(each))
        for each in fields(cls)
    ]
    made: Any = make_dataclass(cls.__name__, flags, kw_only=True, namespace={"__doc__": cls.__doc__})
    return made, default and made(**{each.name: getattr(default, each.name) for each in fields(default)})


def docs_of(cls: type) -> dict[str, str]:
    """The text under each field of a dataclass, in one line."""
    docs = {}
    for base in filter(is_dataclass, reversed(cls.__mro__)):
        source = ast.parse(inspect.getsource(base)).body[0]
        assert isinstance(source, ast.ClassDef)
        for target, text in itertools.pairwise(source.body):
            if isinstance(target, ast.AnnAssign) and isinstance(text, ast.Expr):
                docs[ast.unparse(target.target)] = " ".join(ast.literal_eval(text.value).split())
    return docs


def one_line(text: str, prog: str) -> str:
    """The message in the box that tyro draws around it, with lines or, where stdout is not UTF-8, with hyphens."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    title, *parts = re.split(r"^╭.*╮$|^[│ ]*[─-]{9,}[│ ]*$|^╰.*╯$", text, flags=re.MULTILINE)
    message = " ".join(parts[0].replace("│", " ").split()) if parts else title
    message = re.sub(r"^Error parsing (--[\w-]+): (?=must )", r"\1 ", message)
    message = re.sub(r"^Error parsing (\w+: |(?=--))", "", message)
    meant = re.search(r"Perhaps you meant:[│\s]*(--[\w-]+)", text)
    message = f"{message.rstrip('.')}; did you mean {meant.group(1)}?" if meant else f"{message.rstrip('.')}."
    return f"{message} `{prog} --help` lists the options."


@RULES.primitive_rule
def settings_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """How tyro reads numbers, words beside numbers, lists of numbers and JSON objects: as `as_kind` does."""
    kind = info.type
    name = metavar(kind)
    if name is None:
        return None
    return PrimitiveConstructorSpec(
        nargs="*" if get_origin(kind) is tuple else 1,
        metavar=name,
        instance_from_str=lambda texts: read(texts, kind),
        is_instance=lambda value: True,  # defaults are of the types of their fields
        str_from_instance=texts_of,
    )


def metavar(kind: Any) -> str | None:
    """How help shows a value of such a type; None for types that are left to tyro."""
    if get_origin(kind) is dict:
        return "JSON"
    if get_origin(kind) is tuple and get_args(kind)[-1] is ...:
        number = NUMBERS.get(get_args(kind)[0])
        return number and f"[{number} [{number} ...]]"
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    number = next((NUMBERS[each] for each in kinds if each in NUMBERS), None)
    words = [word for each in kinds if get_origin(each) is Literal for word in get_args(each)]
    words += ["None"] * (NoneType in kinds)
    return number and f"{{{','.join(words)}}}|{number}" if words else number


def read(texts: list[str], kind: Any) -> Any:
    """The value of such a type that the texts of a flag are."""
    if get_origin(kind) is dict:
        with contextlib.suppress(ValueError):
            return as_kind(read_json(texts[0]), kind)
        raise ValueError(f'must be a JSON object such as {{"ctrl_cost_weight": 0.2}}, got {shown(texts[0])}')
    values = [number_or_text(text) for text in texts]
    return as_kind(values if get_origin(kind) is tuple else values[0], kind)


def number_or_text(text: str) -> int | float | str | None:
    """The number that a text is, whole if it can be (`1_000_000`, `1e6`); None for "None"; or the text."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        number = float(text)
        return int(number) if number.is_integer() else number
    return None if text == "None" else text


def texts_of(value: object) -> list[str]:
    """A value as it is given after a flag."""
    if isinstance(value, dict):
        return [json.dumps(value)]
    return [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
