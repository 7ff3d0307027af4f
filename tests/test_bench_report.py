"""bench.report: bench/README.md says what the committed results say, and small reports are rendered right."""

import json
import shlex
import struct
from pathlib import Path
from typing import Any

import pytest
import tyro

from bench import chart, compare, harness, markdown, rate_chart, report, update

COMMITTED = report.HERE / "results"
README = """# Benchmarks

<!-- begin headline: written -->
<!-- end headline -->

By hand.

## How it is done

```
## no heading
```

<!-- begin results: written -->
old
<!-- end results -->
"""


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
        "question": "How many\nupdates?\n\nMore of it.",
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


class Folder:
    """A results folder and its README."""

    def __init__(self, root: Path) -> None:
        self.results, self.readme = root / "results", root / "README.md"
        self.readme.write_text(README)
        (self.results / "box").mkdir(parents=True)

    def put(self, stem: str, content: harness.Report | str, machine: str = "box") -> Path:
        path = self.results / machine / f"{stem}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def run(self, *args: str) -> tuple[int, str]:
        status = report.main(["--results", str(self.results), "--readme", str(self.readme), *args])
        return status, self.readme.read_text()


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
def test_every_chart_and_link_of_the_readme_is_there() -> None:
    text = (report.HERE / "README.md").read_text()
    targets = [part.partition(")")[0] for part in text.split("](")[1:]]
    files = {target for target in targets if not target.startswith(("#", "http"))}
    assert {"results/cpu2/update.png", "results/cpu2/compare-steps.png"} <= files
    assert [name for name in files if not (report.HERE / name).exists()] == []
    anchors = {markdown.anchor(line.lstrip("# ")) for line in text.splitlines() if line.startswith("#")}
    assert {target[1:] for target in targets if target.startswith("#")} <= anchors


# Small ones -----------------------------------------------------------------------------------------------------------


def test_a_report_of_rates_is_rendered_whole(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder.put("update", make_rates())
    status, text = folder.run()
    assert status == 0
    assert capsys.readouterr().out.split() == [str(path.with_suffix(".png")), str(folder.readme)]
    assert "A CPU (AVX2); 4 cores; memory 16.0 GiB; no GPU; Linux." in text
    assert "\nHow many updates?\n" in text
    assert "More of it" not in text
    assert "| fastsac, compiled | 205.0 | 200.0 | 210.0 | mode compiled |" in text
    assert '| CleanRL |  |  |  | pip install "fastsac[bench]" \\| &lt;b>first&lt;/b> |' in text
    assert "| fastsac, compiled / Stable-Baselines3 | 2.05 | 2.05 | 2.00 | 2.10 |" in text
    assert "![Bars of updates/s: fastsac, compiled 205, Stable-Baselines3 100](results/box/update.png)" in text
    assert (
        "commit `fdb6919` with changes, load 0.12 before, 1.50 after, 2 threads of torch. python 3.11.7, torch" in text
    )
    assert "mujoco" not in text
    assert "```\npython -m bench.update --seconds 1.5 --json bench/results/box/update.json\n```" in text

    top, below = text.split("By hand.")
    assert "| box, [update](#box-update) | updates/s | fastsac, compiled: 205 | Stable-Baselines3: 100 | 2.05 (" in top
    assert "- [How it is done](#how-it-is-done)\n- [All results](#all-results)\n  - [box](#box): [update]" in top
    assert "no heading" not in top
    assert "\nold\n" not in below


def test_writing_again_changes_nothing_and_check_finds_what_is_stale(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder.put("update", make_rates())
    assert folder.run("--check") == (1, README)  # writes nothing
    assert not path.with_suffix(".png").exists()
    assert "README.md is not what the results give: run python -m bench.report" in capsys.readouterr().out
    first = folder.run()
    chart = path.with_suffix(".png").read_bytes()
    assert folder.run("--check") == (0, first[1])
    assert folder.run() == first
    path.with_suffix(".png").unlink()
    assert folder.run("--check")[0] == 1
    assert folder.run() == first
    assert path.with_suffix(".png").read_bytes() == chart  # the same report gives the same file
    folder.put("update", make_rates(dirty=False))
    assert folder.run("--check") == (1, first[1])
    folder.run()
    assert folder.run("--check")[0] == 0
    folder.readme.write_text(first[1].replace("By hand.", "By my hand."))  # not its business, but the figures are
    assert folder.run("--check")[0] == 1
    assert "By my hand." in folder.run()[1]


def test_what_cannot_be_read_is_one_line(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.put("update", make_rates())
    folder.put("gone", make_rates(bench="gone"))
    no_rates = {name: value for name, value in make_rates(bench="own").items() if name != "unit"}
    folder.put("own", no_rates)
    folder.put("list", "[1]")
    folder.put("old", make_rates(bench="members"))
    folder.put("torn", json.dumps(make_rates())[:100])
    _, text = folder.run()
    lines = {
        line.partition("` ")[0]: line.partition("` ")[2]
        for line in text.splitlines()
        if line.startswith("`") and line != "```"
    }
    assert lines["`gone.json"] == "is a report of bench.gone, which is not here."
    assert lines["`list.json"] == "is no report of a benchmark."
    assert lines["`old.json"].startswith("is a report that today's bench.members cannot read (KeyError: ")
    assert lines["`torn.json"].startswith("is not JSON: ")
    assert lines["`own.json"] == "is a report of bench.own, which has no figures(report)."
    assert len(lines) == 5
    assert "torn.json: is not JSON" in capsys.readouterr().err
    assert "| fastsac, compiled | 205.0 |" in text  # the others do not suffer
    assert folder.run("--check")[0] == 0


def test_several_files_of_one_kind_and_their_charts(folder: Folder) -> None:
    path = folder.put("update", make_rates(settings=make_rates()["settings"] | {"peers": "none"}))
    folder.put("update-before", make_rates(complete=False, started="2026-11-20T12:56:07+00:00"))
    folder.put("update", make_rates(machine=make_rates()["machine"] | {"cores": 1}), machine="another")
    path.with_name("update-extra.png").touch()
    path.with_name("updates.png").touch()
    _, text = folder.run()
    headings = [line for line in text.splitlines() if line.startswith(("###", "![", "**Not"))]
    assert [line.partition("](")[2] or line for line in headings] == [
        "### another", "#### another: update", "results/another/update.png)",
        "### box", "#### box: update", "results/box/update-extra.png)", "results/box/update.png)",
        "#### box: update-before",
        "**Not complete**: the measurement was going on, or did not come to its end.",
        "results/box/update-before.png)",
    ]  # fmt: skip
    assert "--seconds 1.5 --peers none --json bench/results/box/update.json" in text
    assert text.count("| box, [update") == 1  # in the headline, one of a kind


def test_settings_that_are_gone_are_told(folder: Folder) -> None:
    folder.put("update", make_rates(settings={"seconds": 5.0, "rounds": 3, "peers": "sb3"}))
    text = folder.run()[1]
    assert "The settings have changed since: `git checkout fdb6919` before" in text
    assert "python -m bench.update --peers sb3 --rounds 3 --json" in text


def test_a_readme_without_the_lines_is_refused(folder: Folder) -> None:
    folder.put("update", make_rates())
    folder.readme.write_text(README.replace("<!-- end results -->", ""))
    with pytest.raises(SystemExit, match=r"README.md must have the lines '<!-- begin results -->' and '<!-- end resu"):
        folder.run()


@pytest.mark.parametrize(
    "line",
    [
        "--env Pendulum-v1 --total-steps 20000 --goal=-200.0 --jobs 2",
        "--algos sac td3 --seeds 4 --quick",
        "--compile-cache warm --env 'gymnasium:A b'",
    ],
)
def test_commands_give_the_settings_they_are_made_from(line: str) -> None:
    assert report.without_folder("/some/folder/cleanrl") == ".../cleanrl"
    told = report.as_json(vars(tyro.cli(compare.Settings, args=shlex.split(line))))
    args = [word for option in report.flags(compare.Settings, told) for word in option if option[0] != "--json"]
    assert report.are_understood(compare.Settings, args, {"settings": told})
    assert len(args) <= len(shlex.split(line))


# Its parts ------------------------------------------------------------------------------------------------------------


def test_tables_leave_empty_columns_out_and_align_figures() -> None:
    rows = [["a|b", "1.0", "", "words that are longer than figures"], ["c_d _e_", "-", "", ""]]
    assert markdown.table(["", "x", "nothing", "notes"], rows).splitlines() == [
        "|  | x | notes |",
        "| --- | ---: | --- |",
        "| a\\|b | 1.0 | words that are longer than figures |",
        "| c_d \\_e\\_ | - |  |",
    ]


def test_anchors_are_those_of_github() -> None:
    assert markdown.anchor("On a GPU (`gpu.py`)") == "on-a-gpu-gpupy"
    assert markdown.anchor("cpu2: members-processes") == "cpu2-members-processes"


def test_charts_carry_their_origin(tmp_path: Path) -> None:
    path, rates = tmp_path / "update.png", make_rates()
    chart.save(rate_chart.draw(rates, rate_chart.panels_of(rates)), rates, path)
    data = path.read_bytes()
    assert chart.read_text(data, chart.SOURCE) == chart.origin(rates)
    assert struct.unpack(">II", data[16:24])[0] == 1275  # 8.5 inches
    assert chart.is_current(rates, path)
    assert not chart.is_current(make_rates(dirty=False), path)
    path.write_bytes(b"drawn by hand")
    assert not chart.is_current(rates, path)
    assert rate_chart.panels_of(make_rates(rows=[{"name": "a", "error": "no"}])) == []


def test_hyper_parameters_stand_side_by_side() -> None:
    rows = [
        {"system": "fastsac", "name": "SAC", "hyper": {"gamma": 0.9, "hidden_dims": [8, 8], "empty": {}}},
        {"system": "SB3", "name": "TD3", "hyper": {"gamma": 0.99, "policy_kwargs": {"net_arch": [8]}, "x": None}},
        {"key": "ppo", "skipped": "no"},
        {"name": "sbx", "about": {"hyper": {"gamma": 0.9}, "versions": {"jax": "1.0"}, "python": "/bin/python"}},
        {"name": "sbx", "about": {"hyper": {"gamma": 0.9}, "versions": {"jax": "1.0"}}},
    ]
    assert report.hyper_parameters({"rows": rows}).splitlines()[2:] == [
        "| gamma | 0.9 | 0.99 | 0.9 |", "| hidden_dims | 8, 8 |  |  |", "| policy_kwargs |  | net_arch 8 |  |",
        "| x |  | none |  |", "| jax, version |  |  | 1.0 |",
    ]  # fmt: skip
    assert report.hyper_parameters({"rows": [], "runs": []}) == ""
