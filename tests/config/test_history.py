"""resumed.json: what a run is made of, in whatever order it is killed, damaged and continued."""

from pathlib import Path
from typing import Any

import pytest

from fastsac.config.history import NAME, Resumed, continued, read_history, until, write_history
from fastsac.config.settings import Config

CONFIG = Config(env="Pendulum-v1", preset="none", total_steps=10_000)


def go_on(history: list[Resumed], stored: Config, at: int, with_replay: bool = True, **changes: Any) -> list[Resumed]:
    return continued(history, stored, stored.replace(**changes), at, f"of {at}", with_replay)


def test_changes_are_told_with_the_step() -> None:
    (now,) = go_on([], CONFIG, 1_000, gamma=0.5, hidden_dims=(8, 8), log_every=7, seed=1)
    assert now.changes == "gamma 0.99 -> 0.5, hidden_dims 256, 256 -> 8, 8 from step 1,000"
    assert go_on([], CONFIG, 1_000)[0].changes == ""
    assert go_on([], CONFIG, 1_000, env="envpool:Pendulum-v1")[0].changes == ""


def test_values_that_a_setting_had() -> None:
    first = go_on([], CONFIG, 1_000, gamma=0.5)
    second = go_on(first, CONFIG.replace(gamma=0.5), 2_000, gamma=0.99)
    assert until(second, "gamma") == " (0.99 until step 1,000, 0.5 until step 2,000)"
    assert until(second, "tau") == ""


@pytest.mark.parametrize("stored", [CONFIG, CONFIG.replace(gamma=0.5)])
def test_a_continuation_that_came_to_no_checkpoint_leaves_nothing(stored: Config) -> None:
    """Whether it was killed before its settings were written or after."""
    lost = go_on([], CONFIG, 1_000, gamma=0.5)
    (again,) = continued(lost, stored, CONFIG.replace(gamma=0.25), 1_000, "of 1,000", True)
    assert again.changes == "gamma 0.99 -> 0.25 from step 1,000"
    (unchanged,) = continued(lost, stored, CONFIG, 1_000, "of 1,000", True)
    assert unchanged.changes == ""


def test_an_earlier_checkpoint_takes_all_later_continuations_back() -> None:
    first = go_on([], CONFIG, 1_000, gamma=0.5)
    second = go_on(first, CONFIG.replace(gamma=0.5), 2_000, gamma=0.25, tau=0.5)
    third = go_on(second, CONFIG.replace(gamma=0.25, tau=0.5), 3_000, gamma=0.1)
    last = CONFIG.replace(gamma=0.1, tau=0.5)
    assert [each.changes for each in continued(third, last, last, 2_000, "of 2,000", True)] == [
        "gamma 0.99 -> 0.5 from step 1,000", "gamma 0.5 -> 0.1, tau 0.005 -> 0.5 from step 2,000",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "with_replay", "difference"),
    [
        ({"gamma": 0.5, "device": "cpu"}, True, "gamma 0.99 -> 0.5 from step 9"),
        ({"total_steps": 20_000, "eval_every": 5}, True, ""),
        ({"total_steps": 20_000, "lr_schedule": "linear"}, True,
         "total_steps 10,000 -> 20,000, lr_schedule constant -> linear from step 9"),
        ({}, False, "an empty replay from step 9"),
    ],
)  # fmt: skip
def test_what_makes_it_another_run(changes: dict[str, Any], with_replay: bool, difference: str) -> None:
    (now,) = go_on([], CONFIG, 9, with_replay, **changes)
    assert now.difference(CONFIG.replace(**changes)) == difference


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []
    history = go_on([], CONFIG, 1_000, hidden_dims=(8,), env_kwargs={"g": 1.0}, with_replay=False)
    write_history(tmp_path, history)
    assert read_history(tmp_path) == history
    write_history(tmp_path, [])
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("content", [
    "", "{}", "[3]", '[{"env_steps": 3}]',
    '[{"env_steps": 3, "checkpoint": "x", "with_replay": true, "before": {"gamma": 1}, "after": {}}]',
])  # fmt: skip
def test_another_file_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    assert read_history(tmp_path) == []
