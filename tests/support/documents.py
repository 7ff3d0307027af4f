"""The documents as tests read them: their code blocks, and the commands in these."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "bench/README.md"])
TEXT = {str(path.relative_to(ROOT)): path.read_text() for path in DOCUMENTS}
NOT_RUN = "<!-- not run: "  # above a block that no test can run, with the reason
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STARTS = re.compile(r"^(?:srun |torchrun .*?-m )?(?=fastsac )")  # a command of ours, which a launcher may start
OTHER_PROGRAMS = ("git clone", "make ", "pip install", "python -m bench.", "source ", "tensorboard ")  # in shell blocks


@dataclass(frozen=True)
class Block:
    """A code block of a document."""

    page: str
    language: str
    code: str
    above: str  # the text between the block before and this one

    @property
    def is_run(self) -> bool:
        """Whether a test runs it."""
        return NOT_RUN not in self.above.rstrip().rpartition("\n")[2]

    @property
    def file(self) -> str | None:
        """The name of the file that the text above says to write it to."""
        names = re.findall(r"file `([\w/]+\.py)`", self.above)
        return names[-1] if names else None

    @property
    def module(self) -> str | None:
        """The name by which that file is imported."""
        return self.file and self.file.removesuffix(".py").replace("/", ".")

    @property
    def lines(self) -> list[str]:
        """Lines of a shell block without comments, each command in one."""
        whole = re.sub(r"\\\n *", "", self.code)
        return [line for text in whole.splitlines() if (line := re.sub(r"(^| )#.*", "", text).strip())]


def blocks_of(page: str) -> list[Block]:
    """The code blocks of a document."""
    found, end = [], 0
    for match in BLOCK.finditer(TEXT[page]):
        found.append(Block(page, match[1], match[2], TEXT[page][end : match.start()]))
        end = match.end()
    return found


BLOCKS = [block for page in TEXT for block in blocks_of(page)]
COMMANDS = sorted(
    {
        command
        for block in BLOCKS
        if block.language in ("", "sh")
        for line in block.lines
        for command in line.split(" && ")
        if STARTS.match(command)
    }
)


def words_of(command: str) -> tuple[str, list[str]]:
    """`train` and its arguments, of `fastsac train ...`, which a launcher may start."""
    _, name, *args = shlex.split(STARTS.sub("", command))
    return name, args
