"""The documents are true where that can be checked: links lead somewhere, printed commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from fastsac.cli.main import COMMANDS
from fastsac.cli.train import train_config

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "bench/README.md"])
TEXT = {str(path.relative_to(ROOT)): path.read_text() for path in DOCUMENTS}
COMMAND_LINES = sorted(
    {
        line.split(" #")[0].strip()
        for text in TEXT.values()
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
        if line.startswith("fastsac ")
    }
)


def slug(heading: str) -> str:
    """The anchor that a heading gets in a rendered document."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", TEXT)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXT[name]):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), f"{name} links to {target}"
        if anchor:
            assert anchor in map(slug, re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)), target


def test_documents_print_commands() -> None:
    assert len(COMMAND_LINES) > 10


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_printed_commands_are_understood(line: str) -> None:
    _, command, *args = shlex.split(line)
    assert command in COMMANDS
    if command == "train" and not any(word.startswith(("runs/", "gymnasium:My")) for word in args):
        train_config(args)


@pytest.mark.parametrize("name", TEXT)
def test_modules_tests_and_targets_that_documents_name_exist(name: str) -> None:
    for module in re.findall(r"python -m (bench[\w.]*)", TEXT[name]):
        path = ROOT.joinpath(*module.split("."))
        assert path.is_dir() or path.with_suffix(".py").exists(), module
    for file in re.findall(r"tests/[\w/]+\.py", TEXT[name]):
        assert (ROOT / file).exists(), file
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"`make ([a-z-]+)", TEXT[name]):
        assert target in targets, target
