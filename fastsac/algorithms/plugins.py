"""The classes of networks and critics' heads, by the names that settings give them."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fastsac.algorithms.heads import HEADS
from fastsac.algorithms.heads.head import Head
from fastsac.config.plugins import GROUPS, place_of
from fastsac.config.settings import Config
from fastsac.env import import_module
from fastsac.env.foreign import check_module
from fastsac.nn.architecture import Architecture
from fastsac.nn.network import ARCHITECTURES

T = TypeVar("T")


def find_network(name: str) -> type[Architecture]:
    """The architecture of a name; a ValueError where there is none, or it cannot be imported or lacks something."""
    return _find("network", name, ARCHITECTURES, Architecture)


def find_head(name: str) -> type[Head]:
    """The critics' head of a name, likewise."""
    return _find("critic_head", name, HEADS, Head)


def check_plugins(config: Config, source: Path, say: Callable[[str], None]) -> None:
    """Refuse modules that came along with a config.json, and say where others lie, as `fastsac.env.foreign` does."""
    for setting in GROUPS:
        name = getattr(config, setting)
        place = place_of(setting, name)
        if place is not None:
            is_registered = place != name
            remedy = "Move the module elsewhere if you trust that code."
            check_module(setting, name, place.partition(":")[0], source, remedy, None if is_registered else say)


def _find(setting: str, name: str, ours: Mapping[str, type[T]], base: Any) -> type[T]:
    place = place_of(setting, name)
    if place is None:
        return ours[name]
    module, _, attribute = place.partition(":")
    try:
        found: Any = getattr(import_module(module), attribute, None)
    except ImportError as error:
        raise ValueError(f"{setting} {name} cannot be imported: {error}.") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{setting} {name} must be a subclass of fastsac.{base.__name__}, got {found!r}.")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise ValueError(f"{setting} {name} lacks {missing}; see fastsac.{base.__name__}.")
    kind: type[T] = found
    return kind
