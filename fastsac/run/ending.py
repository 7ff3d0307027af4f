"""What the end of a run leaves: summary.json and a table, or word of the error that ended it."""

import math
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastsac import checkpoint
from fastsac.acting.errors import ActionError, BadStepError, NotFiniteError
from fastsac.acting.evaluation import MAX_STEPS
from fastsac.checkpoint.thread import CheckpointError
from fastsac.disk.files import write_file
from fastsac.env import first_line
from fastsac.report import failure
from fastsac.report.statistics import iqm_of_finite, mean_of_finite
from fastsac.run.result import Result
from fastsac.run.run_state import Row
from fastsac.run.together import DivergedError
from fastsac.runtime.launch import CaptureError
from fastsac.runtime.machine import describe_machine
from fastsac.runtime.peers import PeerError
from fastsac.runtime.versions import git_commit, versions

if TYPE_CHECKING:
    from fastsac.run.trainer import Run

ENVIRONMENTS = (BadStepError, NotFiniteError)  # any error may be the cause of these
FAILURES = (*ENVIRONMENTS, CaptureError, CheckpointError, DivergedError, PeerError)  # whose message says all
EVALUATED = ("return_mean", "return_std", "episodes_cut", "success_rate")  # columns of eval.csv, in summary.json too


def close(run: "Run", interrupted: bool, stopped_by: str) -> Result:
    """Write the result, and remove word of an error that ended the run which this one continued."""
    result = write_result(run, interrupted, stopped_by)
    if run.plan.world.is_first:
        for path in failure.error_files(run.files.folder):
            path.unlink()
    return run.plan.world.tell(result)


def write_result(run: "Run", interrupted: bool, stopped_by: str, **more: str) -> Result:
    """Write the figures so far into summary.json, with `more` beside them."""
    last_evals = run.log_points.last_evals
    counters = run.together.counters()
    result = Result(
        run_dir=run.plan.run_dir,
        env_steps=run.env_steps,
        grad_steps=min(row["grad_steps"] for row in counters),
        wall_s=run.clock.wall_s,
        compile_s=run.compile_s,
        threads_s=run.threads.trials_s if run.threads else 0.0,
        eval_return_mean=mean_of_finite(row["return_mean"] for row in last_evals),
        eval_return_std=mean_of_finite(row["return_std"] for row in last_evals),
        interrupted=interrupted,
        stopped_by=stopped_by,
        members=[
            {**row, **{f"eval_{name}": last_evals[m].get(name) if last_evals else None for name in EVALUATED}}
            for m, row in enumerate(counters)
        ],
        eval_success_rate=mean_of_finite(row["success_rate"] for row in last_evals if "success_rate" in row),
    )
    if run.plan.world.is_first:
        result.write(run.files.folder, {**_about(run), **more})
    return result


def _about(run: "Run") -> dict[str, Any]:
    c, thread = run.plan.config, run.checkpointer.thread
    names = ("env_kwargs", "eval_env_kwargs", "max_episode_steps", "algo", "preset", "eval_episodes")
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
        "processes": run.plan.world.size,
        "machine": describe_machine(run.plan.device),
        "versions": versions(),
        "git_commit": git_commit(),
    }


def recover_from(run: "Run", error: Exception) -> None:
    """Return if the vector step that failed can be taken again; else see to a checkpoint and raise.

    A policy of NaNs makes environments fail: where a loss went wrong before, that is what to report.
    """
    rolled_back = run.guard.check(parameters=True)
    if rolled_back and isinstance(error, ActionError):
        return
    if not isinstance(error, ActionError):
        run.collector.undo_act()
    run.checkpointer.rescue()
    raise error


@contextmanager
def leaving_word(run: "Run") -> Iterator[None]:
    """Write an error that ends the run into its folder, as far as that can be done: the error is what to report."""
    try:
        with run.plan.world.explaining():
            yield
    except (Exception, SystemExit) as error:
        if not isinstance(error, PeerError):
            run.plan.world.fail(_text(error))
        see = _leave_word(run, error) if run.plan.place.is_held else ""
        if note := " ".join(filter(None, [kept(run.plan.run_dir), see])):
            error.add_note(note)
        raise


def kept(run_dir: Path) -> str:
    """What to say of the checkpoints of a run that an error ends; nothing where it has none."""
    return "Checkpoints written so far are kept." if checkpoint.checkpoint_dirs(run_dir) else ""


def _leave_word(run: "Run", error: BaseException) -> str:
    """Write an error down; says where it is, if that could be done."""
    see = ""
    with suppress(Exception):
        paths = [run.files.folder / name for name in failure.FILES]
        path = next((p for p in paths if not p.exists() or p in failure.error_files(run.files.folder)), paths[-1])
        write_file(path, failure.content(_text(error), "".join(traceback.format_exception(error))))
        see = f"See {run.plan.run_dir / path.name}."
    with suppress(Exception):
        write_result(run, interrupted=True, stopped_by="error", error=_text(error))
    return see


def _text(error: BaseException) -> str:
    text = str(error) if isinstance(error, FAILURES) else f"{type(error).__name__}: {first_line(error)}"
    return " ".join(text.split())


def closing_table(result: Result, last_evals: Sequence[Row]) -> dict[str, str]:
    """The figures that are shown at the end, by name."""
    returns, evaluation = [row["return_mean"] for row in last_evals], "-"
    if len(returns) == 1:
        evaluation = f"{result.eval_return_mean:.1f} +- {result.eval_return_std:.1f}"
    elif returns:
        middle, low, high = iqm_of_finite(returns), min(returns), max(returns)
        evaluation = (
            f"{result.eval_return_mean:.1f} mean, {middle:.1f} interquartile mean, {low:.1f} to {high:.1f} over members"
        )
    cut, episodes = (int(sum(row.get(name, 0) for row in last_evals)) for name in ("episodes_cut", "episodes"))
    tried = f", trying threads {result.threads_s:.1f}" if result.threads_s else ""
    return {
        "env steps": f"{result.env_steps:,}",
        "updates": f"{result.grad_steps:,}",
        "wall seconds": f"{result.wall_s:.1f}, of which compiling {result.compile_s:.1f}{tried}",
        "evaluation return": evaluation,
        **({"episodes cut off": f"{cut} of {episodes}, after {MAX_STEPS:,} steps"} if cut else {}),
        **({} if math.isnan(result.eval_success_rate) else {"success rate": f"{result.eval_success_rate:.0%}"}),
    }
