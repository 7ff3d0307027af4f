"""`fastsac train`: from flags to settings, the run, and what to say of it."""

import argparse
import contextlib
import shutil
import sys
import textwrap
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from fastsac.cli.main import say
from fastsac.cli.parsing import parse
from fastsac.config.algorithms import ALGORITHMS
from fastsac.config.settings import Config
from fastsac.disk.errors import disk_error
from fastsac.runtime.signals import OUT_OF_TIME, exit_status

if TYPE_CHECKING:
    from fastsac.run.result import Result

PROG = "fastsac train"
DESCRIPTION = """Train one policy, or several side by side, called members (see --seeds and --sweep).

A preset for the environment sets the defaults; `fastsac train --env ENV --help` shows them.

Algorithms:
""" + "\n".join(
    textwrap.fill(f"{name}: {about}", 79, initial_indent="  ", subsequent_indent="    ")
    for name, about in ALGORITHMS.items()
)


@dataclass(frozen=True, kw_only=True)
class TrainHelp(Config):
    """The flags of `fastsac train` as help shows them."""

    preset: str = "auto"
    config: Path | None = None
    """Take all settings from this config.json, or from the one in this run directory; flags override them."""
    trust_env: tyro.conf.FlagCreatePairsOff[bool] = False
    """Allow importing the environment's Python module from the run directory of --config or --resume; this runs its
    code."""


def run(args: list[str]) -> int:
    """Train; returns the exit status."""
    config = train_config(args)
    from fastsac.run.ending import FAILURES
    from fastsac.run.plan import make_plan
    from fastsac.run.trainer import Run

    plan = make_plan(config)
    if plan.is_complete:
        plan.place.release()
        print(f"{plan.run_dir} is complete: nothing to do. A larger --total-steps continues it.")
        return 0
    with Run(plan) as training:
        try:
            result = training.train()
        except (*FAILURES, OSError, RuntimeError) as error:
            message = explanation(error, plan.run_dir)
            if message is None:
                raise
            training.display.close()
            say(PROG, message)
            return 1
        except ValueError as error:  # a fault of ours, not a wrong call: keep the traceback
            raise RuntimeError("training failed") from error
    show_result(result)
    if not result.interrupted:
        return 0
    return OUT_OF_TIME if result.stopped_by == "max_wall_time" else exit_status(result.stopped_by)


def train_config(args: list[str]) -> Config:
    """The settings of a `train` command line: a preset, a file or a run to resume, with the flags on top."""
    known, rest = first_flags(args)
    resumed = None if known.resume == "auto" else known.resume  # auto: the same command line starts and continues
    source = resumed or known.config
    if resumed and known.config:
        raise ValueError("config and resume exclude each other. --resume RUN_DIR reads the run's own settings.")
    if source and known.preset:
        raise ValueError("preset has no place beside config or resume, which bring all settings. Leave --preset out.")
    wants_help = not {"-h", "--help"}.isdisjoint(args)
    default = None
    if source:
        default = Config.load(source).replace(run_dir=None)
    elif known.env:
        default = Config.for_env(known.env, known.preset or "auto", **({"algo": known.algo} if known.algo else {}))
    elif not wants_help:
        raise ValueError("env must be given, for example --env HalfCheetah-v5. `fastsac envs` lists them.")
    config = parse(TrainHelp if wants_help else Config, PROG, rest, default, DESCRIPTION)
    if source and not known.env:
        from fastsac.env.foreign import check_env

        check_env(config.env, Path(source), known.trust_env, partial(say, PROG))
    return config


def first_flags(args: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags that decide on the defaults of the others, and the arguments without those that are not settings."""
    first, own = (argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False) for _ in range(2))
    for flag in ("--env", "--algo", "--resume"):
        first.add_argument(flag)
    for flag in ("--config", "--preset"):  # the preset's name is among the defaults that it brings
        own.add_argument(flag)
    own.add_argument("--trust-env", action="store_true")
    try:
        known, _ = first.parse_known_args(args)
        return own.parse_known_args(args, known)
    except argparse.ArgumentError as error:
        raise ValueError(f"{error.argument_name}: {error.message}. `{PROG} --help` lists the options.") from None


def explanation(error: Exception, run_dir: Path) -> str | None:
    """What to say of an error that ended a run; None for a fault of the program."""
    from fastsac.run.ending import ENVIRONMENTS, FAILURES

    cause = None if isinstance(error, ENVIRONMENTS) else disk_error(error)
    if cause is not None:
        message = (
            f"cannot write to {run_dir}: {cause.strerror}. Checkpoints written so far are kept: make room and continue "
            f"with --resume {run_dir}."
        )
    elif isinstance(error, FAILURES):
        message = str(error)
    else:
        return None
    return " ".join([message, *getattr(error, "__notes__", ())])  # notes name the file with the traceback


def show_result(result: "Result") -> None:
    """Draw the curves; say where everything is and how to continue."""
    run_dir = result.run_dir
    if not result.interrupted:  # whoever sends signals does not wait for pictures
        draw_result(run_dir)
    print(f"run directory      {run_dir}")
    print(f"look at it in      {program('tensorboard')} --logdir {run_dir}")
    if result.interrupted:
        print(f"continue with      {program('fastsac')} train --resume {run_dir}")


def program(name: str) -> str | Path:
    """How to call a program of this environment, which is not on the PATH if `make` has called us."""
    return name if shutil.which(name) else Path(sys.executable).with_name(name)


def draw_result(run_dir: Path) -> None:
    """Draw the pictures of a run, and say where they are."""
    with contextlib.suppress(ValueError):  # a run without evaluations and episodes leaves nothing to draw
        from fastsac.report.curves import plot
        from fastsac.report.ranking import best_text, rank
        from fastsac.report.runs import read_runs
        from fastsac.report.sweep_charts import plot_sweep

        runs = read_runs([run_dir])
        print(f"learning curves    {plot(runs)}")
        if picture := plot_sweep(runs):
            print(f"returns by setting {picture}")
            print(f"best setting       {best_text(rank(runs)[0])}")
