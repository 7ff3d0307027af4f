"""`fastsac plot`: pictures of runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastsac import policies
from fastsac.cli.main import say
from fastsac.cli.parsing import RunDirs, parse
from fastsac.config.fields import setting

PROG = "fastsac plot"


@dataclass(frozen=True)
class PlotArgs:
    """Draw the learning curves of one or more runs as PNG: returns over environment steps and over wall-clock time.

    For a sweep, also draw the final returns by setting (RUN_DIR/sweep.png), and print them as a table, best first.
    """

    run_dirs: RunDirs
    """Run directories, as `fastsac train` writes them; demo:NAME is a policy of `fastsac demo`."""
    out: Path | None = setting(
        None, metavar="FILE", unset="RUN_DIR/curves.png, ./curves.png for several, ./NAME.png of demo:NAME"
    )
    """PNG file to write; the picture of a sweep gets the same name with -sweep added."""
    x: Literal["both", "steps", "seconds"] = "both"
    """Draw returns over environment steps, over wall-clock time, or both side by side."""


AXES = {"both": ("env_steps", "wall_s"), "steps": ("env_steps",), "seconds": ("wall_s",)}


def run(args: list[str]) -> int:
    """Draw; returns the exit status."""
    options = parse(PlotArgs, PROG, args)
    from fastsac.report.curves import plot
    from fastsac.report.ranking import rank, show
    from fastsac.report.runs import read_runs, repeats_text
    from fastsac.report.sweep_charts import beside, plot_sweep

    runs = read_runs(options.run_dirs)
    if text := repeats_text(runs):
        say(PROG, text)
    out = options.out or policies.file_here(options.run_dirs, ".png")
    print(plot(runs, out, AXES[options.x]))
    if picture := plot_sweep(runs, out and beside(out)):
        print(picture)
        show(rank(runs))
    return 0
