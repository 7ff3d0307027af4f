"""Trained policies that come with the package, a folder each, as `fastsac extract --policy-only` writes them.

Says which there are and where; reads none.
"""

from collections.abc import Iterable
from pathlib import Path

PREFIX = "demo:"  # before the name of one, where a run directory is asked for
HOME = Path(__file__).parent


def names() -> list[str]:
    """Those that there are."""
    return sorted(path.parent.name for path in HOME.glob("*/policy.json"))


def folder_of(name: str) -> Path:
    """Where a policy of the package is; a ValueError for a name that there is not."""
    if name not in names():
        raise ValueError(f"there is no demo {name!r}; choose from {', '.join(names())}.")
    return HOME / name


def resolve(path: str | Path) -> Path:
    """The folder that a run directory, or "demo:NAME" in its place, means; a ValueError for an unknown name."""
    text = str(path)
    return folder_of(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else Path(path)


def is_ours(folder: Path) -> bool:
    """Whether a folder is that of a policy of the package."""
    return folder.parent == HOME


def file_here(run_dirs: Iterable[Path], ending: str) -> Path | None:
    """./NAME.mp4 and the like, for what is made of one policy of the package; None for anything else.

    The folder of such a policy is not written to.
    """
    folder, *others = {*run_dirs} or {Path()}
    return Path(f"{folder.name}{ending}") if is_ours(folder) and not others else None


def title_of(run_dir: Path) -> str:
    """What `resolve` was given for it, as short as can be."""
    return f"{PREFIX}{run_dir.name}" if is_ours(run_dir) else str(run_dir)
