"""A CSV file that a run appends to: whole rows only; a resumed run keeps those that its checkpoint counts on."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fastsac.disk.files import write_file
from fastsac.disk.tables import read_table, set_aside

Cell = float | int | str
Row = Mapping[str, Cell]


class CsvSink:
    """Rows of one CSV file, on disk as soon as they are written; floats are written so that they read back exactly.

    Args:
        path: the file; rows that are there already are kept, with an empty cell for each column that they lack.
        columns: names, in order.
        keep: how many of the rows that are there to keep: those of the checkpoint that a run continues from.

    Attributes:
        note: a line to tell the user, where some of these could not be kept; else empty.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], keep: int = 0) -> None:
        kept, self.note = rows_to_keep(path, columns, keep)
        self.num_rows = len(kept)
        self.path, self._columns = path.absolute(), columns
        self._header = _lines(columns, [dict(zip(columns, columns, strict=True))])
        self._waiting: list[Row] = []  # that are not in the file
        self._begin(self._header + _lines(columns, kept))

    def _begin(self, content: bytes) -> None:
        write_file(self.path, content)
        self._size = len(content)  # of the file
        self._file = self.path.open("a+b", buffering=0)

    def write(self, *rows: Row) -> None:
        """Append rows, or raise an OSError and append them with the next call; keys that are no columns are ignored."""
        self._waiting += rows
        self.flush()

    def is_there(self) -> bool:
        """The path still leads to the file that the rows go to, and nobody cut it short."""
        try:
            there = self.path.stat()
            return os.path.samestat(there, os.fstat(self._file.fileno())) and there.st_size >= self._size
        except OSError:
            return False

    def restore(self) -> None:
        """Write the file anew with its rows, or raise an OSError; what lies in its place, or was cut short, is kept."""
        before = self._file
        before.seek(0)
        content = before.read()  # also of one that was removed or moved
        if self.path.exists():
            set_aside(self.path)
        self._begin(content if len(content) >= self._size else self._header)
        before.close()
        self.flush()

    def sync(self) -> None:
        """Make the rows safe from a power cut."""
        os.fsync(self._file.fileno())

    def flush(self) -> None:
        """Write the rows that wait, all of them, or none and raise an OSError."""
        left, size = memoryview(_lines(self._columns, self._waiting)), self._file.seek(0, os.SEEK_END)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._file.truncate(size)
            self._file.seek(size)
            raise
        self._size = self._file.tell()
        self.num_rows += len(self._waiting)
        self._waiting = []

    def close(self) -> None:
        """Close the file, with the rows that wait if that is possible."""
        with suppress(OSError):
            self.flush()
        self._file.close()


def _lines(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    out = io.StringIO(newline="")
    csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def rows_to_keep(path: Path, columns: Sequence[str], keep: int) -> tuple[list[dict[str, str]], str]:
    """The first `keep` rows of a table that can be read, and a line to tell the user where it had to be set aside."""
    try:
        table = read_table(path, keep)
    except FileNotFoundError:
        return [], f"{path} is gone, and with it {keep:,} row(s); a new one begins here" if keep else ""
    except OSError as error:
        return [], f"{path} cannot be read ({error.strerror}): it is now {set_aside(path).name}, a new one begins here"
    rows = table.rows if set(columns) & set(table.columns) else []
    if keep == 0 or (len(rows) == keep and set(table.columns) <= set(columns)):
        return rows, ""
    have = f"{len(rows):,} of the {keep:,} row(s) that the checkpoint counts on"
    return rows, f"{path} is damaged: {have} go on in a new one; the old one is now {set_aside(path).name}"
