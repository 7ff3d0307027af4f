"""What a report says of its measurement: the command, machine, versions and commit; and how it is written."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from matplotlib.figure import Figure

from bench.lib import charts
from bench.lib.harness import Report, Row, Settings, one_line, set_up_torch
from bench.lib.tables import Figures
from fastsac.cli.parsing import parse
from fastsac.runtime.machine import describe_machine
from fastsac.runtime.versions import PACKAGES, git_commit, versions

PEER_PACKAGES = ("stable_baselines3", "sb3_contrib", "mujoco")


S = TypeVar("S", bound=Settings)


def start(
    cls: type[S], name: str, question: str | None, argv: Sequence[str] | None
) -> tuple[S, torch.device, "Reporter"]:
    """Parse the command line of `bench.NAME`, and prepare torch and the report; what is wrong is one line."""
    words = list(sys.argv[1:] if argv is None else argv)
    with one_line(name):
        settings = parse(cls, f"python -m bench.{name}", words, about=question or "")
        device = set_up_torch(settings)
    return settings, device, Reporter(name, question or "", settings, device, words)


class Reporter:
    """Collects a report; made before the measurement, so that time and load are those of its start."""

    def __init__(
        self, name: str, question: str, settings: Settings, device: torch.device, words: Sequence[str]
    ) -> None:
        self._json = settings.json
        told = {k: v.name if isinstance(v, Path) else v for k, v in asdict(settings).items() if k != "json"}
        self._report: Report = {
            "bench": name,
            "question": question,
            "command": shlex.join(["python", "-m", f"bench.{name}", *map(without_folder, words)]),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": told,
            "machine": describe_machine(device),
            "versions": versions((*PACKAGES, *PEER_PACKAGES)),
            **describe_commit(),
            "load_before": os.getloadavg()[0],
        }

    def finish(self, **results: Any) -> Report:
        """Add the results, write the file if one was asked for, and return the whole.

        A long measurement may call it again whenever it knows more: the file is replaced at once, never half written.
        """
        report = {**self._report, "load_after": os.getloadavg()[0], **results}
        if self._json is not None:
            self._json.parent.mkdir(parents=True, exist_ok=True)
            part = self._json.with_name(self._json.name + ".part")
            part.write_text(json.dumps(report, indent=1) + "\n")
            part.replace(self._json)
        return report

    def show(self, report: Report, figures: Sequence[Figures], drawn: dict[str, Figure] | None = None) -> Report:
        """Print the tables, and write the charts beside the report's file where there is one; returns the report."""
        for table in figures:
            table.show()
        charts.save_beside(self._json, drawn or {}, report)
        return report


def without_folder(word: str) -> str:
    """A path of this machine without its folders, which are not those of the reader."""
    return f".../{Path(word).name}" if word.startswith(("/", "~")) else word


def describe_commit() -> Row:
    """The checkout's commit, and whether tracked files other than results differ from it."""
    command = ["git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)bench/results"]
    try:
        out = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    return {"commit": git_commit(), "dirty": bool(out.stdout.strip())}


def commit_of(checkout: Path) -> str:
    """The commit of a checkout, seven digits, or the folder's name."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else checkout.name
