"""Versions of the packages that decide the numbers of a run, and the commit of the checkout."""

import importlib.util
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NOT_INSTALLED = "not installed"
PACKAGES = ("fastsac", "torch", "tensordict", "torchrl", "envpool", "gymnasium", "numpy")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Version by name, Python's first; `NOT_INSTALLED` where there is none."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = NOT_INSTALLED
    if "torch" in found and "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].__version__  # names what it was built for, too
    return found


def is_installed(module: str) -> bool:
    """Whether a module can be imported; a folder of that name, such as the one that wandb writes to, is none."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def git_commit() -> str | None:
    """Commit of the checkout that this package runs from; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "rev-parse", "--show-toplevel", "HEAD"]
    try:
        out = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    top, commit = out.splitlines()
    return commit if Path(top) == root else None  # not the repository of a user who has us in a .venv
