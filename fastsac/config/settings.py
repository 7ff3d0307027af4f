"""Everything a run is told: one frozen dataclass, checked at construction; JSON."""

import dataclasses
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from fastsac.config.checks import check
from fastsac.config.construction import made_from_preset
from fastsac.config.defaults import EnvName, Settings
from fastsac.config.derived import Derived
from fastsac.config.fields import DEFAULTS, Traits
from fastsac.config.stored import read_text, read_values


@made_from_preset
@dataclass(frozen=True, kw_only=True)
class Config(Settings, EnvName, Derived):
    """All that one training run is told: what is not given comes from the preset of the environment, then the defaults.

    `Config(env="Pendulum-v1", seed=3)` trains as `fastsac train --env Pendulum-v1 --seed 3` does.
    """

    def __post_init__(self) -> None:
        """Raises ValueError with the name, the rule and the value."""
        check(self)

    @classmethod
    def names(cls, **traits: Unpack[Traits]) -> list[str]:
        """Names of the settings with all these traits: `Config.names(sweepable=True)`."""
        fields = dataclasses.fields(cls)
        return [field.name for field in fields if traits.items() <= {**DEFAULTS, **field.metadata}.items()]

    @classmethod
    def default(cls, name: str) -> object:
        """The default of a setting; a ValueError for env, which has none."""
        (field,) = [field for field in dataclasses.fields(cls) if field.name == name]
        if field.default is not dataclasses.MISSING:
            return field.default
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        raise ValueError(f"{name} has no default.")

    def of_member(self, member: int) -> "Config":
        """The settings with which this member alone would be trained."""
        changes = {"seed": self.member_seeds[member], "seeds": 1, "sweep": (), **self.member_setting(member)}
        return self.replace(**changes)

    @cached_property
    def members(self) -> list["Config"]:
        """The settings with which each member alone would be trained."""
        return [self.of_member(member) for member in range(self.num_members)]

    def replace(self, **changes: Any) -> "Config":
        """A copy with some fields changed, checked again; a ValueError where the preset is, whose values are in it."""
        if changes.get("preset", self.preset) != self.preset:
            raise ValueError("preset cannot be changed: it gave its values when the Config was made. Make another one.")
        return dataclasses.replace(self, **changes)

    def of_no_call(self) -> "Config":
        """The same for any call: without what is of one alone, such as the folder that it writes to."""
        return self.replace(**{name: self.default(name) for name in self.names(of_call=True)})

    def to_json(self) -> str:
        """This configuration as JSON that `from_json` reads back to an equal one."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "config") -> "Config":
        """Read what `to_json` wrote; raises ValueError, with the name of the `source`, for anything else."""
        values = read_values(text, source, cls.names())
        plain = dataclasses.asdict(cls(env="", preset="none"))  # what an earlier version did not write yet
        try:
            return cls(**{**plain, **values})
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> "Config":
        """Read a config.json, or the one in a run directory; raises ValueError if that fails."""
        path = Path(path)
        path = path / "config.json" if path.is_dir() else path
        return cls.from_json(read_text(path), str(path))
