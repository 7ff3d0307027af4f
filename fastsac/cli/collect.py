"""`fastsac collect`: transitions of a trained policy in a file, with which another run begins (`--prefill`)."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fastsac.cli.main import say
from fastsac.cli.parsing import RunDir, parse
from fastsac.runtime.signals import StopSignals

PROG = "fastsac collect"


@dataclass(frozen=True)
class CollectArgs:
    """Write transitions of the newest checkpoint of a run into a new .npz, which `fastsac train --prefill` takes."""

    run_dir: RunDir
    """Run directory, as `fastsac train` writes it; demo:NAME is a policy of `fastsac demo`."""
    file: Annotated[Path, tyro.conf.Positional]
    """New file, ending in .npz."""
    steps: int = 10_000
    """Number of transitions."""
    sample: tyro.conf.FlagCreatePairsOff[bool] = False
    """Sample actions, which shows more of the task, rather than take the best."""
    member: Literal["best"] | int = 0
    """Member of the run, by number; best is the one with the highest return at its last evaluation."""
    checkpoint: Literal["last", "best"] = "last"
    """Policy: last is the newest, best is the one with the member's highest evaluation return so far."""
    seed: int = 0
    """Random seed of the environments and of sampled actions, in [0, 2^31)."""
    trust_env: tyro.conf.FlagCreatePairsOff[bool] = False
    """Allow the module of the environment to be imported from the run directory."""


def run(args: list[str]) -> int:
    """Collect; returns the exit status."""
    options = parse(CollectArgs, PROG, args)
    from fastsac.acting.errors import BadStepError, NotFiniteError
    from fastsac.api import collect
    from fastsac.env.foreign import check_env
    from fastsac.policy import load
    from fastsac.run.extract import best_member
    from fastsac.run.transition_files import check_free

    check_free(options.file)
    member = best_member(options.run_dir) if options.member == "best" else options.member
    policy = load(options.run_dir, member, options.checkpoint)
    check_env(policy.config.env, options.run_dir, options.trust_env, partial(say, PROG))
    with StopSignals():  # tells a Ctrl-C from a KeyboardInterrupt of an environment's
        try:
            env = policy.config.env
            returns = collect(policy, options.file, options.steps, env, options.seed, not options.sample)
        except (BadStepError, NotFiniteError) as error:
            say(PROG, str(error))
            return 1
    mean = f", mean return {returns.mean():.1f}" if returns.size else ""
    print(f"{options.file}: {options.steps:,} transitions, {returns.size:,} whole episodes{mean}")
    return 0
