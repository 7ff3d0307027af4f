"""The page about runs: what stands in it equals the tables, all text is escaped, nothing is fetched from anywhere."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fastsac import policies
from fastsac.cli.main import main
from fastsac.cli.report import story_of
from fastsac.config.command import repeat_command
from fastsac.config.history import continued, write_history
from fastsac.config.settings import Config
from fastsac.report.failure import content
from fastsac.report.page.page import page, write_page
from fastsac.report.page.results import NOTHING
from fastsac.report.page.sections import MOST_FILM_BYTES
from fastsac.report.page.story import Story, read_columns, tell
from fastsac.run.policy_dir import read_about
from fastsac.run.result import Result, read_summary
from tests.support.html_page import Page
from tests.support.run_writer import write_run

FETCHES = ("src", "href", "data", "poster", "srcset", "action", "xlink:href")


def tell_of(path: Path) -> Story:
    return tell(path, read_summary(path), "")


def page_of(*paths: Path) -> Page:
    return Page(page([tell_of(path) for path in paths]))


def finish(path: Path, **changes: Any) -> None:
    """Write the summary of a run that `write_run` wrote."""
    config, rows = Config.load(path), read_columns(path / "eval.csv", ("env_steps", "return_mean"))
    members = [{"member": m, "goal_at": None} for m in range(config.num_members)]
    values: dict[str, Any] = {
        "run_dir": path, "env_steps": 3000, "grad_steps": 2700, "wall_s": 9.0, "compile_s": 1.5,
        "eval_return_mean": rows["return_mean"][-1], "eval_return_std": 20.0, "interrupted": False,
        "stopped_by": "total_steps", "members": members,
        "threads_s": 0.0,
    }  # fmt: skip
    about = {
        "device": "cpu", "mode": "eager", "git_commit": "0123abc", "versions": {"torch": "2.13.0"},
        "machine": {"cpu": "Some <CPU>", "memory_bytes": 8 * 2**30, "gpu": {"name": "Some GPU"}},
    }  # fmt: skip
    Result(**{**values, **{k: v for k, v in changes.items() if k in values}}).write(path, {**about, **changes})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = write_run(tmp_path / "run", seeds=3, total_steps=3000, eval_every=1000)
    finish(path)
    return path


def ids(found: Page) -> list[str]:
    return [str(attributes["id"]) for _, attributes in found.elements if "id" in attributes]


def exact(found: Page) -> set[float]:
    return {float(str(attributes["value"])) for attributes in found.all("data")}


# One run --------------------------------------------------------------------------------------------------------------


def test_all_parts_are_there_in_order_with_headings_and_links(run: Path) -> None:
    found = page_of(run)
    keys = [str(attributes["id"]) for attributes in found.all("section")]
    assert keys == ["settings", "returns", "evaluations", "members", "figures", "time", "repeat", "versions"]
    assert {f"#{key}" for key in keys} == {attributes["href"] for attributes in found.all("a")}
    assert len(set(ids(found))) == len(ids(found))
    assert all(attributes["aria-labelledby"] in ids(found) for attributes in found.all("section"))
    assert [tag for tag, _ in found.elements if tag in ("h1", "h2", "h3")] == ["h1"] + ["h2"] * len(keys)


def test_evaluations_equal_the_table(run: Path) -> None:
    found = page_of(run)
    returns = read_columns(run / "eval.csv", ("return_mean",))["return_mean"]
    assert set(returns) <= exact(found)
    rows = found.table("environment steps", "time", "IQM")
    assert rows[0] == ["1,000", "0:02", "-899.0", "-900.0 to -898.0", "-900.0", "-899.0", "-898.0"]
    assert [row[0] for row in rows] == ["1,000", "2,000", "3,000"]


def test_figures_of_the_members(run: Path) -> None:
    rows = page_of(run).table("member", "seed")
    assert rows[2] == ["2", "3", "3,000", "2,700", "-148.0", "20.0", "-200.0"]


def test_settings_that_differ_come_first_then_the_presets_then_all(run: Path) -> None:
    found = page_of(run)
    given, of_preset, everything = (rows for rows in found.tables if rows[0][0] == "setting")
    assert given[1:] == [
        ["env", "Pendulum-v1", NOTHING], ["total_steps", "3,000", "20,000"], ["seeds", "3", "1"],
    ]  # fmt: skip
    assert ["tau", "0.02", "0.005"] in of_preset
    names = {row[0] for row in everything[1:]}
    config = Config.load(run).replace(algo="sac")  # as training resolves it
    (run / "config.json").write_text(config.to_json())
    assert page_of(run).tables[0] == given
    (run / "config.json").write_text(config.replace(algo="sac-v1").to_json())
    assert ["algo", "sac-v1", "auto"] in page_of(run).tables[0]
    assert names == {*Config.names()} - {"env", "preset", "run_dir", "resume", "wait_for_lock"}


def test_a_run_that_was_continued_with_other_settings_says_so(run: Path) -> None:
    before = Config.load(run)
    config = before.replace(gamma=0.5, tau=0.02)
    (run / "config.json").write_text(config.to_json())
    earlier = continued([], before.replace(tau=0.1), config, 1000, "000001_step_000000001000", with_replay=True)
    write_history(run, continued(earlier, config, config, 2000, "000002_step_000000002000", with_replay=False))
    found = page_of(run)
    given, of_preset, _ = (rows for rows in found.tables if rows[0][0] == "setting")
    assert ["gamma", "0.5 (0.99 until step 1,000)", "0.99"] in given
    assert ["tau", "0.02 (0.1 until step 1,000)", "0.005"] in of_preset
    assert "Continued after steps 1,000, 2,000." in found.text
    told = "gamma 0.99 -> 0.5, tau 0.1 -> 0.02 from step 1,000; an empty replay from step 2,000."
    assert f"That alone is another run: this one went on with {told}" in found.text


def test_a_setting_that_is_as_at_first_again_is_still_shown(run: Path) -> None:
    config = Config.load(run)
    write_history(run, continued([], config.replace(batch_size=8), config, 1000, "000001", with_replay=True))
    assert ["batch_size", "256 (8 until step 1,000)", "256"] in page_of(run).tables[0]


def test_versions_machine_and_commit(run: Path) -> None:
    rows = page_of(run).table("what", "which")
    for row in (["commit of fastsac", "0123abc"], ["cpu", "Some <CPU>"], ["memory", "8.0 GiB"], ["torch", "2.13.0"]):
        assert row in rows
    assert ["gpu name", "Some GPU"] in rows


def test_charts_are_drawn_and_told_in_words(run: Path) -> None:
    found = page_of(run)
    charts = [attributes for attributes in found.all("svg") if attributes.get("role") == "img"]
    assert len(charts) == 3  # returns over steps and seconds, and shares of time
    assert charts[0]["aria-label"] == "return per episode over environment steps: the line ends at -149.0"
    points = [line["points"] for line in found.all("polyline") if line["class"] == "evaluations c0"]
    assert str(points[0]).split()[0].startswith("333.3,")  # 1,000 of 3,000 steps
    assert len(found.all("polygon")) == 2
    assert len(found.all("circle")) == 6


def test_where_the_time_went(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    lines = (run / "metrics.csv").read_text().splitlines()
    place = lines[0].split(",").index("env_wait_s")
    rows = [line.split(",") for line in lines[1:]]
    for row in rows:
        row[place : place + 3] = ["0.5", "1.0", "0.25"]
    (run / "metrics.csv").write_text("\n".join([lines[0], *map(",".join, rows), ""]))
    finish(run, threads_s=0.5)
    found = page_of(run)
    assert found.table("what", "seconds") == [
        ["waiting for environments", "1.5", "17%"], ["acting and learning", "3.0", "33%"],
        ["the program's own loop", "0.8", "8%"], ["compiling", "1.5", "17%"],
        ["trying how many threads are faster", "0.5", "6%"], ["set-up, evaluations, checkpoints", "1.8", "19%"],
    ]  # fmt: skip
    rates = dict(row[:2] for row in found.table("per second"))
    assert rates["environment steps, while stepping and learning"] == "571"
    assert rates["environment steps, of all seconds"] == "333"


def test_long_runs_are_drawn_with_few_points(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", returns=[float(i) for i in range(1500)], seeds=3)
    lines = [str(line["points"]).split() for line in page_of(run).all("polyline")]
    assert all(350 <= len(line) <= 402 for line in lines)
    assert [line[-1].split(",")[0] for line in lines] == ["1000.0"] * 4


def test_figures_are_folded_curves_of_what_was_measured(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    text = (run / "metrics.csv").read_text().splitlines()
    columns = text[0].split(",")
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in text[1:]]
    for i, row in enumerate(rows):
        row |= {"critic_loss": str(2.0 - 0.5 * i), "alpha_loss": "0.0"}
    (run / "metrics.csv").write_text("\n".join([text[0], *(",".join(row.values()) for row in rows), ""]))
    labels = [str(a["aria-label"]) for a in page_of(run).all("svg") if a.get("role") == "img"]
    assert "loss of the critics over environment steps: the line ends at 1.000" in labels
    assert not any("temperature" in label for label in labels)


# Whatever a run directory holds ---------------------------------------------------------------------------------------


def test_nothing_is_fetched_and_all_text_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>&\"'"
    path = write_run(tmp_path / "a<b>&c", env_kwargs={"note": evil}, wandb_name="x</style>", seeds=2)
    finish(path, git_commit=evil, error=evil, stopped_by="error", interrupted=True)
    text = page([tell(path, read_summary(path), f"Traceback\n{evil}")])
    found = Page(text)
    assert "<script" not in text
    assert "x</style>" in found.text
    assert evil in found.text
    assert "Pendulum-v1: a<b>&c" in found.text
    for _, attributes in found.elements:
        for name in FETCHES:
            assert str(attributes.get(name, "#")).startswith("#"), attributes
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in text


def test_a_run_that_goes_on(run: Path) -> None:
    (run / "summary.json").unlink()
    found = page_of(run)
    assert (
        "not over after 3,000 of 3,000 environment steps: it is still going on, or was ended without a word"
        in found.text
    )
    assert "return so far" in found.text
    assert "which a run writes when it ends" in found.text


def test_a_run_that_was_continued_goes_beyond_its_old_summary(run: Path) -> None:
    finish(run, env_steps=2000, interrupted=True, stopped_by="SIGTERM")
    assert tell_of(run).state.word == "not over"
    assert tell_of(run).env_steps == 3000
    assert tell_of(run).grad_steps == 2700


def test_a_run_that_was_interrupted_and_one_that_reached_its_goal(run: Path) -> None:
    finish(run, interrupted=True, stopped_by="SIGTERM")
    assert "interrupted by SIGTERM after 3,000 of 3,000" in page_of(run).text
    finish(run, stopped_by="goal")
    assert "finished after 3,000 of 3,000 environment steps: its goal was reached" in page_of(run).text


def test_a_run_that_failed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path / "run", returns=())
    line = "ArithmeticError: joint <3> came off"
    (path / "error.txt").write_bytes(content(line, f"Traceback\n  line 3\n{line}\n"))
    assert main(["report", str(path)]) == 0
    found = Page((path / "report.html").read_text())
    assert "failed after 0 of 20,000 environment steps: ArithmeticError: joint <3> came off" in found.text
    assert "No episode has ended yet." in found.text
    assert "No evaluation has been made." in found.text
    assert "Traceback" in found.text


def test_one_member_without_an_evaluation(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run")
    (path / "eval.csv").unlink()
    found = page_of(path)
    assert "members" not in ids(found)
    assert "No evaluation has been made." in found.text
    assert "Thin line: training episodes." in found.text


def test_a_lone_point_of_training_episodes_is_shown_only_where_nothing_was_evaluated(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", returns=(-900.0, -500.0))  # the first row has no episode yet
    found = page_of(run)
    assert "Thin line" not in found.text
    assert len(found.all("circle")) == 2 * 2  # the evaluations, on two charts
    (run / "eval.csv").unlink()
    found = page_of(run)
    assert "Thin line: training episodes." in found.text
    assert len(found.all("circle")) == 2


def test_one_member_has_all_figures_of_its_evaluations(tmp_path: Path) -> None:
    found = page_of(write_run(tmp_path / "run"))
    assert found.table("environment steps", "time", "return")[-1] == ["3,000", "0:08", "-150.0", "20.0", "10"]
    assert "± 20.0" in found.text


def test_tables_of_an_earlier_version_lack_columns(run: Path) -> None:
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    (run / "metrics.csv").write_text("".join(",".join(row[:4]) + "," + row[12] + "\n" for row in rows))
    assert "Thin line: training episodes." in page_of(run).text


def test_the_newest_film_is_in_the_page_unless_it_is_too_large(run: Path) -> None:
    (run / "videos").mkdir()
    for place, name in enumerate(("new.mp4", "old.mp4")):
        (run / "videos" / name).write_bytes(b"film")
        os.utime(run / "videos" / name, (1000 - place, 1000 - place))
    (video,) = page_of(run).all("video")
    assert video["src"] == "data:video/mp4;base64,ZmlsbQ=="
    assert video["aria-label"]
    os.truncate(run / "videos" / "new.mp4", MOST_FILM_BYTES + 2**20)
    found = page_of(run)
    assert not found.all("video")
    assert (
        "videos/new.mp4, the newest of 2, is left out: its 17 MiB are more than the 16 MiB that a page takes in."
        in found.text
    )


# Sweeps and several runs ----------------------------------------------------------------------------------------------


def test_a_sweep_has_a_ranking_and_a_heat_map(tmp_path: Path) -> None:
    def better(member: int, config: Config) -> float:
        return 1000 * config.tau + member % 3

    sweep = ("critic_lr=1e-3,3e-3", "tau=0.01,0.02")
    found = page_of(write_run(tmp_path / "run", better=better, sweep=sweep, seeds=3))
    rows = found.table("rank")
    assert rows[0][:3] == ["1", "0.001", "0.02"]
    assert rows[0][3:5] == ["-129.0", "-130.0 to -128.0"]
    heat = found.table("tau \\ critic_lr")
    assert [row[0] for row in heat] == ["0.01", "0.02"]
    assert heat[1][1] == "-129.0-130.0 to -128.0"
    assert len([a for a in found.all("td") if a.get("class") == "best"]) == 1
    assert "best return so far, critic_lr 0.001, tau 0.02" in found.text
    assert len(found.table("environment steps", "time", "critic_lr 0.001, tau 0.01")) == 3


def test_a_sweep_of_many_settings_shows_the_best(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", sweep=("random:12",))
    finish(path)
    found = page_of(path)
    assert len(found.table("rank")) == 12
    assert len(found.table("environment steps", "time")[0]) == 2 + 6 + 2
    assert "6 other settings" in found.text


def test_several_runs_are_compared(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "a", seeds=2),
        write_run(tmp_path / "b", gamma=0.9),
        write_run(tmp_path / "c", env="Ant-v5"),
    ]
    found = page_of(*paths)
    assert [row[0] for row in found.table("run", "task")] == ["a", "b", "c"]
    differing = {row[0]: row[1:] for row in found.table("setting", "a", "b", "c")}
    assert differing["gamma"] == ["0.99", "0.9", "0.99"]
    assert differing["seeds"] == ["2", "1", "1"]
    assert "run_dir" not in differing
    assert len(found.all("article")) == 3
    links = {str(a["href"])[1:] for a in found.all("a")}
    assert links <= set(ids(found))
    assert len(set(ids(found))) == len(ids(found))


def test_equal_runs_say_so(tmp_path: Path) -> None:
    found = page_of(write_run(tmp_path / "a"), write_run(tmp_path / "b"))
    assert "All settings that affect the runs are the same." in found.text


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_has_only_what_differs(run: Path) -> None:
    assert repeat_command(Config.load(run)) == "fastsac train --env Pendulum-v1 --total-steps 3000 --seeds 3"
    found = page_of(run)
    assert "fastsac train --env Pendulum-v1 \\\n  --total-steps 3000 \\\n  --seeds 3" in found.text
    assert f"fastsac train --config {run}/config.json" in found.text


def test_an_object_in_a_script_has_no_command(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run", env="python:Mine")).text
    assert "The environment is an object of a Python script" in text
    assert "fastsac train" not in text


# The file and the command line ----------------------------------------------------------------------------------------


def test_where_the_page_goes(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(run.parent)
    assert main(["report", "run", str(run)]) == 0  # the same run counts once
    assert capsys.readouterr().out == "run/report.html\n"
    assert main(["report", "run", "--output", "new/x.html"]) == 0
    other = write_run(run.parent / "other")
    assert write_page([tell_of(run), tell_of(other)]) == Path("report.html")
    for path in (run / "report.html", Path("new/x.html"), Path("report.html")):
        assert path.read_text().startswith("<!DOCTYPE html>")
        assert not path.with_name(f"{path.name}.tmp").exists()


def test_wrong_calls_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "empty", returns=())
    (tmp_path / "file").touch()
    write_run(tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text(json.dumps({"interrupted": 3}))  # counts as none
    for args, told in (
        (["nowhere"], "nowhere is not a run directory: there is no such folder."),
        (["file"], "file is not a run directory: it is a file."),
        ([str(tmp_path)], "is not a run directory: it has no config.json."),
        (["empty"], "empty has nothing to show yet"),
        ([], "RUN_DIR must be given"),
        (["run", "--output", "file/x.html"], "cannot write file/x.html: "),
        (["run", "--output", "run"], "cannot write run: it is a folder. Give another --output."),
        (["run", "--outptu", "x"], "unknown option --outptu; did you mean --output?"),
    ):
        assert main(["report", *args]) == 2, args
        err = capsys.readouterr().err
        assert err.startswith("fastsac report: ")
        assert told in err
        assert err.count("\n") == 1
    assert not (tmp_path / "run.tmp").exists()


# A policy alone ------------------------------------------------------------------------------------------------------


def test_a_policy_of_the_package_has_a_page_and_a_picture_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    home = policies.folder_of("pendulum")
    before = {*home.iterdir()}
    for command, file in (("report", "pendulum.html"), ("plot", "pendulum.png")):
        assert main([command, "demo:pendulum", "demo:pendulum"]) == 0  # the same counts once
        assert capsys.readouterr().out == f"{file}\n"
        assert main([command, "demo:pendulum", "--out" + "put" * (command == "report"), f"new/{file}"]) == 0
        assert main([command, "demo:nobody"]) == 2
        assert "there is no demo 'nobody'; choose from" in capsys.readouterr().err
    assert main(["report", "demo:pendulum", "demo:hopper"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"pendulum.html", "pendulum.png", "report.html", "new"}
    assert {*home.iterdir()} == before


def test_the_page_of_a_policy_alone_tells_what_its_card_does() -> None:
    home = policies.folder_of("pendulum")
    card = read_about(home).card
    found = Page(page([story_of(home)]))
    assert card.evaluation is not None
    assert card.evaluation.return_mean in exact(found)
    assert f"return over {card.evaluation.episodes} episodes" in found.text
    assert "policy after 8,000 of 8,000 environment steps, taken out of its run" in found.text
    other = Page(page([story_of(home), story_of(policies.folder_of("hopper"))]))
    assert other.table("run", "task")[0][-2:] == [card.device, str(card.git_commit)[:7]]
    assert ["commit of fastsac", card.git_commit] in found.table("what", "which")
    assert "time" not in ids(found)  # of which nothing is known
    assert "figures" not in ids(found)
