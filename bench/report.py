"""Writes what the results in bench/results say into bench/README.md, and draws the charts that it shows.

Measures nothing.  With --check it writes nothing, and ends with status 1 where the page, or a chart, is not what the
results give.  With files it prints their tables and draws their charts instead.
"""

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import ModuleType

import tyro
from matplotlib.figure import Figure

from bench.lib import charts, tables
from bench.lib.harness import Report
from bench.lib.results import Result, extent, measured

HERE = Path(__file__).parent
ORDER = (
    "update", "train", "solve", "curves", "members", "gpu", "threads", "replay", "startup", "profile",
    "long_run",
)  # fmt: skip
"""Of the questions, for the page and for the commands."""
SECTIONS: dict[str, tuple[str, ...]] = {
    "How fast is it beside what I use now?": (
        "Updates", "Training", "Seconds to solve", "Returns over steps and seconds",
    ),
    "How does it scale?": ("Environments", "Members", "Batch"),
    "What does it cost?": ("Memory", "Start-up", "Checkpoints and long runs"),
}  # fmt: skip
"""Sections of the page, and the headings in each; a question says in PAGE what it has to say under which."""
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)
"""What a report of another shape than today's may raise."""
INTRODUCTION = """# Benchmarks

Written by `python -m bench.report` from the files in `results/`, which hold every round, setting and version.
[docs/benchmarks.md](../docs/benchmarks.md) says how each is measured, and what is not equal between the systems."""
REPRODUCING = """`pip install -e ".[bench]"`, then the command; `--help` lists what else it can be told. The peers need
environments of their own: `python -m bench.peers.environments` says which. CleanRL and LeanRL are checkouts that you
name, as is the folder of `--before`. `python -m bench.report` writes this page anew, and `python -m bench.report FILE`
prints all tables of one file. Keep the machine quiet: a load well above 0 means that others worked."""


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


def main(argv: Sequence[str] | None = None) -> int:
    settings = tyro.cli(Settings, prog="python -m bench.report", description=__doc__, args=argv)
    if settings.files:
        return show(settings.files)
    results = read_all(settings.results)
    text = "\n\n".join(page(results)) + "\n"
    todo = []
    for result, name, path in pictures(results, text, settings.readme.parent):
        if not charts.is_current(result.report, path):
            todo.append(path)
            if not settings.check:
                charts.save(drawn(result)[name], result.report, path)
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
        tables.show(module_of(result).figures(result.report))
        charts.save_beside(result.path, drawn(result), result.report)
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
    result = Result(path, report)
    if report["bench"] not in ORDER:
        return replace(result, problem=f"is a report of bench.{report['bench']}, which is not here.")
    try:
        module = module_of(result)
        module.figures(report)
        for part in getattr(module, "PAGE", {}).values():
            list(part([result]))
    except UNREADABLE as error:
        why = f"{type(error).__name__}: {error}"
        return replace(result, problem=f"is a report that today's bench.{report['bench']} cannot read ({why}).")
    return result


def module_of(result: Result) -> ModuleType:
    """The question's file."""
    return importlib.import_module(f"bench.{result.report['bench']}")


def drawn(result: Result) -> dict[str, Figure]:
    """Its charts, by name; none of a question that draws none."""
    draw: Callable[[Report], dict[str, Figure]] = getattr(module_of(result), "draw", lambda _: {})
    return draw(result.report)


def pictures(results: Sequence[Result], text: str, folder: Path) -> Iterator[tuple[Result, str, Path]]:
    """The charts that the page shows: whose, their names there, and their files."""
    for link in re.findall(r"\]\((results/[^)]+\.png)\)", text):
        machine, stem = Path(link).parent.name, Path(link).stem
        mine = [r for r in results if r.machine == machine and f"{stem}-".startswith(f"{r.path.stem}-")]
        result = max(mine, key=lambda r: len(r.path.stem))
        yield result, stem.removeprefix(result.path.stem).removeprefix("-"), folder / link


# Writing ------------------------------------------------------------------------------------------------------------


def page(results: Sequence[Result]) -> Iterator[str]:
    """The parts of the page."""
    good = [result for result in results if not result.problem]
    yield INTRODUCTION
    yield machines(good)
    for section, headings in SECTIONS.items():
        yield f"## {section}"
        for heading in headings:
            parts = [part for bench in ORDER for part in of_question(bench, heading, good)]
            if parts:
                yield f"### {heading}"
                yield from parts
        if section == next(iter(SECTIONS)):
            yield from before_and_after(good)
    yield "## How to reproduce it"
    yield REPRODUCING
    yield commands(good)
    yield from (f"`{result.name}` {tables.escape(result.problem)}" for result in results if result.problem)


def of_question(bench: str, heading: str, results: Sequence[Result]) -> Iterator[str]:
    """What a question has to say under a heading."""
    mine = [result for result in results if result.report["bench"] == bench]
    module = importlib.import_module(f"bench.{bench}") if mine else None
    told = getattr(module, "PAGE", {}).get(heading)
    if told is not None:
        yield from (part for part in told(mine) if part)


def machines(results: Sequence[Result]) -> str:
    """What the machines are."""
    lines = []
    for name in dict.fromkeys(result.machine for result in results):
        mine = [result.report for result in results if result.machine == name]
        first = max((report["machine"] for report in mine), key=lambda machine: machine["cores"])
        gpu = first["gpu"]
        torch = dict.fromkeys(report["versions"]["torch"] for report in mine)
        memory = f"{first['memory_bytes'] / 2**30:.0f} GiB"
        cpu = f"{first['cpu']} ({first['cpu_capability']})"
        lines.append([name, cpu, str(first["cores"]), memory, gpu["name"] if gpu else "none", ", ".join(torch)])
    return tables.Figures("", ["machine", "processor", "cores", "memory", "GPU", "torch"], lines).markdown()


def before_and_after(results: Sequence[Result]) -> Iterator[str]:
    """Rates of this program beside those of its earlier commits, measured in one run."""
    lines = []
    for result in (r for r in results if r.report["settings"].get("before")):
        rates = {row["name"]: row["median"] for row in measured(result.report)}
        for r in result.report["ratios"]:
            if r["to"].startswith("fastsac of "):
                of, case = re.split(", ", r["to"].removeprefix("fastsac of "), maxsplit=1)
                told = [f"{result.report['settings'].get('env', 'update')}, {case}", of, result.report["commit"][:7]]
                lines.append([*told, *(tables.number(rates[r[key]]) for key in ("to", "of")), extent(r["by_round"], 2)])
    if lines:
        yield "### Beside earlier commits"
        columns = ["per second", "before", "after", "rate before", "rate after", "ratio by round"]
        yield tables.Figures("", columns, lines).markdown()


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
