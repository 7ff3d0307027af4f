"""From a name to a back end and its environments; which back ends and environments there are."""

import importlib.metadata
import importlib.util
import math
import pkgutil
from collections.abc import Iterator, Sequence
from typing import Any, cast

from fastsac.env.contract import Backend, EnvKwargs, EnvSpec, RenderedEnv, VectorEnv
from fastsac.env.failures import describe_error
from fastsac.env.messages import near_matches
from fastsac.env.modules import OWN_BACKENDS, import_module

ENTRY_POINT_GROUP = "fastsac.envs"
DEFAULT_BACKEND = "envpool"
OBJECT_BACKEND = "python"  # has the environments that are handed over as Python objects
MAX_SEED = 2**31


def backend_modules() -> dict[str, str]:
    """Module of each back end by name: our own, also in a checkout that is only on the path, and the registered."""
    own = importlib.util.find_spec(OWN_BACKENDS)
    paths = list(own.submodule_search_locations or ()) if own else []
    names = [info.name for info in pkgutil.iter_modules(paths) if not info.name.startswith("_")]
    found = {name: f"{OWN_BACKENDS}.{name}" for name in names}
    return found | {p.name: p.value for p in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)}


def backend_names() -> list[str]:
    """Names of the installed back ends, sorted."""
    return sorted(backend_modules())


def resolve(env: str) -> tuple[Backend, str, str]:
    """The back end of `"Task"` (envpool), `"backend:Task"` or `"package.module:Task"`, its name, and the task.

    Raises:
        ValueError: the back end is unknown or cannot be imported.
    """
    name, module, task = _split(env)
    try:
        backend = import_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's module raises
        raise ValueError(f"back end {name!r} cannot be imported: {describe_error(error, anywhere=False)}.") from error
    missing = [f for f in ("make_spec", "make", "list_tasks") if not hasattr(backend, f)]
    if missing:
        raise ValueError(f"back end {name!r} lacks {', '.join(missing)}; see the contract in fastsac/env/contract.py.")
    return cast(Backend, backend), name, task


def tasks_of(backend: Backend) -> tuple[list[str], list[str]]:
    """The names of a back end's tasks, and of those that take long to describe."""
    slow = backend.list_slow_tasks() if hasattr(backend, "list_slow_tasks") else []
    return [*backend.list_tasks()], [*slow]


def _find(env: str) -> tuple[Backend, str, str]:
    """As `resolve`; a ValueError with near matches where the back end has no such task."""
    backend, name, task = resolve(env)
    if getattr(backend, "TAKES_MORE", False):
        return backend, name, task
    quick, slow = tasks_of(backend)
    if task not in quick and task not in slow:
        where = f" --back-end {name}" * (name not in backend_modules())
        near = near_matches(task, [*quick, *slow]) or "."
        raise ValueError(f"unknown {name} id {task!r}{near} `fastsac envs{where}` lists them.")
    return backend, name, task


def modules_of(env: str) -> Iterator[str]:
    """Names of the modules that are imported for `env`, each before it is; raises ValueError as `resolve`.

    The first is the back end's; to ask for the next imports that one, which knows the others.
    """
    yield _split(env)[1]
    backend, _, task = resolve(env)
    yield from backend.list_modules(task) if hasattr(backend, "list_modules") else ()


def _split(env: str) -> tuple[str, str, str]:
    """Name of the back end, its module, and the task."""
    name, _, task = (env if ":" in env else f"{DEFAULT_BACKEND}:{env}").partition(":")
    if not task or not name:
        raise ValueError(f'env must be "Task", "backend:Task" or "package.module:Task", got {env!r}.')
    modules = backend_modules()
    if name not in modules and "." not in name:
        choices = ", ".join(sorted(modules.keys() - {OBJECT_BACKEND})) or "none is installed"
        raise ValueError(f'unknown back end {name!r}; choose from {choices}, or give "package.module:task".')
    return name, modules.get(name, name), task


def register_env(env: object, task: str | None = None) -> str:
    """A name for an environment that is a Python object, which `Config` and all functions here take in this process.

    Args:
        env: a callable that makes a Gymnasium environment, without arguments; a Gymnasium environment or vector
            environment; or a callable that takes a sequence of seeds and makes a `VectorEnv`.
        task: the name without back end; None for one after the environment's id or class.

    Raises:
        ValueError: it is none of these, or cannot be made.
    """
    backend: Any = resolve(f"{OBJECT_BACKEND}:any")[0]
    return f"{OBJECT_BACKEND}:{backend.adopt(env, task)}"


def why_only_here(env: str) -> str:
    """Why an environment exists in this process alone, or the empty string."""
    backend, _, task = resolve(env)
    return str(backend.why_only_here(task)) if hasattr(backend, "why_only_here") else ""


def make_spec(env: str, env_kwargs: EnvKwargs | None = None, action_limit: float | None = None) -> EnvSpec:
    """Describe an environment without building it.

    Raises:
        ValueError: unknown id (with near matches), or a task that cannot be trained (with the reason).
    """
    backend, _, task = _find(env)
    return backend.make_spec(task, env_kwargs or {}, action_limit)


def make_env(
    env: str,
    seeds: Sequence[int],
    num_threads: int = 0,
    env_kwargs: EnvKwargs | None = None,
    action_limit: float | None = None,
) -> VectorEnv:
    """Build a vector environment with one copy per seed.

    Args:
        env: as of `resolve`.
        seeds: one seed in [0, 2^31) per environment.
        num_threads: threads of the simulator; 0 lets the back end choose.
        env_kwargs: passed to the simulator as they are.
        action_limit: for an action space without bounds, scale actions to [-action_limit, action_limit].

    Raises:
        ValueError: as `make_spec`, or a number is out of range.
    """
    if not seeds:
        raise ValueError("seeds must hold at least one seed, got none.")
    for seed in seeds:
        if not 0 <= seed < MAX_SEED:
            raise ValueError(f"seeds must be in [0, 2^31), got {seed}.")
    if num_threads < 0:
        raise ValueError(f"num_threads must be at least 0, got {num_threads}.")
    if action_limit is not None and not (action_limit > 0 and math.isfinite(action_limit)):
        raise ValueError(f"action_limit must be positive and finite, got {action_limit}.")
    backend, _, task = _find(env)
    return backend.make(task, list(seeds), num_threads, env_kwargs or {}, action_limit)


def make_rendered_env(
    env: str, seed: int, env_kwargs: EnvKwargs | None = None, action_limit: float | None = None
) -> RenderedEnv:
    """Build one environment that can be drawn; the arguments are as of `make_env`.

    Raises:
        ValueError: as `make_spec`, or the task cannot be drawn here.
    """
    backend, name, task = _find(env)
    if not hasattr(backend, "make_rendered"):
        raise ValueError(
            f"back end {name!r} draws no pictures: it has no function make_rendered. See the contract in "
            "fastsac/env/contract.py."
        )
    rendered: RenderedEnv = backend.make_rendered(task, seed, env_kwargs or {}, action_limit)
    return rendered
