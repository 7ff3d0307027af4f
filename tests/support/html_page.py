"""An HTML page, read by its elements."""

from html.parser import HTMLParser

from fastsac.report.style import MINUS

VOID = {"meta", "br", "img", "input", "link", "hr"}
Attributes = dict[str, str | None]


class Page(HTMLParser):
    """The elements of a page in order, and its text; an element that is not closed in its place is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"{tag} is closed out of its place"

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        data = data.replace(MINUS, "-")
        self.text += data
        if "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.elements if name == tag]

    def table(self, *head: str) -> list[list[str]]:
        """The rows of the table whose first columns have these names."""
        (found,) = [rows for rows in self.tables if rows[0][: len(head)] == list(head)]
        return found[1:]
