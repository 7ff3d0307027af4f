"""bench.gpu_recipes: its command lines are understood and start, and outputs are kept however a run ends."""

import json
import os
from pathlib import Path

import pytest

from bench import gpu_recipes, solve
from bench.lib.curves import GOALS
from fastsac.cli.parsing import parse
from fastsac.cli.train import train_config
from fastsac.env import make_spec

TRAININGS = [name for name, job in gpu_recipes.JOBS.items() if job.command.startswith("fastsac train ")]
TINY = (
    "--device cpu --total-steps 60 --learning-starts 32 --batch-size 16 --buffer-size 100 --num-envs 2 --utd-ratio 0.1 "
    "--seeds 1 --eval-every 0 --eval-episodes 1 --compile off --max-episode-steps 20 --actor-hidden-dims 8 "
    "--critic-hidden-dims 8"
)


@pytest.mark.parametrize("name", TRAININGS)
def test_trainings_are_understood_and_their_environments_exist(name: str, tmp_path: Path) -> None:
    program, command, *words = gpu_recipes.command_of(gpu_recipes.JOBS[name], tmp_path)
    assert (program, command) == ("fastsac", "train")
    config = train_config(words)
    assert (config.device, config.run_dir) == ("cuda", f"{tmp_path}/run")
    assert config.preset.startswith("flashsac")
    spec = make_spec(config.env, config.env_kwargs_of_training, config.action_limit)
    assert not spec.discrete


def test_g1_is_not_pushed_and_others_are_as_they_are(tmp_path: Path) -> None:
    kwargs = {n: train_config(gpu_recipes.command_of(gpu_recipes.JOBS[n], tmp_path)[2:]).env_kwargs for n in TRAININGS}
    assert kwargs.pop("g1") == {"push_enable": False, "push_magnitude_min": 0.0, "push_magnitude_max": 0.0}
    assert not any(kwargs.values())


def test_the_grid_is_understood(tmp_path: Path) -> None:
    (name,) = gpu_recipes.JOBS.keys() - {*TRAININGS}
    module, *words = gpu_recipes.command_of(gpu_recipes.JOBS[name], tmp_path)
    settings = parse(solve.Settings, module, words)
    assert module == "bench.solve"
    assert (settings.device, settings.thresholds, len(settings.variants)) == ("cuda", (5_000, 10_000), 16)
    assert settings.json == tmp_path / "solve.json"
    assert len(settings.seeds) * len(settings.variants) * (settings.max_wall_s or 0) < gpu_recipes.JOBS[name].limit_s
    assert {*settings.envs} <= {*GOALS}


def test_outputs_are_kept_and_a_run_that_fails_does_not_stop_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu_recipes.JOBS, "wrong", gpu_recipes.training("--env Nothing-v0", 60))
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    folder = tmp_path / "out"
    assert gpu_recipes.main([str(folder), "--runs", "wrong", "halfcheetah", f"--args={TINY}"]) == 1
    out = capsys.readouterr().out
    assert "wrong: status 2 after" in out
    assert "halfcheetah: status 0 after" in out
    assert "unknown envpool id 'Nothing-v0'" in (folder / "wrong" / "log.txt").read_text()
    summary = json.loads((folder / "halfcheetah" / "summary.json").read_text())
    assert (summary["preset"], summary["env_steps"]) == ("flashsac-cpu-sim", 60)
    assert (folder / "halfcheetah" / "eval.csv").read_text().count("\n") == 2
    with pytest.raises(SystemExit, match=r"^bench\.gpu_recipes: folder .* has outputs of halfcheetah\."):
        gpu_recipes.main([str(folder), "--runs", "halfcheetah"])


def test_a_run_that_does_not_end_is_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = gpu_recipes.Settings(folder=tmp_path, runs=("grid",))
    assert not gpu_recipes.run("grid", gpu_recipes.Job("fastsac train --help", 0.01), settings)
    assert "grid: no end in 0 s after" in capsys.readouterr().out


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"runs must be of halfcheetah, .*, got atari\."):
        gpu_recipes.Settings(folder=Path("out"), runs=("atari",))
