"""What several commands need: a line on stderr, a member by number or by name, the environment that a file names."""

import sys
from pathlib import Path
from typing import Literal

Member = Literal["best"] | int


def say(prog: str, message: str) -> None:
    """Print a message on stderr, in one line."""
    print(f"{prog}: {' '.join(message.split())}", file=sys.stderr)


def member_number(run_dir: Path, member: Member) -> int:
    """The number of a member; "best" is the one with the highest return at its last evaluation."""
    from fastsac.run.extract import best_member

    return best_member(run_dir) if member == "best" else member


def check_env(prog: str, env: str, source: Path, is_trusted: bool) -> None:
    """Check the module of the environment that a config.json or a run directory names, and say what is imported.

    Raises:
        ValueError: the module lies beside the file, and is not trusted.
    """
    from fastsac.env import foreign

    file = source / "config.json" if source.is_dir() else source
    foreign.check_env(env, file, is_trusted, lambda line: say(prog, line))
