"""The modules that an environment's name asks for: where they lie, told without running any of them, and their import.

Python is not to look for modules in the working directory: a file in it with the name of a standard module, or of an
optional dependency of some package, would be run.  Only a module that is asked for by name and is nowhere else is taken
from there.
"""

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from types import ModuleType

OWN_BACKENDS = "fastsac_envs"  # the package of the program's own back ends


def import_module(name: str) -> ModuleType:
    """Import a module; the working directory goes on the path, last, if it is only found there."""
    if not _is_dotted(name):
        raise ImportError(f"{name!r} is not the name of a module")
    if is_beside := _find_beside(name):
        sys.path.append(is_beside)
    return importlib.import_module(name)


def places(name: str) -> list[str]:
    """Files and folders that importing a module would run or look into, its own last; empty if it is not found."""
    if not _is_dotted(name):
        return []
    beside = _find_beside(name)
    return _trace(name, [beside] if beside else [])[0]


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _find_beside(name: str) -> str | None:
    """The working directory, if it has something of a module that is not found without."""
    found, is_whole = _trace(name, [])
    try:
        here = os.getcwd()
    except FileNotFoundError:  # somebody has removed it
        return None
    return here if not is_whole and _trace(name, [here])[0] != found else None


def _trace(name: str, folders: list[str]) -> tuple[list[str], bool]:
    """Places of the packages around a module and of itself, and whether all were found; `folders` follow `sys.path`."""
    parts = name.split(".")
    spec = _find_top(parts[0], folders)
    found = [] if spec is None else _places_of(spec)
    for end in range(2, len(parts) + 1):
        if spec is None or spec.submodule_search_locations is None:
            return found, False
        spec = _find_in(".".join(parts[:end]), spec.submodule_search_locations)
        found += [] if spec is None else _places_of(spec)
    return found, spec is not None


def _find_top(name: str, folders: list[str]) -> ModuleSpec | None:
    """A module without dots."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # it is there already, made by hand
        return None
    if spec is None or (spec.origin is None and spec.submodule_search_locations is not None):
        # A namespace is all folders of the name together, unless one of them is a package.
        beside = _find_in(name, folders)
        if spec is None or beside is None or beside.loader is not None:
            return beside or spec
        spec = _namespace(name, [*(spec.submodule_search_locations or ()), *(beside.submodule_search_locations or ())])
    return spec


def _find_in(name: str, folders: Iterable[str]) -> ModuleSpec | None:
    """A module in folders; by the finders of each, since `PathFinder` wants the packages around it imported."""
    portions: list[str] = []
    for folder in folders:
        finder = pkgutil.get_importer(folder)
        spec = finder.find_spec(name) if finder is not None else None
        if spec is not None and spec.loader is not None:
            return spec
        portions += (spec.submodule_search_locations or ()) if spec is not None else ()
    return _namespace(name, portions) if portions else None


def _namespace(name: str, portions: list[str]) -> ModuleSpec:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = portions
    return spec


def _places_of(spec: ModuleSpec) -> list[str]:
    """Folders of a package, without entries that are no paths but stand for a finder; then the file, if any."""
    folders = [folder for folder in spec.submodule_search_locations or () if os.path.exists(folder)]
    return [*folders, spec.origin] if spec.has_location and spec.origin else folders
