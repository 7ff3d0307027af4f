"""What the site has beside the pages of docs/: the rest of the repository that they link to, and what is made of code.

A file of the repository has the same place in the site, so that links mean the same here and on a code host; only
`docs/` itself is the root.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import cast

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from fastsac.config.fields import DEFAULTS, GROUPS, docs_of, range_text
from fastsac.config.settings import Config

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
PAGES = ("bench/README.md", "CHANGELOG.md", "CONTRIBUTING.md")  # of the navigation, which lie outside docs/
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")  # the path of a link or picture within the repository
PICTURE = re.compile(r"^!\[([^]]*)\]\((pictures/[\w-]+\.svg)\)$", re.MULTILINE)
FOREIGN = re.compile(r"""<(?:link|script|img|iframe|source|video)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>""")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to outside docs/, and what these link to."""
    waiting = [DOCS + file.src_uri for file in files.documentation_pages()]
    for path in PAGES:
        files.append(_file(path, config))
        waiting.append(path)
    for page in waiting:
        for path in _linked(page):
            if path.startswith(DOCS) or files.get_file_from_path(path) or not (ROOT / path).is_file():
                continue
            files.append(_file(path, config))
            if path.endswith(".md"):
                waiting.append(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into those of the site; put pictures and settings into their places."""
    here = _in_repository(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        path = _resolved(here, match[1])
        return os.path.relpath(path.removeprefix(DOCS), os.path.dirname(page.file.src_uri) or ".")

    markdown = PICTURE.sub(_drawn, markdown)
    return LINK.sub(moved, markdown).replace("<!-- settings -->", _settings())


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that loads anything from another host."""
    for page in Path(config.site_dir).rglob("*.html"):
        for tag in FOREIGN.findall(page.read_text()):
            if 'rel="canonical"' not in tag:
                raise PluginError(f"{page} asks another host: {tag}")


def _file(path: str, config: MkDocsConfig) -> File:
    return File.generated(config, path, abs_src_path=str(ROOT / path))


def _linked(page: str) -> Iterator[str]:
    """Paths within the repository that a page links to."""
    for target in LINK.findall((ROOT / page).read_text()):
        yield _resolved(page, target)


def _resolved(page: str, target: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(page), target))


def _in_repository(src_uri: str) -> str:
    """The path within the repository of a page of the site."""
    return DOCS + src_uri if (ROOT / DOCS / src_uri).exists() else src_uri


def _drawn(match: re.Match[str]) -> str:
    """A picture as a part of the page, so that it has the page's colours."""
    svg = (ROOT / DOCS / match[2]).read_text().replace("<svg ", f'<svg role="img" aria-label="{match[1]}" ', 1)
    return f'<figure class="drawing">{" ".join(svg.split())}</figure>'


def _settings() -> str:
    """A table of the settings for each group."""
    texts = docs_of(Config)
    names = re.compile(rf"\b({'|'.join(name for name in texts if '_' in name)})\b")
    tables = []
    for group in GROUPS:
        rows = ["| setting | default | |", "|---|---|---|"]
        for each in fields(Config):
            traits = {**DEFAULTS, **each.metadata}
            if traits["group"] == group:
                text = names.sub(r"`\1`", texts[each.name]) + _traits(traits)
                rows.append(f"| `{each.name}`{{ #{each.name} }} | {_default(each, traits)} | {text} |")
        tables.append(f"## {group.capitalize()}\n\n" + "\n".join(rows))
    return "\n\n".join(tables)


def _default(setting: Field[object], traits: dict[str, object]) -> str:
    if setting.default is None:
        return str(traits.get("unset", "not set"))
    value = setting.default if setting.default_factory is MISSING else setting.default_factory()
    return "must be given" if value is MISSING else _flag(value)


def _flag(value: object) -> str:
    """A value as on the command line."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return f"`{' '.join(map(str, value))}`" if value else "none"
    return f"`{value:_}`" if isinstance(value, int) else f"`{value}`"


def _traits(traits: dict[str, object]) -> str:
    """What is true of a setting beside its text."""
    bounds = {name: value for name, value in traits.items() if name in ("at_least", "above", "at_most")}
    notes = [range_text(cast("dict[str, float]", bounds))] if bounds else []
    notes += ["may be swept"] if traits["sweepable"] else []
    notes += ["stays when a run is resumed"] if traits["fixed"] else []
    return f" *{', '.join(notes).capitalize()}.*" if notes else ""
