"""`fastsac collect`: transitions of a trained policy in a file, with which another run begins (`--prefill`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fastsac.cli.parsing import parse
from fastsac.cli.policy_choice import PolicyChoice, in_environments
from fastsac.config.fields import check_number
from fastsac.config.seeds import check_seed

PROG = "fastsac collect"


@dataclass(frozen=True, kw_only=True)
class CollectArgs(PolicyChoice):
    """Write transitions of the newest checkpoint of a run into a new .npz, which `fastsac train --prefill` takes.

    They are new ones of its policy, or with --replay those in its replay.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """New file, ending in .npz."""
    replay: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write all transitions in the member's replay, and step no environment."""
    steps: int = 10_000
    """Number of transitions of the policy."""
    sample: tyro.conf.FlagCreatePairsOff[bool] = False
    """Sample actions, which shows more of the task, rather than take the best."""
    seed: int = 0
    """Random seed of the environments and of sampled actions, in [0, 2^31)."""

    def __post_init__(self) -> None:
        check_number("steps", self.steps, at_least=1)
        check_seed(self.seed)
        for name in ("steps", "sample", "seed", "checkpoint", "trust_env") if self.replay else ():
            if getattr(self, name) != getattr(CollectArgs, name):
                raise ValueError(f"--{name.replace('_', '-')} has no effect with --replay. Leave one of them out.")


def run(args: list[str]) -> int:
    """Collect; returns the exit status."""
    options = parse(CollectArgs, PROG, args)
    from fastsac.api import collect
    from fastsac.run.transition_files import check_free

    check_free(options.file)
    if options.replay:
        write_replay(options)
        return 0
    policy = options.load()
    with in_environments(policy, PROG, options.trust_env):
        env = policy.config.env
        returns = collect(policy, options.file, options.steps, env, options.seed, not options.sample)
    mean = f", mean return {returns.mean():.1f}" if returns.size else ""
    print(f"{options.file}: {options.steps:,} transitions, {returns.size:,} whole episodes{mean}")
    return 0


def write_replay(options: CollectArgs) -> None:
    """Write the transitions in the replay."""
    import torch

    from fastsac.run.stored_replay import read_replay
    from fastsac.run.transition_files import write_recording

    found = read_replay(options.run_dir, options.member_number)
    write_recording(options.file, found, options.load().in_units(torch.from_numpy(found.action)).numpy())
    ends = int((found.terminated | found.truncated).sum())
    print(f"{options.file}: {len(found.reward):,} transitions of the replay, {ends:,} ends of episodes")
