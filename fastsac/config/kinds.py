"""Whether a value is of the type that an annotation names, and how to say it of one that is not.

Values come from Python, from JSON and from command lines: equivalents (a list for a tuple, a whole number for a float,
numpy's scalars) become the plain Python value of the type.  Knows no field by name.
"""

import os
import re
import reprlib
from contextlib import suppress
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

NOT_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # what no name has, and what cannot be printed
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "None"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts", dict: "JSON objects"}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def conform(name: str, value: object, kind: object) -> Any:
    """The value as plain Python of the type `kind`, which must be of int, float, bool, str, None, Literal and of lists,
    tuples, dictionaries with names, unions, and dataclasses (from dictionaries) of these.

    Raises:
        ValueError: it is of another type, a number that 64 bits do not hold, or text with control characters.
    """
    try:
        return as_kind(value, kind)
    except ValueError as error:
        raise ValueError(f"{name} {error}.") from None


def as_kind(value: object, kind: object) -> Any:
    """As `conform`, with errors to put behind a name: "must be ..., got ..."."""
    try:
        return _plain(value, kind)
    except TypeError:
        raise ValueError(f"must be {_words(kind)}, got {shown(value)}") from None
    except OverflowError:
        raise ValueError(f"must be a number that fits into 64 bits, got {shown(value)}") from None


def shown(value: object) -> str:
    """A value as short text in one line, whatever it is."""
    try:
        return " ".join(_SHORT.repr(value).split())
    except ValueError:  # a whole number with thousands of digits
        return f"a {type(value).__name__} too long to show"


def _plain(value: Any, kind: Any) -> Any:
    """The value as `kind`; raises TypeError if it is of another type, and OverflowError if it is too large."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        for each in get_args(kind):
            with suppress(TypeError):
                return _plain(value, each)
    if origin is Literal and isinstance(value, str) and value in get_args(kind):
        return str.__str__(value)
    if origin in (list, tuple) and isinstance(value, list | tuple | range):
        return origin(_plain(item, get_args(kind)[0]) for item in value)
    if origin is dict and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        of = get_args(kind)[1]
        return dict(value) if of is Any else {key: _plain(item, of) for key, item in value.items()}
    if isinstance(origin, type) and is_dataclass(origin) and isinstance(value, dict):
        # Names that the dataclass does not have are left out.
        return origin(**{name: _plain(value.get(name, ...), of) for name, of in get_type_hints(origin).items()})
    if origin in (NoneType, bool) and isinstance(value, origin):
        return value
    if origin is str and isinstance(value, str | os.PathLike):
        return _text(os.fspath(value))
    if origin in (int, float) and isinstance(value, int | float if origin is float else int):
        return _number(value, origin)
    raise TypeError


def _text(value: str | bytes) -> str:
    if isinstance(value, bytes):  # of a path
        raise TypeError
    if NOT_TEXT.search(value):
        raise ValueError(f"must be text without control characters, got {shown(value)}")
    return str.__str__(value)


def _number(value: int | float, kind: type) -> int | float:
    if isinstance(value, bool):
        raise TypeError
    if kind is int and not -(2**63) <= value < 2**63:
        raise OverflowError
    number: int | float = kind(value)  # whole numbers beyond the largest float raise OverflowError
    return number


def _words(kind: Any) -> str:
    """A type, in words."""
    origin: object = get_origin(kind)
    args = get_args(kind)
    if origin in (Union, UnionType):
        words = [_words(arg).removeprefix("one of ") for arg in args]
        return " or ".join(sorted(words, key=lambda word: word != "None" and word in _WORDS.values()))
    if origin is Literal:
        return f"one of {', '.join(args)}"
    if origin in (list, tuple):
        return f"a list of {_PLURALS.get(get_origin(args[0]) or args[0], 'JSON values')}"
    return _WORDS.get(kind, "a JSON object")
