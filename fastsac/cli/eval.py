"""`fastsac eval`: episodes with a trained policy, and their returns."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from fastsac.cli.main import say
from fastsac.cli.parsing import parse
from fastsac.runtime.signals import StopSignals

PROG = "fastsac eval"


@dataclass(frozen=True)
class EvalArgs:
    """Evaluate the newest checkpoint of a run, with deterministic actions in new environments."""

    run_dir: Annotated[Path, tyro.conf.Positional]
    """Run directory, as `fastsac train` writes it."""
    episodes: int = 10
    """Number of episodes, each in its own environment."""
    member: Literal["best"] | int = 0
    """Member of the run, by number; best is the one with the highest return at its last evaluation."""
    checkpoint: Literal["last", "best"] = "last"
    """Policy to evaluate: last is the newest, best is the one with the member's highest evaluation return so far."""
    seed: int = 0
    """Random seed of the environments, in [0, 2^31)."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else."""
    trust_env: tyro.conf.FlagCreatePairsOff[bool] = False
    """Allow the module of the environment to be imported from the run directory."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ValueError(f"episodes must be at least 1, got {self.episodes}.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be in [0, 2^31), got {self.seed}.")


def run(args: list[str]) -> int:
    """Evaluate; returns the exit status."""
    options = parse(EvalArgs, PROG, args)
    from fastsac.acting.errors import BadStepError, NotFiniteError, call_env, of_nobody, try_make
    from fastsac.acting.evaluation import rollout
    from fastsac.env import make_env
    from fastsac.env.foreign import check_env
    from fastsac.nn import philox
    from fastsac.policy import load
    from fastsac.run.extract import best_member

    member = best_member(options.run_dir) if options.member == "best" else options.member
    policy = load(options.run_dir, member, options.checkpoint)
    c = policy.config
    check_env(c.env, options.run_dir, options.trust_env, partial(say, PROG))
    seeds = philox.derive_seeds(options.seed, philox.Purpose.EVAL_SEED, options.episodes)
    make = partial(make_env, c.env, seeds, c.num_env_threads, c.env_kwargs_of_evaluation, c.action_limit)
    with StopSignals():  # tells a Ctrl-C from a KeyboardInterrupt of an environment's
        env = try_make(make)
        try:
            try:
                episodes = rollout(env, lambda obs: policy.act(obs, normalized=True))
            finally:
                call_env(env.close, "close", of_nobody)
        except (BadStepError, NotFiniteError) as error:
            say(PROG, str(error))
            return 1
    returns, lengths, success = episodes
    known = success[np.isfinite(success)]
    result = {
        "env_id": env.spec.env_id, "run_dir": str(options.run_dir), "member": member,
        "checkpoint": options.checkpoint, "episodes": options.episodes,
        "return_mean": float(returns.mean()), "return_std": float(returns.std()),
        "return_min": float(returns.min()), "return_max": float(returns.max()),
        "length_mean": float(lengths.mean()), "success_rate": float(known.mean()) if known.size else None,
        "returns": returns.tolist(),
    }  # fmt: skip
    text = (
        "{env_id}: return {return_mean:.1f} +- {return_std:.1f} (min {return_min:.1f}, max {return_max:.1f}), "
        "length {length_mean:.0f}, {episodes} episodes" + (", success rate {success_rate:.0%}" if known.size else "")
    )
    print(json.dumps(result) if options.json else text.format(**result))
    return 0
