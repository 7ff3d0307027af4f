"""Learning curves: what is read, how runs are grouped and named, and that a file comes out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastsac.config import Config
from fastsac.metrics import EVAL_COLUMNS, METRIC_COLUMNS, CsvSink
from fastsac.plot import draw, group_runs, label_groups, plot, read_run, short_number, stack

PNG = b"\x89PNG\r\n\x1a\n"


def write_run(path: Path, returns: Sequence[float] = (-900.0, -500.0, -150.0), **settings: Any) -> Path:
    """A run directory with an evaluation per return and member; member m scores m more."""
    config = Config.for_env(**{"env": "Pendulum-v1", **settings})
    path.mkdir()
    (path / "config.json").write_text(config.to_json())
    evals, metrics = CsvSink(path / "eval.csv", EVAL_COLUMNS), CsvSink(path / "metrics.csv", METRIC_COLUMNS)
    for i, value in enumerate(returns, start=1):
        for member in range(config.seeds):
            common = {"member": member, "env_steps": 1000 * i, "grad_steps": 900 * i, "wall_s": 2.5 * i}
            evals.write({**common, "return_mean": value + member, "return_std": 20.0, "episodes": 10})
            metrics.write({**common, "episode_return": math.nan if i == 1 else value - 50.0})
    evals.close()
    metrics.close()
    return path


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(PNG) and path.stat().st_size > 10_000


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
    out = plot([write_run(tmp_path / "run")], tmp_path / "new" / "x.png")
    assert is_png(out)


def test_rows_by_member_without_nan(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", seeds=2))
    assert [c.mean.tolist() for c in run.evals] == [[-900.0, -500.0, -150.0], [-899.0, -499.0, -149.0]]
    assert run.evals[1].env_steps.tolist() == [1000.0, 2000.0, 3000.0]
    assert run.evals[1].wall_s.tolist() == [2.5, 5.0, 7.5]
    assert run.evals[1].std.tolist() == [20.0] * 3
    assert run.episodes[0].mean.tolist() == [-550.0, -200.0]


def test_half_written_last_row_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with (run / "eval.csv").open("a") as file:
        file.write("0,4000,36")
    assert read_run(run).evals[0].mean.size == 3


def test_runs_from_before_the_time_columns_can_be_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    (run / "metrics.csv").write_text("".join(",".join(row[:-3]) + "\n" for row in rows))
    assert read_run(run).episodes[0].mean.tolist() == [-550.0, -200.0]
    assert is_png(plot([run]))


def test_stack_takes_what_all_curves_have(tmp_path: Path) -> None:
    long = read_run(write_run(tmp_path / "a", (1.0, 2.0, 3.0))).evals
    short = read_run(write_run(tmp_path / "b", (5.0, 6.0))).evals
    x, returns, end = stack([*long, *short], "wall_s")
    assert x.tolist() == [2.5, 5.0]
    assert returns.tolist() == [[1.0, 2.0], [5.0, 6.0]]
    assert end == 2000


def test_seeds_are_grouped_and_settings_told(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "a", seed=1),
        write_run(tmp_path / "b", seed=2, utd_ratio=2.0),
        write_run(tmp_path / "c", seed=3, seeds=2),
    ]
    groups = label_groups(group_runs([read_run(path) for path in paths]))
    assert [[run.path.name for run in group.runs] for group in groups] == [["a", "c"], ["b"]]
    assert [group.label for group in groups] == ["seeds 1, 3, 4, utd_ratio 1", "seed 2, utd_ratio 2"]
    assert groups[0].colour != groups[1].colour


def test_many_differences_give_the_folder(tmp_path: Path) -> None:
    other = {"utd_ratio": 2.0, "gamma": 0.9, "tau": 0.1, "n_step": 3}
    paths = [write_run(tmp_path / "plain"), write_run(tmp_path / "changed", **other)]
    groups = label_groups(group_runs([read_run(path) for path in paths]))
    assert [group.label for group in groups] == ["seed 1, plain", "seed 1, changed"]


def test_panels(tmp_path: Path) -> None:
    groups = label_groups(group_runs([read_run(write_run(tmp_path / "run"))]))
    figure = draw(groups)
    steps, seconds = figure.axes
    assert steps.get_xlabel() == "environment steps"
    assert seconds.get_xlabel() == "wall seconds"
    drawn = [np.asarray(line.get_ydata()).tolist() for line in seconds.lines]
    assert [-900.0, -500.0, -150.0] in drawn
    assert [-550.0, -200.0] in drawn
    assert len(figure.legends) == 1


def test_one_row_of_panels_per_environment(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / "a"), write_run(tmp_path / "b", env="Ant-v5")]
    figure = draw(label_groups(group_runs([read_run(path) for path in paths])))
    assert [axes.get_ylabel().split("\n")[0] for axes in figure.axes[::2]] == ["Pendulum-v1", "Ant-v5"]


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        plot([])
    with pytest.raises(ValueError, match="not a run directory"):
        plot([tmp_path])
    with pytest.raises(ValueError, match="no returns yet"):
        plot([write_run(tmp_path / "empty", ())])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text(Config.for_env("Pendulum-v1").to_json())
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
