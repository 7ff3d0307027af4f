"""Reading a config.json: the values of settings by name, or one line that says what is wrong with the file."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastsac.config.kinds import read_json, shown
from fastsac.disk.files import read_file


def read_text(path: Path) -> bytes:
    """What a file holds; a ValueError where it cannot be read."""
    try:
        return read_file(path)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}.") from error
    except ValueError as error:  # of a path with a null byte
        raise ValueError(f"cannot read {shown(str(path))}: {error}.") from None


def check_run_dir(path: Path) -> None:
    """Raise a ValueError where a path is not that of a run directory, or of a policy alone."""
    if not (path / "config.json").is_file():
        why = (
            "it has no config.json" if path.is_dir() else "it is a file" if path.exists() else "there is no such folder"
        )
        raise ValueError(f"{path} is not a run directory: {why}. Give a folder of `fastsac train`, or demo:NAME.")


def read_values(text: str | bytes, source: str, known: Collection[str]) -> dict[str, Any]:
    """The values in a text that `Config.to_json` wrote; a ValueError, with the name of the `source`, for another.

    Args:
        text: JSON.
        source: where it is from.
        known: the names of settings.
    """
    try:
        values = read_json(text)
    except ValueError as error:
        raise ValueError(f"{source} is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{source} must hold a JSON object, got {type(values).__name__}.")
    if values.get("reset_envs_at", 0) is None:  # earlier versions wrote it; unset, it changes nothing
        del values["reset_envs_at"]
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{source} has fields that this version does not know: {shown(unknown)[1:-1]}.")
    if "env" not in values:
        raise ValueError(f"{source} has no field env.")
    if (preset := values.get("preset")) in ("auto", "fastest"):
        raise ValueError(f"{source}: preset must be none or the name of the preset that gave the values, got {preset}.")
    return values
