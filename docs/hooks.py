"""What the site has beside the pages of docs/: the rest of the repository that they link to, and what is made of code.

A file of the repository has the same place in the site, so that links mean the same here and on a code host; only
`docs/` itself is the root.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
PAGES = ("bench/README.md", "CHANGELOG.md", "CONTRIBUTING.md")  # of the navigation, which lie outside docs/
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")  # the path of a link or picture within the repository
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
    """Turn links of the repository into those of the site."""
    here = _in_repository(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        path = _resolved(here, match[1])
        return os.path.relpath(path.removeprefix(DOCS), os.path.dirname(page.file.src_uri) or ".")

    return LINK.sub(moved, markdown)


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
