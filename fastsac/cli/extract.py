"""`fastsac extract`: one member of a run as a run of its own, or its policy alone."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from fastsac import policies
from fastsac.cli.eval import evaluate_policy
from fastsac.cli.flags import flag_name
from fastsac.cli.parsing import parse
from fastsac.cli.policy_choice import PolicyChoice
from fastsac.config.fields import check_number, setting
from fastsac.disk.files import folder_bytes

if TYPE_CHECKING:
    from fastsac.api import Evaluation
    from fastsac.run.policy_dir import Evaluated

PROG = "fastsac extract"
EPISODES = 10
SEED = 0  # of the evaluation on the card
OF_POLICIES = ("checkpoint", "episodes", "trust_env")  # flags of --policy-only


@dataclass(frozen=True, kw_only=True)
class ExtractArgs(PolicyChoice):
    """Copy one member of a run to a run directory of its own, which can be evaluated, plotted and continued.

    With --policy-only, write its policy alone into a small folder, to be loaded, evaluated, played and exported.
    """

    member: Literal["best"] | int = "best"
    """Member of the run, by number; best is the one with the highest return at its last evaluation."""
    out: Path | None = setting(None, metavar="FOLDER", unset="RUN_DIR-memberN, or RUN_DIR-policyN")
    """Folder to write, new or empty."""
    policy_only: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write the policy alone, with its normaliser, settings, evaluations, and a card that says how it was made."""
    checkpoint: Literal["last", "best"] = "last"
    """Policy to write with --policy-only: last is the newest, best the one with the highest evaluation return."""
    episodes: int | None = setting(None, at_least=0, unset=str(EPISODES))
    """Number of episodes of the evaluation that the card of --policy-only tells of; 0 for none."""
    trust_env: tyro.conf.FlagCreatePairsOff[bool] = False
    """Allow the module of the environment to be imported from the run directory, for that evaluation."""

    def __post_init__(self) -> None:
        check_number("episodes", self.episodes, at_least=0)
        given = [name for name in OF_POLICIES if getattr(self, name) != getattr(ExtractArgs, name)]
        if given and not self.policy_only:
            raise ValueError(f"{flag_name(given[0])} has no effect without --policy-only. Leave it out, or give both.")


def run(args: list[str]) -> int:
    """Extract; returns the exit status."""
    options = parse(ExtractArgs, PROG, args)
    from fastsac.run.extract import extract

    member = options.member_number
    out = options.out or default_out(options, member)
    if options.policy_only:
        return write_policy(options, member, out)
    config = extract(options.run_dir, member, out)
    print(f"member {member} of {options.run_dir}: seed {config.seed}, now alone in {out}")
    return 0


def default_out(options: ExtractArgs, member: int) -> Path:
    """Beside the run directory; in the working directory for a policy of the package."""
    home = Path() if policies.is_ours(options.run_dir) else options.run_dir.parent
    kind = "policy" if options.policy_only else "member"
    return home / f"{options.run_dir.resolve().name}-{kind}{member}"


def write_policy(options: ExtractArgs, member: int, out: Path) -> int:
    """Evaluate and write; returns the exit status."""
    from fastsac.policy import load
    from fastsac.run.card import make_card
    from fastsac.run.extract import extract_policy, free_place
    from fastsac.run.stored_policy import read_stored

    free_place(out)
    run_dir, episodes = options.run_dir, EPISODES if options.episodes is None else options.episodes
    stored = read_stored(run_dir, member, options.checkpoint)
    card = make_card(run_dir, stored, options.checkpoint)
    if episodes:
        policy = load(run_dir, member, options.checkpoint)
        evaluation = evaluate_policy(policy, PROG, options.trust_env, episodes, SEED)
        card = dataclasses.replace(card, evaluation=figures_of(evaluation))
        print(evaluation)
    extract_policy(stored, run_dir, out, card)
    print(f"policy of member {member} of {run_dir}, {folder_bytes(out):,} bytes, now alone in {out}")
    return 0


def figures_of(evaluation: "Evaluation") -> "Evaluated":
    """What a card tells of an evaluation."""
    from fastsac.run.policy_dir import Evaluated

    return Evaluated(
        episodes=len(evaluation.returns),
        seed=SEED,
        return_mean=evaluation.mean,
        return_std=evaluation.std,
        return_min=float(evaluation.returns.min()),
        return_max=float(evaluation.returns.max()),
        length_mean=float(evaluation.lengths.mean()),
        success_rate=evaluation.success_rate,
    )
