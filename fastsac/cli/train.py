"""`fastsac train`: from flags to settings, the run, and what to say of it."""

import argparse
import contextlib
import math
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from fastsac.cli.flags import flags_of
from fastsac.cli.help import help_text
from fastsac.cli.main import say, speaks
from fastsac.cli.parsing import HELP, read_flags, wants_help
from fastsac.cli.spelling import as_usual, check_names
from fastsac.config import fastest
from fastsac.config.algorithms import ALGORITHMS
from fastsac.config.fields import setting
from fastsac.config.other_programs import ELSEWHERE
from fastsac.config.presets import PRESETS
from fastsac.config.settings import Config
from fastsac.disk.errors import disk_error
from fastsac.runtime.signals import OUT_OF_TIME, exit_status

if TYPE_CHECKING:
    from fastsac.run.result import Result
    from fastsac.runtime.world import World

PROG = "fastsac train"
ABOUT = """Train a policy, or several side by side: members (see --seeds and --sweep).
The environment's preset sets the defaults, which --env NAME --help shows.

Examples:
  fastsac train --env Pendulum-v1
  fastsac train --env HalfCheetah-v5 --seeds 3 --total-steps 300_000
  fastsac train --env Pendulum-v1 --sweep critic_lr=1e-3,3e-3 tau=0.01,0.02"""
LISTS = f"""

Algorithms:
{"".join(f"  {name}: {about}" + chr(10) for name, about in ALGORITHMS.items())}
Presets:
  {", ".join(PRESETS)}"""


@dataclass(frozen=True, kw_only=True)
class TrainFlags(Config):
    """The flags of `fastsac train`: the settings, and what concerns the command alone."""

    config: Path | None = setting(None, group="run", metavar="FILE")
    """Take all settings from this config.json, or from the one in this run directory; flags override them."""
    quiet: tyro.conf.FlagCreatePairsOff[bool] = setting(False, group="logging")
    """Print only errors, warnings and, at the end, the run directory."""
    trust_env: tyro.conf.FlagCreatePairsOff[bool] = setting(False, group="expert")
    """Allow importing the environment's module from the run directory of --config or --resume, which runs its code."""


def run(args: list[str]) -> int:
    """Train; returns the exit status."""
    given = read_call(args)
    config, quiet = settings_of(*given), given[0].quiet
    from fastsac.runtime.peers import PeerError
    from fastsac.runtime.world import AgreedError, join

    with join(config.parallel) as world:
        try:
            return _train(config, given[0].notes, quiet, world)
        except PeerError as error:
            if world.speaks_of(error):
                say(PROG, with_notes(f"{error}.", error))
            return 1
        except ValueError as error:
            if world.is_first or not isinstance(error, AgreedError):
                say(PROG, str(error))
            world.fail(str(error))
            return 2


def _train(config: Config, notes: Sequence[str], quiet: bool, world: "World") -> int:
    """Train together with the other processes of a world; returns the exit status."""
    from fastsac.report.displays import QuietDisplay
    from fastsac.run.ending import FAILURES
    from fastsac.run.plan import make_plan
    from fastsac.run.trainer import Run
    from fastsac.runtime.peers import PeerError

    plan = make_plan(config, notes, world)
    if plan.is_complete:
        plan.place.release()
        done = f"{plan.run_dir} is complete: nothing to do. A larger --total-steps continues it."
        if world.is_first:
            print(plan.run_dir if quiet else done)
        return 0
    with Run(plan, display=QuietDisplay(config) if quiet else None) as training:
        try:
            result = training.train()
        except PeerError:
            raise
        except (*FAILURES, OSError, RuntimeError) as error:
            message = explanation(error, plan.run_dir)
            if message is None:
                raise
            training.display.close()
            if world.fail(message):
                say(PROG, message if world.is_alone else f"rank {world.rank}: {message}")
            return 1
        except ValueError as error:  # a fault of ours, not a wrong call: keep the traceback
            raise RuntimeError("training failed") from error
    if world.is_first:
        show_result(result, quiet)
    if not result.interrupted or world.max_restarts:  # torchrun takes another status for a failure, and starts again
        return 0
    return OUT_OF_TIME if result.stopped_by == "max_wall_time" else exit_status(result.stopped_by)


def train_config(args: Sequence[str]) -> Config:
    """The settings of a `train` command line: a preset, a file or a run to resume, with the flags on top."""
    return settings_of(*read_call(args))


def read_call(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """As `first_flags`, of a command line as people write it; prints help where it is asked for, and ends.

    Raises ValueError for a flag that there is not.
    """
    flags = flags_of(TrainFlags)
    if args and not args[0].startswith("-"):
        args = ["--env", *args]
        if any(arg.partition("=")[0] == "--env" for arg in args[2:]):
            raise ValueError(f"env is given twice, as {args[1]} and by --env. Leave one out.")
    args = as_usual(args, flags)
    is_help = [wants_help(args), "--help-all" in args]
    args = [arg for arg in args if arg not in (*HELP, "--help-all")]
    check_names(args, flags, ELSEWHERE, f"`{PROG} --help-all` lists the options.")
    known, rest = first_flags(args)
    if any(is_help):
        print(train_help(known, everything=is_help[1]))
        raise SystemExit(0)
    return known, rest


def train_help(known: argparse.Namespace, everything: bool) -> str:
    """The help, with the defaults that the preset, file or run on the command line has."""
    default = defaults(known)
    about = ABOUT
    if default is not None:
        origin = known.source or f"preset {default.preset} for {default.env}"
        about += f"\n\nDefaults marked `here` are those of {origin}."
    if everything:
        about += LISTS
    return help_text(TrainFlags, PROG, about, default, only_common=not everything)


def settings_of(known: argparse.Namespace, rest: list[str]) -> Config:
    """The settings: the defaults, and the flags on top; see `first_flags`."""
    default = defaults(known)
    if default is None:
        raise ValueError("env must be given, for example --env HalfCheetah-v5. `fastsac envs` lists them.")
    if "," in (known.seeds or "") and not known.seed:
        default = default.replace(seed=1)  # that of a file has no place beside a list
    config = read_flags(Config, PROG, rest, default, "--help-all")
    if known.source:
        from fastsac.algorithms.plugins import check_plugins

        check_plugins(config, Path(known.source), _tell)
    if known.source and not known.env:
        from fastsac.env.foreign import check_env

        check_env(config.env, Path(known.source), known.trust_env, _tell)
    return config


def _tell(message: str) -> None:
    if speaks():
        say(PROG, message)


def defaults(known: argparse.Namespace) -> Config | None:
    """The values of settings whose flags are not given; None where nothing says which environment it is."""
    if known.source:
        return Config.load(known.source).replace(run_dir=None)
    if not known.env:
        return None
    return Config(env=known.env, preset=known.preset or "auto", algo=known.algo or "auto")


def first_flags(args: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags that decide on the defaults of the others, and the arguments without those that are not settings.

    `source` is the file or run directory that the defaults come from, or None; `notes` are to be said of the preset.
    """
    first, own = (argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False) for _ in range(2))
    for flag in ("--env", "--algo", "--resume", "--seed", "--seeds", "--device"):
        first.add_argument(flag)
    for flag in ("--config", "--preset"):  # the preset's name is among the defaults that it brings
        own.add_argument(flag)
    for flag in ("--trust-env", "--quiet"):
        own.add_argument(flag, action="store_true")
    try:
        known, _ = first.parse_known_args(args)
        known, rest = own.parse_known_args(args, known)
    except argparse.ArgumentError as error:
        what = f": {error.message}".replace(": expected one argument", " must have a value")
        raise ValueError(f"{error.argument_name}{what}. `{PROG} --help-all` lists the options.") from None
    resumed = None if known.resume == "auto" else known.resume  # auto: the same command line starts and continues
    if resumed and known.config:
        raise ValueError("config and resume exclude each other. --resume RUN_DIR reads the run's own settings.")
    known.source, known.notes = resumed or known.config, ()
    if known.source and known.preset:
        raise ValueError("preset has no place beside config or resume, which bring all settings. Leave --preset out.")
    if known.preset:
        known.preset = known.preset.lower().replace("_", "-")
    if known.preset == fastest.NAME and known.env:
        from fastsac.run.fastest import with_fastest

        device = {"device": known.device} if known.device else {}
        chosen, known.notes = with_fastest(known.env, {"preset": known.preset, **device})
        known.preset = chosen["preset"]
    return known, rest


def explanation(error: Exception, run_dir: Path) -> str | None:
    """What to say of an error that ended a run; None for a fault of the program."""
    from fastsac.run.ending import ENVIRONMENTS, FAILURES, kept

    cause = None if isinstance(error, ENVIRONMENTS) else disk_error(error)
    if cause is not None:
        how = f"continue with --resume {run_dir}" if kept(run_dir) else "start again"
        message = f"cannot write to {run_dir}: {cause.strerror}. Make room and {how}."
    elif isinstance(error, FAILURES):
        message = str(error)
    else:
        return None
    return with_notes(message, error)


def with_notes(message: str, error: Exception) -> str:
    """A message, and what was noted of an error: what is left of the run, and the file with the traceback."""
    return " ".join([message, *getattr(error, "__notes__", ())])


def show_result(result: "Result", quiet: bool = False) -> None:
    """Draw the curves; say where everything is and how to continue, or in quiet the run directory alone."""
    run_dir = result.run_dir
    if not result.interrupted:  # whoever sends signals does not wait for pictures
        draw_result(run_dir, (lambda _: None) if quiet else print)
    if quiet:
        print(run_dir)
        return
    print(f"run directory      {run_dir}")
    for name, command in next_commands(result):
        print(f"{name:18} {command}")


def next_commands(result: "Result") -> Iterator[tuple[str, str]]:
    """What may be done with a run, and the command for it."""
    run_dir, fastsac = shlex.quote(str(result.run_dir)), program("fastsac")
    if result.interrupted:
        yield "continue with", f"{fastsac} train --resume {run_dir}"
    else:
        best = " --member best" if len(result.members) > 1 and math.isfinite(result.eval_return_mean) else ""
        yield "evaluate with", f"{fastsac} eval {run_dir}{best}"
        yield "watch it with", f"{fastsac} play {run_dir}{best}"
        yield "all on a page with", f"{fastsac} report {run_dir}"
        more = f"--total-steps {2 * result.env_steps}"
        if result.stopped_by == "goal":
            from fastsac.run.run_state import goal_flag

            more = f"{goal_flag(Config.load(result.run_dir))} none"
        yield "train longer with", f"{fastsac} train --resume {run_dir} {more}"
        yield "compare with", f"{fastsac} plot {run_dir} OTHER_RUN_DIR"
    if (result.run_dir / "tensorboard").is_dir():
        yield "look at it in", f"{program('tensorboard')} --logdir {run_dir}"


def program(name: str) -> str | Path:
    """How to call a program of this environment, which is not on the PATH if `make` has called us."""
    return name if shutil.which(name) else Path(sys.executable).with_name(name)


def draw_result(run_dir: Path, tell: Callable[[str], None]) -> None:
    """Draw the pictures of a run, and tell where they are."""
    with contextlib.suppress(ValueError):  # a run without evaluations and episodes leaves nothing to draw
        from fastsac.report.curves import plot
        from fastsac.report.ranking import best_text, rank
        from fastsac.report.runs import read_runs
        from fastsac.report.sweep_charts import plot_sweep

        runs = read_runs([run_dir])
        tell(f"learning curves    {plot(runs)}")
        if picture := plot_sweep(runs):
            tell(f"returns by setting {picture}")
            tell(f"best setting       {best_text(rank(runs)[0])}")
