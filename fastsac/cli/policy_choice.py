"""Which policy a command is about: the flags that commands for trained policies share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import tyro

from fastsac.cli.parsing import RunDir

if TYPE_CHECKING:
    from fastsac.policy import Policy


@dataclass(frozen=True, kw_only=True)
class PolicyChoice:
    """A policy of a run."""

    run_dir: RunDir
    """Run directory, as `fastsac train` writes it; demo:NAME is a policy of `fastsac demo`."""
    member: Literal["best"] | int = 0
    """Member of the run, by number; best is the one with the highest return at its last evaluation."""
    checkpoint: Literal["last", "best"] = "last"
    """Policy of the member: last is the newest, best is the one with its highest evaluation return so far."""
    trust_env: tyro.conf.FlagCreatePairsOff[bool] = False
    """Allow the module of the environment to be imported from the run directory."""

    @property
    def member_number(self) -> int:
        """The member, by number; a ValueError where none is the best."""
        from fastsac.run.extract import best_member

        return best_member(self.run_dir) if self.member == "best" else self.member

    def load(self) -> "Policy":
        """The policy; raises as `fastsac.load`."""
        from fastsac.policy import load

        return load(self.run_dir, self.member_number, self.checkpoint)
