"""`fastsac demo`: trained policies that come with the package, how they were made, and what they do."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fastsac import policies
from fastsac.cli.eval import evaluate_policy
from fastsac.cli.parsing import parse
from fastsac.cli.play import PlayArgs, episode_text, show
from fastsac.config.fields import setting
from fastsac.disk.files import folder_bytes

PROG = "fastsac demo"


@dataclass(frozen=True)
class DemoArgs:
    """List the trained policies that come with fastsac, or show one: nothing is trained.

    Of one it prints how it was made and its training curve, and shows it in a window or, without a display, films it.

    Where no pictures can be made, it prints the returns.  Wherever a command takes a RUN_DIR, demo:NAME is one of them.
    """

    name: Annotated[str | None, tyro.conf.Positional] = None
    """Which policy to show."""
    video: Path | None = setting(None, metavar="FILE.mp4", unset="a window, or without a display ./NAME.mp4")
    """Film all episodes into this file, and open no window."""
    episodes: int = 1
    """Number of episodes, one after the other."""
    stochastic: tyro.conf.FlagCreatePairsOff[bool] = False
    """Sample the actions, as in training; without it, they are the best ones."""
    seed: int = 0
    """Random seed of the environments and of sampled actions, in [0, 2^31)."""
    speed: float = 1.0
    """How fast to show the episodes: 1 is the task's own time, 0.5 half as fast."""
    seconds: float | None = 7.0
    """Show the first seconds of each episode, or none for all; the rest is played unseen, and counts."""

    def __post_init__(self) -> None:
        if self.name is not None:
            self.play_args()

    def play_args(self) -> PlayArgs:
        """The same for `fastsac play`; a ValueError for an unknown name or what that refuses."""
        folder = policies.folder_of((self.name or "").removeprefix(policies.PREFIX))
        return PlayArgs(
            run_dir=folder, video=self.video, episodes=self.episodes, stochastic=self.stochastic, seed=self.seed,
            speed=self.speed, seconds=self.seconds,
        )  # fmt: skip


def run(args: list[str]) -> int:
    """List or show; returns the exit status."""
    options = parse(DemoArgs, PROG, args)
    if options.name is None:
        if args:
            raise ValueError(f"NAME must be given beside {args[0]}; choose from {', '.join(policies.names())}.")
        print_list()
        return 0
    play_args = options.play_args()
    print_card(play_args.run_dir)
    try:
        return show(play_args, PROG)
    except ValueError as error:
        if options.video is not None:
            raise
        print(f"no pictures: {error}")
    print_episodes(play_args)
    return 0


def print_list() -> None:
    """The policies of the package: task, return, size, and the command that made each."""
    from fastsac.config.settings import Config
    from fastsac.run.policy_dir import read_about

    print(f"{'policy':13}{'task':16}{'return':>10}{'size':>9}   made in")
    for name in policies.names():
        folder = policies.folder_of(name)
        card, task = read_about(folder).card, Config.load(folder).task
        mean = "-" if card.evaluation is None else f"{card.evaluation.return_mean:,.0f}"
        print(f"{name:13}{task:16}{mean:>10}{size_of(folder):>9}   {card.env_steps:,} env steps, by")
        print(f"{'':13}{card.command}")
    print(f"\n`{PROG} NAME` shows one; demo:NAME is its run directory, as in `fastsac eval demo:NAME`.")


def print_card(folder: Path) -> None:
    """What is known of a policy, its training curve, and the command that trains it."""
    from fastsac.report.runs import read_run
    from fastsac.report.text_curve import BLOCKS, PLAIN, text_curve
    from fastsac.run.policy_dir import read_about

    card, training = read_about(folder).card, read_run(folder)
    config, curve = training.config, training.members[0].evals
    rows = {"policy": f"{policies.title_of(folder)}, {size_of(folder)} in {folder}"}
    rows["made in"] = f"{card.env_steps:,} steps of {config.task}: preset {config.preset}, seed {config.seed}"
    if evaluation := card.evaluation:
        rows["return"] = (
            f"{evaluation.return_mean:,.1f} +- {evaluation.return_std:,.1f} over {evaluation.episodes} episodes, "
            f"{evaluation.return_min:,.1f} to {evaluation.return_max:,.1f}"
        )
    rows["train it"] = card.command
    for name, text in rows.items():
        print(f"{name:10}{text}")
    if curve.mean.size:
        mark = card.evaluation.return_mean if card.evaluation else curve.mean[-1]
        print(f"\nreturn of evaluations in training ({folder / 'eval.csv'}), and of this policy")
        print("\n".join(text_curve(curve.env_steps, curve.mean, float(mark), BLOCKS if can_print(BLOCKS) else PLAIN)))
        print()


def print_episodes(options: PlayArgs) -> None:
    """Play without pictures, and print what the episodes came to."""
    from fastsac.policy import load

    policy = load(options.run_dir)
    found = evaluate_policy(policy, PROG, False, options.episodes, options.seed, not options.stochastic)
    for number, episode in enumerate(zip(found.returns, found.lengths, found.cut, strict=True), start=1):
        print(episode_text(number, *episode))


def size_of(folder: Path) -> str:
    """Of all its files, in kilobytes."""
    return f"{folder_bytes(folder) / 1000:.0f} kB"


def can_print(text: str) -> bool:
    """Whether stdout has these letters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
