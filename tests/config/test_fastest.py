"""The preset `fastest`: what was measured, and what is chosen where nothing was."""

import json
from pathlib import Path

import pytest

from fastsac.config.fastest import FASTEST, Measured, find_fastest
from fastsac.config.presets import PRESETS
from fastsac.config.settings import Config

RESULTS = Path(__file__).parents[2] / "bench" / "results"


@pytest.mark.skipif(not RESULTS.exists(), reason="the results are in the repository only")
@pytest.mark.parametrize("row", FASTEST, ids=str)
def test_figures_are_those_of_the_results(row: Measured) -> None:
    report = json.loads((RESULTS / row.result).read_text())
    (found,) = [
        each
        for each in report["rows"]
        if (each["env"], each["system"], each["threshold"]) == (row.pattern, "fastsac", row.threshold)
    ]
    assert found["solved"] == len(found["seeds"])
    assert found["wall_s"]["iqm"] == pytest.approx(row.seconds, rel=0.01)
    assert (report["machine"]["gpu"] is None) == (row.device == "cpu")
    assert row.preset in PRESETS


def test_a_measured_environment_gives_its_preset_and_the_figure() -> None:
    expected = (
        "preset fastest is gym-mujoco here: 10,000 in 136 s on an H100, with --num-envs 256 "
        "(bench/results/h100/halfcheetah.json)"
    )
    for env, device in (("HalfCheetah-v5", "cuda"), ("envpool:HalfCheetah-v5", "cuda:1")):
        assert find_fastest(env, device) == ("gym-mujoco", expected)


@pytest.mark.parametrize(
    ("env", "device", "preset"),
    [("HalfCheetah-v5", "cpu", "gym-mujoco"), ("Pendulum-v1", "cuda", "pendulum"), ("my.envs:Own", "cpu", "none")],
)
def test_where_nothing_was_measured_the_preset_is_that_of_auto(env: str, device: str, preset: str) -> None:
    name, why = find_fastest(env, device)
    assert name == preset == Config(env=env).preset
    task = env.rpartition(":")[2]
    assert why == f"preset fastest is {preset} here, as auto is: nothing was measured of {task} on {device}"


def test_a_row_decides_and_not_the_pattern_of_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Measured("HalfCheetah-v5", "cpu", "simba", 5_000, 60.0, "on two cores", "box/solve.json")
    monkeypatch.setattr("fastsac.config.fastest.FASTEST", (row,))
    config = Config(env="HalfCheetah-v5", preset="fastest", device="cpu")
    assert config == Config(env="HalfCheetah-v5", preset="simba", device="cpu")
    assert Config.from_json(config.to_json()) == config


def test_without_a_device_it_cannot_be_told() -> None:
    message = r"^preset fastest depends on the device\. Give device cpu or cuda\.$"
    with pytest.raises(ValueError, match=message):
        Config(env="HalfCheetah-v5", preset="fastest")
    text = Config(env="HalfCheetah-v5").to_json().replace('"gym-mujoco"', '"fastest"')
    with pytest.raises(ValueError, match=r"preset must be none or the name of the preset .*, got fastest\.$"):
        Config.from_json(text)
