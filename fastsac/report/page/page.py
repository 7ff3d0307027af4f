"""The whole page: its template, the order of its parts, and the file."""

from datetime import datetime
from importlib.resources import files
from pathlib import Path
from string import Template

from fastsac.disk.files import write_file
from fastsac.report.page.comparison import comparison, title
from fastsac.report.page.html import Html, element, join
from fastsac.report.page.sections import Section, head, sections, show
from fastsac.report.page.story import Story
from fastsac.report.runs import default_path

NAME = "report.html"


def write_page(stories: list[Story], out: Path | None = None) -> Path:
    """Write the page about runs, whole or not at all; returns its path.

    Args:
        stories: one or more.
        out: the file.  Default RUN_DIR/report.html, or report.html for several runs.

    Raises:
        ValueError: the file cannot be written.
    """
    path = out or default_path([story.run for story in stories], NAME)
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder. Give another --output.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, page(stories).encode(errors="replace"))
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}. Give another --output.") from None
    return path


def page(stories: list[Story]) -> str:
    """The page as text."""
    several = len(stories) > 1
    heading, body = _several(stories) if several else _one(stories[0])
    template = Template((files("fastsac.report.page") / "page.html").read_text())
    made = f"Made by fastsac report at {datetime.now():%Y-%m-%d %H:%M}."
    return template.substitute(title=element("title", heading), body=body, made=element("p", made))


def _one(story: Story) -> tuple[str, Html]:
    found, heading = sections(story), f"{story.run.config.task}: {story.name}"
    top = element("header", element("h1", heading), head(story), contents(found))
    return heading, join([top, element("main", show(found, "", 2))])


def _several(stories: list[Story]) -> tuple[str, Html]:
    prefixes = [f"run{place}-" for place in range(1, len(stories) + 1)]
    shared = comparison(stories, prefixes)
    tasks = ", ".join(dict.fromkeys(story.run.config.task for story in stories))
    heading = f"{tasks}: {len(stories)} runs"
    top = element("header", element("h1", heading), contents(shared))
    parts = []
    for story, prefix in zip(stories, prefixes, strict=True):
        found = sections(story)
        name = element("h2", title(stories, story), id=f"{prefix}h")
        words = element("div", name, head(story), contents(found, prefix, title(stories, story)), class_="run-head")
        article = element("article", words, show(found, prefix, 3), id=f"{prefix}top", aria_labelledby=f"{prefix}h")
        parts.append(article)
    return heading, join([top, element("main", show(shared, "", 2), *parts)])


def contents(found: list[Section], prefix: str = "", of: str = "page") -> Html:
    """Links to sections."""
    links = [element("li", element("a", each.heading, href=f"#{prefix}{each.key}")) for each in found]
    return element("nav", element("ul", *links), aria_label=f"Contents of {of}")
