"""Runs of several ranks as tests ask for them, and what they compare."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fastsac.config.settings import Config
from tests.support.launched import Ended
from tests.support.runs import BASE, TIME_COLUMNS, rows

OFTEN: dict[str, Any] = {
    "eval_every": 20, "checkpoint_every": 20, "utd_ratio": 0.5, "env_kwargs": {"saves_state": True},
}  # fmt: skip
MEMBERS = BASE.replace(seeds=3, **OFTEN)
DATA = BASE.replace(num_envs=6, batch_size=12, buffer_size=600, total_steps=120, obs_norm=True, **OFTEN)
KINDS = {"members": MEMBERS.replace(total_steps=120), "data": DATA}
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}


def at(folder: Path, config: Config, name: str = "run") -> Config:
    return config.replace(run_dir=str(folder / name))


def flags(config: Config, *more: str, quiet: bool = True) -> list[str]:
    """The command that trains as a file of settings says."""
    path = Path(str(config.run_dir)).with_suffix(".json")
    path.write_text(config.replace(run_dir=None).to_json())
    more = ("--quiet", *more) if quiet else more
    return ["train", "--config", str(path), "--run-dir", str(config.run_dir), "--trust-env", *more]


def numbers(path: Path) -> dict[str, list[float]]:
    """Columns of a table, but for times."""
    table = rows(path, TIME_COLUMNS)
    return {name: [float(row[name] or "nan") for row in table] for name in table[0]}


def summary(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return read


def assert_close_tables(mine: Path, other: Path, but: tuple[str, ...] = ()) -> None:
    for name in ("metrics.csv", "eval.csv"):
        columns, others = numbers(mine / name), numbers(other / name)
        assert [*columns] == [*others]
        for column, expected in others.items():
            if column not in but:
                np.testing.assert_allclose(columns[column], expected, **CLOSE, err_msg=f"{name} {column}")


def complaints(ended: list[Ended]) -> list[str]:
    """All lines that stand on stderr."""
    lines = [line for each in ended for line in each.err.splitlines()]
    return [line for line in lines if ": importing tests." not in line]
