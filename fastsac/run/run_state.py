"""Where a run is, beside its tensors: what a checkpoint keeps in meta.json, and a continued run begins with."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from fastsac import checkpoint
from fastsac.acting.episodes import Episodes
from fastsac.config.kinds import conform
from fastsac.config.settings import Config
from fastsac.env import EnvSpec

Row = dict[str, int | float]
"""A row of a table: numbers by column."""

PER_MEMBER = ("env_steps", "grad_steps", "learn_from", "rollbacks", "goal_at")


@dataclass(frozen=True)
class LastRow:
    """The last row of metrics.csv: its steps, how long ago it was, and seconds waited since, by what for."""

    env_steps: int
    grad_steps: int
    ago_s: float
    waited: dict[str, float]


@dataclass(frozen=True)
class RunState:
    """Counters and records of a run; lists have an entry per member.

    Attributes:
        env_id: the task.
        sizes: settings and sizes that must be equal in the run that continues this one.
        action_bounds: (low, high) of each actuator.
        learn_from: env steps from which on the replay holds enough to learn from.
        goal_at: env steps at which a member reached its goal.
        evaluation_due: an evaluation was given up when the run was interrupted.
        last_evals: rows of eval.csv; none before the first evaluation.
        tables: number of rows of each table.
    """

    env_id: str
    sizes: dict[str, Any]
    action_bounds: list[list[float]]
    env_steps: list[int]
    grad_steps: list[int]
    vec_steps: int
    learn_from: list[int]
    rollbacks: list[int]
    goal_at: list[int | None]
    evaluation_due: bool
    last_evals: list[Row]
    episodes: Episodes
    tables: dict[str, int]
    last_row: LastRow
    wall_s: float

    @classmethod
    def read(cls, found: checkpoint.Found) -> Self:
        """That of a checkpoint.

        Raises:
            ValueError: it holds something else.
        """
        try:
            state: Self = conform("meta.json", found.meta, cls)
            lists = [getattr(state, name) for name in PER_MEMBER] + list(vars(state.episodes).values())
            needed = {"return_mean", "return_std", "grad_steps"}
            if len({len(values) for values in lists}) > 1 or not all(needed <= set(row) for row in state.last_evals):
                raise ValueError("lists of different lengths, or incomplete rows")
        except ValueError as error:
            raise ValueError(f"checkpoint {found.folder} is damaged: its meta.json is not that of a run.") from error
        return state

    def to_json(self) -> dict[str, Any]:
        """JSON values by name."""
        return asdict(self)

    def of_member(self, member: int, sizes: Mapping[str, Any], tables: Mapping[str, int]) -> Self:
        """The state with which one member goes on alone, with the sizes and tables that it has then."""
        one = slice(member, member + 1)
        return replace(
            self,
            **{name: getattr(self, name)[one] for name in PER_MEMBER},
            sizes=dict(sizes),
            tables=dict(tables),
            last_evals=[{**row, "member": 0} for row in self.last_evals[one]],
            episodes=Episodes(*(values[one] for values in vars(self.episodes).values())),
        )


def sizes_of(config: Config, spec: EnvSpec) -> dict[str, Any]:
    """What must be equal between a checkpoint and the run that continues it."""
    kept = {name: getattr(config, name) for name in Config.names(fixed=True)}
    kept |= {"obs_dim": spec.obs_dim, "action_dim": spec.action_dim, "image": spec.image}
    if spec.image is None:
        kept["conv_channels"] = None
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}  # as in JSON
