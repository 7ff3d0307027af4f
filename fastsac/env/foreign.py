"""The modules that a config.json from somebody else may make this program import: none that came along with it.

A run directory is data: loading its policy runs no code.  But its settings name an environment, and that may be a
module.  Only judges and reports; imports nothing but a back end that knows further modules.
"""

import site
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from fastsac.env.modules import OWN_BACKENDS, places
from fastsac.env.registry import backend_modules, modules_of


def check_env(env: str, source: Path, is_trusted: bool, say: Callable[[str], None]) -> None:
    """Refuse modules that lie beside or below the config.json that names the environment, and say where others lie.

    Modules that this Python has installed are allowed even where the file lies above them, beside a `.venv`.

    Args:
        env: the environment's name.
        source: the config.json, or its folder.
        is_trusted: allow them all the same.
        say: told each module before it is imported, but for registered back ends.

    Raises:
        ValueError: such a module, or a back end that is unknown.
    """
    registered = set(backend_modules().values())
    remedy = None if is_trusted else "Give --trust-env, or the environment's name in Python, if you trust that code."
    for module in modules_of(env):
        if module in registered and module.startswith(f"{OWN_BACKENDS}."):  # the program's own, whatever a file says
            continue
        check_module("env", env, module, source, remedy, None if module in registered else say)


def check_module(
    setting: str, name: str, module: str, source: Path, remedy: str | None, say: Callable[[str], None] | None
) -> None:
    """As `check_env`, of one module.

    Args:
        setting: what names it in the config.json.
        name: the value there.
        module: to be imported.
        source: the config.json, or its folder.
        remedy: what to do if it lies there; None allows it.
        say: told where it lies; None for no line.
    """
    config_file = source / "config.json" if source.is_dir() else source
    found = places(module)
    inside = next((place for place in found if _lies_below(place, config_file)), None)
    if inside and remedy is not None:
        raise ValueError(
            f"{setting} must not name a module that lies beside {config_file}, got {name!r} ({inside}). {remedy}"
        )
    if found and say is not None:
        say(f"importing {module} from {found[-1]}, as {config_file} says")


def _lies_below(place: str, config_file: Path) -> bool:
    """Whether a path leads into the folder of a file, with symlinks followed or not."""
    folders = {folder for path in _both(config_file) for folder in _both(path.parent)}
    paths = [path for path in _both(Path(place)) if not any(map(path.is_relative_to, _installed()))]
    return any(path.is_relative_to(folder) for path in paths for folder in folders)


@cache
def _installed() -> set[Path]:
    """Folders of the standard library and of installed packages."""
    folders = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    return {path for folder in folders for path in _both(Path(folder))}


def _both(path: Path) -> Iterator[Path]:
    yield path.absolute()
    yield path.resolve()
