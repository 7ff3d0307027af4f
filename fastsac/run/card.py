"""How a policy was made: as the summary of its run tells, or the card of the folder in which it is alone."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fastsac.config.command import repeat_command
from fastsac.run.policy_dir import Card, is_policy_dir, read_about
from fastsac.run.result import read_summary
from fastsac.run.stored_policy import StoredPolicy, Which


class MadeWith(NamedTuple):
    """What a policy was trained on and by; None, or nothing, for what is not known."""

    device: str | None
    versions: dict[str, str]  # of packages
    git_commit: str | None


def made_with(folder: Path) -> MadeWith:
    """What the policy of a run directory, or one alone in a folder, was made with."""
    if is_policy_dir(folder):
        card = read_about(folder).card
        return MadeWith(card.device, card.versions, card.git_commit)
    summary = read_summary(folder)
    return MadeWith(_text(summary, "device"), _texts(summary.get("versions")), _text(summary, "git_commit"))


def make_card(folder: Path, stored: StoredPolicy, which: Which) -> Card:
    """The card of a policy without an evaluation: of a run, or that of the folder in which it is alone."""
    if is_policy_dir(folder):
        return dataclasses.replace(read_about(folder).card, evaluation=None)
    return Card(
        command=repeat_command(stored.config.of_member(stored.member)),
        env_steps=stored.env_steps,
        checkpoint=which,
        num_members=stored.config.num_members,
        evaluation=None,
        **made_with(folder)._asdict(),
    )


def _text(summary: Mapping[str, Any], name: str) -> str | None:
    value = summary.get(name)
    return value if isinstance(value, str) else None


def _texts(values: object) -> dict[str, str]:
    found = values if isinstance(values, dict) else {}
    return {name: text for name, text in found.items() if isinstance(text, str)}
