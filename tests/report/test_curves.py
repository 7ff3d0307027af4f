"""Learning curves: what is drawn, and that a file comes out."""

from pathlib import Path

import numpy as np
import pytest

from fastsac.config.settings import Config
from fastsac.report.curves import draw, plot
from fastsac.report.runs import make_groups, read_run, read_runs
from fastsac.report.statistics import iqm_interval
from fastsac.report.style import short_number
from tests.support.figures import drawn, is_png, legend
from tests.support.run_writer import write_run


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
    assert drawn(steps)[0] == [-892.0, -142.0]  # without the worst and the best: 4, 8, 12 more
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
