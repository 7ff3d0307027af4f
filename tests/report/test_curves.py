"""Learning curves: what is read, how members are grouped, coloured and named, and that a file comes out."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fastsac.config.settings import Config
from fastsac.report.curves import draw, plot
from fastsac.report.runs import OTHER, make_groups, read_run, read_runs
from fastsac.report.statistics import iqm_interval
from fastsac.report.style import COLOURS, short_number
from fastsac.report.traces import along, stack
from tests.support.figures import x_of, y_of
from tests.support.run_writer import write_run

PNG = b"\x89PNG\r\n\x1a\n"


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(PNG) and path.stat().st_size > 10_000


def drawn(axes: Axes) -> list[list[float]]:
    """The y values of all lines."""
    return [y_of(line) for line in axes.lines]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_one_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert plot([run]) == run / "curves.png"
    assert is_png(run / "curves.png")


def test_several_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", env="Ant-v5", seeds=3)]
    assert plot(runs) == Path("curves.png")
    assert is_png(tmp_path / "curves.png")


def test_out_makes_its_folder(tmp_path: Path) -> None:
    out = plot(read_runs([write_run(tmp_path / "run")]), tmp_path / "new" / "x.png")
    assert is_png(out)


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
    (_, mean), (band,) = figure.axes[0].lines, figure.axes[0].collections  # no thin line after the end
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


# Drawing ----------------------------------------------------------------------------------------------------------


def test_panels_of_one_member(tmp_path: Path) -> None:
    figure = draw(make_groups([read_run(write_run(tmp_path / "run"))]))
    steps, seconds = figure.axes
    assert steps.get_xlabel() == "environment steps"
    assert seconds.get_xlabel() == "wall seconds"
    assert drawn(seconds) == [[-550.0, -200.0], [-900.0, -500.0, -150.0]]
    assert legend(figure) == ["evaluation: mean of 20 episodes, band: one standard deviation", "training episodes"]
    assert figure.get_suptitle() == "Pendulum-v1, seed 1"
    corners = steps.collections[0].get_paths()[0].vertices
    assert {tuple(map(float, corner)) for corner in np.asarray(corners)} >= {(1000.0, -920.0), (1000.0, -880.0)}


@pytest.mark.parametrize(("axis", "label"), [("env_steps", "environment steps"), ("wall_s", "wall seconds")])
def test_one_axis_alone(tmp_path: Path, axis: str, label: str) -> None:
    groups = make_groups(read_runs([write_run(tmp_path / "run")]))
    (panel,), both = draw(groups, (axis,)).axes, {a.get_xlabel(): drawn(a) for a in draw(groups).axes}
    assert panel.get_xlabel() == label
    assert drawn(panel) == both[label]


def test_line_and_band_of_several_seeds(tmp_path: Path) -> None:
    added = [0.0, 4.0, 8.0, 12.0, 900.0]
    figure = draw(
        make_groups([read_run(write_run(tmp_path / "run", (-900.0, -150.0), lambda m, _: added[m], seeds=5))])
    )
    steps, seconds = figure.axes
    assert drawn(steps)[1] == [-892.0, -142.0]  # without the worst and the best: 4, 8, 12 more
    low, high = map(float, iqm_interval(np.array(added) - 150))
    ends = {float(y) for x, y in np.asarray(steps.collections[0].get_paths()[0].vertices) if x == 2000}
    assert {min(ends), max(ends)} == {low, high}
    assert legend(figure)[0] == "evaluation: interquartile mean over seeds, band: its 95% bootstrap interval"
    assert seconds.get_xlabel() == "wall seconds, all 5 members of a run together"


def test_two_seeds_have_their_range(tmp_path: Path) -> None:
    figure = draw(make_groups([read_run(write_run(tmp_path / "run", (3.0,), seeds=2))]))
    vertices = np.asarray(figure.axes[0].collections[0].get_paths()[0].vertices)
    assert {float(y) for y in vertices[:, 1]} == {3.0, 4.0}
    assert legend(figure) == ["evaluation: mean over seeds, band: range of two seeds"]


def test_bands_of_a_picture_mean_the_same(tmp_path: Path) -> None:
    """By the largest group; smaller ones have a line alone."""
    runs = [write_run(tmp_path / str(n), seeds=n, gamma=1 - n / 10) for n in (1, 2, 4)]
    figure = draw(make_groups(read_runs(runs)))
    assert legend(figure) == [
        "1: seed 1, gamma 0.9",
        "2: seeds 1, 2, gamma 0.8",
        "4: seeds 1 to 4, gamma 0.6",
        "evaluation: interquartile mean over seeds, band: its 95% bootstrap interval (of fewer than 3 seeds: none)",
        "training episodes",
    ]
    assert len(figure.axes[0].collections) == 1  # bands
    two = draw(make_groups(read_runs(runs[:2])))
    assert legend(two)[2] == "evaluation: mean over seeds, band: range of two seeds (of fewer than 2 seeds: none)"
    assert figure.axes[1].get_xlabel() == "wall seconds, all members of a run together"


def test_points_at_the_edge_are_whole(tmp_path: Path) -> None:
    figure = draw(make_groups([read_run(write_run(tmp_path / "run"))]))
    assert [line.get_clip_on() for line in figure.axes[0].lines if line.get_marker() == "o"] == [False]


def test_runs_are_named_by_folder_or_where_these_are_the_same_by_path(tmp_path: Path) -> None:
    for parent in "ab":
        (tmp_path / parent).mkdir()
    runs = [write_run(tmp_path / "a" / "run", gamma=0.9), write_run(tmp_path / "b" / "run", gamma=0.8)]
    assert [group.label for group in make_groups(read_runs(runs))] == [f"{runs[0]}: gamma 0.9", f"{runs[1]}: gamma 0.8"]
    many = [write_run(tmp_path / f"seed{seed}", seed=seed) for seed in range(5)]
    assert make_groups(read_runs(many))[0].label == "seed0, seed1 and 3 more"


def test_what_a_member_did_after_the_others_is_a_thin_line(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", (1.0, 2.0, 3.0)), write_run(tmp_path / "b", (3.0, 4.0), seed=2)]
    figure = draw(make_groups(read_runs(runs)))
    assert [2.0, 3.0] in drawn(figure.axes[0])
    assert drawn(figure.axes[0]).count([2.0, 3.0]) == 2  # the mean of both, and the tail of the first


def test_one_row_of_panels_per_environment(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / "a"), write_run(tmp_path / "b", env="Ant-v5")]
    figure = draw(make_groups(read_runs(paths)))
    assert [axes.get_ylabel().split("\n")[0] for axes in figure.axes[::2]] == ["Pendulum-v1", "Ant-v5"]
    assert legend(figure)[:2] == ["Pendulum-v1, a", "Ant-v5, b"]


def test_a_run_before_its_first_evaluation(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "eval.csv").unlink()
    (group,) = make_groups([read_run(run)])
    assert group.score == -np.inf
    assert legend(draw([group])) == ["training episodes"]


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        plot([])
    with pytest.raises(ValueError, match="not a run directory"):
        plot([tmp_path])
    with pytest.raises(ValueError, match="no returns yet"):
        plot([write_run(tmp_path / "empty", ())])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text(Config(env="Pendulum-v1").to_json())
    with pytest.raises(ValueError, match="no returns yet"):
        plot([tmp_path / "bad"])
    (tmp_path / "bad" / "eval.csv").write_text("member,env_steps\n0,1\n")
    with pytest.raises(ValueError, match="lacks the columns return_mean, return_std, wall_s"):
        plot([tmp_path / "bad"])
    with pytest.raises(ValueError, match="not supported"):
        plot([write_run(tmp_path / "run")], tmp_path / "x.docx")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (150, "150"), (2500, "2.5k"), (-1500, "\N{MINUS SIGN}1.5k"), (1_000_000, "1M"), (0.25, "0.25")],
)
def test_short_number(value: float, expected: str) -> None:
    assert short_number(value) == expected
