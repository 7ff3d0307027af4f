"""The algorithms by name, and what the learner asks of one.

An algorithm is one file with one frozen dataclass that implements `Algorithm`, for one member; `torch.func.vmap`
adds the member axis.  It composes nets, losses, optim and random, and knows no other algorithm.  Adding one takes its
file, its tests and a line here.

Axes: B batch, O obs_dim, A action_dim, P parameters of a network.
"""

import importlib
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from torch import Tensor

if TYPE_CHECKING:
    from fastsac.algorithms.batch import Batch
    from fastsac.config.settings import Config
    from fastsac.env import EnvSpec
    from fastsac.nn.encoder import Encoder

State = dict[str, Any]
Hyper = dict[str, Tensor]

METRICS = ("critic_loss", "q_mean", "actor_loss", "alpha_loss", "alpha", "entropy")
NUM_CRITIC_METRICS = 2  # the rest are of the actor's and the temperature's step

VARIANTS = {  # --algo: module and class
    "sac": ("fastsac.algorithms.sac", "Sac"),
    "sac-v1": ("fastsac.algorithms.sac_v1", "SacV1"),
    "sac-discrete": ("fastsac.algorithms.sac_discrete", "SacDiscrete"),
    "sql": ("fastsac.algorithms.sql", "Sql"),
    "sql-discrete": ("fastsac.algorithms.sql_discrete", "SqlDiscrete"),
}


class Algorithm(Protocol):
    """Sizes, switches and functions of one algorithm; all functions are pure.

    Attributes:
        encoder: what its networks see observations through.
        action_dim: A; for discrete actions, which are one-hot rows, the number of choices.
        actor_delay: actor and temperature are updated at every so many steps.
        discrete: what actions it is for.
        adjusts_alpha: the temperature can follow a target entropy; else it is init_alpha for all time.
        acts_by: the entry of the state's `params` that `act` takes.
    """

    encoder: "Encoder"
    action_dim: int
    actor_delay: int
    discrete: ClassVar[bool]
    adjusts_alpha: ClassVar[bool]
    acts_by: ClassVar[str]

    @classmethod
    def from_config(cls, config: "Config", spec: "EnvSpec", fuse_for_gpu: bool = False) -> Self:
        """Sizes for one task; `fuse_for_gpu` shapes the update for a GPU."""
        ...

    def hyper(self, config: "Config") -> dict[str, float]:
        """Hyper-parameters that members may differ in."""
        ...

    def init(self, seed: Tensor, init_alpha: float) -> State:
        """A fresh member; the state holds `params`, `grad_steps` and whatever else a step carries on."""
        ...

    def act(self, policy: Tensor, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [B, A] for obs [B, O] (of images uint8): sampled by standard normal noise [B, A], or the best."""
        ...

    def act_randomly(self, noise: Tensor) -> Tensor:
        """Uniform actions [B, A] of standard normal noise [B, A]."""
        ...

    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """Shape of the standard normal numbers that `update` wants."""
        ...

    def update(
        self, hyper: Hyper, state: State, batch: "Batch", noise: Tensor, with_actor: bool = True
    ) -> tuple[State, Tensor]:
        """One gradient step; the new state and METRICS as one vector."""
        ...


def resolve_algorithm(algo: str, discrete: bool) -> str:
    """What `auto` means for a task, and `sql` for discrete actions; other names stay."""
    if algo == "sql" and discrete:
        return "sql-discrete"
    if algo != "auto":
        return algo
    return "sac-discrete" if discrete else "sac"


def get_algorithm(algo: str) -> type[Algorithm]:
    """The class of an algorithm."""
    module, name = VARIANTS[algo]
    algorithm: type[Algorithm] = getattr(importlib.import_module(module), name)
    return algorithm
