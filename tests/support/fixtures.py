"""Types of the fixtures in tests/conftest.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from tests.support.forked import Forked

T = TypeVar("T")


class Call(Protocol):
    """See the fixture `call`."""

    def __call__(self, function: Callable[..., T], *args: object) -> T: ...


class Start(Protocol):
    """See the fixture `start`."""

    def __call__(self, folder: Path, *args: str, env: str = ...) -> Forked: ...
