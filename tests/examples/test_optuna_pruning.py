"""The example of Optuna runs, and its callback prunes; without Optuna there is nothing to test."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from fastsac.config.settings import Config

SCRIPT = Path(__file__).parents[2] / "examples" / "optuna_pruning.py"
STEPS = 600

optuna = pytest.importorskip("optuna")


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_script_prints_the_best_trial():
    command = [sys.executable, str(SCRIPT), "--trials", "2", "--steps", str(STEPS), "--out", "search"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "'actor_lr': " in done.stdout.splitlines()[-1]
    assert len(done.stdout.splitlines()) == 1, "training is quiet"
    trials = sorted(Path("search").iterdir())
    assert [path.name for path in trials] == ["trial-0", "trial-1"]
    assert {Config.load(path).seed for path in trials} == {1}


def test_a_trial_that_falls_behind_is_pruned_after_its_first_evaluation():
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=1e9))
    study.optimize(lambda trial: runpy.run_path(str(SCRIPT))["objective"](trial, STEPS, Path("search")), n_trials=1)
    (trial,) = study.trials
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert [*trial.intermediate_values] == [120]
    (run_dir,) = Path("search").iterdir()
    assert json.loads((run_dir / "summary.json").read_text())["stopped_by"] == "callback: pruned"
