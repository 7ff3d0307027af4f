"""The environment contract, and the way from a name to a back end.  Owns no simulator and imports none.

Axes: N environments, O obs_dim, A action_dim (continuous: actuators; discrete: choices).

The contract of a `VectorEnv`
-----------------------------
1. It steps N copies of one task.  Observations are float32 `[N, O]`, rewards float32 `[N]`, flags bool `[N]`.  A
   back end casts and flattens at this door; nothing behind it sees float64, dictionaries or simulator types.  An
   observation that is the number of a state, out of a known range, arrives as a one-hot vector.
   Where the observation is one image, `spec.image` is its (channels, height, width) and observations are uint8
   `[N, O]` from 0 to 255, O = channels * height * width, flattened channels first: pixel (c, y, x) lies at
   `c * height * width + y * width + x`.  An image is a single array of uint8 with both sides of at least
   MIN_IMAGE_SIDE pixels (see `image_shape`); smaller arrays are vectors as all others.
2. Actions are float32 `[N, A]`.  Of a continuous task they lie in [-1, 1], and the back end scales them to the task's
   own bounds.  Of a discrete task (`spec.discrete`) A is the number of choices and a row is one-hot: the back end takes
   its argmax, in the numbering and the dtype of the simulator.
3. `send(action)` starts a step and may return before it is done; `recv()` waits for it.  They alternate.  The caller
   does not change `action` between the two.
4. Episodes reset on the NEXT step.  The `Step` that carries `terminated` or `truncated` holds the true final
   observation.  The following step ignores that environment's action, resets it, and returns the first observation
   of the new episode with reward 0 and both flags false.  That row is a dummy: it is not a transition.
5. `terminated` means that the task ended (no bootstrap); `truncated` means that it was cut off (bootstrap).  Both may
   be true at once; termination then decides.
6. Environment i draws all its randomness from `seeds[i]` given at construction: same seeds and actions, same numbers.
7. Arrays that `reset` and `recv` return belong to the caller: the back end does not write them again.
8. What goes wrong is an exception; if it is known in which environment, the exception says so by `env_index`.

8. An environment may be able to save its state (`SavesState`).  Then a resumed run goes on with the episodes of the
   interrupted one, and gives its numbers bit for bit.  Without, a resumed run makes its environments anew, with other
   seeds, and begins new episodes.

A back end is a module with `make_spec`, `make` and `list_tasks`, and `list_slow_tasks` and `list_modules` if it likes
(see `Backend`).  Register it under the entry-point group `fastsac.envs`, or name it as `"package.module:task"`.
A module that a name asks for may also lie in the working directory, which is looked into last (see `import_module`).
"""

import difflib
import fnmatch
import importlib.metadata
import importlib.util
import math
import pkgutil
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fastsac.modules import import_module as import_module

ENTRY_POINT_GROUP = "fastsac.envs"
OWN_BACKENDS = "fastsac_envs"
DEFAULT_BACKEND = "envpool"
MAX_SEED = 2**31
_VERSION = re.compile(r"-v\d+$")
NO_BOUND = 1e9  # an action bound this large is none
MIN_IMAGE_SIDE = 36  # pixels of an image's height and width, at least: what the convolutional encoder needs
MAX_FLAT_SIZE = 4096  # numbers of an array of three or more axes, at most, that is flattened to a vector

FloatArray = NDArray[np.float32]
ObsArray = NDArray[Any]  # float32, or uint8 of a task whose observation is one image
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class EnvSpec:
    """What a task looks like from behind the door.

    Attributes:
        env_id: the full name, back end included: `"envpool:Pendulum-v1"`.
        obs_dim: O, the length of the flattened observation.
        action_dim: A, the number of actuators, or of choices for a discrete task.
        obs_layout: name and length of each part of the observation, in the order of concatenation.
        max_episode_steps: the time limit in steps; None where there is none or it is not known.
        action_bounds: (low, high) of each actuator in the task's own units; empty where all are (-1, 1), and for a
            discrete task.
        discrete: an action is one of A choices, sent as a one-hot row.
        image: (channels C, height, width) of a task whose observation is one image: uint8, flattened channels first,
            O = C * height * width; None for vectors.
    """

    env_id: str
    obs_dim: int
    action_dim: int
    obs_layout: tuple[tuple[str, int], ...]
    max_episode_steps: int | None
    action_bounds: tuple[tuple[float, float], ...] = ()
    discrete: bool = False
    image: tuple[int, int, int] | None = None


class Step(NamedTuple):
    """What one vector step returns; see the contract above."""

    obs: ObsArray  # [N, O], float32; uint8 of an image
    reward: FloatArray  # [N]
    terminated: BoolArray  # [N]
    truncated: BoolArray  # [N]


class VectorEnv(Protocol):
    """N environments stepped together; the contract is in the module's docstring."""

    spec: EnvSpec
    num_envs: int

    def reset(self) -> ObsArray:
        """Start a new episode in every environment; returns obs [N, O]."""
        ...

    def send(self, action: FloatArray) -> None:
        """Start a step with action [N, A], in [-1, 1] or one-hot; may return before it is done."""
        ...

    def recv(self) -> Step:
        """Wait for the step that `send` started."""
        ...

    def close(self) -> None:
        """Free threads and memory."""
        ...


@runtime_checkable
class SavesState(Protocol):
    """What a `VectorEnv` may offer on top: an exact copy of where it is."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Arrays of numbers or bools by name: all that the steps to come depend on.  Asked for between two steps.

        Names, shapes and dtypes are the same for any two environments of one task and number.
        """
        ...

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Be where the environment was that gave `state`; instead of `reset`, or at any time between two steps.

        Raises:
            ValueError: it is not of such an environment.
        """
        ...


class Backend(Protocol):
    """What a back-end module offers."""

    def make_spec(self, task: str, env_kwargs: Mapping[str, Any], action_limit: float | None) -> EnvSpec:
        """Describe `task` without building it; raises ValueError for what cannot be trained, with the remedy."""
        ...

    def make(
        self,
        task: str,
        seeds: Sequence[int],
        num_threads: int,
        env_kwargs: Mapping[str, Any],
        action_limit: float | None,
    ) -> VectorEnv:
        """Build one environment per seed; `num_threads` 0 lets the back end choose."""
        ...

    def list_tasks(self) -> list[str]:
        """The names worth listing; may leave out what is known to be untrainable.

        Names that take long to describe may move to a further function `list_slow_tasks() -> list[str]`, which a back
        end need not have: they are described only where a pattern asks for them.

        Where the name of a task names modules, which are imported for it, a further function
        `list_modules(task) -> list[str]` tells them and imports none.  Import them by `import_module`.
        """
        ...


def backend_modules() -> dict[str, str]:
    """Module of each back end by name: our own, also in a checkout that is only on the path, and the registered."""
    own = importlib.util.find_spec(OWN_BACKENDS)
    paths = list(own.submodule_search_locations or ()) if own else []
    found = {info.name: f"{OWN_BACKENDS}.{info.name}" for info in pkgutil.iter_modules(paths)}
    return found | {p.name: p.value for p in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)}


def backend_names() -> list[str]:
    """Names of the installed back ends, sorted."""
    return sorted(backend_modules())


def resolve(env: str) -> tuple[Backend, str, str]:
    """Split `env` into back end and task, and import the back end.

    Args:
        env: `"Task"` (back end envpool), `"backend:Task"`, or `"package.module:Task"`.

    Returns:
        The back end, its name, and the task.

    Raises:
        ValueError: the back end is unknown or cannot be imported.
    """
    name, module, task = _split(env)
    try:
        backend = import_module(module)
    except ImportError as error:
        raise ValueError(f"back end {name!r} cannot be imported: {error}.") from error
    missing = [f for f in ("make_spec", "make", "list_tasks") if not hasattr(backend, f)]
    if missing:
        raise ValueError(f"back end {name!r} lacks {', '.join(missing)}; see the contract in fastsac/env.py.")
    return cast(Backend, backend), name, task


def modules_of(env: str) -> Iterator[str]:
    """Names of the modules that are imported for `env`, each before it is.

    The first is the back end's; to ask for the next imports that one, which knows the others.

    Raises:
        ValueError: as `resolve`.
    """
    yield _split(env)[1]
    backend, _, task = resolve(env)
    yield from backend.list_modules(task) if hasattr(backend, "list_modules") else ()


def _split(env: str) -> tuple[str, str, str]:
    """Name of the back end, its module, and the task."""
    prefix, colon, rest = env.partition(":")
    name, task = (prefix, rest) if colon else (DEFAULT_BACKEND, env)
    if not task or not name:
        raise ValueError(f'env must be "Task", "backend:Task" or "package.module:Task", got {env!r}.')
    modules = backend_modules()
    if name not in modules and "." not in name:
        choices = ", ".join(sorted(modules)) or "none is installed"
        raise ValueError(f'unknown back end {name!r}; choose from {choices}, or give "package.module:task".')
    return name, modules.get(name, name), task


def make_spec(env: str, env_kwargs: Mapping[str, Any] | None = None, action_limit: float | None = None) -> EnvSpec:
    """Describe an environment without building it.

    Raises:
        ValueError: unknown id (with near matches), or a task that cannot be trained (with the reason).
    """
    backend, _, task = resolve(env)
    return backend.make_spec(task, env_kwargs or {}, action_limit)


def make_env(
    env: str,
    seeds: Sequence[int],
    num_threads: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
    action_limit: float | None = None,
) -> VectorEnv:
    """Build a vector environment with one copy per seed.

    Args:
        env: `"Task"`, `"backend:Task"` or `"package.module:Task"`.
        seeds: one seed in [0, 2^31) per environment.
        num_threads: threads of the simulator; 0 lets the back end choose.
        env_kwargs: passed to the simulator as they are.
        action_limit: for an action space without bounds, scale actions to [-action_limit, action_limit].

    Raises:
        ValueError: as `make_spec`.
    """
    _check_numbers(seeds, num_threads, action_limit)
    backend, _, task = resolve(env)
    return backend.make(task, list(seeds), num_threads, env_kwargs or {}, action_limit)


def list_envs(pattern: str | None = None) -> list[EnvSpec]:
    """Describe every environment of the installed back ends that can be trained.

    Args:
        pattern: part of a name, or a glob if it holds one of `*?[`; case does not matter.

    Returns:
        The specs, in the order of the back ends.  A task without action bounds is left out, and without a pattern
        those of `list_slow_envs`.
    """
    specs = []
    for name, backend in _installed_backends():
        tasks = backend.list_tasks() + (_slow_tasks(backend) if pattern is not None else [])
        specs += [_spec_or_none(backend, t) for t in tasks if _matches(pattern, f"{name}:{t}", t)]
    return [spec for spec in specs if spec is not None]


def list_slow_envs() -> list[str]:
    """Full names of the environments that `list_envs` describes only where its pattern matches them."""
    return [f"{name}:{task}" for name, backend in _installed_backends() for task in _slow_tasks(backend)]


def _installed_backends() -> Iterator[tuple[str, Backend]]:
    """Name and module of each back end, but for those whose simulator is not installed."""
    for name in backend_names():
        try:
            yield name, resolve(f"{name}:any")[0]
        except ValueError:
            continue


def _slow_tasks(backend: Backend) -> list[str]:
    return list(backend.list_slow_tasks()) if hasattr(backend, "list_slow_tasks") else []


def _spec_or_none(backend: Backend, task: str) -> EnvSpec | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # simulators warn about their own older versions
        try:
            return backend.make_spec(task, {}, None)
        except ValueError:
            return None


def _matches(pattern: str | None, *names: str) -> bool:
    if pattern is None:
        return True
    glob = pattern.lower() if any(c in pattern for c in "*?[") else f"*{pattern.lower()}*"
    return any(fnmatch.fnmatchcase(name.lower(), glob) for name in names)


def _check_numbers(seeds: Sequence[int], num_threads: int, action_limit: float | None) -> None:
    if not seeds:
        raise ValueError("seeds must hold at least one seed, got none.")
    for seed in seeds:
        if not 0 <= seed < MAX_SEED:
            raise ValueError(f"seeds must be in [0, 2^31), got {seed}.")
    if num_threads < 0:
        raise ValueError(f"num_threads must be at least 0, got {num_threads}.")
    if action_limit is not None and not (action_limit > 0 and math.isfinite(action_limit)):
        raise ValueError(f"action_limit must be positive and finite, got {action_limit}.")


def near_matches(name: str, choices: Sequence[str]) -> str:
    """`; did you mean A or B?` for a misspelt name, or the empty string.

    A version such as `-v1` only decides between names that are equally near: any two share one.
    """

    def nearness(choice: str) -> tuple[float, float, str]:
        a, b = name.lower(), choice.lower()
        return _likeness(_VERSION.sub("", a), _VERSION.sub("", b)), _likeness(a, b), b

    close = [c for c in choices if nearness(c)[0] > 0.65]
    close = sorted(close, key=nearness, reverse=True)[:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _likeness(a: str, b: str) -> float:
    """Share of the characters that two names have in common, in order: 0 to 1."""
    return difflib.SequenceMatcher(None, a, b).ratio()


def first_line(error: BaseException) -> str:
    """A simulator's message cut to one line without its full stop, or the kind of error where there is none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:")[:300] if lines else type(error).__name__


def check_known_kwargs(
    env_id: str, env_kwargs: Mapping[str, Any], known: Sequence[str], unlisted: Collection[str] = ()
) -> None:
    """Refuse a keyword that the simulator does not take.

    Args:
        env_id: for the error message.
        env_kwargs: what the user gave.
        known: the keywords that the message may propose.
        unlisted: further keywords that are taken.

    Raises:
        ValueError: a keyword is in neither.
    """
    for key in env_kwargs:
        if key not in known and key not in unlisted:
            choices = f"; choose from {', '.join(known)}." if known else "; it takes none."
            raise ValueError(f"{env_id} takes no env_kwargs {key!r}{near_matches(key, known) or choices}")


class ActionScale:
    """Affine map from the policy's [-1, 1] to the bounds of a Box.  `dim` is A.

    Args:
        low: lower bounds, [A].
        high: upper bounds, [A].
        dtype: what the simulator wants.
        action_limit: bounds to use where `low` or `high` is not finite.
        env_id: for the error message.

    Raises:
        ValueError: a bound is infinite and `action_limit` is None.
    """

    discrete = False

    def __init__(self, low: Any, high: Any, dtype: Any, action_limit: float | None, env_id: str) -> None:
        low = np.asarray(low, np.float64).reshape(-1)
        high = np.asarray(high, np.float64).reshape(-1)
        # "No bound" is also written as 1e10 (MuJoCo) or as the largest float; comparing with not < catches nan too.
        unbounded = ~(np.abs(low) < NO_BOUND) | ~(np.abs(high) < NO_BOUND)
        if unbounded.any():
            if action_limit is None:
                raise ValueError(
                    f"{env_id} has an action space without bounds, which a tanh policy cannot be scaled to. "
                    "Give --action-limit X to use [-X, X]."
                )
            low = np.where(unbounded, -action_limit, low)
            high = np.where(unbounded, action_limit, high)
        self.low, self.high, self.dtype = low.astype(dtype), high.astype(dtype), np.dtype(dtype)  # [A]
        self._half = ((high - low) / 2).astype(dtype)  # [A]
        self._mid = ((high + low) / 2).astype(dtype)  # [A]
        self.dim = len(low)
        self._is_identity = bool((low == -1).all() and (high == 1).all())

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """(low, high) per actuator, for `EnvSpec.action_bounds`."""
        return () if self._is_identity else tuple(zip(self.low.tolist(), self.high.tolist(), strict=True))

    def __call__(self, action: FloatArray) -> NDArray[Any]:
        """Scale action [N, A] from [-1, 1] to the Box, in the simulator's dtype; may return `action` itself."""
        if self._is_identity:
            return action.astype(self.dtype, copy=False)
        scaled = action * self._half
        scaled += self._mid
        # Rounding can step over a bound by one unit in the last place.
        np.maximum(scaled, self.low, out=scaled)
        return np.minimum(scaled, self.high, out=scaled)


class ActionChoice:
    """Map from one-hot rows to the numbers of a simulator's choices.  `dim` is A.

    Args:
        choices: the simulator's numbers of the choices.
        dtype: what the simulator wants.
        action_limit: must be None.
        env_id: for the error message.

    Raises:
        ValueError: `action_limit` is given.
    """

    discrete = True
    bounds: tuple[tuple[float, float], ...] = ()

    def __init__(self, choices: range, dtype: Any, action_limit: float | None, env_id: str) -> None:
        if action_limit is not None:
            raise ValueError(
                f"{env_id} has a discrete action space, which has no bounds that action_limit could replace. "
                "Leave out --action-limit."
            )
        self.dim = len(choices)
        self._start, self._dtype = choices.start, np.dtype(dtype)

    def __call__(self, action: FloatArray) -> NDArray[Any]:
        """The choices [N] of one-hot action [N, A], in the simulator's dtype."""
        return (action.argmax(axis=1) + self._start).astype(self._dtype)


def one_hot(value: NDArray[Any], states: range) -> FloatArray:
    """One-hot rows [N, len(states)] of integers [N] or [N, 1] in `states`.

    Raises:
        ValueError: a value is not in `states`, which is a fault of the environment.
    """
    index = value.reshape(-1).astype(np.intp) - states.start  # [N]
    if index.min() < 0 or index.max() >= len(states):
        raise ValueError(
            f"an observation must be in [{states.start}, {states.stop}), as its space says, got {value.reshape(-1)}."
        )
    rows = np.zeros((len(index), len(states)), np.float32)
    rows[np.arange(len(index)), index] = 1
    return rows


def image_shape(shape: Sequence[int], dtype: Any) -> tuple[int, int, int] | None:
    """(channels, height, width) of an array for one environment that is an image; None for what is none.

    An image is uint8, and has two axes or three, of which the shorter of the first and the last counts the channels.
    """
    if np.dtype(dtype) != np.uint8 or len(shape) not in (2, 3):
        return None
    first, *middle, last = shape
    if not middle:
        image = (1, first, last)
    else:
        image = (first, middle[0], last) if first <= last else (last, first, middle[0])
    return image if min(image[1:]) >= MIN_IMAGE_SIDE else None


def channels_first(images: NDArray[Any]) -> NDArray[Any]:
    """View of images [N, H, W, C] as [N, C, H, W]; images in that order, or without channels, as they are."""
    is_last = images.ndim == 4 and images.shape[1] > images.shape[3]
    return np.moveaxis(images, 3, 1) if is_last else images


def find_image(env_id: str, parts: Mapping[str, tuple[Sequence[int], Any]]) -> tuple[int, int, int] | None:
    """For `EnvSpec.image`: the shape of the one image that an observation is, or None where it is a vector.

    Args:
        env_id: for the error message.
        parts: (shape, dtype) of each array of the observation, for one environment.

    Raises:
        ValueError: an image has further parts beside it, or an array that is no image is too large for a vector.
    """
    for name, (shape, dtype) in parts.items():
        image = image_shape(shape, dtype)
        if image and len(parts) == 1:
            return image
        if image:
            raise ValueError(
                f"{env_id} has an image ({name} of shape {tuple(shape)}) beside other observations "
                f"({', '.join(n for n in parts if n != name)}); fastsac trains on one image or on vectors. "
                "Choose or wrap the environment so that it shows one of them."
            )
        if len(shape) > 2 and math.prod(shape) > MAX_FLAT_SIZE:
            raise ValueError(
                f"{env_id} has observations of shape {tuple(shape)} and type {np.dtype(dtype)} ({name}), too large for "
                f"a vector and no image; an image is uint8, (height, width, channels) or channels first, with sides of "
                f"at least {MIN_IMAGE_SIDE}. Wrap the environment so that it shows that."
            )
    return None
