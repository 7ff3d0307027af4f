"""Which policy a command is about, and the environments that it uses it in: what commands for policies share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import tyro

from fastsac.cli.main import Failed, say
from fastsac.cli.parsing import RunDir
from fastsac.runtime.signals import StopSignals

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


@contextmanager
def in_environments(policy: "Policy", prog: str, trust_env: bool) -> Iterator[StopSignals]:
    """A block that uses a policy in environments of its run; Failed where one of them fails.

    Raises a ValueError where their module lies in the run directory and is not trusted.
    """
    from fastsac.acting.errors import BadStepError, NotFiniteError
    from fastsac.env.foreign import check_env

    check_env(policy.config.env, policy.run_dir, trust_env, partial(say, prog))
    with StopSignals() as signals:  # tells a Ctrl-C from a KeyboardInterrupt of an environment's
        try:
            yield signals
        except (BadStepError, NotFiniteError) as error:
            raise Failed(str(error)) from error
