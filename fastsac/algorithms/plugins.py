"""The classes of networks and critics' heads, by the names that settings give them."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fastsac.algorithms.heads import HEADS
from fastsac.algorithms.heads.head import Head
from fastsac.config.plugins import GROUPS, place_of
from fastsac.config.settings import Config
from fastsac.env import first_line, import_module
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
    found = _load(setting, name, place)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{setting} {name} must be a subclass of fastsac.{base.__name__}, got {found!r}.")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise ValueError(f"{setting} {name} lacks {missing}; see fastsac.{base.__name__}.")
    kind: type[T] = found
    return kind


def _load(setting: str, name: str, place: str) -> Any:
    """What stands at `package.module:Class`; runs the module."""
    module, _, attribute = place.partition(":")
    try:
        loaded = import_module(module)
    except ImportError as error:
        remedy = "Put the module into the working directory, or on PYTHONPATH."
        raise ValueError(f"{setting} {name} cannot be imported: {first_line(error)}. {remedy}") from error
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"{setting} {name} cannot be imported: {module} raised {why}. Mend the module.") from error
    if not hasattr(loaded, attribute):
        raise ValueError(f"{setting} {name} cannot be found: module {module} has no {attribute}. Correct the name.")
    return getattr(loaded, attribute)
