"""Run directories as curves: what is read, and how members are grouped, coloured and named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from fastsac.cli.main import main
from fastsac.config.history import continued, write_history
from fastsac.config.settings import Config
from fastsac.report.curves import draw, plot
from fastsac.report.runs import OTHER, make_groups, read_run, read_runs, setting_text
from fastsac.report.style import COLOURS
from fastsac.report.traces import along, stack
from tests.support.figures import drawn, is_png, legend, x_of, y_of
from tests.support.run_writer import write_run

# Reading ----------------------------------------------------------------------------------------------------------


def test_rows_by_member_without_nan(tmp_path: Path) -> None:
    first, second = read_run(write_run(tmp_path / "run", seeds=2)).members
    assert first.evals.mean.tolist() == [-900.0, -500.0, -150.0]
    assert second.evals.mean.tolist() == [-899.0, -499.0, -149.0]
    assert second.evals.env_steps.tolist() == [1000.0, 2000.0, 3000.0]
    assert second.evals.wall_s.tolist() == [2.5, 5.0, 7.5]
    assert second.evals.std.tolist() == [20.0] * 3
    assert first.episodes.mean.tolist() == [-550.0, -200.0]
    assert [first.config.seed, second.config.seed] == [1, 2]


def test_half_written_last_row_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with (run / "eval.csv").open("a") as file:
        file.write("0,4000,36")
    assert read_run(run).members[0].evals.mean.size == 3


def test_runs_from_before_sweeps_and_time_columns_can_be_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=2)
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    (run / "metrics.csv").write_text("".join(",".join(row[:-3]) + "\n" for row in rows))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in ("sweep", "stop_when")}))
    assert read_run(run).members[0].episodes.mean.tolist() == [-550.0, -200.0]
    assert is_png(plot([run]))


def test_columns_that_describe_members_do_no_harm(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    rows = (run / "eval.csv").read_text().splitlines()
    (run / "eval.csv").write_text("".join(f"{row},{'seed' if i == 0 else 1}\n" for i, row in enumerate(rows)))
    assert read_run(run).members[0].evals.mean.size == 3


def test_a_run_named_twice_counts_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert len(read_runs([run, tmp_path / "." / "run"])) == 1


def test_stack_takes_what_all_curves_have(tmp_path: Path) -> None:
    long = read_run(write_run(tmp_path / "a", (1.0, 2.0, 3.0))).members[0].evals
    short = read_run(write_run(tmp_path / "b", (5.0, 6.0))).members[0].evals
    places, returns = stack([long, short])
    assert returns.tolist() == [[1.0, 2.0], [5.0, 6.0]]
    assert along([long, short], places, "env_steps").tolist() == [1000.0, 2000.0]
    assert along([long, short], places, "wall_s").tolist() == [2.5, 5.0]


UNEVEN = ((453, 905), (456, 905), (453, 902))  # steps of three members where episodes differ in length


def test_rows_of_members_belong_together_by_their_order(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", (-50.0, -40.0), steps=lambda member, row: UNEVEN[member][row - 1], seeds=3)
    figure = draw(make_groups([read_run(path)]))
    (mean,), (band,) = figure.axes[0].lines, figure.axes[0].collections  # no thin line after the end
    assert (x_of(mean), y_of(mean)) == ([454.0, 904.0], [-49.0, -39.0])
    ends = np.asarray(band.get_paths()[0].vertices)
    assert {float(x) for x in ends[:, 0]} == {454.0, 904.0}


def test_members_of_a_run_drift_apart_and_stay_together(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", steps=lambda member, row: (1000 + 500 * member) * row, seeds=2)
    curves = [member.evals for member in read_run(path).members]
    places, returns = stack(curves)
    assert returns.tolist() == [[-900.0, -500.0, -150.0], [-899.0, -499.0, -149.0]]
    assert along(curves, places, "env_steps").tolist() == [1250.0, 2500.0, 3750.0]


def test_a_row_without_a_return_counts_in_the_order(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", (1.0, 2.0, 3.0, 4.0), steps=lambda member, row: 1000 * row + member, seeds=2)
    text = (path / "eval.csv").read_text()
    assert ",3.0,20.0," in text
    lines = [line.replace(",3.0,20.0,", ",,20.0,") if line.startswith("1,2001") else line for line in text.split("\n")]
    (path / "eval.csv").write_text("\n".join(lines))
    first, second = (member.evals for member in read_run(path).members)
    assert (first.row.tolist(), second.row.tolist()) == ([0.0, 1.0, 2.0, 3.0], [0.0, 2.0, 3.0])
    assert stack([first, second])[1].tolist() == [[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]]


def test_seeds_of_several_runs_belong_together_by_their_order(tmp_path: Path) -> None:
    def write(seed: int) -> Path:
        return write_run(tmp_path / str(seed), (1.0, 2.0), steps=lambda _, row: UNEVEN[seed][row - 1], seed=seed)

    runs = [write(seed) for seed in range(3)]
    curves = [run.members[0].evals for run in read_runs(runs)]
    places, returns = stack(curves)
    assert along(curves, places, "env_steps").tolist() == [454.0, 904.0]
    assert returns.tolist() == [[1.0, 2.0]] * 3


def test_runs_with_evaluations_at_other_intervals_share_a_grid(tmp_path: Path) -> None:
    often = write_run(tmp_path / "a", (1.0, 2.0, 3.0, 4.0, 5.0), steps=lambda _, row: 500 * row)
    seldom = write_run(tmp_path / "b", (10.0, 20.0), seed=2, eval_every=500)
    curves = [run.members[0].evals for run in read_runs([often, seldom])]
    places, returns = stack(curves)
    assert along(curves, places, "env_steps").tolist() == [1000.0, 1500.0, 2000.0]
    assert returns.tolist() == [[2.0, 3.0, 4.0], [10.0, 15.0, 20.0]]


def test_runs_that_share_no_steps_are_thin_lines_alone(tmp_path: Path) -> None:
    early = write_run(tmp_path / "a", (1.0, 2.0), steps=lambda _, row: 100 * row)
    figure = draw(make_groups(read_runs([early, write_run(tmp_path / "b", (3.0, 4.0), seed=2)])))
    figure.canvas.draw()  # a warning, if the panels have no room
    assert [1.0, 2.0] in drawn(figure.axes[0])
    assert not figure.axes[0].collections


# Grouping ---------------------------------------------------------------------------------------------------------


def test_seeds_are_grouped_and_settings_told(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "a", seed=1),
        write_run(tmp_path / "b", seed=2, utd_ratio=2.0),
        write_run(tmp_path / "c", seed=3, seeds=2, stop_at_return=0.0, stop_when="any"),
    ]
    groups = make_groups(read_runs(paths))
    assert [[run.path.name for run in group.runs] for group in groups] == [["a", "c"], ["b"]]
    assert [[m.config.seed for m in group.members] for group in groups] == [[1, 3, 4], [2]]
    assert [group.label for group in groups] == ["a, c: seeds 1, 3, 4, utd_ratio 1", "b: seed 2, utd_ratio 2"]
    assert [group.colour for group in groups] == list(COLOURS[:2])


def test_a_setting_looks_in_a_label_as_in_a_table(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "env_kwargs": {"bug": "raise"},
        "bf16": True,
        "hidden_dims": (8, 8),
        "target_entropy": None,
        "tau": 1e-5,
    }
    config = Config(env="Pendulum-v1", **values)
    told = setting_text({name: getattr(config, name) for name in values})
    assert told == 'env_kwargs {"bug": "raise"}, bf16 on, hidden_dims (8, 8), target_entropy none, tau 1e-05'


def test_runs_that_went_on_with_other_settings_are_no_repeats(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name, seed=seed, total_steps=9) for seed, name in enumerate("abc", start=1)]
    now = Config.load(paths[2])
    write_history(paths[1], continued([], now.replace(total_steps=5), now, 5, "000001", with_replay=True))
    write_history(paths[2], continued([], now.replace(gamma=0.5), now, 5, "000001", with_replay=True))
    groups = make_groups(read_runs(paths))
    assert [[run.path.name for run in group.runs] for group in groups] == [["a", "b"], ["c"]]


def test_a_seed_counts_once_by_the_member_that_was_evaluated_most_often(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, returns in (("first", (1.0, 2.0)), ("whole", (1.0, 2.0, 3.0)), ("again", (1.0, 2.0, 3.0))):
        write_run(Path(name), returns)
    other = write_run(Path("other"), seed=2)
    (group,) = make_groups(read_runs(["first", "whole", "again", other]))
    assert [run.path.name for run in group.runs] == ["whole", "other"]
    assert [member.config.seed for member in group.members] == [1, 2]
    for command, file in (("plot", "curves.png"), ("report", "report.html")):
        assert main([command, "first", "whole", "again", "other"]) == 0
        out, err = capsys.readouterr()
        told = "2 members repeat others with the same settings and seed: each seed counts once."
        assert (out, err) == (f"{file}\n", f"fastsac {command}: {told}\n")
    assert main(["plot", "first", "other"]) == 0
    assert not capsys.readouterr().err


def test_seeds_that_all_share_are_in_the_title(tmp_path: Path) -> None:
    groups = make_groups(read_runs([write_run(tmp_path / "a", seeds=3), write_run(tmp_path / "b", seeds=3, gamma=0.9)]))
    assert [group.label for group in groups] == ["a: gamma 0.99", "b: gamma 0.9"]
    figure = draw(groups)
    assert figure.get_suptitle() == "Pendulum-v1, seeds 1 to 3"
    assert legend(figure)[:2] == ["a: gamma 0.99", "b: gamma 0.9"]


def test_many_differences_give_the_folder(tmp_path: Path) -> None:
    changed = write_run(tmp_path / "changed", utd_ratio=2.0, gamma=0.9, tau=0.1, n_step=3)
    paths = [write_run(tmp_path / "plain"), changed]
    assert [group.label for group in make_groups(read_runs(paths))] == ["plain", "changed"]


def test_a_sweep_gives_a_group_per_setting_to_which_other_runs_may_belong(tmp_path: Path) -> None:
    sweep = write_run(tmp_path / "sweep", sweep=("gamma=0.9,0.99", "tau=0.01,0.02"), seeds=2)
    alone = write_run(tmp_path / "alone", gamma=0.9, tau=0.02, seed=7)
    groups = make_groups(read_runs([sweep, alone]))
    assert [[m.config.seed for m in group.members] for group in groups] == [[1, 2], [1, 2, 7], [1, 2], [1, 2]]
    assert [group.label for group in groups] == [
        "sweep: seeds 1, 2, gamma 0.9, tau 0.01",
        "sweep, alone: seeds 1, 2, 7, gamma 0.9, tau 0.02",
        "sweep: seeds 1, 2, gamma 0.99, tau 0.01",
        "sweep: seeds 1, 2, gamma 0.99, tau 0.02",
    ]
    assert groups[1].finals.tolist() == [-148.0, -147.0, -150.0]


def test_of_many_settings_the_best_six_are_in_colour(tmp_path: Path) -> None:
    gammas = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98]
    path = write_run(tmp_path / "run", sweep=(f"gamma={','.join(map(str, gammas))}",))  # each 1 better than the last
    groups = make_groups([read_run(path)])
    best = ["gamma 0.98", "gamma 0.97", "gamma 0.96", "gamma 0.95", "gamma 0.94", "gamma 0.93"]
    assert [group.label for group in groups[:6]] == best
    assert [group.colour for group in groups] == [*COLOURS[:6], *[OTHER] * 3]
    figure = draw(groups)
    assert legend(figure) == [
        *best,
        "3 other settings",
        "evaluation: mean of 20 episodes, band: one standard deviation",
    ]
    steps, _ = figure.axes
    assert len(steps.collections) == 6  # bands
    assert [to_hex(str(line.get_color())).upper() for line in steps.lines].count(OTHER) == 3
    assert len(steps.lines) == 9


def test_eight_settings_keep_their_order_and_colours(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", sweep=("gamma=0.91,0.92,0.93,0.94,0.95,0.96,0.97,0.98",))
    assert [group.colour for group in make_groups([read_run(path)])] == list(COLOURS)
