"""Environments registered with Gymnasium, users' own included, behind the environment contract.

Axes: N environments, O obs_dim, A action_dim.

A task is an id of Gymnasium's registry, or `module:id`, which imports the module first so that it can register the id:
`--env gymnasium:my_package:MyEnv-v0`.  Actions must be a Box of floats or Discrete; observations a Box, a Discrete,
which becomes one-hot, or a dictionary of them, nested or not.  A dictionary becomes one vector in the order of
`gymnasium.spaces.utils.flatten`, which is the order of the Dict space: sorted by name if built from a plain dict.
A Box of uint8 that is an image, channels last or first, stays one (see `fastsac.env`); smaller ones become vectors.

Everything runs in the calling thread: `send` keeps the action and `recv` steps.  envpool is much faster where it has
the same task.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import reduce
from operator import getitem
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from fastsac.env import (
    SUCCESS_KEYS,
    ActionChoice,
    ActionScale,
    Adapter,
    AnyArray,
    BoolArray,
    EnvKwargs,
    EnvSpec,
    FloatArray,
    ObsArray,
    ObsPart,
    Step,
    cannot_make,
    import_module,
    near_matches,
    success_of,
)
from fastsac_envs._checked_env import CheckedEnv, number_copies
from fastsac_envs._info import names_in, of_all
from fastsac_envs._opengl import choose_mujoco_gl
from fastsac_envs._wrappers import notes, time_limit

TAKES_MORE = True  # ids of modules that are not imported yet, and those of MuJoCo
RESERVED_KWARGS = {"id", "num_envs", "vectorization_mode", "vector_kwargs", "wrappers", "disable_env_checker"}
USUAL_STEPS_PER_S = 30  # of an environment that tells nothing

Keys = tuple[str, ...]  # the names that lead to one part of an observation
Space = spaces.Space[Any]


def list_tasks() -> list[str]:
    """Every id in Gymnasium's registry, trainable or not, but for its MuJoCo tasks, which can be used all the same.

    envpool has those, too, and describing them here compiles each model, with MuJoCo's warnings on stderr and in a log
    file in the working directory.
    """
    return [task for task, spec in gymnasium.registry.items() if "gymnasium.envs.mujoco" not in str(spec.entry_point)]


def family(task: str) -> str:
    """The folder of Gymnasium that a task is in, or the package that registered it."""
    entry = gymnasium.registry[task].entry_point
    return _module_of(entry).removeprefix("gymnasium.envs.").partition(".")[0]


def _module_of(entry: object) -> str:
    return entry.partition(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", "")


def why_only_here(task: str) -> str:
    """Why a task exists in this process alone: its id is not Gymnasium's own, and no module's that its name tells."""
    if task not in gymnasium.registry or _module_of(gymnasium.registry[task].entry_point).startswith("gymnasium."):
        return ""
    return f"its id was registered in this process; gymnasium:MODULE:{task} names the module that registers it"


def list_modules(task: str) -> list[str]:
    """The module in `module:id`."""
    return [task.rpartition(":")[0]] if ":" in task else []


def make_spec(task: str, env_kwargs: EnvKwargs, action_limit: float | None) -> EnvSpec:
    """Describe `task`, for which Gymnasium has to build one copy; raises ValueError where that or training fails."""
    with closing(_make_vec(task, 1, env_kwargs)) as env:
        return make_adapter(f"gymnasium:{task}", env, action_limit).spec


def make(
    task: str, seeds: Sequence[int], num_threads: int, env_kwargs: EnvKwargs, action_limit: float | None
) -> "GymnasiumEnv":
    """Build one environment per seed; `env_kwargs` go to the environment's constructor."""
    if num_threads > 1:
        raise ValueError(
            f"num_threads must be 0 or 1 for the gymnasium back end, got {num_threads}. It has one thread."
        )
    env = _make_vec(task, len(seeds), env_kwargs)
    return GymnasiumEnv(make_adapter(f"gymnasium:{task}", env, action_limit), env, seeds)


def make_rendered(task: str, seed: int, env_kwargs: EnvKwargs, action_limit: float | None) -> "RenderedGymnasiumEnv":
    """Build one environment with render_mode "rgb_array"; raises ValueError where it has none."""
    name = f"gymnasium:{task}"
    with closing(_make_vec(task, 1, env_kwargs)) as plain:
        _check_draws(name, plain.envs[0].metadata)
    choose_mujoco_gl()
    env = _make_vec(task, 1, {**env_kwargs, "render_mode": "rgb_array"})
    return RenderedGymnasiumEnv(make_adapter(name, env, action_limit), env, [seed])


def _check_draws(name: str, metadata: Mapping[str, Any]) -> None:
    """Raise a ValueError for an environment that has no pictures, as its metadata say."""
    modes = list(metadata.get("render_modes") or ())
    if "rgb_array" not in modes:
        raise ValueError(
            f'{name} cannot be drawn: "rgb_array" is not among its metadata["render_modes"], which are {modes}. Let '
            "its render() return a picture in that mode, and say so there."
        )


class GymnasiumEnv:
    """Copies of one Gymnasium environment, stepped one after the other, or each in a process."""

    def __init__(self, adapter: Adapter, env: SyncVectorEnv | AsyncVectorEnv, seeds: Sequence[int]) -> None:
        self.spec, self.num_envs = adapter.spec, len(seeds)
        self._adapter, self._env = adapter, env
        self._paths = [path for path, _ in _leaves(env.single_observation_space)]
        self._seeds: list[int | None] | None = list(seeds)
        self._action: FloatArray | None = None
        self._tells_success = False  # some episode has told so far
        self._info_metrics: Sequence[str] = ()
        self.info_names: Sequence[str] = ()  # of the first step

    def report_info(self, names: Sequence[str]) -> None:
        """Let steps tell these figures of the environments' infos."""
        self._info_metrics = names
        self._env.set_attr("info_metrics", [list(names)] * self.num_envs)

    def reset(self) -> ObsArray:
        """Start a new episode in every environment; returns obs [N, O].  The first call seeds them."""
        obs, _ = self._env.reset(seed=self._seeds)
        self._seeds = None
        return self._join(obs)

    def send(self, action: FloatArray) -> None:
        """Keep action [N, A], in [-1, 1] or one-hot, for `recv`."""
        self._action = action

    def recv(self) -> Step:
        """Step with the action that `send` kept."""
        assert self._action is not None, "send before recv"
        action = self._adapter.action(self._action)
        self._action = None
        obs, reward, terminated, truncated, info = self._env.step(action)
        success = self._success(info) if (terminated | truncated).any() else None
        figures = self._figures(info) if self._info_metrics else None
        return Step(self._join(obs), reward.astype(np.float32), terminated, truncated, success, figures)

    def close(self) -> None:
        """Close every environment."""
        self._env.close()

    def _success(self, info: Mapping[str, Any]) -> BoolArray | None:
        """Of the episodes that end now; once one has told, those that end without a word did not succeed."""
        for values in (info[key] for key in SUCCESS_KEYS if key in info):
            if np.shape(values) == (self.num_envs,):
                self._tells_success = True
                return success_of(values)
        return np.zeros(self.num_envs, np.bool_) if self._tells_success else None

    def _figures(self, info: Mapping[str, Any]) -> dict[str, FloatArray]:
        """Those that were asked for, by name."""
        self.info_names = self.info_names or sorted(names_in(info))
        return of_all(info, self._info_metrics, self.num_envs)

    def _join(self, obs: Any) -> ObsArray:
        """The observation [N, O], of copies: the vector env writes its arrays again."""
        return self._adapter.obs([reduce(getitem, path, obs).copy() for path in self._paths], self.num_envs)


class RenderedGymnasiumEnv(GymnasiumEnv):
    """One environment that was made with render_mode "rgb_array"."""

    def __init__(self, adapter: Adapter, env: SyncVectorEnv, seeds: Sequence[int]) -> None:
        super().__init__(adapter, env, seeds)
        self._drawn = env.envs[0]
        self.steps_per_s = float(self._drawn.metadata.get("render_fps") or USUAL_STEPS_PER_S)

    def render(self) -> AnyArray:
        """What its `render` returns: RGB, uint8 [H, W, 3]."""
        picture: AnyArray = np.asarray(self._drawn.render())
        return picture


def _make_vec(task: str, num_envs: int, env_kwargs: EnvKwargs) -> SyncVectorEnv:
    """Gymnasium's vector environment; any error becomes a ValueError of one line."""
    if reserved := RESERVED_KWARGS & env_kwargs.keys():
        raise ValueError(f"env_kwargs must not hold {min(reserved)!r}, which fastsac sets itself.")
    try:
        for module in list_modules(task):
            import_module(module)
        env = gymnasium.make_vec(
            task,
            num_envs=num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.NEXT_STEP, "copy": False},
            wrappers=(CheckedEnv,),
            disable_env_checker=True,
            **env_kwargs,
        )
    except gymnasium.error.UnregisteredEnv as error:
        near = near_matches(task.rpartition(":")[2], list(gymnasium.registry)) or "."
        raise ValueError(
            f"unknown gymnasium id {task!r}{near} "
            'An id that your own module registers is named "gymnasium:package.module:Id-v0".'
        ) from error
    except (Exception, SystemExit) as error:  # whatever a user's constructor raises
        raise cannot_make("gymnasium", task, env_kwargs, error) from error
    assert isinstance(env, SyncVectorEnv)
    number_copies(env)
    return env


def make_adapter(name: str, env: SyncVectorEnv, action_limit: float | None) -> Adapter:
    """The way into environments of a task, and out of them.

    Args:
        name: of the task, back end included.
        env: some of them.
        action_limit: as of `make_env`.

    Raises:
        ValueError: fastsac cannot train the task, with the reason.
    """
    space = env.single_action_space
    parts = [_part(name, path, leaf) for path, leaf in _leaves(env.single_observation_space)]
    actions, first = _action_map(name, space, action_limit), env.envs[0]
    limit, joints, said = time_limit(first), _joint_names(first), [*notes(name, first)]
    return Adapter(name, parts, actions, space.shape or (), limit, joints, notes=said)


def _joint_names(env: gymnasium.Env[Any, Any]) -> list[str]:
    """Of the joint that each actuator of a MuJoCo model moves; none elsewhere, and where one moves something else."""
    try:
        model: Any = env.unwrapped.model  # type: ignore[attr-defined]
        if model.actuator_trntype.any():  # 0 is a joint
            return []
        return [str(model.joint(joint).name) for joint in model.actuator_trnid[:, 0]]
    except Exception:  # an environment's own model may be anything
        return []


def _action_map(name: str, space: Space, action_limit: float | None) -> ActionScale | ActionChoice:
    if isinstance(space, spaces.Discrete):
        return ActionChoice(_states(space), space.dtype, action_limit, name)
    if isinstance(space, spaces.Box) and space.dtype.kind == "f":
        return ActionScale(space.low, space.high, space.dtype, action_limit, name)
    raise ValueError(
        f"{name} has a {type(space).__name__} action space ({space}); fastsac trains continuous actions or one "
        "discrete action. Choose an environment whose action space is a Box of floats or Discrete, or wrap it."
    )


def _part(name: str, path: Keys, leaf: Space) -> ObsPart:
    """One part of the observation that is no dictionary."""
    title = ":".join(path)
    if isinstance(leaf, spaces.Discrete):
        return ObsPart(title or "obs", (), leaf.dtype, _states(leaf))
    if isinstance(leaf, spaces.Box):
        return ObsPart(title or "obs", leaf.shape, leaf.dtype)
    part = f" {title!r}" if path else ""
    raise ValueError(
        f"{name} has observations{part} of space {type(leaf).__name__}; fastsac trains on vectors. "
        "Wrap the environment with gymnasium.wrappers.FlattenObservation and register that."
    )


def _states(space: "spaces.Discrete[Any]") -> range:
    return range(int(space.start), int(space.start + space.n))


def _leaves(space: Space, path: Keys = ()) -> list[tuple[Keys, Space]]:
    """The parts of an observation space that are not dictionaries, each with its path, in the order of the space."""
    if not isinstance(space, spaces.Dict):
        return [(path, space)]
    return [leaf for key, part in space.spaces.items() for leaf in _leaves(part, (*path, str(key)))]
