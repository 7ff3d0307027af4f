"""Tables as runs write them: CSV files, read line by line, so that damage costs its own line alone.

A row is whole when it has its line end, is readable text, and has as many cells as there are columns.  A run may be in
the middle of its last one.  Knows no column.
"""

import codecs
import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastsac.disk.files import read_file


@dataclass(frozen=True)
class Table:
    """The readable part of a table."""

    columns: list[str]  # empty where the line of their names is damaged, or not written yet
    rows: list[dict[str, str]]  # those that are whole
    is_empty: bool  # nothing was written yet, no names of columns either


def read_table(path: Path, limit: int | None = None) -> Table:
    """Read a table, or its first `limit` rows, counting those that are not whole."""
    lines = [line for line in read_file(path).removeprefix(codecs.BOM_UTF8).split(b"\n")[:-1] if line.strip()]
    columns, *found = [_cells(line) for line in lines[: None if limit is None else limit + 1]] or [[]]
    rows = [dict(zip(columns, cells, strict=True)) for cells in found if columns and len(cells) == len(columns)]
    return Table(columns, rows, not lines)


def table_with(path: Path, columns: Sequence[str], limit: int | None = None) -> Table:
    """Read a table that has these columns, or raise a ValueError; an empty one where there is no file."""
    try:
        table = read_table(path, limit)
    except FileNotFoundError:
        return Table([], [], True)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}. Move it away to go on without it.") from None
    missing = sorted(set(columns) - set(table.columns))
    if missing and not table.is_empty:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}. Move it away to go on without it.")
    return table


def read_numbers(path: Path, columns: Sequence[str]) -> NDArray[np.float64]:
    """Some columns of a table as numbers, [rows, columns]; empty cells are NaN, rows with other text are left out."""
    rows = []
    for row in table_with(path, columns).rows:
        try:
            rows.append([float(row[name] or "nan") for name in columns])
        except ValueError:
            continue
    return np.array(rows).reshape(-1, len(columns))


def set_aside(path: Path) -> Path:
    """Rename a table that is damaged; returns its new name, which is free."""
    aside, number = path.with_name(f"{path.name}.damaged"), 2
    while os.path.lexists(aside):
        aside, number = path.with_name(f"{path.name}.damaged-{number}"), number + 1
    os.rename(path, aside)
    return aside


def _cells(line: bytes) -> list[str]:
    """The cells of a line; none where it cannot be read."""
    try:
        text = line.decode().rstrip("\r")
        return next(csv.reader([text])) if text.isprintable() else []
    except (UnicodeDecodeError, csv.Error):
        return []
