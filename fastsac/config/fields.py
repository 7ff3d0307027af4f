"""Settings as fields of a dataclass: the default of each, and its traits as data.  Knows no setting by name."""

import ast
import inspect
import itertools
import math
from collections.abc import Mapping
from dataclasses import field, is_dataclass
from typing import Any, Literal, TypedDict, TypeVar, Unpack, cast, get_args

T = TypeVar("T")
Group = Literal[
    "environment", "run", "algorithm", "networks", "replay", "evaluation", "logging", "checkpoints", "performance",
    "expert",
]  # fmt: skip
GROUPS: tuple[Group, ...] = get_args(Group)  # in the order in which help shows them


class Traits(TypedDict, total=False):
    """What is true of a setting besides its type; where a trait is missing, `DEFAULTS` holds."""

    at_least: float  # the smallest number
    above: float  # a number that the value must exceed
    at_most: float  # the largest number
    sweepable: bool  # members of one run may differ in it
    shapes: bool  # sizes of tensors depend on it, which members share
    fixed: bool  # a resumed run must keep it
    of_call: bool  # it is of one call alone: another call with the same settings goes elsewhere
    affects: Literal["learning", "speed", "evaluation", "nothing"]
    # speed: how fast, with the same numbers save for rounding; nothing: runs that differ only in these are repeats
    group: Group  # where help shows it; every setting has one
    common: bool  # among the few that the short help shows
    metavar: str  # how help writes a value, where the type does not say it
    unset: str  # what None, as a default, amounts to


DEFAULTS: dict[str, object] = {
    "sweepable": False, "shapes": False, "fixed": False, "of_call": False, "affects": "learning", "common": False,
}  # fmt: skip


def setting(default: T, **traits: Unpack[Traits]) -> T:
    """A field of a dataclass with its traits as metadata; to a type checker, its default."""
    factory: dict[str, Any] = {"default_factory": default.copy} if isinstance(default, dict) else {"default": default}
    return cast(T, field(**factory, metadata=traits))


def check_range(value: object, metadata: Mapping[str, float]) -> None:
    """Raise a ValueError, "must be ...", for a number, or one of a tuple, that is not finite or out of its range."""
    each = "each " * isinstance(value, tuple)
    low, above = (metadata.get(name, -math.inf) for name in ("at_least", "above"))
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if not math.isfinite(number):
            raise ValueError(f"must be finite, got {number}")
        if number < low or number <= above or number > metadata.get("at_most", math.inf):
            raise ValueError(f"must {each}be {range_text(metadata)}, got {number}")


def check_number(name: str, value: object, **range_: Unpack[Traits]) -> None:
    """As `check_range`, with the name of the number, and in a sentence."""
    try:
        check_range(value, cast(Mapping[str, float], range_))
    except ValueError as error:
        raise ValueError(f"{name} {error}.") from None


def range_text(metadata: Mapping[str, float]) -> str:
    """`at least 1`, `above 0`, `in [0, 1]` or `in (0, 1]`."""
    low = metadata.get("at_least", metadata.get("above"))
    if "at_most" in metadata:
        return f"in {'(' if 'above' in metadata else '['}{low}, {metadata['at_most']}]"
    return f"above {low}" if "above" in metadata else f"at least {low}"


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
