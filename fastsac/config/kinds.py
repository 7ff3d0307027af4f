"""Whether a value is of the type that an annotation names, and how to say it of one that is not.

Values come from Python, from JSON and from command lines: what means the same (a list for a tuple, a whole number for a
float, numpy's scalars) becomes the plain Python value of the type.  Knows no field by name.
"""

import os
import reprlib
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict: "a JSON object"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts", dict: "JSON objects"}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def conform(name: str, value: Any, kind: Any) -> Any:
    """The value as plain Python of the type `kind`, which must be of int, float, bool, str, None, Literal and of lists,
    tuples, dictionaries with names, unions, and dataclasses (from dictionaries) of these.

    Raises:
        ValueError: it is of another type, or a number that 64 bits do not hold.
    """
    try:
        return _plain(value, kind)
    except TypeError:
        raise ValueError(f"{name} must be {_words(kind)}, got {shown(value)}.") from None
    except OverflowError:
        raise ValueError(f"{name} must be a number that fits into 64 bits, got {shown(value)}.") from None


def shown(value: Any) -> str:
    """A value as short text in one line, whatever it is."""
    try:
        return " ".join(_SHORT.repr(value).split())
    except ValueError:  # a whole number with thousands of digits
        return f"a {type(value).__name__} too long to show"


def _plain(value: Any, kind: Any) -> Any:
    """The value as `kind`.

    Raises:
        TypeError: it is something else.
        OverflowError: it is too large.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return _first(value, get_args(kind))
    if origin is Literal:
        if isinstance(value, str) and value in get_args(kind):
            return str.__str__(value)
    elif origin in (list, tuple):
        if isinstance(value, list | tuple | range):
            return origin(_plain(item, get_args(kind)[0]) for item in value)
    elif origin is dict:
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            of = get_args(kind)[1]
            return dict(value) if of is Any else {key: _plain(item, of) for key, item in value.items()}
    elif is_dataclass(origin):
        if isinstance(value, dict):  # names that it does not have are left out
            return origin(**{name: _plain(value.get(name, ...), of) for name, of in get_type_hints(origin).items()})
    elif origin in (NoneType, bool):
        if isinstance(value, origin):
            return value
    elif origin is str:
        if isinstance(value, str | os.PathLike):
            return _text(os.fspath(value))
    elif isinstance(value, int | float if origin is float else int) and not isinstance(value, bool):
        return _number(value, origin)
    raise TypeError


def _first(value: Any, kinds: tuple[Any, ...]) -> Any:
    """The value as the first of the kinds that it is of."""
    for kind in kinds:
        try:
            return _plain(value, kind)
        except TypeError:
            continue
    raise TypeError


def _text(value: str | bytes) -> str:
    if isinstance(value, bytes):  # of a path
        raise TypeError
    return str.__str__(value)


def _number(value: int | float, kind: type) -> int | float:
    if kind is int and not -(2**63) <= value < 2**63:
        raise OverflowError
    number: int | float = kind(value)  # whole numbers beyond the largest float raise OverflowError
    return number


def _words(kind: Any) -> str:
    """A type, in words."""
    origin, args = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        words = sorted(args, key=lambda arg: get_origin(arg) is not Literal and arg is not NoneType)
        return " or ".join(", ".join(get_args(w)) if get_origin(w) is Literal else _words(w) for w in words)
    if origin is Literal:
        return f"one of {', '.join(args)}"
    if origin in (list, tuple):
        return f"a list of {_PLURALS.get(get_origin(args[0]) or args[0], 'JSON values')}"
    return "None" if origin is NoneType else _WORDS.get(origin, "a JSON object")
