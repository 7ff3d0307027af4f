"""`fastsac eval`: episodes with a trained policy, and their returns."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro

from fastsac.cli.parsing import parse
from fastsac.cli.policy_choice import PolicyChoice, in_environments
from fastsac.config.fields import check_number
from fastsac.config.seeds import check_seed

if TYPE_CHECKING:
    from fastsac.api import Evaluation
    from fastsac.policy import Policy

PROG = "fastsac eval"


@dataclass(frozen=True, kw_only=True)
class EvalArgs(PolicyChoice):
    """Evaluate the newest checkpoint of a run, with deterministic actions in new environments."""

    episodes: int = 10
    """Number of episodes, each in its own environment."""
    seed: int = 0
    """Random seed of the environments, in [0, 2^31)."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else."""

    def __post_init__(self) -> None:
        check_number("episodes", self.episodes, at_least=1)
        check_seed(self.seed)


def run(args: list[str]) -> int:
    """Evaluate; returns the exit status."""
    options = parse(EvalArgs, PROG, args)
    policy = options.load()
    evaluation = evaluate_policy(policy, PROG, options.trust_env, options.episodes, options.seed)
    returns = evaluation.returns
    result = {
        "env_id": evaluation.env_id, "run_dir": str(options.run_dir), "member": policy.member,
        "checkpoint": options.checkpoint, "episodes": options.episodes,
        "return_mean": evaluation.mean, "return_std": evaluation.std,
        "return_min": float(returns.min()), "return_max": float(returns.max()),
        "length_mean": float(evaluation.lengths.mean()), "episodes_cut": int(evaluation.cut.sum()),
        "success_rate": evaluation.success_rate, "returns": returns.tolist(),
        "seeds": evaluation.seeds,
    }  # fmt: skip
    print(json.dumps(result) if options.json else evaluation)
    return 0


def evaluate_policy(
    policy: "Policy", prog: str, trust_env: bool, episodes: int, seed: int, deterministic: bool = True
) -> "Evaluation":
    """Episodes in environments of the policy's run, for the command `prog`; raises as `in_environments`."""
    from fastsac.api import evaluate

    with in_environments(policy, prog, trust_env):
        return evaluate(policy, policy.config.env, episodes, seed, deterministic)
