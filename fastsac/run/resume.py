"""The checkpoint that a run goes on from, and whether it fits."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from fastsac import checkpoint
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.run.result import read_summary
from fastsac.run.run_state import RunState, sizes_of


@dataclass(frozen=True)
class Resume:
    """Where a run goes on.

    Attributes:
        found: the checkpoint.
        state: the run's, in it.
        complete: nothing is left to do.
    """

    found: checkpoint.Found
    state: RunState
    complete: bool


def check_resume(config: Config, spec: EnvSpec, run_dir: Path) -> Resume:
    """The newest checkpoint of `run_dir`, which must fit the configuration.

    Raises:
        ValueError: no checkpoint, another environment, or sizes that do not fit.
    """
    found = find_checkpoint(run_dir, with_replay=config.checkpoint_replay == "full")
    state = RunState.read(found)
    if state.env_id != spec.env_id:
        raise ValueError(
            f"the checkpoint in {run_dir} is of {state.env_id}, got env {spec.env_id}. Resume without --env."
        )
    differing = [
        f"{k} {state.sizes.get(k)}, got {v}" for k, v in sizes_of(config, spec).items() if state.sizes.get(k) != v
    ]
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
    return Resume(found, state, config.resume == "auto" and closed and (at_end or summary.get("stopped_by") == "goal"))


def find_checkpoint(run_dir: Path, with_replay: bool) -> checkpoint.Found:
    """The newest checkpoint that a run can go on from.

    Args:
        run_dir: the run's folder.
        with_replay: only one whose replay is whole; else that of the newest whole learner goes along if it is whole.

    Raises:
        ValueError: there is none; says if there is one without its replay.
    """
    if with_replay:
        try:
            return checkpoint.find(run_dir)
        except checkpoint.DamagedError as error:
            name = checkpoint.find(run_dir, with_replay=False).folder.name
            remedy = "--checkpoint-replay none goes on from it, with an empty replay."
            raise ValueError(f"{error} The learner of {name} is whole: {remedy}") from None
    found = checkpoint.find(run_dir, with_replay=False)
    try:
        checkpoint.check_files(found.folder, found.meta, with_replay=True)
    except checkpoint.DamagedError as error:
        note = " ".join([found.note, f"{error} Going on without the replay."]).strip()
        return dataclasses.replace(found, note=note)
    return dataclasses.replace(found, with_replay=True)
