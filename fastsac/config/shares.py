"""The part of a run that one of several processes trains: settings as a `Config`, sizes those of the part.

Members are divided, or one agent's environments, replay and batch are.  What is counted over the whole run stays as it
was given: steps, budgets, and the settings of a sweep.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

from fastsac.config import sweeps
from fastsac.config.kinds import shown
from fastsac.config.settings import Config

DIVIDED = ("num_envs", "batch_size")  # of one agent, exactly


def spans(total: int, num_parts: int) -> list[tuple[int, int]]:
    """Divide `total` things into consecutive parts [first, last), of which the first may have one more."""
    size, longer = divmod(total, num_parts)
    bounds = [part * size + min(part, longer) for part in range(num_parts + 1)]
    return list(pairwise(bounds))


@dataclass(frozen=True, kw_only=True)
class Share(Config):
    """The settings of one process: those of the `whole` run, but for sizes."""

    whole: Config

    def __post_init__(self) -> None:
        """The whole has been checked."""

    def to_json(self) -> str:
        """Of the whole run."""
        return self.whole.to_json()


@dataclass(frozen=True, kw_only=True)
class SomeMembers(Share):
    """The settings of a run of which one process trains the members [first, last)."""

    first: int
    last: int

    @classmethod
    def of(cls, config: Config, rank: int, num_ranks: int) -> Self:
        """The share of one of `num_ranks` processes; a ValueError where there are fewer members."""
        if num_ranks > config.num_members:
            m = config.num_members
            raise ValueError(
                f"{num_ranks} processes cannot share {m} member{'s' * (m > 1)}. Start at most {m}, or give more seeds."
            )
        first, last = spans(config.num_members, num_ranks)[rank]
        return cls(**_values(config), whole=config, first=first, last=last)

    @property
    def first_member(self) -> int:
        """The number that its first member has in the run."""
        return self.first

    @property
    def num_members(self) -> int:
        """M: those of this share."""
        return self.last - self.first

    @cached_property
    def member_seeds(self) -> list[int]:
        """The seed of each of its members."""
        return self.whole.member_seeds[self.first : self.last]

    def member_setting(self, member: int) -> sweeps.Setting:
        """The values that a sweep gives to one of its members."""
        return self.whole.member_setting(self.first + member)

    def member_name(self, member: int) -> str:
        """As the whole run calls it."""
        return self.whole.member_name(self.first + member)

    def of_member(self, member: int) -> Config:
        """The settings with which this member alone would be trained."""
        return self.whole.of_member(self.first + member)


@dataclass(frozen=True, kw_only=True)
class PartOfAgent(Share):
    """The settings of a run of one agent of which each of `num_ranks` processes has an equal part of the data."""

    rank: int
    num_ranks: int

    @classmethod
    def of(cls, config: Config, rank: int, num_ranks: int) -> Self:
        """The part of one of `num_ranks` processes; a ValueError where the data cannot be divided."""
        if config.num_members > 1:
            raise ValueError(
                f"parallel data trains one agent, got {config.num_members} members. "
                "Give --parallel members, or one seed."
            )
        for name in DIVIDED:
            if (value := getattr(config, name)) % num_ranks:
                fitting = {value // num_ranks * num_ranks, -(-value // num_ranks) * num_ranks} - {0}
                raise ValueError(
                    f"{name} {shown(value)} cannot be divided among {num_ranks} processes. "
                    f"Give {' or '.join(map(str, sorted(fitting)))}."
                )
        _check_demonstrated(config, num_ranks)
        parts = {name: getattr(config, name) // num_ranks for name in DIVIDED}
        parts["buffer_size"] = -(-config.buffer_size // num_ranks)  # as many rows as one process has
        graph = config.updates_per_graph  # of all environments
        return cls(
            **_values(config) | parts | {"updates_per_launch": graph}, whole=config, rank=rank, num_ranks=num_ranks
        )

    @property
    def first_env(self) -> int:
        """The number that its first environment has in the run."""
        return self.rank * self.num_envs

    @property
    def all_envs(self) -> int:
        """Environments of all processes."""
        return self.num_ranks * self.num_envs

    @property
    def first_of_batch(self) -> int:
        """The number that its first transition has in a batch."""
        return self.rank * self.batch_size

    @property
    def whole_batch(self) -> int:
        """Transitions in the batches of all processes."""
        return self.num_ranks * self.batch_size

    @property
    def eval_span(self) -> tuple[int, int]:
        """The episodes of an evaluation [first, last) that it plays, of all."""
        return spans(self.eval_episodes, self.num_ranks)[self.rank]


def share_of(config: Config, rank: int, num_ranks: int) -> Share:
    """The share of one of several processes, as `parallel` says; a ValueError where the run cannot be divided so."""
    parts_data = config.parallel == "data" or (config.parallel == "auto" and config.num_members == 1)
    return (PartOfAgent if parts_data else SomeMembers).of(config, rank, num_ranks)


def _check_demonstrated(config: Config, num_ranks: int) -> None:
    """Raise a ValueError where the demonstrated transitions of a batch cannot be divided."""
    if (count := config.num_demonstrated) % num_ranks:
        below = count // num_ranks * num_ranks
        fitting = [n for n in (below, below + num_ranks) if 0 < n < config.batch_size]
        shares = " or ".join(f"{n / config.batch_size:.6g}" for n in fitting)
        raise ValueError(
            f"prefill_share {shown(config.prefill_share)} is {count} of the {config.batch_size} transitions of a "
            f"batch, which cannot be divided among {num_ranks} processes. "
            f"{f'Give {shares}' if fitting else 'Raise batch_size'}."
        )


def _values(config: Config) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(Config)}
