"""Which environments the installed back ends have: by name and family, and described."""

import fnmatch
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from fastsac.env.contract import Backend, EnvSpec
from fastsac.env.registry import backend_names, resolve, tasks_of


@dataclass(frozen=True)
class Task:
    """A task that a back end lists, trainable or not."""

    backend: str
    name: str
    family: str  # as the back end sorts its tasks
    is_slow: bool  # to describe

    @property
    def env_id(self) -> str:
        """The full name, back end included."""
        return f"{self.backend}:{self.name}"


def list_tasks(pattern: str | None = None, module: str | None = None) -> list[Task]:
    """The tasks of the installed back ends.

    Args:
        pattern: part of a name, or a glob if it holds one of `*?[`; case does not matter.
        module: one of them, or a module that is a back end, whose tasks alone are wanted.

    Raises:
        ValueError: there is no such module, or it is no back end.
    """
    text = (pattern or "").lower()
    glob = text if any(c in text for c in "*?[") else f"*{text}*"
    backends = [(module, resolve(f"{module}:any")[0])] if module else _installed_backends()
    tasks = [task for name, backend in backends for task in _tasks_of(name, backend)]
    return [task for task in tasks if fnmatch.filter((task.name.lower(), task.env_id.lower()), glob)]


def describe(tasks: Iterable[Task]) -> Iterator[tuple[Task, EnvSpec]]:
    """Those of the tasks that can be trained, one after the other; those without action bounds are left out."""
    backends: dict[str, Backend] = {}
    for task in tasks:
        backend = backends.get(task.backend) or backends.setdefault(task.backend, resolve(task.env_id)[0])
        # A ValueError says that it cannot be trained; simulators warn about their own older versions.
        with suppress(ValueError), warnings.catch_warnings(action="ignore"):
            spec = backend.make_spec(task.name, {}, None)
            yield task, spec


def list_envs(pattern: str | None = None) -> list[EnvSpec]:
    """Describe the environments that can be trained and match the pattern; without one, all but `list_slow_envs`."""
    return [spec for _, spec in describe(task for task in list_tasks(pattern) if pattern or not task.is_slow)]


def list_slow_envs() -> list[str]:
    """Full names of the environments that `list_envs` describes only where its pattern matches them."""
    return [task.env_id for task in list_tasks() if task.is_slow]


def _installed_backends() -> Iterator[tuple[str, Backend]]:
    """Name and module of each back end, but for those whose simulator is not installed."""
    for name in backend_names():
        with suppress(ValueError):
            yield name, resolve(f"{name}:any")[0]


def _tasks_of(name: str, backend: Backend) -> list[Task]:
    quick, slow = tasks_of(backend)

    def family(task: str) -> str:
        return backend.family(task) if hasattr(backend, "family") else name

    return [Task(name, task, family(task), task in slow) for task in [*quick, *slow]]
