"""How a run was continued, and with which other settings: resumed.json in its directory.

It has an entry for each continuation that the run is made of.  One that came to no checkpoint leaves none: its steps
are lost, and the next one begins where it began.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastsac.config.command import plain_text
from fastsac.config.kinds import conform, read_json
from fastsac.config.settings import Config
from fastsac.disk.files import read_file, write_file

NAME = "resumed.json"

Values = dict[str, Any]
"""Settings by name, as JSON has them."""


@dataclass(frozen=True)
class Resumed:
    """One continuation."""

    env_steps: int  # at which the run went on
    checkpoint: str  # from which
    with_replay: bool
    before: Values  # until then, of the settings that were changed
    after: Values  # of the same from then on

    @property
    def changes(self) -> str:
        """`gamma 0.99 -> 0.5, batch_size 256 -> 64 from step 1,000`; empty where all stayed as they were."""
        return self._from_here(self._changes(self.before))

    def difference(self, config: Config) -> str:
        """What makes a run, whose settings are `config` now, another one than if it had had them always; or nothing."""
        learning = {*Config.names(affects="learning")}
        if config.lr_schedule == "constant":
            learning.remove("total_steps")
        replay = [] if self.with_replay else ["an empty replay"]
        return self._from_here([*self._changes(name for name in self.before if name in learning), *replay])

    def _changes(self, names: Iterable[str]) -> list[str]:
        return [f"{name} {plain_text(self.before[name])} -> {plain_text(self.after[name])}" for name in names]

    def _from_here(self, what: Sequence[str]) -> str:
        return f"{', '.join(what)} from step {self.env_steps:,}" if what else ""

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if self.before.keys() != self.after.keys():
            raise ValueError(f"{NAME} has a setting without its value before or after.")


def settings_that_count(config: Config) -> dict[str, object]:
    """All settings that affect learning, its speed or evaluations, by name."""
    return {name: value for name, value in asdict(config).items() if name not in Config.names(affects="nothing")}


def continued(
    earlier: Sequence[Resumed], stored: Config, config: Config, env_steps: int, checkpoint: str, with_replay: bool
) -> list[Resumed]:
    """The continuations of a run that goes on now, of which the last is this one.

    Args:
        earlier: those so far, also such as came to no checkpoint.
        stored: the settings that were last written down, be it by one of these.
        config: the settings from now on.
        env_steps: of the checkpoint.
        checkpoint: its name.
        with_replay: whether its replay is taken over.
    """
    kept = [each for each in earlier if each.env_steps < env_steps]
    had = _json(settings_that_count(stored))
    for lost in reversed(earlier[len(kept) :]):
        had |= lost.before
    now = _json(settings_that_count(config))
    changed = [name for name in now if name != "env" and had[name] != now[name]]  # which may be written in several ways
    before, after = ({name: of[name] for name in changed} for of in (had, now))
    return [*kept, Resumed(env_steps, checkpoint, with_replay, before, after)]


def _json(values: dict[str, object]) -> Values:
    plain: Values = json.loads(json.dumps(values))
    return plain


def read_history(run_dir: Path) -> list[Resumed]:
    """The continuations of a run, in order; none where the file is missing, or is not what was written."""
    try:
        found: list[Resumed] = conform(NAME, read_json(read_file(run_dir / NAME)), list[Resumed])
    except (OSError, ValueError):
        return []
    return found


def write_history(run_dir: Path, history: Sequence[Resumed]) -> None:
    """Write the continuations of a run; no file for one that has none."""
    if history:
        write_file(run_dir / NAME, (json.dumps([*map(asdict, history)], indent=2) + "\n").encode())
    else:
        (run_dir / NAME).unlink(missing_ok=True)


def until(history: Sequence[Resumed], name: str) -> str:
    """` (0.99 until step 1,000, 0.5 until step 2,000)`: the values that a setting had before; empty of most."""
    had = [f"{plain_text(each.before[name])} until step {each.env_steps:,}" for each in history if name in each.before]
    return f" ({', '.join(had)})" if had else ""
