"""A task as JSON keeps it, beside what was trained in it: enough to use a policy without the environment."""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from fastsac.algorithms import registry
from fastsac.config.algorithms import ALGORITHMS
from fastsac.env import EnvSpec, ObsPart

OF_POLICIES = ("algo", "obs_dim", "action_dim", "image")  # sizes that acting needs


@dataclass(frozen=True)
class PartRecord:
    """An `ObsPart`; `states` are the first value and the one after the last."""

    name: str
    shape: list[int]
    dtype: str
    states: list[int] | None

    @classmethod
    def of(cls, part: ObsPart) -> Self:
        """That of a part."""
        states = None if part.states is None else [part.states.start, part.states.stop]
        return cls(part.name, list(part.shape), np.dtype(part.dtype).name, states)

    @property
    def part(self) -> ObsPart:
        """What it is the record of."""
        return ObsPart(self.name, tuple(self.shape), self.dtype, None if self.states is None else range(*self.states))


@dataclass(frozen=True)
class TaskRecord:
    """The task that policies are trained in, with the settings and sizes that their tensors depend on."""

    env_id: str
    sizes: dict[str, Any]  # settings and sizes that must be equal in the run that continues this one
    action_bounds: list[list[float]]  # (low, high) of each actuator
    obs_parts: list[PartRecord]  # this and the next two are as in `EnvSpec`
    action_shape: list[int] | None
    action_start: int

    @property
    def spec(self) -> EnvSpec:
        """The task that policies were trained in; its time limit is not known."""
        image = self.sizes.get("image")
        return EnvSpec(
            env_id=self.env_id,
            obs_dim=self.sizes["obs_dim"],
            action_dim=self.sizes["action_dim"],
            obs_layout=tuple((record.name, record.part.size) for record in self.obs_parts),
            max_episode_steps=None,
            action_bounds=tuple((low, high) for low, high in self.action_bounds),
            discrete=registry.get_algorithm(self.sizes["algo"]).discrete,
            image=image and tuple(image),
            obs_parts=tuple(record.part for record in self.obs_parts),
            action_shape=None if self.action_shape is None else tuple(self.action_shape),
            action_start=self.action_start,
        )

    def of_policy(self) -> "TaskRecord":
        """The same with those sizes alone that acting needs."""
        values = {field.name: getattr(self, field.name) for field in fields(TaskRecord)}
        return TaskRecord(**{**values, "sizes": {name: self.sizes.get(name) for name in OF_POLICIES}})

    def check(self, source: str) -> None:
        """Raise a ValueError, with the name of the `source`, where sizes are missing or do not add up."""
        dims = (self.sizes.get("obs_dim"), self.sizes.get("action_dim"))
        if not all(type(n) is int and n > 0 for n in dims) or self.sizes.get("algo") not in ALGORITHMS:
            raise ValueError(f"{source} lacks sizes.")
        if self.obs_parts and sum(record.part.size for record in self.obs_parts) != dims[0]:
            raise ValueError(f"{source} has parts of an observation that do not add up.")
