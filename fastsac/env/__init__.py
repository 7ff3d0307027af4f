"""Environments: the contract, the way from a name to a back end, and what back ends share.  Names no simulator."""

from fastsac.env.actions import rows_of_actions
from fastsac.env.adapt import (
    MAX_FLAT_SIZE,
    MIN_IMAGE_SIDE,
    NO_BOUND,
    SUCCESS_KEYS,
    ActionChoice,
    ActionScale,
    Adapter,
    channels_first,
    find_image,
    image_shape,
    join,
    one_hot,
    small_picture,
    success_of,
)
from fastsac.env.contract import (
    AnyArray,
    Backend,
    BoolArray,
    EnvKwargs,
    EnvSpec,
    FloatArray,
    ObsArray,
    ObsPart,
    RenderedEnv,
    ReportsInfo,
    SavesState,
    Step,
    VectorEnv,
)
from fastsac.env.failures import cannot_make, describe_error, place_of
from fastsac.env.listing import Task, describe, list_envs, list_slow_envs, list_tasks
from fastsac.env.messages import check_info_metrics, check_known_kwargs, first_line, near_matches, told
from fastsac.env.modules import OWN_BACKENDS, import_module
from fastsac.env.observations import flatten
from fastsac.env.registry import (
    DEFAULT_BACKEND,
    ENTRY_POINT_GROUP,
    MAX_SEED,
    OBJECT_BACKEND,
    backend_modules,
    backend_names,
    make_env,
    make_rendered_env,
    make_spec,
    modules_of,
    register_env,
    resolve,
    why_only_here,
)
from fastsac.env.resets import NextStepReset
from fastsac.env.spaces import (
    Box,
    Dict,
    Discrete,
    Space,
    action_range,
    action_shape,
    action_space,
    observation_space,
    parts_of,
)

__all__ = [
    "DEFAULT_BACKEND", "ENTRY_POINT_GROUP", "MAX_FLAT_SIZE", "MAX_SEED", "MIN_IMAGE_SIDE", "NO_BOUND",
    "OBJECT_BACKEND", "OWN_BACKENDS", "SUCCESS_KEYS", "ActionChoice", "ActionScale", "Adapter", "AnyArray",
    "Backend", "BoolArray", "Box", "Dict", "Discrete", "EnvKwargs", "EnvSpec", "FloatArray", "NextStepReset",
    "ObsArray", "ObsPart", "RenderedEnv", "ReportsInfo", "SavesState", "Space", "Step", "Task", "VectorEnv",
    "action_range", "action_shape", "action_space", "backend_modules", "backend_names", "cannot_make",
    "channels_first", "check_info_metrics", "check_known_kwargs", "describe", "describe_error", "find_image",
    "first_line", "flatten", "image_shape", "import_module", "join", "list_envs", "list_slow_envs", "list_tasks",
    "make_env", "make_rendered_env", "make_spec", "modules_of", "near_matches", "observation_space", "one_hot",
    "parts_of", "place_of", "register_env", "resolve", "rows_of_actions", "small_picture", "success_of", "told",
    "why_only_here",
]  # fmt: skip
