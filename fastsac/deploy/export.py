"""A policy into files: all are made and checked against the policy before the first is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastsac.deploy import check
from fastsac.deploy.formats import FORMATS, check_installed
from fastsac.deploy.metadata import describe
from fastsac.deploy.program import ExportError, in_float32, make_program, what
from fastsac.disk.new_files import check_ending, check_place, write_new
from fastsac.env import VectorEnv, first_line
from fastsac.policy import Policy


@dataclass(frozen=True)
class ExportedFile:
    """One file."""

    path: Path
    num_bytes: int
    error: float  # the largest of its actions against the policy's, relative to the range of actions
    call_ms: float  # a call for one observation on one core, the median

    def __str__(self) -> str:
        checked = f"largest error {self.error:.1e} in {check.NUM_RECORDED:,} observations"
        return f"{self.path}: {self.num_bytes:,} bytes, {checked}, {self.call_ms:.3f} ms a call"


@dataclass(frozen=True)
class Exported:
    """The files of one policy."""

    files: tuple[ExportedFile, ...]
    act_ms: float  # a call of policy.act, as `call_ms`

    def __str__(self) -> str:
        return "\n".join([*map(str, self.files), f"policy.act: {self.act_ms:.3f} ms a call"])


def format_of(path: Path) -> str:
    """The format that a suffix says; a ValueError for others."""
    check_ending("the path", path, [f".{name}" for name in FORMATS])
    return path.suffix.lower().removeprefix(".")


def check_paths(paths: Sequence[Path], overwrite: bool) -> None:
    """Raise a ValueError where files cannot be made or written, before any work."""
    if not paths:
        raise ValueError("path must be given, for example policy.onnx.")
    for path in paths:
        check_installed(format_of(path))
        check_place(path, overwrite)


def export_policy(policy: Policy, env: VectorEnv, paths: Sequence[Path], stochastic: bool) -> Exported:
    """Write a policy to files, whose suffixes are their formats.

    Args:
        policy: to write.
        env: its task, in which it is stepped.
        paths: of the files, that `check_paths` has let pass.
        stochastic: sample the actions by a second input, standard normal noise [B, A].

    Raises:
        ExportError: torch cannot write the policy, or a file gives other actions than it; none was written.
        BadStepError: the environment failed.
        NotFiniteError: a number of the environment or the policy is not finite.
        ValueError: a file cannot be written.
    """
    policy = in_float32(policy)
    reference = check.observe(policy, env, stochastic)
    program = make_program(policy, stochastic)
    metadata = describe(policy, env.spec, reference.rows, stochastic)
    try:
        contents = {path: FORMATS[format_of(path)].write(program, metadata) for path in paths}
    except Exception as error:
        target = " and ".join(map(str, paths))
        raise ExportError(f"torch cannot write {what(policy)} to {target}: {first_line(error)}.") from error
    files = tuple(_checked(path, content, reference) for path, content in contents.items())
    row = reference.rows[0]
    act_ms = check.call_ms(lambda: policy.act(row, deterministic=not stochastic))
    for path, content in contents.items():
        write_new(path, content)
    return Exported(files, act_ms)


def _checked(path: Path, content: bytes, reference: check.Reference) -> ExportedFile:
    """A file that was found to do what the policy does."""
    call = FORMATS[format_of(path)].load(content)
    error = check.largest_error(call, reference)
    if not error <= check.TOLERANCE:
        raise ExportError(
            f"{path} was not written: its actions differ from the policy's by up to {error:.1e} of their range, more "
            f"than {check.TOLERANCE:g}."
        )
    one = reference.inputs(slice(1))
    return ExportedFile(path, len(content), error, check.call_ms(lambda: call(*one)))
