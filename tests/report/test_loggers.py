"""TensorBoard and Weights & Biases: the tags, the settings, and the names under which a run goes."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fastsac.config.settings import Config
from fastsac.report import scalars
from fastsac.report.loggers import EventFiles, WandbRun, hyper_parameters
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run, train
from fastsac.runtime.versions import is_installed
from tests.support.interrupted_runs import resumed
from tests.support.runs import BASE, rows

METRICS = {name: float(i) for i, name in enumerate(scalars.LEARNING)} | {"env_steps_per_s": 100.0, "host_s": 1.0}
EVAL = {"return_mean": -150.0, "return_std": 20.0, "episodes": 10, "wall_s": 3.0}


def written(run_dir: Path) -> EventAccumulator:
    return EventAccumulator(str(run_dir / "tensorboard")).Reload()


def test_scalars_of_one_member() -> None:
    expected = {f"train/{name}": value for name, value in METRICS.items() if name in scalars.LEARNING}
    assert scalars.of_metrics([METRICS]) == {**expected, "time/env_steps_per_s": 100.0}
    assert scalars.of_evaluation([EVAL]) == {"eval/return_mean": -150.0, "eval/return_std": 20.0}


def test_scalars_of_several_members_are_means_and_the_range_of_returns() -> None:
    rows = [{**EVAL, "return_mean": mean, "success_rate": mean / -400} for mean in (-100.0, -200.0)]
    assert scalars.of_evaluation(rows) == {
        "eval/return_mean": -150.0, "eval/return_min": -200.0, "eval/return_max": -100.0, "eval/success_rate": 0.375,
    }  # fmt: skip
    several = scalars.of_metrics([METRICS, {**METRICS, "alpha": math.nan, "entropy": -3.0}])
    assert (several["train/alpha"], several["train/entropy"]) == (METRICS["alpha"], (METRICS["entropy"] - 3) / 2)


def test_what_is_not_known_has_no_tag() -> None:
    unknown = scalars.of_metrics([{"critic_loss": math.nan, "env_steps_per_s": 100.0}])
    assert unknown == {"time/env_steps_per_s": 100.0}


def test_event_files_have_the_settings_as_text_and_as_hyper_parameters(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    config = Config(env="Pendulum-v1", gamma=0.9, hidden_dims=(32, 32))
    files = EventFiles(tmp_path, config)
    files.log({"eval/return_mean": -150.0}, 1_000)
    files.close()
    events = written(tmp_path)
    assert [(s.step, s.value) for s in events.Scalars("eval/return_mean")] == [(1_000, -150.0)]
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert Config.from_json(text.removeprefix("```json\n").removesuffix("```")) == config
    plugin = events.PluginTagToContent("hparams")
    data = {tag: HParamsPluginData.FromString(content) for tag, content in plugin.items()}
    values = next(d.session_start_info.hparams for d in data.values() if d.HasField("session_start_info"))
    assert (values["gamma"].number_value, values["hidden_dims"].string_value) == (0.9, "(32, 32)")
    experiment = next(d.experiment for d in data.values() if d.HasField("experiment"))
    assert [metric.name.tag for metric in experiment.metric_infos] == list(scalars.FINAL)


@pytest.mark.parametrize("first", [20, 1000])
def test_what_a_resumed_run_does_again_is_shown_once(tmp_path: Path, first: int) -> None:
    """Killed after rows that no checkpoint counts on, if it came to a row before its only checkpoint."""
    config = BASE.replace(run_dir=str(tmp_path / "run"), tensorboard=True, log_every=first, total_steps=200)
    with Run(make_plan(config)) as killed:
        killed.start()
        while killed.env_steps < 60:
            killed.step()
        killed.checkpointer.write_last()
        while killed.env_steps < 110:
            killed.step()
        killed.log_points.log()
    train(resumed(tmp_path / "run", log_every=10))
    expected = [float(row["env_steps"]) for row in rows(tmp_path / "run" / "metrics.csv")]
    assert [scalar.step for scalar in written(tmp_path / "run").Scalars("train/alpha")] == expected
    assert len(expected) >= 14


def test_hyper_parameters_are_what_affects_learning() -> None:
    config = Config(env="Pendulum-v1", seed=7, sweep=("gamma=0.9,0.99", "tau=0.01,0.02"))
    values = hyper_parameters(config)
    assert (values["seed"], values["gamma"], values["tau"]) == (7, "0.9, 0.99", "0.01, 0.02")
    assert {"batch_size", "critic_lr", "env"} <= values.keys()
    assert not {"run_dir", "device", "eval_every", "wandb_name"} & values.keys()


@pytest.mark.skipif(not is_installed("wandb"), reason="needs wandb")
def test_a_wandb_run_has_the_names_that_the_settings_give_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    names: dict[str, Any] = {"wandb_project": "pendulums", "wandb_group": "swing", "wandb_tags": ("a", "b")}
    for given, name in ((None, "run"), ("first", "first")):
        config = Config(env="Pendulum-v1", wandb=True, wandb_name=given, **names)
        logger = WandbRun(tmp_path / "run", config)
        run = logger._logger.experiment
        logger.log({"eval/return_mean": -150.0}, 1_000)
        assert (run.name, run.project, run.group, tuple(run.tags)) == (name, "pendulums", "swing", ("a", "b"))
        assert run.config["gamma"] == 0.99
        assert run.summary["eval/return_mean"] == -150.0
        logger.close()


@pytest.mark.parametrize(("name", "value"), [("wandb_project", "p"), ("wandb_tags", ("a",)), ("wandb_entity", "me")])
def test_settings_of_wandb_without_wandb_are_refused(tmp_path: Path, name: str, value: object) -> None:
    config = BASE.replace(run_dir=str(tmp_path / "run"), **{name: value})
    with pytest.raises(
        ValueError, match=f"^{name} is for Weights & Biases, which is off. Add --wandb, or leave it out."
    ):
        make_plan(config)
    assert not (tmp_path / "run").exists()


def test_how_a_script_starts_processes_is_left_to_it():
    """Importing torchrl's loggers sets it, in a process where nothing has imported them before."""
    code = """
import multiprocessing, tempfile, pathlib
from fastsac.config.settings import Config
from fastsac.report.loggers import EventFiles
EventFiles(pathlib.Path(tempfile.mkdtemp()), Config(env="Pendulum-v1")).close()
print(multiprocessing.get_start_method(allow_none=True))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
