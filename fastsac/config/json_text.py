"""JSON from files and command lines, read strictly; and whether JSON can hold a value.  Knows no file and no field."""

import json
import math
from typing import Any

import numpy as np

from fastsac.config.kinds import shown

DEEPEST = 20
"""Levels of nested lists and objects."""


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text; bytes are UTF-8.

    Raises:
        ValueError: the text is not JSON, repeats a key of an object, or is nested too deeply to be read.
    """
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def plain_json(value: Any, depth: int = 0) -> Any:
    """The value as JSON would give it back: lists for tuples, Python's numbers for numpy's.

    Raises:
        ValueError: JSON cannot hold it.
    """
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
    """A JSON object, whose keys must differ."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} occurs twice")
    return result
