"""Whether a value is of the type that an annotation names, or one that JSON can hold, and how to say it of others.

Values come from Python, from JSON and from command lines: equivalents (a list for a tuple, 1 for a float, 1e4 for a
whole number, numpy's scalars) become the plain Python value of the type.  Knows no field by name.
"""

import json
import math
import os
import re
import reprlib
from contextlib import suppress
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

DEEPEST = 20  # levels of nested lists and objects
NOT_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # what no name has, and what cannot be printed
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "None"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts", dict: "JSON objects"}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def conform(name: str, value: object, kind: object) -> Any:
    """As `as_kind`, with a name before the error."""
    try:
        return as_kind(value, kind)
    except ValueError as error:
        raise ValueError(f"{name} {error}.") from None


def as_kind(value: object, kind: object) -> Any:
    """The value as plain Python of the type `kind`.

    That is int, float, bool, str, None, a Literal, or lists, tuples, dictionaries with names, unions, and dataclasses
    (from dictionaries) of these.  Raises ValueError, "must be ..., got ...", for another type, a number that 64 bits do
    not hold, and text with control characters.
    """
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
        for each in sorted(get_args(kind), key=lambda each: each is not type(value)):  # 1.0 stays a float if it may
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
    if origin is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if origin is str and isinstance(value, str):
        if NOT_TEXT.search(value):
            raise ValueError(f"must be text without control characters, got {shown(value)}")
        return str.__str__(value)
    if origin in (int, float) and isinstance(value, int | float):
        return _number(value, origin)
    raise TypeError


def _number(value: int | float, kind: type) -> int | float:
    is_broken = isinstance(value, float) and not value.is_integer()  # also NaN and infinity
    if isinstance(value, bool) or (kind is int and is_broken):
        raise TypeError
    if kind is int and not -(2**63) <= value < 2**63:
        raise OverflowError
    number: int | float = kind(value)  # whole numbers beyond the largest float raise OverflowError
    return number


def _words(kind: Any) -> str:
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


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text; raises ValueError for one that is not JSON, repeats a key, or is nested too deeply."""
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def plain_json(value: Any, depth: int = 0) -> Any:
    """The value as JSON would give it back; raises ValueError, "must ...", for one that JSON cannot hold."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple | dict) and depth == DEEPEST:
        raise ValueError(f"must not be nested more than {DEEPEST} deep")
    if isinstance(value, dict):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise ValueError(f"must have texts as keys, got {shown(odd[0])}")
        return {key: plain_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must hold finite numbers, got {value}")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError(f"must hold numbers of at most 64 bits, got {shown(value)}")
    if not isinstance(value, str | int | float | None):
        raise ValueError(f"must hold what JSON can, got {shown(value)}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} occurs twice")
    return result
