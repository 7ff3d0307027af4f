"""`fastsac extract`: one member of a run as a run of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fastsac.cli.parsing import parse
from fastsac.config.fields import setting


@dataclass(frozen=True)
class ExtractArgs:
    """Copy one member of a run to a run directory of its own, which can be evaluated, plotted and continued."""

    run_dir: Annotated[Path, tyro.conf.Positional]
    """Run directory, as `fastsac train` writes it."""
    member: Literal["best"] | int = "best"
    """Member of the run, by number; best is the one with the highest return at its last evaluation."""
    out: Path | None = setting(None, metavar="FOLDER", unset="RUN_DIR-memberN")
    """Folder to write, new or empty."""


def run(args: list[str]) -> int:
    """Extract; returns the exit status."""
    options = parse(ExtractArgs, "fastsac extract", args)
    from fastsac.run.extract import best_member, extract

    member = best_member(options.run_dir) if options.member == "best" else options.member
    out = options.out or options.run_dir.with_name(f"{options.run_dir.resolve().name}-member{member}")
    config = extract(options.run_dir, member, out)
    print(f"member {member} of {options.run_dir}: seed {config.seed}, now alone in {out}")
    return 0
