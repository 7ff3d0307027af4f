"""Environments that a script hands over as Python objects, by names that hold in its process alone.

`adopt` takes one of these, and makes one environment to look at:

- a callable without arguments that makes a Gymnasium environment: a class, a function, a `functools.partial`;
- a Gymnasium environment: further ones are made from its spec, and it is never stepped itself;
- a `SyncVectorEnv` or `AsyncVectorEnv` of Gymnasium, or a callable that makes one: further ones are made by its
  functions, in turn where there are several, in vector environments of its class; it is never stepped itself, since
  evaluations need other environments than training, and both of numbers and seeds of their own;
- a callable that takes a sequence of seeds and makes a `VectorEnv` with one environment for each.

env_kwargs go to the callable.  `max_episode_steps` among them wraps Gymnasium environments in a `TimeLimit`; a callable
that makes a `VectorEnv` gets it as all others.
"""

import inspect
import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit

from fastsac.env import EnvKwargs, EnvSpec, RenderedEnv, VectorEnv, cannot_make, describe_error
from fastsac_envs._checked_env import CheckedEnv, number_copies
from fastsac_envs._wrappers import remedies, time_limit
from fastsac_envs.gymnasium import GymnasiumEnv, RenderedGymnasiumEnv, make_adapter

GymEnv = gymnasium.Env[Any, Any]
TAKES_MORE = True  # what this process has not adopted has a line of its own
REMEDY = "Give a callable that makes one, for example env=lambda: MyEnv()."


# What makes environments ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copies:
    """Makes Gymnasium environments by functions, in turn."""

    functions: Sequence[Callable[..., GymEnv]]
    vector_class: type[SyncVectorEnv] | type[AsyncVectorEnv] = SyncVectorEnv

    def make(self, task: str, seeds: Sequence[int], env_kwargs: EnvKwargs, action_limit: float | None) -> VectorEnv:
        """One environment per seed."""
        kwargs = dict(env_kwargs)
        limit = kwargs.pop("max_episode_steps", None)
        turns = itertools.cycle(self.functions)
        makers = [partial(_checked, next(turns), kwargs, limit, os.getpid()) for _ in seeds]
        with _making(task, env_kwargs):
            one = SyncVectorEnv(makers[:1])
        with closing(one):  # a copy to look at: others may be in processes
            adapter = make_adapter(f"python:{task}", one, action_limit)
        with _making(task, env_kwargs):
            env = self.vector_class(makers, copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
        if isinstance(env, SyncVectorEnv):
            number_copies(env)
        return GymnasiumEnv(adapter, env, seeds)

    def make_rendered(
        self, task: str, seed: int, env_kwargs: EnvKwargs, action_limit: float | None
    ) -> RenderedGymnasiumEnv:
        """One environment that its function makes with render_mode "rgb_array"; a ValueError if it does not."""
        kwargs = dict(env_kwargs)
        limit = kwargs.pop("max_episode_steps", None)
        with _making(task, env_kwargs):
            env = SyncVectorEnv(
                [partial(_checked, self.functions[0], kwargs, limit, os.getpid())],
                copy=False,
                autoreset_mode=AutoresetMode.NEXT_STEP,
            )
        mode = env.envs[0].render_mode
        if mode != "rgb_array":
            env.close()
            raise ValueError(
                f'python:{task} cannot be drawn: it must be made with render_mode "rgb_array", got {mode!r}. Give '
                'env=lambda: MyEnv(render_mode="rgb_array"); training draws nothing by that.'
            )
        return RenderedGymnasiumEnv(make_adapter(f"python:{task}", env, action_limit), env, [seed])


@dataclass(frozen=True)
class Own:
    """Makes a `VectorEnv` of a user's own by a function of seeds."""

    function: Callable[..., VectorEnv]

    def make(self, task: str, seeds: Sequence[int], env_kwargs: EnvKwargs, action_limit: float | None) -> VectorEnv:
        """One environment per seed."""
        if action_limit is not None:
            raise ValueError(f"action_limit has no effect on python:{task}, which takes [-1, 1]. Leave it out.")
        with _making(task, env_kwargs):
            env = self.function(list(seeds), **env_kwargs)
        lacks = [name for name in ("spec", "num_envs", "reset", "send", "recv", "close") if not hasattr(env, name)]
        if lacks or not isinstance(env.spec, EnvSpec) or env.num_envs != len(seeds):
            raise ValueError(
                f"python:{task} takes seeds, and must make a fastsac.VectorEnv with an environment for each, got "
                f"{type(env).__name__}. For a Gymnasium environment with arguments give env=lambda: MyEnv(...)."
            )
        return env

    def make_rendered(self, task: str, seed: int, env_kwargs: EnvKwargs, action_limit: float | None) -> RenderedEnv:
        """One environment, which draws itself if it is a `RenderedEnv`; a ValueError if it is none."""
        env: Any = self.make(task, [seed], env_kwargs, action_limit)
        if lacks := [name for name in ("steps_per_s", "render") if not hasattr(env, name)]:
            env.close()
            raise ValueError(
                f"python:{task} cannot be drawn: its environment lacks {' and '.join(lacks)}, which make a VectorEnv a "
                "fastsac.env.RenderedEnv."
            )
        rendered: RenderedEnv = env
        return rendered


@contextmanager
def _making(task: str, env_kwargs: EnvKwargs) -> Iterator[None]:
    """Turn whatever a user's constructor raises into a ValueError of one line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise cannot_make("python", task, env_kwargs, error) from error


def _checked(function: Callable[..., GymEnv], kwargs: EnvKwargs, limit: int | None, main_pid: int) -> CheckedEnv:
    """One Gymnasium environment with a time limit; in a process of its own, which leaves Ctrl-C to the main one."""
    if os.getpid() != main_pid:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    env = function(**kwargs)
    own = time_limit(env)
    if limit is not None and own is not None and own < limit:
        raise ValueError(
            f"max_episode_steps must be at most {own}, the environment's own time limit, got {limit}. Make the "
            "environment with a longer one."
        )
    return CheckedEnv(env if limit is None else TimeLimit(env, limit))


# What a script hands over ---------------------------------------------------------------------------------------------


_ADOPTED: dict[str, tuple[object, Copies | Own]] = {}  # by task: what was handed over, and what makes environments


def adopt(env: object, task: str | None = None) -> str:
    """Take in an environment under `task`, or under a name after what it is; returns the name.

    Another environment of the same name gets a number before it: "MyEnv", "2:MyEnv".  A lambda that is written, or
    comes by, once more is the same one.

    Raises:
        ValueError: it is none of those that the module names, or cannot be made.
    """
    if task is None:
        task = next((name for name, (known, _) in _ADOPTED.items() if _are_same(known, env)), None)
    if task not in _ADOPTED or not _are_same(_ADOPTED[task][0], env):
        maker, title = _look(env)
        free = (name for name in itertools.chain([title], map(f"{{}}:{title}".format, itertools.count(2))))
        task = task or next(name for name in free if name not in _ADOPTED)
        _ADOPTED[task] = (env, maker)
    return task


def _are_same(known: object, env: object) -> bool:
    """Whether two are one object, or functions of the same code over the same variables."""
    if not (isinstance(known, FunctionType) and isinstance(env, FunctionType)):
        return known is env
    return known.__globals__ is env.__globals__ and _parts(known) == _parts(env)


def _parts(function: FunctionType) -> list[object]:
    """What a function does, wherever it stands, and the objects that it does it with, by identity."""
    code = function.__code__.replace(co_firstlineno=1, co_linetable=b"")
    used = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    used += [cell.cell_contents for cell in function.__closure__ or ()]
    return [code, *map(id, used)]


def _look(env: Any) -> tuple[Copies | Own, str]:
    """What makes environments like this one, and what to call it."""
    if isinstance(env, gymnasium.Env):
        return _of_env(env)
    if isinstance(env, gymnasium.vector.VectorEnv):
        return _of_vector(env)
    if not callable(env):
        raise ValueError(
            f"env must be a name, a Gymnasium environment or a callable, got {type(env).__name__}. In place of a "
            "fastsac.VectorEnv give a callable that takes seeds and makes one."
        )
    if _takes_seeds(env):
        return Own(env), _name(env)
    with _making(_name(env), {}):
        made = env()
    if not isinstance(made, gymnasium.Env | gymnasium.vector.VectorEnv):
        raise ValueError(
            f"env must make a Gymnasium environment, or take seeds and make a fastsac.VectorEnv; {_name(env)} made "
            f"{type(made).__name__}."
        )
    with closing(made):
        return _of_vector(made) if isinstance(made, gymnasium.vector.VectorEnv) else (Copies([env]), _title(made))


def _of_env(env: GymEnv) -> tuple[Copies, str]:
    spec = env.spec
    if spec is None:
        raise ValueError(f"{type(env.unwrapped).__name__} has no spec to make further ones from. {REMEDY}")
    function = partial(gymnasium.make, spec, disable_env_checker=True)
    try:
        function().close()
    except Exception as error:
        said = describe_error(error, anywhere=False)
        raise ValueError(f"{spec.id} cannot be made again from its spec: {said}. {REMEDY}") from error
    return Copies([function]), spec.id


def _of_vector(env: Any) -> tuple[Copies, str]:
    if type(env) not in (SyncVectorEnv, AsyncVectorEnv):
        raise ValueError(
            f"{type(env).__name__} cannot be made again for other seeds.{remedies(env)} Give a SyncVectorEnv or an "
            "AsyncVectorEnv, with wrappers around the single environments; a callable that makes one environment; or "
            "one that takes seeds and makes a fastsac.VectorEnv."
        )
    with closing(env.env_fns[0]()) as first:
        return Copies(env.env_fns, type(env)), _title(first)


def _takes_seeds(env: Callable[..., Any]) -> bool:
    """Whether a callable needs an argument."""
    if isinstance(env, type) and issubclass(env, gymnasium.Env):
        return False  # one that does says so when it is called
    try:
        inspect.signature(env).bind()
    except TypeError:
        return True
    except ValueError:  # no signature is known
        return False
    return False


def _title(env: GymEnv) -> str:
    """What an environment is called: by its id, so that the preset for it is found, or its class."""
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__


def _name(env: Any) -> str:
    """What a callable is called."""
    function = env.func if isinstance(env, partial) else env
    return str(getattr(function, "__name__", type(function).__name__)).strip("<>")


# The back end ---------------------------------------------------------------------------------------------------------


def list_tasks() -> list[str]:
    """Those that this process has adopted."""
    return list(_ADOPTED)


def why_only_here(task: str) -> str:
    """Why a task exists in this process alone."""
    return "it was made in this script"


def make_spec(task: str, env_kwargs: EnvKwargs, action_limit: float | None) -> EnvSpec:
    """Describe `task`, for which one is built; raises ValueError where that or training fails."""
    with closing(make(task, [0], 0, env_kwargs, action_limit)) as env:
        return env.spec


def make(
    task: str, seeds: Sequence[int], num_threads: int, env_kwargs: EnvKwargs, action_limit: float | None
) -> VectorEnv:
    """Build one environment per seed."""
    maker = _maker(task)
    if num_threads > 1:
        raise ValueError(f"env_threads must be auto, 0 or 1 for python:{task}, got {num_threads}. Python has one.")
    return maker.make(task, seeds, env_kwargs, action_limit)


def make_rendered(task: str, seed: int, env_kwargs: EnvKwargs, action_limit: float | None) -> RenderedEnv:
    """Build one environment that draws itself."""
    return _maker(task).make_rendered(task, seed, env_kwargs, action_limit)


def _maker(task: str) -> Copies | Own:
    if task not in _ADOPTED:
        raise ValueError(
            f"python:{task} was made in a Python script, and exists only there. In that script, give the environment "
            "to fastsac.evaluate(policy, env), fastsac.export(policy, PATH, env=env), or fastsac.train(env, "
            "resume=RUN_DIR)."
        )
    return _ADOPTED[task][1]
