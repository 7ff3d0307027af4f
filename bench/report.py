"""Writes what all results say into bench/README.md: the headline and the contents on top, tables and charts below.

Reads every report in bench/results/MACHINE/, and measures nothing.  With --check it writes nothing, and ends with
status 1 where the file, or a chart, is not what the results give.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import tyro
from matplotlib.figure import Figure

from bench import chart, harness, markdown, rate_chart

HERE = Path(__file__).parent
ORDER = (
    "update", "train", "solve", "compare", "returns", "members", "gpu", "replay", "env", "profile", "compile",
    "startup", "threads", "checkpoint", "soak",
)  # fmt: skip
"""Of the questions; others follow."""
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)
"""What a report of another shape than today's may raise."""
LINE_WIDTH = 110  # of commands
VERSIONS_FIRST = ("python", "fastsac", "torch")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to read and write."""

    check: bool = False
    """Write nothing; status 1 where something is to be written."""
    results: Path = HERE / "results"
    """Folder with a folder of reports for every machine."""
    readme: Path = HERE / "README.md"
    """File with the generated parts, between lines `<!-- begin headline -->` and so on."""


@dataclass(frozen=True)
class Result:
    """A file of results: a report and the modules that know it, or why it cannot be shown.

    Attributes:
        path: of the JSON file.
        report: what it holds.
        modules: `bench.NAME` and, if there is one, `bench.NAME_show`.
        problem: empty where there is none.
    """

    path: Path
    report: harness.Report = dataclasses.field(default_factory=dict)
    modules: tuple[ModuleType, ...] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """As in headings: `cpu2: update`."""
        return f"{self.path.parent.name}: {self.path.stem}"

    @property
    def link(self) -> str:
        """To its section."""
        return f"[{self.path.stem}](#{markdown.anchor(self.name)})"

    def find(self, name: str) -> Any:
        """What the modules call so, or None."""
        return next((getattr(module, name) for module in self.modules if hasattr(module, name)), None)


def main(argv: Sequence[str] | None = None) -> int:
    settings = tyro.cli(Settings, prog="python -m bench.report", description=__doc__, args=argv)
    machines = read_results(settings.results)
    todo = list(update_charts(machines, settings.check))
    old = settings.readme.read_text()
    try:
        new = render(old, machines)
    except markdown.NoSuchPart as error:
        raise SystemExit(f"bench.report: {settings.readme} {error}") from None
    if new != old:
        todo.append(str(settings.readme))
        if not settings.check:
            settings.readme.write_text(new)
    for result in (r for results in machines.values() for r in results if r.problem):
        print(f"{result.path}: {result.problem}", file=sys.stderr)
    for name in todo:
        print(f"{name} is not what the results give: run python -m bench.report" if settings.check else name)
    return int(settings.check and bool(todo))


# Reading ------------------------------------------------------------------------------------------------------------


def read_results(folder: Path) -> dict[str, list[Result]]:
    """The results of every machine, in the order of the questions."""
    machines = {
        each.name: [read(path) for path in each.glob("*.json")] for each in sorted(folder.iterdir()) if each.is_dir()
    }
    return {name: sorted(results, key=place) for name, results in machines.items() if results}


def place(result: Result) -> tuple[int, str, str]:
    """Where a result comes among those of its machine."""
    bench = str(result.report.get("bench", "")) or result.path.stem
    return (ORDER.index(bench) if bench in ORDER else len(ORDER), bench, result.path.stem)


def read(path: Path) -> Result:
    """One file."""
    try:
        report = json.loads(path.read_text())
    except ValueError as error:
        return Result(path, problem=f"is not JSON: {error}.")
    name = report.get("bench") if isinstance(report, dict) else None
    if not isinstance(name, str) or not {"question", "settings", "machine"} <= report.keys():
        return Result(path, problem="is no report of a benchmark.")
    if not name.isidentifier() or not importlib.util.find_spec(f"bench.{name}"):
        return Result(path, report, problem=f"is a report of bench.{name}, which is not here.")
    names = [f"bench.{name}", f"bench.{name}_show"]
    result = Result(path, report, tuple(importlib.import_module(n) for n in names if importlib.util.find_spec(n)))
    try:
        if make_figures(result) is None:
            return Result(path, report, problem=f"is a report of bench.{name}, which has no figures(report).")
        make_headline(result)
        list(result_part(result, cores=0))
        make_panels(result)
    except UNREADABLE as error:
        why = f"{type(error).__name__}: {error}"
        return Result(path, report, problem=f"is a report that today's bench.{name} cannot read ({why}).")
    return result


def make_figures(result: Result) -> list[harness.Figures] | None:
    """The report's tables."""
    made = result.find("figures")
    if made is None and {"unit", "rows", "ratios"} <= result.report.keys():
        made = harness.rate_figures
    return made and made(result.report)


def make_headline(result: Result) -> list[harness.Headline]:
    """What the first lines of the file say of it."""
    if result.report["settings"].get("quick"):
        return []
    made = result.find("headline")
    if made is None and {"unit", "rows", "ratios"} <= result.report.keys():
        made = harness.rate_headline
    return made(result.report) if made else []


def make_panels(result: Result) -> list[rate_chart.Panel]:
    """What the bars of a chart with the report's stem show; none where it has a chart of another kind, or none."""
    return (result.find("panels") or rate_chart.panels_of)(result.report)


def make_chart(result: Result) -> Figure | None:
    """The chart with the report's stem; None where it has none."""
    draw = result.find("draw_chart")
    if draw is not None:
        figure: Figure | None = draw(result.report)
        return figure
    panels = make_panels(result)
    return rate_chart.draw(result.report, panels) if panels else None


def update_charts(machines: dict[str, list[Result]], check: bool) -> Iterator[str]:
    """Draw the charts that are missing or of another report, unless only checking; their names."""
    for result in (r for results in machines.values() for r in results if not r.problem):
        path = result.path.with_suffix(".png")
        if chart.is_current(result.report, path):
            continue
        figure = make_chart(result)
        if figure is not None:
            if not check:
                chart.save(figure, result.report, path)
            yield str(path)


# Rendering ----------------------------------------------------------------------------------------------------------


def render(text: str, machines: dict[str, list[Result]]) -> str:
    """The file with its generated parts anew.

    Raises:
        NoSuchPart: it lacks the lines between which they are.
    """
    parts = [part for name, results in machines.items() for part in machine_part(name, results)]
    text = markdown.replace_part(text, "results", "\n\n".join(["## All results", *parts]))
    return markdown.replace_part(text, "headline", "\n\n".join([*headline(machines), contents(text, machines)]))


def headline(machines: dict[str, list[Result]]) -> list[str]:
    """A table of what to know first; of several files of one kind the first that has something."""
    rows = []
    for name, results in machines.items():
        seen: set[str] = set()
        for result in results:
            lines = [] if result.problem or result.report["bench"] in seen else make_headline(result)
            if lines:
                seen.add(result.report["bench"])
            for line in lines:
                cells = [markdown.escape(cell) for cell in (line.what, line.ours, line.other, line.ratio)]
                rows.append(f"| {name}, {result.link} | {' | '.join(cells)} |")
    if not rows:
        return []
    head = "| machine, results | what | fastsac | beside | ratio (min to max of the rounds) |\n|---|---|---|---|---|"
    return [
        "\n".join([head, *rows]),
        "Of rates (per second) a ratio above 1 speaks for fastsac; of seconds and steps, one below.",
    ]


def contents(text: str, machines: dict[str, list[Result]]) -> str:
    """Links to the sections, and to each result."""
    lines = [f"- [{heading}](#{markdown.anchor(heading)})" for heading in markdown.headings(text)]
    for name, results in machines.items():
        lines.append(f"  - [{name}](#{markdown.anchor(name)}): {', '.join(r.link for r in results)}")
    return "\n".join(lines)


def machine_part(name: str, results: Sequence[Result]) -> Iterator[str]:
    """A machine, then its results."""
    yield f"### {name}"
    shown = [result.report["machine"] for result in results if not result.problem]
    if shown:
        yield machine_text(shown)
    for result in results:
        yield f"#### {result.name}"
        if result.problem:
            yield f"`{result.path.name}` {markdown.escape(result.problem)}"
        else:
            yield from result_part(result, max(machine["cores"] for machine in shown))


def machine_text(machines: Sequence[dict[str, Any]]) -> str:
    """Processor, cores, memory and GPU; what differs between reports is named with all its values."""
    cpus = {f"{m['cpu']} ({m['cpu_capability']})" for m in machines}
    gpus = {f"{g['name']}, {gib(g['memory_bytes'])}, CUDA {g['cuda']}" for m in machines if (g := m["gpu"])}
    cores = max(m["cores"] for m in machines)
    memory = {gib(m["memory_bytes"]) for m in machines}
    parts = [*sorted(cpus), f"{cores} core{'s' * (cores > 1)}", f"memory {' or '.join(sorted(memory))}"]
    return markdown.escape("; ".join([*parts, *(sorted(gpus) or ["no GPU"]), *{m["system"] for m in machines}])) + "."


def gib(size_bytes: int) -> str:
    """`23.5 GiB`."""
    return f"{size_bytes / 2**30:.1f} GiB"


def result_part(result: Result, cores: int) -> Iterator[str]:
    """Question, tables, charts, and how it was made."""
    report = result.report
    question = " ".join(report["question"].split("\n\n")[0].split())
    yield markdown.escape(question)
    if not report.get("complete", True):
        yield "**Not complete**: the measurement was going on, or did not come to its end."
    if report["settings"].get("quick"):
        yield "**Made with `--quick`**: the figures mean nothing."
    yield from markdown.figures(make_figures(result) or [])
    for picture in charts(result.path):
        told = markdown.escape(alt_text(result, picture, question))
        yield f"![{told}](results/{result.path.parent.name}/{picture.name})"
    hyper = hyper_parameters(report)
    if hyper:
        yield markdown.details("Hyper-parameters and other settings", hyper)
    yield made(report, cores)
    yield from command(result)


def charts(path: Path) -> list[Path]:
    """The pictures beside a report: with its stem, or beginning with it unless another report's fits better."""
    stems = [other.stem for other in path.parent.glob("*.json")]
    found = []
    for picture in sorted(path.parent.glob(f"{path.stem}*.png")):
        owners = [stem for stem in stems if picture.stem == stem or picture.stem.startswith(f"{stem}-")]
        if owners and max(owners, key=len) == path.stem:
            found.append(picture)
    return found


def alt_text(result: Result, picture: Path, question: str) -> str:
    """A picture in words."""
    panels = make_panels(result) if picture.stem == result.path.stem else []
    if panels:
        return rate_chart.alt_text(panels)
    part = picture.stem.removeprefix(result.path.stem).strip("-")
    return f"Chart{f' of {part}' if part else ''}: {question}"


def hyper_parameters(report: harness.Report) -> str:
    """A column for every row that has some, rows of the same name and values once; a line per hyper-parameter."""
    columns = []
    for row in report.get("rows", []):
        about = row.get("about", {})
        told = {name: plain_text(value) for name, value in (row.get("hyper") or about.get("hyper") or {}).items()}
        told |= {f"{name}, version": version for name, version in about.get("versions", {}).items()}
        told |= {"threads": plain_text(about["threads"])} if "threads" in about else {}
        names = [row.get("env", ""), row.get("system", ""), row.get("name", row.get("key", ""))]
        column = (" ".join(name for name in names if name), told)
        if told and column not in columns:
            columns.append(column)
    told_by_any = dict.fromkeys(name for _, told in columns for name in told)
    lines = [[name, *(told.get(name, "") for _, told in columns)] for name in told_by_any]
    lines = [line for line in lines if any(line[1:])]
    return markdown.table(["", *(name for name, _ in columns)], lines) if lines else ""


def plain_text(value: Any) -> str:
    """A value of JSON: `64, 64`, `net_arch 64, 64`, `none`."""
    if isinstance(value, dict):
        return "; ".join(f"{name} {plain_text(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(plain_text, value))
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


def made(report: harness.Report, cores: int) -> str:
    """When, of what, and how busy the machine was."""
    started = datetime.fromisoformat(report["started"])
    commit = f"commit `{report['commit'][:7]}`" if report.get("commit") else "no commit known"
    changed = " with changes" if report.get("dirty") else ""
    load = ", ".join(f"{report[f'load_{at}']:.2f} {at}" for at in ("before", "after") if f"load_{at}" in report)
    parts = [f"{started:%Y-%m-%d %H:%M} {started.tzname()}", commit + changed, f"load {load}" if load else ""]
    if report["machine"]["cores"] < cores:
        parts.append(f"held to {report['machine']['cores']} of {cores} cores")
    threads = report["machine"]["torch_threads"]
    parts.append(f"{threads} thread{'s' * (threads > 1)} of torch")
    versions = {name: v for name, v in report["versions"].items() if v != "not installed"}
    names = sorted(versions, key=lambda name: (name not in VERSIONS_FIRST, list(versions).index(name)))
    listed = ", ".join(f"{name} {versions[name]}" for name in names)
    return f"Made {', '.join(part for part in parts if part)}. {markdown.escape(listed)}."


# The command --------------------------------------------------------------------------------------------------------


def command(result: Result) -> Iterator[str]:
    """The line to type for the same measurement, and what to know of it."""
    report, bench = result.report, result.report["bench"]
    options = flags(result.modules[0].Settings, report["settings"])
    ending = ["--json", f"bench/results/{result.path.parent.name}/{result.path.name}"]
    if not are_understood(result.modules[0].Settings, [word for option in options for word in option], report):
        yield f"The settings have changed since: `git checkout {(report.get('commit') or '')[:7]}` before"
    elif any(row.get("commit", report["commit"]) != report["commit"] for row in report.get("rows", [])):
        yield "Rows with another commit are older. The newest ones come from"
    lines = [f"python -m bench.{bench}"]
    for words in (shlex.join(map(without_folder, option)) for option in [*options, ending]):
        if len(lines[-1]) + len(words) < LINE_WIDTH:
            lines[-1] += f" {words}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {words}")
    yield "\n".join(["```", *lines, "```"])


def flags(cls: type, told: dict[str, Any]) -> list[list[str]]:
    """The options, each with its values, for those settings that differ from the defaults of today."""
    fields = [f for f in dataclasses.fields(cls) if f.name != "json"]
    known = {f.name: as_json(f.default) for f in fields if f.default is not dataclasses.MISSING}
    names = [f.name for f in fields if f.name in told] + [name for name in told if name not in known]
    return [flag(name, told[name]) for name in names if name not in known or known[name] != told[name]]


def as_json(value: Any) -> Any:
    """As it would be read from a file."""
    return json.loads(json.dumps(value, default=str))


def flag(name: str, value: Any) -> list[str]:
    """One option: `--seeds 1 2 3`, `--quick`, `--goal=-200.0`."""
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [option if value else f"--no-{option.removeprefix('--')}"]
    if isinstance(value, list):
        return [option, *map(str, value)]
    text = str(value)
    return [f"{option}={text}"] if text.startswith("-") else [option, text]


def without_folder(word: str) -> str:
    """A path of the machine without the folders, which are not those of the reader."""
    return f".../{Path(word).name}" if word.startswith("/") else word


def are_understood(cls: type, args: Sequence[str], report: harness.Report) -> bool:
    """Whether today's options give the settings of the report."""
    try:
        with contextlib.redirect_stderr(None):
            settings = as_json(dataclasses.asdict(tyro.cli(cls, args=args, console_outputs=False)))
    except (SystemExit, ValueError):
        return False
    return all(settings.get(name) == value for name, value in report["settings"].items())


if __name__ == "__main__":
    sys.exit(main())
