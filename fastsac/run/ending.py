"""What the end of a run leaves: summary.json and a table, or word of the error that ended it."""

import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastsac.acting.errors import BadStepError, NotFiniteError
from fastsac.checkpoint.thread import CheckpointError
from fastsac.disk.files import write_file
from fastsac.env import first_line
from fastsac.report.statistics import iqm_of_finite, mean_of_finite
from fastsac.run.result import Result
from fastsac.run.run_state import Row
from fastsac.runtime.launch import CaptureError
from fastsac.runtime.versions import git_commit, versions

if TYPE_CHECKING:
    from fastsac.run.trainer import Run

ENVIRONMENTS = (BadStepError, NotFiniteError)  # any error may be the cause of these
FAILURES = (*ENVIRONMENTS, CaptureError, CheckpointError)  # whose message says all
ERROR_FILES = ("error.txt", "error-fastsac.txt")  # why a run ended; the second where the first is somebody else's
ERROR_HEAD = b"fastsac: the run ended by an error.\n"


def result_of(run: "Run", interrupted: bool, stopped_by: str) -> Result:
    """The figures so far."""
    return Result(
        run_dir=run.plan.run_dir,
        env_steps=run.env_steps,
        grad_steps=run.grad_steps,
        wall_s=run.clock.wall_s,
        compile_s=run.compile_s,
        eval_return_mean=mean_of_finite(e["return_mean"] for e in run.log_points.last_evals),
        eval_return_std=mean_of_finite(e["return_std"] for e in run.log_points.last_evals),
        interrupted=interrupted,
        stopped_by=stopped_by,
        members=[_member(run, m) for m in range(run.config.num_members)],
    )


def _member(run: "Run", member: int) -> dict[str, Any]:
    last = run.log_points.last_evals[member] if run.log_points.last_evals else {}
    return {
        **run.clock.counters(member),
        "goal_at": run.stop_rule.goal_at[member],
        "eval_return_mean": last.get("return_mean"),
        "eval_return_std": last.get("return_std"),
    }


def about(run: "Run") -> dict[str, Any]:
    """What summary.json says beside the figures."""
    c, thread = run.config, run.checkpointer.thread
    names = ("env_kwargs", "eval_env_kwargs", "algo", "preset", "eval_episodes")
    return {
        "env_id": run.plan.spec.env_id,
        **{name: getattr(c, name) for name in names},
        "checkpoints": {
            "written": thread.written,
            "loop_s": run.checkpointer.loop_s,
            "longest_s": thread.longest_s,
            "thread_cpu_s": thread.thread_cpu_s,
        },
        "device": str(run.plan.device),
        "mode": run.plan.mode,
        "versions": versions(),
        "git_commit": git_commit(),
    }


def leave_word(run: "Run", error: BaseException) -> None:
    """Write what ended the run into its folder, as far as that can be done: the error itself is what to report."""
    if not run.plan.place.is_held:
        return
    with suppress(Exception):
        paths = [run.files.folder / name for name in ERROR_FILES]
        path = next((p for p in paths if not p.exists() or p in error_files(run.files.folder)), paths[-1])
        write_file(path, ERROR_HEAD + "".join(traceback.format_exception(error)).encode(errors="replace"))
        error.add_note(f"See {run.plan.run_dir / path.name}.")
    with suppress(Exception):
        text = str(error) if isinstance(error, FAILURES) else f"{type(error).__name__}: {first_line(error)}"
        result_of(run, interrupted=True, stopped_by="error").write({**about(run), "error": " ".join(text.split())})


def error_files(run_dir: Path) -> list[Path]:
    """Those that are there and are ours: a user may have files of such names."""
    paths = [run_dir / name for name in ERROR_FILES]
    return [path for path in paths if path.is_file() and path.read_bytes().startswith(ERROR_HEAD)]


def closing_table(result: Result, last_evals: Sequence[Row]) -> dict[str, str]:
    """The figures that are shown at the end, by name."""
    return {
        "env steps": f"{result.env_steps:,}",
        "updates": f"{result.grad_steps:,}",
        "wall seconds": f"{result.wall_s:.1f}, of which compiling {result.compile_s:.1f}",
        "evaluation return": _returns_text(result, [e["return_mean"] for e in last_evals]),
    }


def _returns_text(result: Result, returns: Sequence[float]) -> str:
    if not returns:
        return "-"
    if len(returns) == 1:
        return f"{result.eval_return_mean:.1f} +- {result.eval_return_std:.1f}"
    return (
        f"{result.eval_return_mean:.1f} on average, {iqm_of_finite(returns):.1f} interquartile mean, "
        f"{min(returns):.1f} to {max(returns):.1f}"
    )
