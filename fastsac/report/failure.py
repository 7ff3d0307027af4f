"""Word of an error that ended a run: error.txt in its directory, with one line and the traceback."""

from pathlib import Path

FILES = ("error.txt", "error-fastsac.txt")  # the second where the first is somebody else's
HEAD = b"fastsac: the run ended by an error.\n"


def content(line: str, traceback: str) -> bytes:
    """What such a file holds.

    Args:
        line: the error in one line.
        traceback: as Python prints it.
    """
    return HEAD + f"{line}\n\n{traceback}".encode(errors="replace")


def error_files(run_dir: Path) -> list[Path]:
    """Those that are there and are ours: a user may have files of such names."""
    paths = [run_dir / name for name in FILES]
    return [path for path in paths if path.is_file() and path.read_bytes().startswith(HEAD)]


def error_text(run_dir: Path) -> str:
    """What they hold; empty of a run that no error ended."""
    return "\n".join(path.read_text(errors="replace") for path in error_files(run_dir))


def why_failed(text: str) -> str:
    """The error in one line, without the point at its end; empty where there is none.

    Args:
        text: of `error_text`.
    """
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
    if not lines:
        return ""
    is_traceback_alone = lines[0].startswith("Traceback")  # as earlier versions wrote it
    return lines[-1 if is_traceback_alone else 0].removesuffix(".")
