"""bench.report: bench/README.md says what the committed results say, and small reports are rendered right."""

import ast
import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from bench import report, update
from bench.lib import charts, harness
from fastsac.cli.parsing import parse
from fastsac.cli.train import train_config

COMMITTED = report.HERE / "results"


def make_rates(**changes: Any) -> harness.Report:
    """What bench.update writes."""
    rows: list[harness.Row] = [
        {"name": "fastsac, compiled", **harness.summary([200.0, 210.0]), "notes": {"mode": "compiled"}},
        {"name": "Stable-Baselines3", **harness.summary([100.0, 100.0]), "notes": {}},
        {"name": "CleanRL", "skipped": 'pip install "fastsac[bench]" | <b>first</b>'},
    ]
    machine = {"cpu": "A CPU", "cpu_capability": "AVX2", "cores": 4, "memory_bytes": 2**34, "torch_threads": 2}
    told = json.loads(json.dumps({k: v for k, v in vars(update.Settings(seconds=1.5)).items() if k != "json"}))
    return {
        "bench": "update",
        "question": "How many updates?",
        "command": "python -m bench.update --seconds 1.5 --json bench/results/box/update.json",
        "started": "2026-11-21T12:56:07+00:00",
        "settings": told,
        "machine": {**machine, "gpu": None, "system": "Linux"},
        "versions": {"python": "3.11.7", "torch": "2.13.0", "mujoco": "not installed"},
        "commit": "fdb6919189232c95991353dc9f54d8a117e3e72c",
        "dirty": True,
        "load_before": 0.125,
        "load_after": 1.5,
        "unit": "updates/s",
        "rows": rows,
        "ratios": [harness.ratio(rows, "fastsac, compiled", "Stable-Baselines3")],
        **changes,
    }


MORE = [{"name": name, **harness.summary([1.0]), "notes": {}} for name in ("skrl", "SBX")]


class Folder:
    """A results folder and its README."""

    def __init__(self, root: Path) -> None:
        self.results, self.readme = root / "results", root / "README.md"
        (self.results / "box").mkdir(parents=True)

    def put(self, stem: str, content: harness.Report | str, machine: str = "box") -> Path:
        path = self.results / machine / f"{stem}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def run(self, *args: str) -> tuple[int, str]:
        status = report.main(["--results", str(self.results), "--readme", str(self.readme), *args])
        return status, self.readme.read_text() if self.readme.exists() else ""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# The committed results ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not COMMITTED.exists(), reason="the results are in the repository only")
def test_the_readme_is_what_the_committed_results_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["--check"]) == 0, capsys.readouterr().out
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""  # nothing to write, nothing that cannot be read


@pytest.mark.skipif(not COMMITTED.exists(), reason="the results are in the repository only")
def test_every_picture_that_is_kept_is_shown() -> None:
    root = report.HERE.parent
    pages = "".join(
        path.read_text() for path in (*root.glob("*.md"), *root.glob("docs/*.md"), report.HERE / "README.md")
    )
    assert [path.name for path in COMMITTED.rglob("*.png") if f"/{path.name})" not in pages] == []


@pytest.mark.skipif(not COMMITTED.exists(), reason="the results are in the repository only")
def test_the_page_is_short_and_its_links_lead_somewhere() -> None:
    text = (report.HERE / "README.md").read_text()
    assert len(text.splitlines()) < 300
    sections = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert sections == [*report.SECTIONS, "How to reproduce it"]
    files = [target for target in re.findall(r"\]\(([^)]+)\)", text) if not target.startswith(("#", "http"))]
    assert {"results/cpu2/update.png", "../docs/benchmarks.md"} <= set(files)
    assert [name for name in files if not (report.HERE / name).exists()] == []


@pytest.mark.skipif(not COMMITTED.exists(), reason="the results are in the repository only")
@pytest.mark.parametrize("path", sorted(COMMITTED.rglob("*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_stored_report_names_a_command_of_today_and_no_folder_of_a_machine(path: Path) -> None:
    first, *words = shlex.split(json.loads(path.read_text())["command"])
    if first == "fastsac":
        train_config(words[1:])
    else:
        settings = importlib.import_module(words[1]).Settings
        assert str(parse(settings, words[1], words[2:]).json) == f"bench/results/{path.parent.name}/{path.name}"
    assert re.findall(r'"[^"]*(?:^|[ "=])/(?:home|root|tmp|work|opt)[^"]*"', path.read_text()) == []


# Small ones -----------------------------------------------------------------------------------------------------------


def test_a_report_is_on_the_page_with_its_chart(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder.put("update", make_rates())
    status, text = folder.run()
    assert status == 0
    assert capsys.readouterr().out.split() == [str(folder.readme)]  # two bars are no chart
    assert "| box | A CPU (AVX2) | 4 | 16 GiB | none | 2.13.0 |" in text
    assert "| fastsac, compiled | 205 (200 to 210) |  |" in text
    assert "| Stable-Baselines3 | 100 | 2.05 (2.00 to 2.10) |" in text
    made = "| box/update | 2026-11-21 | fdb6919 with changes | 0.1 |"
    assert f"{made} `python -m bench.update --seconds 1.5 --json bench/results/box/update.json` |" in text
    folder.put("update", make_rates(rows=[*make_rates()["rows"], *MORE], note="One | more."))
    text = folder.run()[1]
    assert "![updates/s (more is better) on box](results/box/update.png)" in text
    assert "box/update: One | more." in text
    assert imread(path.with_suffix(".png")).shape[1] == 1275  # 8.5 inches


def test_writing_again_changes_nothing_and_check_finds_what_is_stale(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = make_rates(rows=[*make_rates()["rows"], *MORE])
    chart = folder.put("update", rates).with_suffix(".png")
    assert folder.run("--check") == (1, "")  # writes nothing
    assert not chart.exists()
    assert "README.md is not what the results give: run python -m bench.report" in capsys.readouterr().out
    first, drawn = folder.run(), chart.read_bytes()
    assert folder.run("--check") == (0, first[1])
    assert folder.run() == first
    chart.unlink()
    assert folder.run("--check")[0] == 1
    assert folder.run() == first
    assert chart.read_bytes() == drawn  # the same report gives the same file
    folder.put("update", {**rates, "dirty": False})
    assert folder.run("--check") == (1, first[1])


def test_what_cannot_be_read_is_one_line(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.put("update", make_rates())
    folder.put("gone", make_rates(bench="gone"))
    folder.put("list", "[1]")
    folder.put("old", make_rates(bench="members"))
    folder.put("torn", json.dumps(make_rates())[:100])
    text = folder.run()[1]
    lines = dict(re.findall(r"^`box/(\w+)` (.*)$", text, re.MULTILINE))
    assert lines["gone"] == "is a report of bench.gone, which is not here."
    assert lines["list"] == "is no report of a benchmark."
    assert lines["old"].startswith("is a report that today's bench.members cannot read (KeyError: ")
    assert lines["torn"].startswith("cannot be read: ")
    assert len(lines) == 4
    assert "torn.json: cannot be read" in capsys.readouterr().err
    assert "| fastsac, compiled | 205 (200 to 210) |" in text  # the others do not suffer


def test_before_and_after_are_compared_on_the_terminal_alone(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"name": "fastsac, compiled", **harness.summary([200.0]), "notes": {}},
        {"name": "fastsac of 1234567, compiled", **harness.summary([100.0]), "notes": {}},
    ]
    told = make_rates()["settings"] | {"before": "old"}
    ratios = [harness.ratio(rows, "fastsac, compiled", "fastsac of 1234567, compiled")]
    path = folder.put("update-before", make_rates(rows=rows, settings=told, ratios=ratios))
    assert "1234567" not in folder.run()[1]
    assert report.main([str(path)]) == 0
    assert re.search(r"fastsac of 1234567, compiled │ +100 │ +2\.00 │", capsys.readouterr().out)


def test_a_file_is_shown_with_its_chart(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder.put("update", make_rates(rows=[*make_rates()["rows"], *MORE]))
    assert report.main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "2.05 (2.00 to 2.10)" in out
    assert str(path.with_suffix(".png")) in out
    assert charts.is_current(json.loads(path.read_text()), path.with_suffix(".png"))
    assert not folder.readme.exists()
    with pytest.raises(SystemExit, match=r"gone\.json cannot be read"):
        report.main([str(path.with_name("gone.json"))])


# Imports --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(report.HERE.rglob("*.py")), ids=lambda path: str(path.relative_to(report.HERE)))
def test_questions_know_nothing_of_each_other(path: Path) -> None:
    """A question imports bench.lib and bench.peers; so do they, and none imports a question."""
    imported = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported += [f"{node.module}.{alias.name}" for alias in node.names]
    rooms = {name.split(".")[1] for name in imported if name.split(".")[0] == "bench"}
    assert rooms <= {"lib", "peers"}


@pytest.mark.parametrize("name", report.ORDER)
def test_every_question_has_what_the_report_asks_for(name: str) -> None:
    source = (report.HERE / f"{name}.py").read_text()
    assert (ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0].rstrip().endswith("?")
    without_report = {"gpu_recipes"}  # keeps what its runs leave
    assert {p.stem for p in report.HERE.glob("*.py")} == {*report.ORDER, *without_report, "report", "__init__"}
