"""What only a CUDA GPU can show: the three ways to run a step agree there, and a run on it repeats itself."""

import csv

import pytest
import torch
from test_learner import BASE, SPEC, fill

from fastsac import sac
from fastsac.config import Config
from fastsac.learner import Learner
from fastsac.training import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


def make(mode, **changes):
    learner = Learner(BASE.replace(**changes), SPEC, torch.device("cuda", 0), mode)
    fill(learner)
    learner.warm_up()
    return learner


def params(learner):
    return {k: v.cpu() for k, v in learner.buffers["state"]["params"].items()}


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("updates_per_launch", [1, 4])
def test_captured_equals_compiled_equals_eager(seeds, updates_per_launch):
    learners = [
        make(mode, seeds=seeds, updates_per_launch=updates_per_launch) for mode in ("eager", "compiled", "captured")
    ]
    for due in (7, 13):
        for learner in learners:
            learner.launch([due] * seeds)
    for learner in learners[1:]:
        for name, value in params(learners[0]).items():
            torch.testing.assert_close(params(learner)[name], value, rtol=1e-4, atol=1e-5)
        assert learner.buffers["state"]["grad_steps"].tolist() == [20] * seeds


def test_two_launches_draw_different_batches():
    learner = make("captured", updates_per_launch=1)
    learner.launch([1])
    first = learner.read_metrics()[0]
    learner.launch([1])
    assert first != learner.read_metrics()[0]
    assert set(first) == set(sac.METRICS)


@pytest.mark.parametrize("actor_delay", [1, 2])
def test_a_run_repeats_itself(tmp_path, actor_delay):
    config = Config(
        env="tests.scripted_env:3t,5c,2b,9c", num_envs=4, total_steps=200, learning_starts=16, batch_size=8,
        buffer_size=400, hidden_dims=(16, 16), log_every=50, eval_every=0, eval_episodes=2, device="cuda",
        actor_delay=actor_delay, tensorboard=False, obs_norm=True,
    )  # fmt: skip
    tables = []
    for name in ("a", "b"):
        result = train(config.replace(run_dir=str(tmp_path / name)))
        with (result.run_dir / "metrics.csv").open() as f:
            tables.append([{k: v for k, v in row.items() if not k.endswith("_s")} for row in csv.DictReader(f)])
    assert tables[0] == tables[1]
    assert result.grad_steps == 184
