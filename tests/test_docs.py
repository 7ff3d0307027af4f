"""The documents are true where that can be checked: links lead somewhere, what they name exists."""

import re

import pytest

from fastsac.cli.main import COMMANDS as NAMES
from tests.support.documents import BLOCKS, COMMANDS, NOT_RUN, OTHER_PROGRAMS, ROOT, TEXT, words_of


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
    assert len(COMMANDS) > 10
    assert {words_of(command)[0] for command in COMMANDS} <= NAMES.keys()


def test_shell_blocks_hold_commands_that_are_checked() -> None:
    for block in BLOCKS:
        if block.language == "sh" and block.is_run:
            for line in block.lines:
                for command in line.split(" && "):
                    assert command in COMMANDS or command.startswith(("cd ", *OTHER_PROGRAMS)), command


def test_what_is_not_run_says_why() -> None:
    for text in TEXT.values():
        assert text.count(NOT_RUN) == len(re.findall(re.escape(NOT_RUN) + r"\w.* -->\n+```\w+\n", text))


@pytest.mark.parametrize("name", TEXT)
def test_modules_tests_and_targets_that_documents_name_exist(name: str) -> None:
    for module in re.findall(r"python -m (bench[\w.]*)", TEXT[name]):
        path = ROOT.joinpath(*module.split("."))
        assert path.is_dir() or path.with_suffix(".py").exists(), module
    for file in re.findall(r"(?:tests|examples)/[\w/]+\.py", TEXT[name]):
        assert (ROOT / file).exists(), file
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"`make ([a-z-]+)", TEXT[name]):
        assert target in targets, target
