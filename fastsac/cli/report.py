"""`fastsac report`: a page about runs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastsac import policies
from fastsac.cli.main import say
from fastsac.cli.parsing import RunDirs, parse
from fastsac.config.fields import setting

if TYPE_CHECKING:
    from fastsac.report.page.story import Story


PROG = "fastsac report"


@dataclass(frozen=True)
class ReportArgs:
    """Write one HTML page about a run, which needs no network: settings, returns, evaluations, times, the newest film.

    Of several runs it is a comparison, followed by each of them. Runs may still be going on.
    """

    run_dirs: RunDirs
    """Run directories, as `fastsac train` writes them; demo:NAME is a policy of `fastsac demo`."""
    output: Path | None = setting(
        None, metavar="FILE", unset="RUN_DIR/report.html, ./report.html for several, ./NAME.html of demo:NAME"
    )
    """HTML file to write."""


def run(args: list[str]) -> int:
    """Write the page; returns the exit status."""
    options = parse(ReportArgs, PROG, args)
    from fastsac.report.page.page import write_page
    from fastsac.report.runs import repeats_text

    if not options.run_dirs:
        raise ValueError("RUN_DIR must be given, at least one. `fastsac report --help` lists the options.")
    once = {path.resolve(): path for path in reversed(options.run_dirs)}
    stories = [story_of(path) for path in reversed(once.values())]
    if text := repeats_text([story.run for story in stories]):
        say(PROG, text)
    print(write_page(stories, options.output or policies.file_here(options.run_dirs, ".html")))
    return 0


def story_of(path: Path) -> "Story":
    """What a run directory tells, or the folder of a policy alone; a ValueError where that is nothing."""
    from fastsac.report.failure import error_text
    from fastsac.report.page.story import tell
    from fastsac.run.policy_dir import is_policy_dir, read_about
    from fastsac.run.result import read_summary

    card = asdict(read_about(path).card) if is_policy_dir(path) else None
    return tell(path, read_summary(path), error_text(path), card)
