"""The environment contract, in words and as types.  Owns no simulator and imports none.

Axes: N environments, O obs_dim, A action_dim (continuous: actuators; discrete: choices).

The contract of a `VectorEnv`
-----------------------------
1. It steps N copies of one task.  Observations are float32 `[N, O]`, rewards float32 `[N]`, flags bool `[N]`.  A
   back end casts and flattens at this door; nothing behind it sees float64, dictionaries or simulator types.  An
   observation that is the number of a state, out of a known range, arrives as a one-hot vector.
   Where the observation is one image, `spec.image` is its (channels, height, width) and observations are uint8
   `[N, O]` from 0 to 255, flattened channels first: pixel (c, y, x) lies at `c * height * width + y * width + x`.
   An image is a single array of uint8 with both sides of at least MIN_IMAGE_SIDE pixels (see `image_shape`); smaller
   arrays are vectors as all others.
2. Actions are float32 `[N, A]`.  Of a continuous task they lie in [-1, 1], and the back end scales them to the task's
   own bounds.  Of a discrete task (`spec.discrete`) A is the number of choices and a row is one-hot: the back end takes
   its argmax, in the numbering and the dtype of the simulator.
3. `send(action)` starts a step and may return before it is done; `recv()` waits for it.  They alternate.  The caller
   does not change `action` between the two.
4. Episodes reset on the NEXT step.  The `Step` that carries `terminated` or `truncated` holds the true final
   observation.  The following step ignores that environment's action, resets it, and returns the first observation
   of the new episode with reward 0 and both flags false.  That row is a dummy: it is not a transition.
5. `terminated` means that the task ended (no bootstrap); `truncated` means that it was cut off (bootstrap).  Both may
   be true at once; termination then decides.  The keyword `max_episode_steps` among env_kwargs is the number of steps
   after which an episode is cut off; a back end that cannot do that refuses the keyword.
6. Environment i draws all its randomness from `seeds[i]` given at construction: same seeds and actions, same numbers.
7. Arrays that `reset` and `recv` return belong to the caller: the back end does not write them again.
8. Errors are exceptions, with `env_index` where it is known which environment they came from, and `place`, a text,
   where it is known which line of a user's code is to blame and the traceback does not lead there.
9. An environment may be able to save its state (`SavesState`).  Then a resumed run goes on with the episodes of the
   interrupted one, and gives its numbers bit for bit.  Without, a resumed run makes its environments anew, with other
   seeds, and begins new episodes.
10. `success`, bool `[N]`, says of each episode that ends with this step whether its task was achieved, and is anything
   elsewhere.  It is None where the back end does not know; our back ends take it from the simulator's info of the last
   step, `is_success` or `success`.
11. A back end may be able to draw its tasks (`make_rendered`).  Drawing changes no number: the same seed and actions
   give the same episode, drawn or not.
12. `info` holds figures of the step by name, such as terms of the reward: float32 `[N]` each, NaN where an environment
   does not tell one, and anything in a dummy row.  Names are the same at every step.  It is None, or may lack figures,
   where nobody asked for them: an environment for which telling costs something offers `ReportsInfo`.

A back end is a module with the functions of `Backend`.  Register it under the entry-point group `fastsac.envs`, or name
it as `"package.module:task"`; such a module may also lie in the working directory, which is looked into last.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

AnyArray = NDArray[Any]  # of a simulator's dtype
FloatArray = NDArray[np.float32]
ObsArray = AnyArray  # float32, or uint8 of a task whose observation is one image
BoolArray = NDArray[np.bool_]
EnvKwargs = Mapping[str, Any]  # passed to the simulator as they are
ImageShape = tuple[int, int, int]  # channels, height, width


class ObsPart(NamedTuple):
    """One array of an observation, for one environment; `states` are the values of an integer to be made one-hot."""

    name: str  # in dictionaries within dictionaries "goal:kettle"; "obs" of an observation that is no dictionary
    shape: tuple[int, ...]
    dtype: DTypeLike
    states: range | None = None

    @property
    def size(self) -> int:
        """Numbers of it in the flattened observation."""
        return math.prod(self.shape) if self.states is None else len(self.states)


@dataclass(frozen=True)
class EnvSpec:
    """A task as seen from behind the door."""

    env_id: str  # the full name, back end included: "envpool:Pendulum-v1"
    obs_dim: int  # O, the length of the flattened observation
    action_dim: int  # A, the number of actuators, or of choices for a discrete task
    obs_layout: tuple[tuple[str, int], ...]  # name and length of each part of the observation, as they are joined
    max_episode_steps: int | None  # the time limit; None where there is none or it is not known
    # (low, high) of each actuator in the task's own units; empty where all are (-1, 1), and for a discrete task.
    action_bounds: tuple[tuple[float, float], ...] = ()
    discrete: bool = False  # an action is one of A choices, sent as a one-hot row
    image: ImageShape | None = None  # of a task whose observation is one image; None for vectors
    # What the simulator itself shows and takes, by which `fastsac.Policy` acts on its observations.
    obs_parts: tuple[ObsPart, ...] = ()  # as they are joined; empty where only vectors [O] are known
    action_shape: tuple[int, ...] | None = None  # for one environment; None is (A,), and () of a discrete task
    action_start: int = 0  # the number of a discrete task's first choice
    joint_names: tuple[str, ...] = ()  # of the joint that each actuator moves; empty where the simulator tells none
    info_names: tuple[str, ...] | None = None  # of all figures that steps can tell; None where steps must show it
    notes: tuple[str, ...] = ()  # sentences that a run prints at its start

    def difference(self, other: "EnvSpec") -> str | None:
        """Name of the first size or bound in which `other` differs; None if a policy of this task fits it."""
        names = ("obs_dim", "action_dim", "discrete", "image", "action_bounds")
        return next((name for name in names if getattr(self, name) != getattr(other, name)), None)


class Step(NamedTuple):
    """The rows of one vector step; see the contract above."""

    obs: ObsArray  # [N, O], float32; uint8 of an image
    reward: FloatArray  # [N]
    terminated: BoolArray  # [N]
    truncated: BoolArray  # [N]
    success: BoolArray | None = None  # [N], of the episodes that end; None where it is not known
    info: Mapping[str, FloatArray] | None = None  # [N] each, figures by name; None where there are none


class VectorEnv(Protocol):
    """N environments stepped together; the contract is in the module's docstring."""

    spec: EnvSpec
    num_envs: int

    def reset(self) -> ObsArray:
        """Start a new episode in every environment; returns obs [N, O]."""

    def send(self, action: FloatArray) -> None:
        """Start a step with action [N, A], in [-1, 1] or one-hot; may return before it is done."""

    def recv(self) -> Step:
        """Wait for the step that `send` started."""

    def close(self) -> None:
        """Free threads and memory."""


@runtime_checkable
class SavesState(Protocol):
    """An addition that a `VectorEnv` may offer: an exact copy of where it is."""

    def state_dict(self) -> dict[str, AnyArray]:
        """Arrays of numbers or bools by name: all that the steps to come depend on.  Asked for between two steps.

        Names, shapes and dtypes are the same for any two environments of one task and number.
        """

    def load_state_dict(self, state: Mapping[str, AnyArray]) -> None:
        """Be where the environment was that gave `state`; instead of `reset`, or at any time between two steps.

        Raises ValueError if it is not of such an environment.
        """


@runtime_checkable
class ReportsInfo(Protocol):
    """An addition that a `VectorEnv` may offer: its steps tell those figures alone that are asked for."""

    info_names: Sequence[str]  # of the figures that are known so far

    def report_info(self, names: Sequence[str]) -> None:
        """Let `info` of all steps hold these figures.  Asked for once, before the first `reset`."""


class RenderedEnv(VectorEnv, Protocol):
    """An environment, of N = 1, that can be drawn."""

    steps_per_s: float  # of an episode at its natural speed

    def render(self) -> AnyArray:
        """A picture of the state that the last `reset` or `recv` led to: RGB, uint8 [H, W, 3], the top row first."""


class Backend(Protocol):
    """The functions of a back-end module.

    A task that neither `list_tasks` nor `list_slow_tasks` names is refused before these functions see it, unless the
    module says `TAKES_MORE = True`: names with parameters in them, for example.  Then `make_spec` refuses those that
    there are not.

    Five more functions are optional.  `make_rendered(task, seed, env_kwargs, action_limit) -> RenderedEnv`: one
    environment that can be drawn; raises ValueError for a task of which there are no pictures, or not on this machine,
    with the remedy.  `list_slow_tasks() -> list[str]`: names that take long to describe, which is done only where they
    are asked for.  `family(task) -> str`: the family that a listed task belongs to.
    `why_only_here(task) -> str`: why a task exists in this process alone, where it does.
    `list_modules(task) -> list[str]`: the modules that the name of a task asks for, told without importing any; import
    them by `import_module`.
    """

    def make_spec(self, task: str, env_kwargs: EnvKwargs, action_limit: float | None) -> EnvSpec:
        """Describe `task` without building it; raises ValueError for a task that cannot be trained, with the remedy."""

    def make(
        self, task: str, seeds: Sequence[int], num_threads: int, env_kwargs: EnvKwargs, action_limit: float | None
    ) -> VectorEnv:
        """Build one environment per seed; `num_threads` 0 lets the back end choose."""

    def list_tasks(self) -> list[str]:
        """The names of the tasks; may leave out those that cannot be trained, and with `TAKES_MORE` others."""
