"""The documents as a site: built as `make docs` builds it, links and anchors within it, nothing from other hosts."""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

import fastsac
from tests.support.documents import ROOT

pytest.importorskip("mkdocs")


class Parts(HTMLParser):
    """Anchors of a page, and what it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name == "id":
                self.ids.add(value)
            elif value and name in ("href", "src"):
                self.targets.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Parts]:
    """The pages of the site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: Parts(path.read_text()) for path in folder.rglob("*.html") if path.name != "404.html"}


def page(site: dict[Path, Parts], name: str) -> Parts:
    return next(parts for path, parts in site.items() if path.name == name)


def test_links_and_anchors_lead_somewhere(site: dict[Path, Parts]) -> None:
    for path, parts in site.items():
        for target in parts.targets:
            link = urlsplit(target)
            if link.scheme:
                continue
            file = (path.parent / unquote(link.path)).resolve() if link.path else path
            file = file / "index.html" if file.is_dir() else file
            assert file.exists(), (path.name, target)
            if link.fragment and file.suffix == ".html":
                assert unquote(link.fragment) in site[file].ids, (path.name, target)


def test_every_setting_and_public_name_has_its_place(site: dict[Path, Parts]) -> None:
    assert {*fastsac.Config.names()} <= page(site, "settings.html").ids
    assert {f"fastsac.{name}" for name in fastsac.__all__} <= page(site, "api.html").ids


def test_pictures_are_part_of_the_page(site: dict[Path, Parts]) -> None:
    text = next(path for path in site if path.name == "concepts.html").read_text()
    assert text.count("<figure") == len(re.findall(r"<figure[^>]*><svg [^>]*aria-label=", text)) == 3


@pytest.mark.parametrize(
    ("tag", "is_refused"),
    [
        ('<script src="https://example.org/x.js"></script>', True),
        ("<link rel=stylesheet href=//example.org/x.css>", True),
        ('<img alt="" src="http://example.org/x.png">', True),
        ('<img alt="" src="pictures/x.png"><a href="https://example.org">there</a>', False),
    ],
)
def test_what_other_hosts_would_have_to_send_is_refused(tag: str, is_refused: bool, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec
    assert spec.loader
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    (tmp_path / "page.html").write_text(f"<html><body>{tag}</body></html>")
    if is_refused:
        with pytest.raises(hooks.PluginError, match=r"page\.html asks another host: <"):
            hooks.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))
    else:
        hooks.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))
