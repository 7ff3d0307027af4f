"""Writes what the results in bench/results say into bench/README.md, and draws the charts that it shows.

Measures nothing.  With --check it writes nothing, and ends with status 1 where the page, or a chart, is not what the
results give.  With files it prints their tables and draws their charts instead.
"""

import importlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import tyro
from matplotlib.figure import Figure

from bench.lib import charts, tables
from bench.lib.harness import Report

HERE = Path(__file__).parent
ORDER = (
    "update", "recipes", "train", "solve", "curves", "members", "scale", "gpu", "threads", "replay", "startup",
    "profile", "long_run",
)  # fmt: skip
"""Of the questions, for the page and for the commands."""
SECTIONS: dict[str, tuple[str, ...]] = {
    "How fast is it beside what I use now?": (
        "Updates", "Training", "Seconds to solve", "Returns over steps and seconds",
    ),
    "How does it scale?": ("Environments", "Members", "Processes", "Batch", "Threads"),
    "What does it cost?": ("Recipes", "Memory", "Start-up", "Checkpoints and long runs"),
}  # fmt: skip
"""Sections of the page, and the headings in each; the tables of the questions say under which they are."""
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)
"""What a report of another shape than today's may raise."""
INTRODUCTION = """# Benchmarks

Written by `python -m bench.report` from `results/`, which has every round, setting and version.
[docs/benchmarks.md](../docs/benchmarks.md) says how each is measured, and what is not equal between the systems.
Figures are medians of the rounds, with their range; ratios are of the rounds, to the first row of fastsac. *Matrix
products of an update, alone*: no update in float32 with this library can be faster."""
REPRODUCING = """`pip install -e ".[bench]"`, then the command; `--help` lists what else it can be told. The peers need
environments of their own (`python -m bench.peers.environments` says which); CleanRL, LeanRL and the folder of
`--before` are checkouts that you name. `python -m bench.report FILE` prints all tables of one file. Load is the
one-minute average before the run, which the benchmark before raises too: well above 1, read ratios and not rates."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to read and write."""

    files: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Reports to show; none to write the page."""
    check: bool = False
    """Write nothing; status 1 where something is to be written."""
    results: Path = HERE / "results"
    """Folder with a folder of reports for every machine."""
    readme: Path = HERE / "README.md"
    """File to write."""


@dataclass(frozen=True)
class Result:
    """A file of results, in a folder with the machine's name, and what its question makes of it.

    Attributes:
        path: of the JSON file.
        report: what it holds.
        figures: its tables.
        charts: by name.
        problem: why it cannot be shown; empty where it can.
    """

    path: Path
    report: Report = field(default_factory=dict)
    figures: Sequence[tables.Figures] = ()
    charts: dict[str, Figure] = field(default_factory=dict)
    problem: str = ""

    @property
    def machine(self) -> str:
        """The folder's name."""
        return self.path.parent.name

    @property
    def name(self) -> str:
        """`cpu2/update`."""
        return f"{self.machine}/{self.path.stem}"


def main(argv: Sequence[str] | None = None) -> int:
    settings = tyro.cli(Settings, prog="python -m bench.report", description=__doc__, args=argv)
    if settings.files:
        return show(settings.files)
    results = read_all(settings.results)
    text = "\n\n".join(page(results)) + "\n"
    todo = []
    for result in results:
        for name, chart in result.charts.items():
            path = charts.place(result.path, name)
            if not charts.is_current(result.report, path):
                todo.append(path)
                if not settings.check:
                    charts.save(chart, result.report, path)
    if not settings.readme.exists() or settings.readme.read_text() != text:
        todo.append(settings.readme)
        if not settings.check:
            settings.readme.write_text(text)
    for result in (r for r in results if r.problem):
        print(f"{result.path}: {result.problem}", file=sys.stderr)
    for path in todo:
        print(f"{path} is not what the results give: run python -m bench.report" if settings.check else path)
    return int(settings.check and bool(todo))


def show(files: Sequence[Path]) -> int:
    """Print the tables of each report, and draw its charts beside it."""
    for result in map(read, files):
        if result.problem:
            raise SystemExit(f"bench.report: {result.path} {result.problem}")
        for table in result.figures:
            table.show()
        charts.save_beside(result.path, result.charts, result.report)
    return 0


# Reading ------------------------------------------------------------------------------------------------------------


def read_all(folder: Path) -> list[Result]:
    """The results of every machine, in the order of the questions."""
    results = [read(path) for each in sorted(folder.iterdir()) for path in sorted(each.glob("*.json"))]

    def rank(result: Result) -> tuple[int, str]:
        bench = result.report.get("bench", "")
        return ORDER.index(bench) if bench in ORDER else len(ORDER), result.name

    return sorted(results, key=rank)


def read(path: Path) -> Result:
    """One file."""
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return Result(path, problem=f"cannot be read: {error}.")
    if not isinstance(report, dict) or not {"bench", "command", "settings", "machine"} <= report.keys():
        return Result(path, problem="is no report of a benchmark.")
    bench = report["bench"]
    if bench not in ORDER:
        return Result(path, report, problem=f"is a report of bench.{bench}, which is not here.")
    question = importlib.import_module(f"bench.{bench}")
    try:
        return Result(path, report, question.figures(report), getattr(question, "draw", no_charts)(report))
    except UNREADABLE as error:
        why = f"{type(error).__name__}: {error}"
        return Result(path, report, problem=f"is a report that today's bench.{bench} cannot read ({why}).")


def no_charts(_: Report) -> dict[str, Figure]:
    """What a question without charts draws."""
    return {}


# Writing ------------------------------------------------------------------------------------------------------------


def page(results: Sequence[Result]) -> Iterator[str]:
    """The parts of the page."""
    good = [result for result in results if not result.problem]
    yield INTRODUCTION
    yield machines(good)
    for section, headings in SECTIONS.items():
        yield f"## {section}"
        for heading in headings:
            parts = joined(part for result in good for part in under(heading, result))
            if parts:
                yield f"### {heading}"
                yield from parts
    yield "## How to reproduce it"
    yield REPRODUCING
    yield commands([result for result in good if any(table.heading for table in result.figures)])
    yield from (f"`{result.name}` {tables.escape(result.problem)}" for result in results if result.problem)


def under(heading: str, result: Result) -> Iterator[str]:
    """What a result has under a heading: its tables, and its charts below them."""
    mine = [table for table in result.figures if table.heading == heading]
    yield from (table.markdown(result.machine) for table in mine)
    for name, chart in result.charts.items() if mine else ():
        alt = tables.escape(f"{chart.get_suptitle()} on {result.machine}")
        yield f"![{alt}](results/{result.machine}/{charts.place(result.path, name).name})"


def joined(parts: Iterable[str]) -> list[str]:
    """Tables of the same columns that follow each other as one."""
    whole: list[str] = []
    for part in parts:
        head, _, *rows = part.splitlines() if "\n" in part else (part, "")
        if rows and whole and whole[-1].startswith(head):
            whole[-1] = "\n".join([whole[-1], *rows])
        else:
            whole.append(part)
    return whole


def machines(results: Sequence[Result]) -> str:
    """What the machines are."""
    lines = []
    for name in dict.fromkeys(result.machine for result in results):
        mine = [result.report for result in results if result.machine == name]
        first = max((report["machine"] for report in mine), key=lambda machine: machine["cores"])
        torch = dict.fromkeys(report["versions"]["torch"] for report in mine)
        memory = f"{first['memory_bytes'] / 2**30:.0f} GiB"
        gpu = first["gpu"]["name"] if first["gpu"] else "none"
        cells = (name, first["cpu"], first["cpu_capability"], first["cores"], memory, gpu, ", ".join(torch))
        lines.append("| {} | {} ({}) | {} | {} | {} | {} |".format(*cells))
    return "\n".join(
        ["| machine | processor | cores | memory | GPU | torch |", "| --- | --- | ---: | --- | --- | --- |", *lines]
    )


def commands(results: Sequence[Result]) -> str:
    """How each report was made, when, of what, and how busy the machine was."""
    lines, said = [], []
    for result in results:
        report = result.report
        commit = (report.get("commit") or "unknown")[:7] + (" with changes" if report.get("dirty") else "")
        load = "" if report.get("load_before") is None else f"{report['load_before']:.1f}"
        started = f"{datetime.fromisoformat(report['started']):%Y-%m-%d}"
        lines.append(f"| {result.name} | {started} | {commit} | {load} | `{report['command']}` |")
        if report.get("note"):
            said.append(f"{result.name}: {report['note']}")
    head = "| result | made | commit | load | command |\n| --- | --- | --- | ---: | --- |"
    return "\n".join([head, *lines, "", " ".join(said)]).rstrip()


if __name__ == "__main__":
    sys.exit(main())
