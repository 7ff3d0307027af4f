"""envpool's simulators behind the environment contract.

Axes: N environments, O obs_dim, A action_dim.

A task is any single-player envpool id with a continuous or one discrete action, whose observation is vectors or one
image.  A dictionary of vectors becomes one vector: its parts flattened and joined in the order of their names, nested
names written `goal:kettle`.  A part that is a single integer with bounds, such as Taxi's state, becomes a one-hot
vector.  Of MuJoCo Playground's `state` and `privileged_state` only `state` is used, which a robot can sense.
MiniGrid's small picture and the bytes of its mission are plain numbers, which `obs_norm` brings to one scale.

envpool never sets both flags: an episode whose task ends on exactly the last allowed step reads as truncated.

Images
------
Channels-last images are turned.  Atari's are (stack_num, img_height, img_width): four grey frames of 84 x 84.
Atari's keywords, with envpool's defaults:

- `frame_skip` 4 frames per step, the last two joined by their maximum; `max_episode_steps` 27000 counts steps.
- `noop_max` 30: a game starts with up to so many idle frames, which are all that a seed decides unless
  `repeat_action_probability` (0) is set.  `use_fire_reset` true: where FIRE starts a game, it is pressed then.
- `reward_clip` false: the reward is the game's score; true: its sign.
- `episodic_life` false.  Where it is true, a lost life reads as terminated, and the reset row goes on with the same
  game, until all lives are lost or `max_episode_steps` of the game have passed, which reads as truncated.
- `zero_discount_on_life_loss` has no effect here.

ViZDoom's buttons have no bounds: give action_limit 1.  It writes files into the working directory.  Procgen needs Qt 5.
MuJoCo's tasks with `from_pixels` need OpenGL from the start of the process (LD_PRELOAD=libEGL.so.1), and a GPU to draw
them at any speed.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastsac.env import (
    SUCCESS_KEYS,
    ActionChoice,
    ActionScale,
    Adapter,
    AnyArray,
    EnvKwargs,
    EnvSpec,
    FloatArray,
    ObsArray,
    ObsPart,
    Step,
    cannot_make,
    check_known_kwargs,
    success_of,
)
from fastsac_envs._opengl import NO_DRIVER, has_opengl, load_opengl
from fastsac_envs._speeds import steps_per_s

NO_TIME_LIMIT = 2**31 - 1  # written by envpool where there is none
MAX_RANGE = 2**20  # an integer with more values than this has no bounds: envpool's own rule
ATARI, MUJOCO, INFO = "envpool.atari", "envpool.mujoco.", "info:"  # beginnings of names
FAMILIES = {"gym": "mujoco", "dmc": "dm_control"}  # of modules whose own names say less
TASKS_WITHOUT_LIMIT = {"Game2048-v1", "Jumanji/Game2048-v1"}  # whatever their specs say
ENDLESS_TASKS = {"LaneKeeping-v0", "lane-keeping-v0"}
RESERVED_KWARGS = {
    "num_envs", "batch_size", "num_threads", "seed", "env_seed", "max_num_players", "gym_reset_return_info"
}  # fmt: skip
RENDER_KWARGS = {"from_pixels", "render_mode", "render_env_id", "render_width", "render_height", "render_camera_id"}

# envpool has no types: a spec has `config`, a named tuple, and `action_array_spec` and `state_array_spec`, dictionaries
# of arrays, which have `shape`, `dtype`, `minimum`, `maximum` and `is_discrete`.
NativeSpec = Any
NativeArray = Any


def list_tasks() -> list[str]:
    """Every id that envpool registers, but for those of Atari."""
    return [task for task, module in _modules().items() if module != ATARI]


def list_slow_tasks() -> list[str]:
    """The ids of Atari, whose specs load the game: 0.1 s each."""
    return [task for task, module in _modules().items() if module == ATARI]


def family(task: str) -> str:
    """The simulator or suite that a task is of, as envpool sorts them."""
    name = _modules()[task].rpartition(".")[2]
    return FAMILIES.get(name, name)


def _modules() -> dict[str, str]:
    # Here and below envpool is imported where it is used: that takes a second, and is not always needed.
    from envpool.registration import registry

    return {task: module for task, (module, *_) in registry.specs.items()}


def make_spec(task: str, env_kwargs: EnvKwargs, action_limit: float | None) -> EnvSpec:
    """Describe `task`; raises ValueError for an id, a keyword or a value that envpool or fastsac does not take."""
    return _adapter(task, env_kwargs, action_limit).spec


def make(
    task: str, seeds: Sequence[int], num_threads: int, env_kwargs: EnvKwargs, action_limit: float | None
) -> "EnvpoolEnv":
    """Build one environment per seed; `num_threads` 0 means one per environment, at most one per CPU."""
    import envpool

    adapter = _adapter(task, env_kwargs, action_limit)
    # Under a job scheduler a process may use fewer CPUs than the machine has.
    num_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    options = {"num_envs": len(seeds), "seed": 0, "env_seed": list(seeds)}
    options["num_threads"] = num_threads or min(len(seeds), num_cpus)
    return EnvpoolEnv(adapter, len(seeds), _call(envpool.make_gymnasium, task, env_kwargs, **options))


def make_rendered(task: str, seed: int, env_kwargs: EnvKwargs, action_limit: float | None) -> "RenderedEnvpool":
    """Build one environment that draws itself, as envpool does it."""
    adapter, module = _adapter(task, env_kwargs, action_limit), _modules()[task]
    import envpool

    if module.startswith(MUJOCO):
        load_opengl()
        if not has_opengl():
            raise ValueError(f"envpool:{task} cannot be drawn: {NO_DRIVER}.")
    given = {**env_kwargs, "render_mode": "rgb_array"}
    pool = _call(envpool.make_gymnasium, task, given, num_envs=1, num_threads=1, seed=0, env_seed=[seed])
    speed = steps_per_s(task, module.rpartition(".")[2], pool.spec.config._asdict())
    return RenderedEnvpool(adapter, 1, pool, speed)


class EnvpoolEnv:
    """A synchronous envpool: C++ threads step between `send` and `recv`.

    It talks to envpool's `_send`, `_recv` and `_reset`, which take and give the plain list of arrays: the public
    methods above them build a tree of all info arrays at each step, which costs 30 us (a fourth of a HalfCheetah
    step with one environment).  In synchronous mode the rows come in the order of the environments.
    """

    def __init__(self, adapter: Adapter, num_envs: int, pool: Any) -> None:
        self.spec, self.num_envs = adapter.spec, num_envs
        self._adapter, self._pool = adapter, pool
        self._env_ids = np.arange(num_envs, dtype=np.int32)
        keys = list(pool._state_keys)
        names = ("done", "trunc", "reward", "elapsed_step")
        self._done, self._trunc, self._reward, self._elapsed = (keys.index(name) for name in names)
        self._obs = [keys.index(key) for key in _obs_keys(pool.spec)]
        self.info_names, self._info = adapter.spec.info_names or (), dict[str, int]()  # places of those asked for
        self._success = next((keys.index(INFO + key) for key in SUCCESS_KEYS if INFO + key in keys), None)

    def report_info(self, names: Sequence[str]) -> None:
        """Let steps tell these of `info_names`."""
        self._info = {name: self._pool._state_keys.index(f"{INFO}{name}") for name in names}

    def reset(self) -> ObsArray:
        """Start a new episode in every environment; returns obs [N, O]."""
        self._pool._reset(self._env_ids)
        return self._join(self._pool._recv())

    def send(self, action: FloatArray) -> None:
        """Start a step with action [N, A], in [-1, 1] or one-hot; returns while the threads work."""
        self._pool._send([self._env_ids, self._env_ids, self._adapter.action(action)])

    def recv(self) -> Step:
        """Wait for the step that `send` started."""
        state = self._pool._recv()
        done, truncated, reward = state[self._done], state[self._trunc], state[self._reward]
        # dm_control tasks give a reward to the reset row, which is no transition.
        reward[state[self._elapsed] == 0] = 0.0
        success = None if self._success is None else success_of(state[self._success])
        info = {name: state[i].astype(np.float32) for name, i in self._info.items()} or None
        return Step(self._join(state), reward, done & ~truncated, truncated, success, info)

    def close(self) -> None:
        """Free threads and memory."""
        self._pool = None

    def _join(self, state: list[AnyArray]) -> ObsArray:
        """The observation [N, O]; a view where it can be: envpool hands over fresh memory at each step."""
        return self._adapter.obs([state[i] for i in self._obs], self.num_envs)


class RenderedEnvpool(EnvpoolEnv):
    """One environment that envpool draws."""

    def __init__(self, adapter: Adapter, num_envs: int, pool: Any, steps_per_s: float) -> None:
        super().__init__(adapter, num_envs, pool)
        self.steps_per_s = steps_per_s

    def render(self) -> AnyArray:
        """A picture of the state, RGB, uint8 [H, W, 3]; of Atari the screen."""
        try:
            picture: AnyArray = self._pool.render()[0]
        except RuntimeError as error:
            raise RuntimeError(NO_DRIVER) if "EGL" in str(error) else error from None
        return picture


def _native_spec(task: str, env_kwargs: EnvKwargs) -> NativeSpec:
    import envpool

    default = _call(envpool.make_spec, task, {})
    if not env_kwargs:
        return default
    _check_kwargs(task, env_kwargs, default)
    return _call(envpool.make_spec, task, env_kwargs)


def _call(function: Callable[..., Any], task: str, env_kwargs: EnvKwargs, **more: object) -> Any:
    """Call envpool; any error becomes a ValueError of one line."""
    try:
        return function(task, **more, **env_kwargs)
    except Exception as error:
        raise cannot_make("envpool", task, env_kwargs, error) from error


def _check_kwargs(task: str, env_kwargs: EnvKwargs, default: NativeSpec) -> None:
    """Refuse a keyword or a value that envpool does not take, and one that has no effect."""
    import envpool

    name = f"envpool:{task}"
    if "max_episode_steps" in env_kwargs and _counts_seconds(default):
        raise ValueError(f"max_episode_steps has no effect on {name}. Give duration, in seconds.")
    # These end their episodes by rules of their own, and envpool does not cut them off either.
    has_fixed_limit = "CliffWalking" in task or _modules()[task] in ("envpool.jumanji", "envpool.procgen")
    if "max_episode_steps" in env_kwargs and has_fixed_limit:
        raise ValueError(f"max_episode_steps has no effect on {name}. Leave it out.")
    known = [field for field in default.config._fields if field not in RESERVED_KWARGS]
    check_known_kwargs(name, env_kwargs, known, RENDER_KWARGS)
    if env_kwargs.get("from_pixels") and not has_opengl():
        raise ValueError(
            f"from_pixels of {name} draws with OpenGL, without which MuJoCo would end the program. "
            "Install it (Debian: libegl1) and start with LD_PRELOAD=libEGL.so.1 in the environment."
        )
    for key, value in env_kwargs.items():
        try:
            envpool.make_spec(task, **{key: value})
        except TypeError as error:
            usual = getattr(default.config, key, None)
            message = f"env_kwargs[{key!r}] of {name} must be of the kind of its default {usual!r}, got {value!r}."
            raise ValueError(message) from error
        except Exception as error:
            raise cannot_make("envpool", task, {key: value}, error) from error
    if env_kwargs.get("max_episode_steps", 1) < 1:
        raise ValueError(f"max_episode_steps must be at least 1, got {env_kwargs['max_episode_steps']}.")


def _counts_seconds(native: NativeSpec) -> bool:
    """The highway family has no use for max_episode_steps."""
    return {"duration", "policy_frequency"} <= set(native.config._fields)


def _time_limit(task: str, native: NativeSpec) -> int | None:
    if task in TASKS_WITHOUT_LIMIT:
        return None
    config = native.config
    if _counts_seconds(native):
        return int(config.duration * config.policy_frequency)
    cuts_late = _modules()[task] == "envpool.gfootball"  # by one step
    limit = int(config.max_episode_steps) + cuts_late
    return limit if 0 < limit < NO_TIME_LIMIT else None  # 0: BabyAI's depends on the mission


def _adapter(task: str, env_kwargs: EnvKwargs, action_limit: float | None) -> Adapter:
    """Raises ValueError for a task that fastsac cannot train, with the reason."""
    name, native = f"envpool:{task}", _native_spec(task, env_kwargs)
    if native.config.max_num_players > 1:
        raise ValueError(f"{name} is a task for several players; fastsac trains one. Choose a single-player task.")
    if task in ENDLESS_TASKS:
        raise ValueError(f"{name} never ends an episode in envpool, so that it has no return. Choose another task.")
    action = next(a for key, a in native.action_array_spec.items() if key not in ("env_id", "players.env_id"))
    action_map = _action_map(name, action, action_limit)
    arrays = {key.removeprefix("obs:"): native.state_array_spec[key] for key in _obs_keys(native)}
    parts = [ObsPart(part, _shape(array), array.dtype, _values(array)) for part, array in arrays.items()]
    for part in parts:
        if np.dtype(part.dtype).kind in "iu" and not part.shape and part.states is None:
            raise ValueError(
                f"{name} has an integer observation ({part.name}) without bounds, which cannot be made one-hot. "
                "`fastsac envs` lists the tasks that can be trained."
            )
    return Adapter(name, parts, action_map, _shape(action), _time_limit(task, native), (), _info_names(native))


def _action_map(name: str, action: NativeArray, action_limit: float | None) -> ActionScale | ActionChoice:
    if not action.is_discrete and action.dtype.kind == "f":
        low, high = (np.broadcast_to(bound, _shape(action)) for bound in (action.minimum, action.maximum))
        return ActionScale(low, high, action.dtype, action_limit, name)
    choices = _values(action)
    if choices is None:
        raise ValueError(
            f"{name} takes discrete actions of shape {_shape(action)}; fastsac trains one choice out of a known "
            "number. `fastsac envs` lists the tasks that can be trained."
        )
    return ActionChoice(choices, action.dtype, action_limit, name)


def _obs_keys(native: NativeSpec) -> list[str]:
    keys = sorted(k for k in native.state_array_spec if k == "obs" or k.startswith("obs:"))
    return ["obs:state"] if set(keys) == {"obs:state", "obs:privileged_state"} else keys


def _info_names(native: NativeSpec) -> list[str]:
    """What a step tells one number of for each environment."""
    keys = (key for key, array in native.state_array_spec.items() if not _shape(array))
    return [key.removeprefix(INFO) for key in keys if key.startswith(INFO) and not key.endswith("env_id")]


def _shape(array: NativeArray) -> tuple[int, ...]:
    """Shape for one environment, without the player axis."""
    return tuple(s for s in array.shape if s != -1)


def _values(array: NativeArray) -> range | None:
    """The values of a single integer with bounds; None for everything else."""
    if array.dtype.kind not in "iu" or _shape(array):
        return None
    low, high = (int(np.asarray(bound).item()) for bound in (array.minimum, array.maximum))
    return range(low, high + 1) if high - low < MAX_RANGE else None
