"""envpool's simulators behind the environment contract.  Owns the flattening, the cast and the calls into envpool.

Axes: N environments, O obs_dim, A action_dim.

A task is any single-player envpool id with a continuous or one discrete action, whose observation is vectors or one
image.  A dictionary of vectors becomes one vector: its parts flattened and joined in the order of their names, nested
names written `goal:kettle`.  A part that is a single integer with bounds, such as Taxi's state, becomes a one-hot
vector.  Of MuJoCo Playground's `state` and `privileged_state` only `state` is used, which is what a robot can sense; a
critic that sees the privileged part is left for later.  MiniGrid's small picture of numbers and the bytes of its
mission are plain numbers here, which `obs_norm` brings to one scale.

envpool never sets both flags: an episode whose task ends on exactly the last allowed step reads as truncated.

Images
------
Channels-last images are turned.  Atari's are (stack_num, img_height, img_width): four grey frames of 84 x 84.
Atari's keywords, with envpool's defaults:

- `frame_skip` 4 frames per step, the last two joined by their maximum; `max_episode_steps` 27000 counts steps.
- `noop_max` 30: a game starts with up to so many idle frames, which are all that a seed decides unless
  `repeat_action_probability` (0) is set.  `use_fire_reset` true: where FIRE starts a game, it is pressed then.
- `reward_clip` false: the reward is the game's score; true: its sign.
- `episodic_life` false: an episode is a game.  Where it is true, a lost life reads as terminated, and the reset row
  goes on with the same game and its stack of frames, until all lives are lost or the game has lasted
  `max_episode_steps`, which reads as truncated.  Returns are then those of one life.  `reset` starts a new game.
- `zero_discount_on_life_loss` has no effect here.

ViZDoom's buttons have no bounds: give action_limit 1.  It writes files into the working directory.  Procgen needs Qt 5.
MuJoCo's tasks with `from_pixels` need OpenGL from the start of the process (LD_PRELOAD=libEGL.so.1), and a GPU to draw
them at any speed.
"""

import ctypes
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastsac.env import (
    ActionChoice,
    ActionScale,
    EnvSpec,
    FloatArray,
    ObsArray,
    Step,
    channels_first,
    check_known_kwargs,
    find_image,
    first_line,
    near_matches,
    one_hot,
)

NO_TIME_LIMIT = 2**31 - 1  # what envpool writes where there is none
MAX_RANGE = 2**20  # an integer with more values than this has no bounds: envpool's own rule
SLOW_FAMILIES = frozenset(("envpool.atari",))  # a spec loads the game: 0.1 s each
TASKS_WITHOUT_LIMIT = frozenset(("Game2048-v1", "Jumanji/Game2048-v1"))  # whatever their specs say
ENDLESS_TASKS = frozenset(("LaneKeeping-v0", "lane-keeping-v0"))
RESERVED_KWARGS = frozenset(
    ("num_envs", "batch_size", "num_threads", "seed", "env_seed", "max_num_players", "gym_reset_return_info")
)
RENDER_KWARGS = frozenset(
    ("from_pixels", "render_mode", "render_env_id", "render_width", "render_height", "render_camera_id")
)


def list_tasks() -> list[str]:
    """Every id that envpool registers, but for those of `list_slow_tasks`."""
    return [task for task, module in _modules().items() if module not in SLOW_FAMILIES]


def list_slow_tasks() -> list[str]:
    """The ids of Atari."""
    return [task for task, module in _modules().items() if module in SLOW_FAMILIES]


def _modules() -> dict[str, str]:
    """envpool's module of each id."""
    # Here and below envpool is imported where it is used: that takes a second, and is not always needed.
    from envpool.registration import registry

    return {task: module for task, (module, *_) in registry.specs.items()}


def make_spec(task: str, env_kwargs: Mapping[str, Any], action_limit: float | None) -> EnvSpec:
    """Describe `task` without building it.

    Raises:
        ValueError: the id, a keyword or its value is unknown to envpool, or the task cannot be trained.
    """
    native = _native_spec(task, env_kwargs)
    image = _check_trainable(task, native)
    to_native = _action_map(task, native, action_limit)
    layout = tuple((_part_name(key), _size(native.state_array_spec[key])) for key in _obs_keys(native))
    limit = _time_limit(task, native)
    return EnvSpec(
        env_id=f"envpool:{task}",
        obs_dim=sum(size for _, size in layout),
        action_dim=to_native.dim,
        obs_layout=layout,
        max_episode_steps=limit if 0 < limit < NO_TIME_LIMIT else None,  # 0: BabyAI's depends on the mission
        action_bounds=to_native.bounds,
        discrete=to_native.discrete,
        image=image,
    )


def make(
    task: str, seeds: Sequence[int], num_threads: int, env_kwargs: Mapping[str, Any], action_limit: float | None
) -> "EnvpoolEnv":
    """Build one environment per seed; `num_threads` 0 means one per environment, at most one per CPU.

    Raises:
        ValueError: as `make_spec`.
    """
    return EnvpoolEnv(task, seeds, num_threads, env_kwargs, action_limit)


class EnvpoolEnv:
    """A synchronous envpool: C++ threads step between `send` and `recv`.

    It talks to envpool's `_send`, `_recv` and `_reset`, which take and give the plain list of arrays: the public
    methods above them build a tree of all info arrays at each step, which costs 30 us (a fourth of a HalfCheetah
    step with one environment).  In synchronous mode the rows come in the order of the environments.
    """

    def __init__(
        self,
        task: str,
        seeds: Sequence[int],
        num_threads: int,
        env_kwargs: Mapping[str, Any],
        action_limit: float | None,
    ) -> None:
        self.spec = make_spec(task, env_kwargs, action_limit)
        self.num_envs = len(seeds)
        self._pool = _make_pool(task, seeds, num_threads or min(len(seeds), _num_cpus()), env_kwargs)
        self._to_native = _action_map(task, self._pool.spec, action_limit)
        self._action_shape = (self.num_envs, *_shape(_action_spec(self._pool.spec)))
        self._env_ids = np.arange(self.num_envs, dtype=np.int32)
        keys = list(self._pool._state_keys)
        names = ("done", "trunc", "reward", "elapsed_step")
        self._done, self._trunc, self._reward, self._elapsed = (keys.index(name) for name in names)
        arrays = self._pool.spec.state_array_spec
        self._obs = [(keys.index(k), _values(arrays[k])) for k in _obs_keys(self._pool.spec)]

    def reset(self) -> ObsArray:
        """Start a new episode in every environment; returns obs [N, O]."""
        self._pool._reset(self._env_ids)
        return self._join(self._pool._recv())

    def send(self, action: FloatArray) -> None:
        """Start a step with action [N, A], in [-1, 1] or one-hot; returns while the threads work."""
        self._pool._send([self._env_ids, self._env_ids, self._to_native(action).reshape(self._action_shape)])

    def recv(self) -> Step:
        """Wait for the step that `send` started."""
        state = self._pool._recv()
        done, truncated, reward = state[self._done], state[self._trunc], state[self._reward]
        # dm_control tasks give a reward to the reset row, which is no transition.
        reward[state[self._elapsed] == 0] = 0.0
        return Step(self._join(state), reward, done & ~truncated, truncated)

    def close(self) -> None:
        """Free threads and memory."""
        self._pool = None

    def _join(self, state: list[NDArray[Any]]) -> ObsArray:
        """The observation parts of `state`, flattened, cast and joined to [N, O]; an image as it is."""
        if self.spec.image:
            # A view unless the channels are last: envpool hands over fresh memory at each step.
            return channels_first(state[self._obs[0][0]]).reshape(self.num_envs, -1)
        parts = [self._part(state[i], values) for i, values in self._obs]
        if len(parts) == 1:
            return parts[0].astype(np.float32, copy=False)
        return np.concatenate(parts, axis=1, dtype=np.float32, casting="same_kind")

    def _part(self, array: NDArray[Any], values: range | None) -> NDArray[Any]:
        """One part of the observation as a matrix."""
        return array.reshape(self.num_envs, -1) if values is None else one_hot(array, values)


def _time_limit(task: str, native: Any) -> int:
    if task in TASKS_WITHOUT_LIMIT:
        return NO_TIME_LIMIT
    config = native.config
    # The highway family counts seconds and has no use for max_episode_steps.
    if _counts_seconds(native):
        return int(config.duration * config.policy_frequency)
    off_by_one = _modules()[task] == "envpool.gfootball"  # it cuts an episode off one step late
    return int(config.max_episode_steps) + off_by_one


def _counts_seconds(native: Any) -> bool:
    return {"duration", "policy_frequency"} <= set(native.config._fields)


def _has_fixed_limit(task: str) -> bool:
    """The task ends its episodes by rules of its own, and envpool does not cut them off either."""
    return "CliffWalking" in task or _modules()[task] in ("envpool.jumanji", "envpool.procgen")


def _num_cpus() -> int:
    """CPUs that this process may use, which is fewer than the machine's under a job scheduler."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _native_spec(task: str, env_kwargs: Mapping[str, Any]) -> Any:
    """envpool's own spec, with its long messages made one line."""
    import envpool

    tasks = envpool.list_all_envs()
    if task not in tasks:
        raise ValueError(f"unknown envpool id {task!r}{near_matches(task, tasks) or '.'} `fastsac envs` lists them.")
    default = _call(task, {}, envpool.make_spec)
    if not env_kwargs:
        return default
    known = [f for f in default.config._fields if f not in RESERVED_KWARGS]
    if "max_episode_steps" in env_kwargs and _counts_seconds(default):
        raise ValueError(f"max_episode_steps has no effect on envpool:{task}. Give duration, in seconds.")
    if "max_episode_steps" in env_kwargs and _has_fixed_limit(task):
        raise ValueError(f"max_episode_steps has no effect on envpool:{task}. Leave it out.")
    check_known_kwargs(f"envpool:{task}", env_kwargs, known, RENDER_KWARGS)
    if env_kwargs.get("from_pixels") and not _has_opengl():
        raise ValueError(
            f"from_pixels of envpool:{task} draws with OpenGL, without which MuJoCo would end the program. "
            "Install it (Debian: libegl1) and start with LD_PRELOAD=libEGL.so.1 in the environment."
        )
    _check_values(task, env_kwargs, default.config)
    return _call(task, env_kwargs, envpool.make_spec)


def _has_opengl() -> bool:
    """MuJoCo will find OpenGL: a library of it was loaded for the whole process, before envpool."""
    return any(hasattr(ctypes.CDLL(None), f"{platform}GetProcAddress") for platform in ("egl", "OSMesa"))


def _check_values(task: str, env_kwargs: Mapping[str, Any], config: Any) -> None:
    """Refuse a value that envpool does not take, naming its keyword."""
    import envpool

    for key, value in env_kwargs.items():
        try:
            envpool.make_spec(task, **{key: value})
        except TypeError as error:
            default = getattr(config, key, None)
            raise ValueError(
                f"env_kwargs[{key!r}] of envpool:{task} must be of the kind of its default {default!r}, got {value!r}."
            ) from error
        except Exception as error:
            raise _cannot_make(task, {key: value}, error) from error
    if env_kwargs.get("max_episode_steps", 1) < 1:
        raise ValueError(f"max_episode_steps must be at least 1, got {env_kwargs['max_episode_steps']}.")


def _call(task: str, env_kwargs: Mapping[str, Any], function: Any, **more: Any) -> Any:
    """Call envpool and turn what it raises into a ValueError of one line."""
    try:
        return function(task, **more, **env_kwargs)
    except Exception as error:
        raise _cannot_make(task, env_kwargs, error) from error


def _cannot_make(task: str, env_kwargs: Mapping[str, Any], error: Exception) -> ValueError:
    given = f" with env_kwargs {dict(env_kwargs)}" if env_kwargs else ""
    return ValueError(f"envpool cannot make {task}{given}: {first_line(error)}.")


def _make_pool(task: str, seeds: Sequence[int], num_threads: int, env_kwargs: Mapping[str, Any]) -> Any:
    import envpool

    options = {"num_envs": len(seeds), "num_threads": num_threads, "seed": 0, "env_seed": list(seeds)}
    return _call(task, env_kwargs, envpool.make_gymnasium, **options)


def _check_trainable(task: str, native: Any) -> tuple[int, int, int] | None:
    """Refuse what the program cannot train, with the reason; returns the shape of an image."""
    name = f"envpool:{task}"
    if native.config.max_num_players > 1:
        raise ValueError(f"{name} is a task for several players; fastsac trains one. Choose a single-player task.")
    if task in ENDLESS_TASKS:
        raise ValueError(f"{name} never ends an episode in envpool, so that it has no return. Choose another task.")
    action = _action_spec(native)
    if _is_discrete(action) and _values(action) is None:
        raise ValueError(
            f"{name} takes discrete actions of shape {_shape(action)}; fastsac trains one choice out of a known "
            "number. `fastsac envs` lists the tasks that can be trained."
        )
    for key in _obs_keys(native):
        part = native.state_array_spec[key]
        if part.dtype.kind in "iu" and not _shape(part) and _values(part) is None:
            raise ValueError(
                f"{name} has an integer observation ({_part_name(key)}) without bounds, which cannot be made one-hot. "
                "`fastsac envs` lists the tasks that can be trained."
            )
    arrays = {key: native.state_array_spec[key] for key in _obs_keys(native)}
    return find_image(name, {_part_name(key): (_shape(array), array.dtype) for key, array in arrays.items()})


def _action_spec(native: Any) -> Any:
    return next(spec for key, spec in native.action_array_spec.items() if key not in ("env_id", "players.env_id"))


def _is_discrete(action: Any) -> bool:
    return bool(action.is_discrete) or action.dtype.kind != "f"


def _action_map(task: str, native: Any, action_limit: float | None) -> ActionScale | ActionChoice:
    """From the policy's actions to the simulator's."""
    action = _action_spec(native)
    if _is_discrete(action):
        choices = _values(action)
        assert choices is not None, "checked before"
        return ActionChoice(choices, action.dtype, action_limit, f"envpool:{task}")
    low, high = (np.broadcast_to(bound, _shape(action)) for bound in (action.minimum, action.maximum))
    return ActionScale(low, high, action.dtype, action_limit, f"envpool:{task}")


def _obs_keys(native: Any) -> list[str]:
    """Keys of the state arrays that make up the observation, sorted."""
    keys = sorted(k for k in native.state_array_spec if k == "obs" or k.startswith("obs:"))
    return ["obs:state"] if set(keys) == {"obs:state", "obs:privileged_state"} else keys


def _part_name(key: str) -> str:
    return key.removeprefix("obs:")


def _shape(array_spec: Any) -> tuple[int, ...]:
    """Shape for one environment; envpool writes the player axis as -1."""
    return tuple(s for s in array_spec.shape if s != -1)


def _values(array_spec: Any) -> range | None:
    """The values of a single integer with bounds; None for everything else."""
    if array_spec.dtype.kind not in "iu" or _shape(array_spec):
        return None
    low, high = (int(np.asarray(bound).item()) for bound in (array_spec.minimum, array_spec.maximum))
    return range(low, high + 1) if high - low < MAX_RANGE else None


def _size(array_spec: Any) -> int:
    values = _values(array_spec)
    return int(np.prod(_shape(array_spec))) if values is None else len(values)
