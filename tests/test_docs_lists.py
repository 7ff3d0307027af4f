"""What documents list is complete and true: settings of other programs beside ours, public names, bytes."""

import re

import pytest
import torch

import fastsac
from fastsac.cli.train import train_config
from fastsac.config.other_programs import ELSEWHERE
from fastsac.config.settings import Config
from fastsac.env import make_spec
from fastsac.learning.replay import make_replay
from tests.support.documents import TEXT

PAGE = TEXT["docs/coming-from.md"]
TABLES = [
    [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
]
OURS = "here, with its default"
PAIRS = [  # what stands there, and the flags beside it
    (row[0], re.findall(r"`--([^`]+)`", row[head.index(OURS)]))
    for head, _, *rows in TABLES
    if OURS in head
    for row in rows
]
SWITCHES = ("learn-alpha", "tensorboard")  # flags that stand alone, and say what the default is


def test_each_program_has_a_table() -> None:
    assert sum(OURS in head for head, *_ in TABLES) == len(re.findall(r"^## ", PAGE, re.MULTILINE)) == 4


def test_the_defaults_beside_those_of_other_programs_are_ours() -> None:
    given = {flag for _, flags in PAIRS for flag in flags}
    assert {flag.split()[0].removeprefix("no-").replace("-", "_") for flag in given} <= {*Config.names()}
    defaults = sorted(flag for flag in given if " " in flag or flag in SWITCHES or flag.startswith("no-"))
    assert len(defaults) > 30
    assert len({flag.split()[0] for flag in defaults}) == len(defaults), "each has one default"
    start = ["--env", "Pendulum-v1", "--preset", "none"]
    assert train_config([*start, *(word for flag in defaults for word in f"--{flag}".split())]) == train_config(start)


@pytest.mark.parametrize(("there", "flags"), PAIRS)
def test_what_train_answers_to_their_flags_stands_beside_them(there: str, flags: list[str]) -> None:
    ours = {f"--{flag.split()[0].removeprefix('no-')}" for flag in flags}
    for name in re.findall(r"`(?:--)?(\w[\w-]*)(?==|`)", there):
        answer = ELSEWHERE.get(f"--{name.replace('_', '-')}", "")
        named = set(re.findall(r"--[\w-]+", answer))
        assert not named or not ours or named & ours, (name, answer)


def test_the_reference_has_all_public_names() -> None:
    names = re.findall(r"^::: fastsac\.(\w+)$", TEXT["docs/api.md"], re.MULTILINE)
    assert sorted(names) == sorted(fastsac.__all__)


@pytest.mark.parametrize("env", ["HalfCheetah-v5", "CartPole-v1"])
def test_what_a_transition_takes(env: str) -> None:
    """4 (observations + actions + 1) + 6 bytes, of which a table of places has 4."""
    spec, config = make_spec(env), Config(env=env, preset="none", buffer_size=100_000)
    assert "4 (observations + actions + 1) + 6 bytes" in TEXT["docs/gpu.md"]
    rows = 100_000 * (4 * (spec.obs_dim + spec.action_dim + 1) + 6)
    assert make_replay(config, spec, torch.device("meta")).nbytes() == pytest.approx(rows, rel=0.02)
