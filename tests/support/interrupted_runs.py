"""Runs that a signal ends in the middle of a vector step, and that go on."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import torch

from fastsac import checkpoint
from fastsac.checkpoint.reader import Meta
from fastsac.config.settings import Config
from fastsac.run.evaluator import make_training_envs
from fastsac.run.plan import make_plan
from fastsac.run.result import Result
from fastsac.run.trainer import Run
from tests.support.runs import BASE, TIME_COLUMNS, go_wrong, rows

EXACT = BASE.replace(total_steps=140, log_every=30, eval_every=45, buffer_size=60, utd_ratio=0.5)


def drive(config: Config, interrupt_at: float = math.inf, renew_at: float = math.inf) -> Result:
    """Train until a Ctrl-C in the middle of a vector step, with new environments after another one, if any."""
    sent: list[signal.Signals] = []

    def interrupt_once(run: Run) -> None:
        if run.env_steps >= interrupt_at and not sent:
            signal.raise_signal(signal.SIGINT)
            sent.append(signal.SIGINT)

    with Run(make_plan(config)) as run:
        go_wrong(run, interrupt_once)
        run.start()
        while not run.is_over:
            before = run.env_steps
            run.step()
            if before < renew_at <= run.env_steps:
                run.catch_up()
                run.env.close()
                run.env = run.collector.env = make_training_envs(config, run.collector.vec_steps)
                run.collector.reset()
        return run.finish()


def interrupt(config: Config, at: int, renew_at: float = math.inf) -> Path:
    """Train until a Ctrl-C in the middle of a vector step at `at` environment steps."""
    result = drive(config, interrupt_at=at, renew_at=renew_at)
    assert result.interrupted
    assert at <= result.env_steps < at + 3 * config.num_envs
    return result.run_dir


def resumed(folder: Path, **changes: Any) -> Config:
    return Config.load(folder).replace(resume=str(folder), run_dir=None, **changes)


def assert_same_tree(mine: object, other: object, path: str = "") -> None:
    if isinstance(mine, dict):
        assert isinstance(other, dict), path
        assert mine.keys() == other.keys(), path
        for key in mine:
            assert_same_tree(mine[key], other[key], f"{path}.{key}")
    elif isinstance(mine, torch.Tensor):
        assert isinstance(other, torch.Tensor), path
        assert torch.equal(mine, other), path
    else:
        assert mine == other, path


def without_times(meta: Meta) -> Meta:
    evals = [{k: v for k, v in row.items() if k != "wall_s"} for row in meta["last_evals"]]
    row = {k: v for k, v in meta["last_row"].items() if k not in ("ago_s", "waited")}
    kept = {k: v for k, v in meta.items() if k not in ("wall_s", "name", "learner", "replay")}
    return {**kept, "last_evals": evals, "last_row": row}


def assert_same_run(first: Path, second: Path) -> None:
    """Tables, parameters, replay, counters: everything but times."""
    for name in ("metrics.csv", "eval.csv"):
        mine, other = (rows(folder / name, TIME_COLUMNS) for folder in (first, second))
        assert mine == other
        assert len(mine) >= 3
    assert checkpoint.load_meta(first)["replay"]["span"] == checkpoint.load_meta(second)["replay"]["span"]
    (state, meta), (other_state, other_meta) = (checkpoint.load(folder) for folder in (first, second))
    assert_same_tree(state, other_state)
    assert_same_tree(without_times(meta), without_times(other_meta))
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (first, second)]
    for key in ("members", "env_steps", "grad_steps", "eval_return_mean", "eval_return_std"):
        assert summaries[0][key] == summaries[1][key]
