"""The card of a policy that stands alone: how it was made, how it can be made again, and how well it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastsac.config.command import repeat_command
from fastsac.config.settings import Config
from fastsac.run.result import read_summary


@dataclass(frozen=True)
class Evaluated:
    """Episodes with the policy, by its best actions, in environments of the run's evaluations."""

    episodes: int
    seed: int
    return_mean: float
    return_std: float
    return_min: float
    return_max: float
    length_mean: float
    success_rate: float | None  # None where the environment does not tell


@dataclass(frozen=True)
class Card:
    """What is told of a policy; None for what is not known."""

    command: str  # trains it again
    env_steps: int  # that it had been trained for
    checkpoint: str  # last, or best: that of the best evaluation until the end
    num_members: int  # that were trained side by side
    device: str | None
    versions: dict[str, str]  # of the packages that the run was made with
    git_commit: str | None
    evaluation: Evaluated | None


def make_card(run_dir: Path, config: Config, member: int, env_steps: int, checkpoint: str) -> Card:
    """The card of a member of a run, without an evaluation."""
    summary = read_summary(run_dir)
    return Card(
        command=repeat_command(config.of_member(member)),
        env_steps=env_steps,
        checkpoint=checkpoint,
        num_members=config.num_members,
        device=_text(summary, "device"),
        versions=_texts(summary.get("versions")),
        git_commit=_text(summary, "git_commit"),
        evaluation=None,
    )


def _text(summary: Mapping[str, Any], name: str) -> str | None:
    value = summary.get(name)
    return value if isinstance(value, str) else None


def _texts(values: object) -> dict[str, str]:
    found = values if isinstance(values, dict) else {}
    return {name: text for name, text in found.items() if isinstance(text, str)}
