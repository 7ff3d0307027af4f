"""HTML made of elements, in which all text is escaped.  Knows no run."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeVar

T = TypeVar("T", bound=object)


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | int | Html


def element(tag: str, *content: Content, **attributes: object) -> Html:
    """`<tag attribute="...">content</tag>`.

    Args:
        tag: its name.
        content: text, which is escaped, and elements.
        attributes: by name, with `_` for `-`, and one at the end of Python's own words; True is one without a value,
            and None is none.
    """
    given = "".join(map(_attribute, attributes, attributes.values()))
    return Html(f"<{tag}{given}>{join(content)}</{tag}>")


def _attribute(name: str, value: object) -> str:
    name = name.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def join(content: Iterable[Content]) -> Html:
    """Text and elements, one after the other."""
    return Html("".join(part if isinstance(part, Html) else escape(str(part), quote=False) for part in content))


def table(caption: str, head: Sequence[Content], rows: Iterable[Sequence[Content]], texts: int = 1) -> Html:
    """A table in a box that scrolls where it is wider than the screen; the first cell of each row is its header.

    Args:
        caption: what it shows.
        head: names of the columns.
        rows: cells.
        texts: columns from the left that are text; the others are numbers, which stand to the right.
    """

    def row(cells: Sequence[Content], of: str) -> Html:
        return element("tr", *(_cell(place, cell, of, texts) for place, cell in enumerate(cells)))

    head_row = element("thead", row(head, "head"))
    body = element("tbody", *(row(cells, "body") for cells in rows))
    whole = element("table", element("caption", caption), head_row, body)
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _cell(place: int, content: Content, of: str, texts: int) -> Html:
    kind = None if place < texts else "n"
    if of == "head":
        return element("th", content, scope="col", class_=kind)
    return element("th", content, scope="row", class_=kind) if place == 0 else element("td", content, class_=kind)


def details(summary: Content, *content: Content) -> Html:
    """What is folded until it is asked for."""
    return element("details", element("summary", summary), *content)


def exact(value: float, text: str) -> Html:
    """A number as text, with all its digits for programs that read the page."""
    return element("data", text, value=value)
