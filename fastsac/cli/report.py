"""`fastsac report`: a page about runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fastsac.cli.parsing import parse
from fastsac.config.fields import setting


@dataclass(frozen=True)
class ReportArgs:
    """Write one HTML page about a run, which needs no network: settings, returns, evaluations, times, the newest film.

    Of several runs it is a comparison, followed by each of them. Runs may still be going on.
    """

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run directories, as `fastsac train` writes them."""
    output: Path | None = setting(None, metavar="FILE", unset="RUN_DIR/report.html, or report.html for several runs")
    """HTML file to write."""


def run(args: list[str]) -> int:
    """Write the page; returns the exit status."""
    options = parse(ReportArgs, "fastsac report", args)
    from fastsac.report.page.page import write_page
    from fastsac.report.page.story import tell
    from fastsac.run.ending import error_files
    from fastsac.run.result import read_summary

    if not options.run_dirs:
        raise ValueError("RUN_DIR must be given, at least one. `fastsac report --help` lists the options.")
    once = {path.resolve(): path for path in reversed(options.run_dirs)}
    stories = []
    for path in reversed(once.values()):
        errors = [file.read_text(errors="replace") for file in error_files(path)]
        stories.append(tell(path, read_summary(path), "\n".join(errors)))
    print(write_page(stories, options.output))
    return 0
