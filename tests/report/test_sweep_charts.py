"""Final returns by setting: their order and numbers, in the picture and in the table."""

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from rich.console import Console

from fastsac.cli import main as cli
from fastsac.config.settings import Config
from fastsac.report.ranking import Ranking, Score, best_text, number_format, rank, show
from fastsac.report.statistics import iqm_interval
from fastsac.report.sweep_charts import beside, colour_range, draw, plot_sweep, shape
from tests.support.run_writer import write_run

MINUS = "\N{MINUS SIGN}"
GRID = ("critic_lr=1e-4,1e-3", "gamma=0.9,0.95,0.99")


def by_setting(member: int, config: Config) -> float:
    """100,000 times the step size, 100 times gamma, and the seed."""
    return 1e5 * config.critic_lr + 100 * config.gamma + config.seed


def texts(axes: Axes) -> dict[tuple[float, float], str]:
    """What stands where, rounded to cells."""
    found: dict[tuple[float, float], str] = {}
    for text in axes.texts:
        x, y = np.round(text.get_position()).tolist()
        found[x, y] = f"{found[x, y]} | {text.get_text()}" if (x, y) in found else text.get_text()
    return found


def ranking_of(*finals: float, name: str = "gamma") -> Ranking:
    scores = [Score({name: i}, np.array([value]), value, np.nan, np.nan) for i, value in enumerate(finals)]
    return Ranking("Pendulum-v1", scores)


# Ranking ----------------------------------------------------------------------------------------------------------


def test_rank_by_the_last_evaluation_best_first(tmp_path: Path) -> None:
    """Not by the best one: all are at 900 before, and the interquartile mean of seeds 1 to 4 is 2.5."""
    run = write_run(tmp_path / "run", (900.0, -300.0), by_setting, sweep=GRID, seeds=4)
    (ranking,) = rank([run])
    assert ranking.names == ["critic_lr", "gamma"]
    assert [tuple(score.setting.values()) for score in ranking.scores] == [
        (1e-3, 0.99), (1e-3, 0.95), (1e-3, 0.9), (1e-4, 0.99), (1e-4, 0.95), (1e-4, 0.9),
    ]  # fmt: skip
    assert [score.iqm for score in ranking.scores] == pytest.approx([-98.5, -102.5, -107.5, -188.5, -192.5, -197.5])
    best = ranking.scores[0]
    assert best.returns.tolist() == pytest.approx([-100.0, -99.0, -98.0, -97.0])
    assert (best.low, best.high) == iqm_interval(best.returns) == pytest.approx((-100.0, -97.0))
    assert best_text(ranking) == "critic_lr 0.001, gamma 0.99 (final return -98.5, interquartile mean of 4 seeds)"


def test_nothing_to_rank(tmp_path: Path) -> None:
    plain = write_run(tmp_path / "plain", seeds=3)
    single = write_run(tmp_path / "single", sweep=("gamma=0.9",))
    early = write_run(tmp_path / "early", sweep=GRID)
    (early / "eval.csv").unlink()
    for run in (plain, single, early):
        assert rank([run]) == []
        assert plot_sweep([run]) is None


def test_other_runs_take_part_and_tasks_stay_apart(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a", sweep=("gamma=0.9,0.99",)),
        write_run(tmp_path / "b", (5.0,), gamma=0.95),
        write_run(tmp_path / "c", env="Ant-v5", sweep=("tau=0.1,0.2",)),
    ]
    pendulum, ant = rank(runs)
    assert [score.setting["gamma"] for score in pendulum.scores] == [0.95, 0.99, 0.9]
    assert ant.names == ["tau"]
    assert len(draw([pendulum, ant]).axes) == 2


def test_many_other_differences_give_the_folder(tmp_path: Path) -> None:
    other = {"n_step": 3, "batch_size": 64, "num_critics": 3}
    runs = [
        write_run(tmp_path / "a", sweep=("gamma=0.9,0.99",)),
        write_run(tmp_path / "b", (5.0,), sweep=("gamma=0.9,0.99",), **other),
    ]
    (ranking,) = rank(runs)
    assert [tuple(s.setting.values()) for s in ranking.scores] == [("b", 0.99), ("b", 0.9), ("a", 0.99), ("a", 0.9)]
    assert best_text(ranking) == "b, gamma 0.99 (final return 6.0)"


@pytest.mark.parametrize(
    ("largest", "text"), [(9831.7, "-9,832"), (150.24, "-150.2"), (6.789, "-6.79"), (0.5, "-0.500")]
)
def test_number_format(largest: float, text: str) -> None:
    assert number_format(ranking_of(-largest, 0.01))(-largest) == text


def test_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", (-300.0,), by_setting, sweep=("critic_lr=1e-4,1e-3",), gamma=0.9, seeds=3)
    out = io.StringIO()
    show(rank([run]), Console(width=20, file=out))  # narrower than the table
    lines = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    assert lines[0] == ["Pendulum-v1:", "final", "return", "by", "setting"]
    assert lines[1] == ["rank", "critic_lr", "IQM", "95%", "interval", "min", "max", "seeds"]
    assert lines[3] == ["1", "0.001", "-108.0", "-109.0", "to", "-107.0", "-109.0", "-107.0", "3"]
    assert lines[4] == ["2", "0.0001", "-198.0", "-199.0", "to", "-197.0", "-199.0", "-197.0", "3"]


# Pictures ---------------------------------------------------------------------------------------------------------


def test_heat_map_of_two_settings(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", (-300.0,), by_setting, sweep=GRID, seeds=4)
    figure = draw(rank([run]))
    axes, bar = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("gamma", "critic_lr")  # more values along x
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.9", "0.95", "0.99"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.0001", "0.001"]
    cells = {where: text.replace(MINUS, "-") for where, text in texts(axes).items()}
    assert cells[2, 1] == "-98.5 | -100.0 to -97.0"
    assert cells[0, 0] == "-197.5 | -199.0 to -196.0"
    assert len(cells) == 6
    framed = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_linewidth() == 3]
    assert [p.get_xy() for p in framed] == [(1.5, 0.5)]
    assert bar.get_ylabel() == "final return"
    assert figure.get_suptitle() == "Pendulum-v1: final return by setting"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "interquartile mean (IQM) of the last evaluations of 4 seeds", "small: 95% bootstrap interval", "best",
    ]  # fmt: skip


def test_heat_map_with_a_hole_and_one_seed(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a", sweep=GRID),
        write_run(tmp_path / "b", sweep=("critic_lr=1e-2", "gamma=0.9,0.95")),
    ]
    (ranking,) = rank(runs)
    assert shape(ranking) == "grid"
    figure = draw([ranking])
    assert len(texts(figure.axes[0])) == 8
    assert figure.axes[0].get_facecolor() == pytest.approx((0xEE / 255,) * 3 + (1,))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["last evaluation", "best"]


def test_one_setting_that_fails_leaves_the_others_apart() -> None:
    norm, _ = colour_range([-1e6, 10.0, 12.0, 14.0])
    assert (norm.vmin, norm.vmax) == (2.0, 14.0)  # median 11, best 3 above it
    norm, _ = colour_range([8.0, 12.0, 14.0])
    assert (norm.vmin, norm.vmax) == (8.0, 14.0)
    assert colour_range([3.0, 3.0])[0].vmax == 4.0


def test_strip_of_one_setting(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", (-300.0,), by_setting, sweep=("gamma=0.99,0.9,0.95",), critic_lr=1e-3, seeds=3)
    figure = draw(rank([run]))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "gamma"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.9", "0.95", "0.99"]
    points = {line.get_xydata()[0, 0]: line.get_xydata()[0, 1] for line in axes.lines if len(line.get_xdata()) == 1}
    assert points == pytest.approx({0: -108.0, 1: -103.0, 2: -99.0})
    ends = [line.get_ydata().tolist() for line in axes.lines if len(line.get_xdata()) == 2]
    assert ends[0] == pytest.approx([-100.0, -98.0])
    assert len(figure.legends[0].get_texts()) == 3


def test_rows_of_a_random_sweep(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", sweep=("random:24",))  # each 1 better than the last
    (ranking,) = rank([run])
    assert shape(ranking) == "rows"
    figure = draw([ranking])
    (axes,) = figure.axes
    assert figure.get_suptitle() == "Pendulum-v1: final return, the best 20 of 24 settings"
    assert len(axes.lines) == 20
    drawn = [line.get_xydata()[0].tolist() for line in axes.lines]
    assert drawn == [[-127.0 - place, place] for place in range(20)]
    words = [text.get_text() for text in axes.texts]
    for name, value in Config.load(run).settings[-1].items():
        assert name in words
        assert f"{value:g}" in words
    assert [word for word in words if word.startswith(MINUS)][:2] == [f"{MINUS}127.0", f"{MINUS}128.0"]


def test_three_settings_are_rows_and_so_are_many_values() -> None:
    assert shape(ranking_of(*range(17))) == "rows"
    assert shape(ranking_of(*range(16))) == "strip"
    scores = [Score({"gamma": i, "tau": i}, np.zeros(1), 0.0, 0.0, 0.0) for i in range(5)]
    assert shape(Ranking("x", scores)) == "rows"  # 5 of 25 cells
    scores = [Score({"gamma": i, "tau": 0, "actor_lr": 0}, np.zeros(1), 0.0, 0.0, 0.0) for i in range(2)]
    assert shape(Ranking("x", scores)) == "rows"


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [write_run(tmp_path / name, sweep=("gamma=0.9,0.99",), seed=seed) for seed, name in enumerate("ab")]
    assert plot_sweep(runs[:1]) == runs[0] / "sweep.png"
    assert (runs[0] / "sweep.png").stat().st_size > 10_000
    monkeypatch.chdir(tmp_path)
    assert plot_sweep(runs) == Path("sweep.png")
    assert beside(Path("x") / "y.svg") == Path("x") / "y-sweep.svg"


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", sweep=("gamma=0.9,0.99",))
    assert cli.main(["plot", str(run), "--out", str(tmp_path / "a.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [str(tmp_path / "a.png"), str(tmp_path / "a-sweep.png")]
    assert lines[6].split() == ["1", "0.99", "-149.0", "-", "-149.0", "-149.0", "1"]
    assert (tmp_path / "a-sweep.png").is_file()
