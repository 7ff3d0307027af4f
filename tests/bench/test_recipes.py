"""bench.recipes: arithmetic is counted right without doing any, and all of it runs on a CPU."""

import json
from pathlib import Path

import pytest
import torch

from bench import recipes
from bench.lib import program
from bench.peers.common import Sizes

BRIEF = ["--repeats", "2", "--seconds", "0.02", "--device", "cpu", "--threads", str(torch.get_num_threads())]
B, E, O, A, H = 8, 2, 3, 2, 4
SMALL = Sizes(hidden_dims=(H,), batch_size=B, obs_dim=O, action_dim=A, transitions=64)


def test_parameters_and_arithmetic_by_hand() -> None:
    """Products with the vector of a critic's last layer are none of matrices."""
    critic, actor = 2 * B * E * (O + A) * H, 2 * B * (O * H + H * 2 * A)
    forward = 3 * critic + 2 * actor  # targets, critics, critics of the actor's action; actor at obs and at next_obs
    backward = critic + critic + actor + 2 * B * H * 2 * A  # weights; to the action; the actor's weights; to its layer
    row = recipes.cost(SMALL, "none")
    assert row["gflop"] == pytest.approx((forward + backward) / 1e9)
    assert row["parameters"] == E * (8 * H + 8) + 8 * H + 8 * 2 * A  # inputs and bias, rounded up to a multiple of 8


@pytest.mark.parametrize(("preset", "gflop"), [("gym-mujoco", 0.6), ("flashsac-cpu-sim", 21), ("flashsac", 84)])
def test_updates_of_recipes_have_the_arithmetic_that_their_papers_say(preset: str, gflop: float) -> None:
    settings = recipes.Settings(presets=(preset,))
    row = recipes.cost(settings.sizes(preset, torch.device("cpu")), preset)
    assert row["gflop"] == pytest.approx(gflop, rel=0.05)


def test_the_mean_is_over_a_turn_of_the_actor() -> None:
    every, third = (
        recipes.flop_per_update(program.make_learner(SMALL, "eager", torch.device("cpu"), actor_delay=delay))
        for delay in (1, 3)
    )
    one = program.make_learner(SMALL, "eager", torch.device("cpu"), learn_alpha=False)
    assert third < every == recipes.flop_per_update(one)


def test_a_report_has_a_row_for_every_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recipes.json"
    small = ["--presets", "gym-mujoco", "flashsac-cpu-sim", "--batch-size", "8", "--transitions", "64", "--eager"]
    report = recipes.main([*BRIEF, *small, "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    plain, flash = report["rows"]
    assert (plain["name"], flash["name"], report["mode"]) == ("gym-mujoco", "flashsac-cpu-sim", "eager")
    assert plain["median"] > flash["median"] > 0
    assert flash["parameters"] > 10 * plain["parameters"]
    (table,) = recipes.figures(report)
    assert [row[:2] for row in table.rows] == [["gym-mujoco", "8"], ["flashsac-cpu-sim", "8"]]
    assert "updates/s" in capsys.readouterr().out


def test_a_recipe_that_failed_is_a_row_with_its_reason() -> None:
    row = {"name": "simba", "error": "out of memory", "batch_size": 8, "parameters": 100, "gflop": 1.0}
    about = {"obs_dim": 3, "action_dim": 2}
    (table,) = recipes.figures({"settings": about, "mode": "compiled", "rows": [row]})
    assert table.rows == [["simba", "8", "100", "1.00", "", "", "", "", "error: out of memory"]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"presets": ("fast",)}, r"presets must be of pendulum, .*, got fast\."),
        ({"batch_size": 0}, r"batch_size must be at least 1, got 0\."),
        ({"transitions": 10}, r"transitions must be at least the largest batch \(8192\), got 10\."),
    ],
)
def test_settings_out_of_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipes.Settings(**values)  # type: ignore[arg-type]
