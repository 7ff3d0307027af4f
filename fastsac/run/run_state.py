"""Where a run is, beside its tensors: what a checkpoint keeps in meta.json, and whether a run can go on from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from fastsac import checkpoint
from fastsac.acting.episodes import Episodes
from fastsac.config.history import Resumed, continued, read_history
from fastsac.config.kinds import conform
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.report.failure import error_text, why_failed
from fastsac.report.progress import duration
from fastsac.run.result import read_summary
from fastsac.run.task_record import TaskRecord

Row = dict[str, int | float]
"""A row of a table: numbers by column."""

NOT_IN_EARLIER_VERSIONS: dict[str, Any] = {
    "obs_parts": [],
    "action_shape": None,
    "action_start": 0,
    "goals": None,
    "prefill": None,
}
PER_MEMBER = ("env_steps", "grad_steps", "learn_from", "rollbacks", "goal_at")


@dataclass(frozen=True)
class LastRow:
    """The last row of metrics.csv: its steps, how long ago it was, and seconds waited since, by what for."""

    env_steps: int
    grad_steps: int
    ago_s: float
    waited: dict[str, float]


@dataclass(frozen=True)
class RunState(TaskRecord):
    """Counters and records of a run; lists have an entry per member."""

    env_steps: list[int]
    grad_steps: list[int]
    vec_steps: int
    learn_from: list[int]  # env steps from which on the replay holds enough to learn from
    rollbacks: list[int]
    goal_at: list[int | None]  # env steps at which a member reached its goal
    goals: list[float | None] | None  # as of `goals_of`, which `goal_at` is of
    prefill: str | None  # digest of the transitions that the run began with
    evaluation_due: bool  # an evaluation was given up when the run was interrupted
    last_evals: list[Row]  # of eval.csv; none before the first evaluation
    episodes: Episodes
    tables: dict[str, int]  # number of rows of each
    last_row: LastRow
    wall_s: float

    @classmethod
    def from_json(cls, meta: Mapping[str, Any]) -> Self:
        """That of a meta.json; a ValueError where it is not that of a run."""
        state: Self = conform("meta.json", {**NOT_IN_EARLIER_VERSIONS, **_with_later_figures(meta)}, cls)
        lists = [getattr(state, name) for name in PER_MEMBER] + list(vars(state.episodes).values())
        needed = {"return_mean", "return_std", "grad_steps"}
        if len({len(values) for values in lists}) > 1 or not all(needed <= set(row) for row in state.last_evals):
            raise ValueError("meta.json has lists of different lengths, or incomplete rows.")
        state.check("meta.json")
        return state

    def is_of_goals(self, config: Config) -> bool:
        """Whether members that have reached their goal have reached that of `config`."""
        return self.goals in (None, goals_of(config))

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


def _with_later_figures(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """A meta.json of a version that did not count successes, or figures of infos, had none."""
    episodes = meta.get("episodes")
    if not isinstance(episodes, dict) or not isinstance(episodes.get("returns"), list):
        return meta
    none = {"successes": [[] for _ in episodes["returns"]], "info": [{} for _ in episodes["returns"]]}
    return {**meta, "episodes": {**none, **episodes}}


def sizes_of(config: Config, spec: EnvSpec) -> dict[str, Any]:
    """What must be equal between a checkpoint and the run that continues it."""
    kept = {name: getattr(config, name) for name in Config.names(fixed=True)}
    kept |= {"obs_dim": spec.obs_dim, "action_dim": spec.action_dim, "image": spec.image}
    if spec.image is None:
        kept["conv_channels"] = None
    return {name: as_json(value) for name, value in kept.items()}


def defaults_of_sizes() -> dict[str, Any]:
    """What a checkpoint had of the settings that came after it: their defaults change nothing."""
    defaults = {field.name: field.default for field in fields(Config)}
    return {name: as_json(defaults[name]) for name in Config.names(fixed=True)}


def as_json(value: object) -> object:
    """A setting's value as JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Resume:
    """The checkpoint where a run goes on."""

    found: checkpoint.Found
    state: RunState
    complete: bool  # nothing is left to do
    history: list[Resumed]  # of the run; the last is this time

    @property
    def notes(self) -> list[str]:
        """What the run goes on from, and with which other settings."""
        now = self.history[-1]
        replay = "with its replay" if now.with_replay else "without a replay"
        took = duration(self.state.wall_s)
        number = now.checkpoint.partition("_")[0]
        return [f"continues from checkpoint {number}, {now.env_steps:,} steps, after {took}, {replay}", now.changes]


def check_resume(config: Config, spec: EnvSpec, run_dir: Path) -> Resume:
    """The newest checkpoint of `run_dir`; a ValueError where there is none, or it does not fit the configuration."""
    found = find_checkpoint(run_dir, with_replay=config.checkpoint_replay == "full")
    state = RunState.from_json(found.meta)
    check_task(run_dir, spec)
    had = defaults_of_sizes() | state.sizes
    differing = [f"{k} {had.get(k)}, got {v}" for k, v in sizes_of(config, spec).items() if had.get(k) != v]
    if differing:
        raise ValueError(f"the checkpoint in {run_dir} has {', '.join(differing)}. Leave these flags out.")
    if len(state.env_steps) != config.num_members:
        raise ValueError(f"the checkpoint in {run_dir} has {len(state.env_steps)} members, not {config.num_members}.")
    summary = read_summary(run_dir)
    at_end, interrupted = min(state.env_steps) >= config.total_steps, summary.get("interrupted")
    if config.resume != "auto" and at_end and not interrupted:
        raise ValueError(f"{run_dir} is at its {config.total_steps:,} steps already. Give a larger --total-steps.")
    # Without a summary of this very checkpoint the end of the run is still to be made.
    closed = interrupted is False and summary.get("env_steps") == min(state.env_steps)
    at_goal = closed and summary.get("stopped_by") == "goal" and state.is_of_goals(config)
    if config.resume != "auto" and at_goal:
        raise ValueError(f"{run_dir} has reached its goal. Give {goal_flag(config)} none, or another goal, to go on.")
    complete = config.resume == "auto" and ((closed and at_end) or at_goal)
    return Resume(found, state, complete, _history(config, run_dir, found, state))


def _history(config: Config, run_dir: Path, found: checkpoint.Found, state: RunState) -> list[Resumed]:
    """The continuations of a run that goes on now."""
    try:
        stored = Config.load(run_dir)
    except ValueError:  # nothing is known of the settings until now
        stored = config
    with_replay = found.with_replay and found.meta["replay"] is not None
    earlier = read_history(run_dir)
    return continued(earlier, stored, config, min(state.env_steps), found.folder.name, with_replay)


def check_task(run_dir: Path, spec: EnvSpec) -> None:
    """Refuse to go on in another task than that of the newest checkpoint, with a ValueError.

    Whether that can be read at all is for others to tell.
    """
    try:
        *_, newest = checkpoint.checkpoint_dirs(run_dir)
        env_id = RunState.from_json(checkpoint.read_meta(newest)).env_id
    except ValueError:
        return
    if env_id != spec.env_id:
        raise ValueError(
            f"the checkpoint in {run_dir} is of {env_id}, and a run keeps its task, got env {spec.env_id}. Leave --env "
            "out, or give another --run-dir without --resume."
        )


def goals_of(config: Config) -> list[float | None]:
    """The returns at which a run stops early."""
    return [config.stop_at_return, config.stop_at_episode_return]


def goal_flag(config: Config) -> str:
    """The flag of the goal of a run that has one."""
    return "--stop-at-episode-return" if config.stop_at_return is None else "--stop-at-return"


def find(run_dir: Path, with_replay: bool = True) -> checkpoint.Found:
    """The newest checkpoint whose files are whole and whose meta.json is that of a run, as `checkpoint.find`."""
    if why_failed(error_text(run_dir)) and not checkpoint.checkpoint_dirs(run_dir):
        raise ValueError(f"{run_dir} has no checkpoint: {before_first_checkpoint(run_dir)}")
    return checkpoint.find(run_dir, with_replay, RunState.from_json)


def before_first_checkpoint(run_dir: Path) -> str:
    """What to say of a run that ended before its first checkpoint."""
    why = why_failed(error_text(run_dir))
    ended = f"the run ended before its first one{f' ({why})' if why else ''}"
    return f"{ended}. --run-dir {run_dir} --resume auto starts it afresh."


def find_checkpoint(run_dir: Path, with_replay: bool) -> checkpoint.Found:
    """The newest checkpoint that a run can go on from.

    With `with_replay` its replay must be whole, or a ValueError says which learner is; else it goes along if it is.
    """
    if with_replay:
        try:
            return find(run_dir)
        except checkpoint.DamagedError as error:
            name = find(run_dir, with_replay=False).folder.name
            remedy = "--checkpoint-replay none goes on from it, with an empty replay."
            raise ValueError(f"{error} The learner of {name} is whole: {remedy}") from None
    found = find(run_dir, with_replay=False)
    try:
        checkpoint.check_files(found.folder, found.meta, with_replay=True)
    except checkpoint.DamagedError as error:
        note = " ".join([found.note, f"{error} Going on without the replay."]).strip()
        return replace(found, note=note)
    return replace(found, with_replay=True)
