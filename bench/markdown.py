"""Tables, anchors and generated parts of Markdown files.  Knows nothing of what they say."""

import re
from collections.abc import Sequence

from bench.harness import Figures

TEXT = 24  # characters of a cell that is no figure


class NoSuchPart(ValueError):
    """A file lacks the lines between which a part is written."""


def escape(text: str) -> str:
    """Text that a cell or a line may hold, without meaning for Markdown or HTML."""
    one_line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([|*`\\]|\](?=\()|(?<!\w)_|_(?!\w))", r"\\\1", one_line)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of figures are aligned right, those of texts left; those that are empty in all rows are left out."""
    kept = [i for i in range(len(columns)) if i == 0 or any(row[i] for row in rows)]
    head = [escape(columns[i]) for i in kept]
    rules = ["---:" if i and max((len(row[i]) for row in rows), default=0) < TEXT else "---" for i in kept]
    lines = [head, rules, *([escape(row[i]) for i in kept] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def figures(tables: Sequence[Figures]) -> list[str]:
    """Title and table of each."""
    return [text for each in tables for text in (f"**{escape(each.title)}**", table(each.columns, each.rows))]


def details(summary: str, body: str) -> str:
    """What is shown when one clicks on the summary."""
    return f"<details>\n<summary>{escape(summary)}</summary>\n\n{body}\n\n</details>"


def anchor(heading: str) -> str:
    """The name that GitHub gives to a heading, for links."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def headings(text: str) -> list[str]:
    """The headings of the second level, without those in blocks of code."""
    found, in_code = [], False
    for line in text.splitlines():
        in_code ^= line.startswith("```")
        if line.startswith("## ") and not in_code:
            found.append(line.removeprefix("## "))
    return found


def replace_part(text: str, name: str, body: str) -> str:
    """The text with `body` between the lines `<!-- begin NAME ... -->` and `<!-- end NAME -->`.

    Raises:
        NoSuchPart: the two lines are not there, once each and in this order.
    """
    begin = re.findall(rf"^<!-- begin {name}\b.*-->$", text, re.MULTILINE)
    end = f"<!-- end {name} -->"
    if len(begin) != 1 or text.count(end) != 1 or text.index(end) < text.index(begin[0]):
        raise NoSuchPart(f"must have the lines '<!-- begin {name} -->' and '{end}', once each and in this order.")
    before, _, rest = text.partition(begin[0])
    return f"{before}{begin[0]}\n\n{body.strip()}\n\n{end}{rest.partition(end)[2]}"
