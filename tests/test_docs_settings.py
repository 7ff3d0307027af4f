"""What documents say of settings: those of other programs beside ours, and what a transition takes."""

import re

import pytest
import torch

from fastsac.cli.train import train_config
from fastsac.config.other_programs import ELSEWHERE
from fastsac.config.settings import Config
from fastsac.env import make_spec
from fastsac.learning.replay import make_replay
from tests.support.documents import TEXT

PAGE = TEXT["docs/coming-from.md"]
ROWS = [row.split(" | ") for row in re.findall(r"^\| (.*) \|$", PAGE, re.MULTILINE)]
HEADS = [row for row in ROWS if "here, with its default" in row]
OURS = [cell for row in ROWS if len(row) > 2 for cell in row[1:-1]]
CODE = re.compile(r"`(--[^`]+)`")


def test_each_program_has_a_table() -> None:
    assert len(HEADS) == len(re.findall(r"^## ", PAGE, re.MULTILINE)) == 4


def test_the_defaults_beside_those_of_other_programs_are_ours() -> None:
    given = [words.split() for cell in OURS for words in CODE.findall(cell)]
    values = [words for words in given if len(words) > 1 or words[0] in ("--learn-alpha", "--tensorboard")]
    assert len(values) > 50
    start = ["--env", "Pendulum-v1", "--preset", "none"]
    for words in (*values, *(words for words in given if words[0].startswith("--no-"))):
        assert train_config([*start, *words]) == train_config(start), words
    for words in given:
        assert words[0].removeprefix("--").removeprefix("no-").replace("-", "_") in Config.names(), words


@pytest.mark.parametrize("row", [row for row in ROWS if len(row) > 2], ids=lambda row: row[0])
def test_their_names_lead_to_ours(row: list[str]) -> None:
    """What `fastsac train` answers to a flag of theirs names one that stands beside it."""
    for name in re.findall(r"`(?:--)?(\w[\w-]*)(?==|`)", row[0]):
        answer = ELSEWHERE.get(f"--{name.replace('_', '-')}")
        ours = [words.split()[0].replace("--no-", "--") for cell in row[1:] for words in CODE.findall(cell)]
        if answer and ours and " is --" in f" {answer}":
            assert any(flag in answer for flag in ours), (name, answer)


@pytest.mark.parametrize("env", ["HalfCheetah-v5", "CartPole-v1"])
def test_what_a_transition_takes(env: str) -> None:
    """4 (observations + actions + 1) + 6 bytes, of which a table of places has 4."""
    spec, config = make_spec(env), Config(env=env, buffer_size=1_000, num_envs=1)
    assert "4 (observations + actions + 1) + 6 bytes" in TEXT["docs/gpu.md"]
    rows = 1_000 * (4 * (spec.obs_dim + spec.action_dim + 1) + 6)
    assert make_replay(config, spec, torch.device("meta")).nbytes() == pytest.approx(rows, rel=0.01)
