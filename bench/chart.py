"""Charts that name the report they were drawn from, so that one can see whether they still belong to it."""

import hashlib
import json
import struct
from pathlib import Path

from matplotlib.figure import Figure

from bench import harness

SOURCE, LOOK = b"Source", "2"  # key in the file; count the other one up when charts are to be drawn anew


def origin(report: harness.Report) -> str:
    """What a chart of this report is marked with."""
    content = json.dumps([LOOK, report], sort_keys=True)
    return f"fastsac bench {hashlib.sha256(content.encode()).hexdigest()}"


def is_current(report: harness.Report, path: Path) -> bool:
    """Whether the chart at `path` was drawn from this report."""
    return path.exists() and read_text(path.read_bytes(), SOURCE) == origin(report)


def save(figure: Figure, report: harness.Report, path: Path) -> None:
    """Write the chart of a report; the same report gives the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None, SOURCE.decode(): origin(report)})


def save_beside(file: Path | None, figure: Figure | None, report: harness.Report) -> None:
    """Write the chart beside the report's file, with its stem, and print where; nothing where there is no file."""
    if file is not None and figure is not None:
        path = file.with_suffix(".png")
        save(figure, report, path)
        print(path)


def read_text(png: bytes, key: bytes) -> str | None:
    """A text chunk of a PNG file, by its key."""
    at = 8  # behind the signature
    while at + 8 <= len(png):
        (length,), kind = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        name, _, text = png[at + 8 : at + 8 + length].partition(b"\0")
        if kind == b"tEXt" and name == key:
            return text.decode("latin-1")
        at += length + 12
    return None
