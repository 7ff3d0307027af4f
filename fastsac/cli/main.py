"""The command line, `fastsac train` and its siblings.  Parses, calls, and turns errors into one line.

Exit status: 0 on success, 1 when a run failed, 2 for a wrong call, 130 after SIGINT, 143 after SIGTERM or SIGUSR1, and
75 when max_wall_time ended a run, which the same command continues if it has --resume auto.
"""

import argparse
import contextlib
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from fastsac.config.settings import Config
from fastsac.disk.errors import disk_error
from fastsac.runtime.signals import OUT_OF_TIME, Stopped, StopSignals, exit_status

if TYPE_CHECKING:
    from fastsac.run.result import Result

T = TypeVar("T")

HELP = """usage: fastsac COMMAND [OPTIONS]

Soft Actor-Critic, fast and exact.

  fastsac train --env HalfCheetah-v5     train an agent
  fastsac eval RUN_DIR                   evaluate a trained one
  fastsac extract RUN_DIR                write one of a run's agents as a run of its own
  fastsac plot RUN_DIR...                draw learning curves
  fastsac envs [PATTERN]                 list what can be trained
  fastsac doctor                         check this machine

`fastsac COMMAND --help` shows the options of each.
"""


@dataclass(frozen=True, kw_only=True)
class TrainHelp(Config):
    """Settings of one training run."""

    preset: str = "auto"  # what `train` takes; Config itself has no preset
    config: Path | None = None
    """Take all settings from this config.json, or from the one in this run directory; other flags change them."""
    trust_env: tyro.conf.FlagCreatePairsOff[bool] = False
    """Import an environment's module that lies beside the config.json that names it."""

    def __post_init__(self) -> None:
        """Nothing to check: this is only shown."""


@dataclass(frozen=True)
class EvalArgs:
    """Evaluate the newest checkpoint of a run, with deterministic actions in fresh environments."""

    run_dir: Annotated[Path, tyro.conf.Positional]
    """What `fastsac train` wrote."""
    episodes: int = 10
    """Episodes, one per environment.  At least 1."""
    member: Literal["best"] | int = 0
    """Which of the run's agents; best is the one with the highest return at its last evaluation."""
    checkpoint: Literal["last", "best"] = "last"
    """The policy of the newest checkpoint, or the one with the member's best evaluation until then."""
    seed: int = 0
    """Seed of the environments, in [0, 2^31)."""
    json: bool = False
    """Print one JSON object and nothing else."""
    trust_env: tyro.conf.FlagCreatePairsOff[bool] = False
    """Import the environment's module also if it lies in the run directory."""


@dataclass(frozen=True)
class ExtractArgs:
    """Write one agent of a run as a run directory of its own, which can be evaluated, plotted and continued."""

    run_dir: Annotated[Path, tyro.conf.Positional]
    """What `fastsac train` wrote."""
    member: Literal["best"] | int = "best"
    """Which of the run's agents; best is the one with the highest return at its last evaluation."""
    out: Path | None = None
    """The folder to write, new or empty; default RUN_DIR-memberN."""


@dataclass(frozen=True)
class PlotArgs:
    """Draw the learning curves of one or more runs as PNG: returns against env steps and against wall seconds.

    Of a sweep also the final returns by setting, best first, as a picture (RUN_DIR/sweep.png) and as a table."""

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run directories."""
    out: Path | None = None
    """The file to write; default RUN_DIR/curves.png, or curves.png for several runs.  A sweep's goes to FILE-sweep."""


@dataclass(frozen=True)
class EnvsArgs:
    """List the environments that can be trained, with the sizes of observation and action."""

    pattern: Annotated[str | None, tyro.conf.Positional] = None
    """Part of a name, or a glob such as "*Cheetah*"."""


@dataclass(frozen=True)
class DoctorArgs:
    """Check versions, devices, what `auto` chooses, and that compiling and environments work here."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    commands: dict[str, Callable[[list[str]], int]] = {
        "train": train, "eval": evaluate, "extract": extract, "plot": plot, "envs": envs, "doctor": doctor,
    }  # fmt: skip
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if args else 2
    if args[0] == "--version":
        from fastsac import __version__

        print(f"fastsac {__version__}")
        return 0
    if args[0] not in commands:
        return fail("fastsac", f"unknown command {args[0]!r}; choose from {', '.join(commands)}.", 2)
    prog = f"fastsac {args[0]}"
    try:
        return commands[args[0]](args[1:])
    except ValueError as error:
        return fail(prog, str(error), 2)
    except KeyboardInterrupt as stop:
        name = stop.name if isinstance(stop, Stopped) else "SIGINT"
        return fail(prog, f"{name}: ended at once; what was written before is kept.", exit_status(name))
    except BrokenPipeError:
        return 1


def fail(prog: str, message: str, status: int) -> int:
    """Say what is wrong in one line on stderr."""
    print(f"{prog}: {' '.join(message.split())}", file=sys.stderr)
    return status


def parse(cls: type[T], prog: str, args: list[str], default: T | None = None, description: str | None = None) -> T:
    """Parse flags into a dataclass; what tyro says of a wrong call becomes a ValueError of one line."""
    errors = io.StringIO()
    known: dict[str, Any] = {"prog": prog, "args": args, "description": description, "registry": NUMBERS}
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(cls, **known) if default is None else tyro.cli(cls, default=default, **known)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ValueError(one_line(errors.getvalue(), prog)) from None


def one_line(text: str, prog: str) -> str:
    """The message in the box that tyro draws around it, with lines or, where stdout is not UTF-8, with hyphens."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    title, *parts = re.split(r"^╭.*╮$|^[│ ]*[─-]{9,}[│ ]*$|^╰.*╯$", text, flags=re.MULTILINE)
    message = " ".join(parts[0].replace("│", " ").split()) if parts else title
    message = re.sub(r"^Error parsing (--[\w-]+): (?=must be )", r"\1 ", message)
    message = re.sub(r"^Error parsing (?=--)", "", message)
    message = re.sub(r"^Error parsing \w+: ", "", message)
    meant = re.search(r"Perhaps you meant:[│\s]*(--[\w-]+)", text)
    message = f"{message.rstrip('.')}; did you mean {meant.group(1)}?" if meant else f"{message.rstrip('.')}."
    return f"{message} `{prog} --help` lists the options."


# How numbers are read: 1e6 is a whole one, and an error says what would have been right.
NUMBERS = ConstructorRegistry()


def whole_number(text: str) -> int:
    """`1000000`, `1_000_000` or `1e6`.

    Raises:
        ValueError: none of these.
    """
    with contextlib.suppress(ValueError):
        return int(text)
    value = float(text)
    if not value.is_integer():
        raise ValueError
    return int(value)


@NUMBERS.primitive_rule
def number_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """How tyro reads and shows int, float, and either of them or a word, such as `Literal["auto"] | int`."""
    kinds = get_args(info.type) if info.type_origin in (Union, UnionType) else (info.type,)
    words: dict[str, Any] = {}
    for kind in kinds:
        if kind is NoneType or get_origin(kind) is Literal:
            words |= {str(word): word for word in get_args(kind) or (None,)}
        elif kind not in (int, float):
            return None
    if not {int, float} & set(kinds):
        return None
    read, name, metavar = (float, "a number", "FLOAT") if float in kinds else (whole_number, "a whole number", "INT")

    def from_str(texts: list[str]) -> Any:
        if texts[0] in words:
            return words[texts[0]]
        try:
            return read(texts[0])
        except ValueError:
            raise ValueError(f"must be {' or '.join([*words, name])}, got {texts[0]!r}") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(words)}}}|{metavar}" if words else metavar,
        instance_from_str=from_str,
        is_instance=lambda value: value in words.values() or isinstance(value, int | float),
        str_from_instance=lambda value: [str(value)],
    )


@NUMBERS.primitive_rule
def numbers_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """How tyro reads and shows `tuple[int, ...]`."""
    if info.type_origin is not tuple or get_args(info.type) != (int, ...):
        return None

    def from_str(texts: list[str]) -> tuple[int, ...]:
        try:
            return tuple(map(whole_number, texts))
        except ValueError:
            raise ValueError(f"must be whole numbers, got {' '.join(texts)!r}") from None

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="[INT [INT ...]]",
        instance_from_str=from_str,
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(item, int) for item in value),
        str_from_instance=lambda value: [str(item) for item in value],
    )


def train_config(args: list[str]) -> Config:
    """The configuration of a `train` command line: preset, file or run to resume first, flags on top.

    Raises:
        ValueError: a wrong call.
    """
    try:
        known, rest = first_flags(args)
    except SystemExit:
        return parse(Config, "fastsac train", args)
    resume = known.resume not in (None, "auto")  # auto takes the same command line at the first start and later
    if known.config and resume:
        raise ValueError("config and resume exclude each other. --resume RUN_DIR reads the run's own settings.")
    if known.preset and (known.config or resume):
        raise ValueError("preset has no place beside config or resume, which bring all settings. Leave --preset out.")
    wants_help = {"-h", "--help"} & set(args)
    if resume:
        default = Config.load(known.resume).replace(resume=known.resume, run_dir=None)
    elif known.config:
        default = Config.load(known.config).replace(run_dir=None)
    elif known.env:
        default = Config.for_env(known.env, known.preset or "auto", **({"algo": known.algo} if known.algo else {}))
        rest = _without_preset(rest)
    elif wants_help:
        return parse(TrainHelp, "fastsac train", rest)
    else:
        raise ValueError("env must be given, for example --env HalfCheetah-v5. `fastsac envs` lists them.")
    if wants_help:
        values = {f.name: getattr(default, f.name) for f in fields(default)}
        return parse(TrainHelp, "fastsac train", rest, TrainHelp(**values))
    return parse(Config, "fastsac train", rest, default)


def first_flags(args: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """What must be known before the other flags are read, and the flags without those that are no settings."""
    first, own = (argparse.ArgumentParser(add_help=False, allow_abbrev=False) for _ in range(2))
    for flag in ("--env", "--preset", "--algo", "--resume"):
        first.add_argument(flag)
    own.add_argument("--config")
    own.add_argument("--trust-env", action="store_true")
    with contextlib.redirect_stderr(io.StringIO()):
        known, _ = first.parse_known_args(args)
        return own.parse_known_args(args, known)


def check_env(config: Config, args: list[str]) -> None:
    """Look at the module that a file names as the environment, unless it was named in this call as well.

    Raises:
        ValueError: it came with the file.
    """
    try:
        known, _ = first_flags(args)
    except SystemExit:
        return
    source = known.config or (known.resume if known.resume != "auto" else None)
    if source and not known.env:
        check_named_env("fastsac train", config.env, Path(source), known.trust_env)


def check_named_env(prog: str, env: str, source: Path, is_trusted: bool) -> None:
    """As `foreign.check_env`, of a config.json or a run directory; what is imported is said on stderr."""
    from fastsac.env.foreign import check_env

    file = source / "config.json" if source.is_dir() else source
    check_env(env, file, is_trusted, lambda line: print(f"{prog}: {' '.join(line.split())}", file=sys.stderr))


def _without_preset(args: list[str]) -> list[str]:
    """The flags without --preset, whose name is in the defaults by now ("auto" would overwrite it)."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset")
    return parser.parse_known_args(args)[1]


def train(args: list[str]) -> int:
    """`fastsac train`."""
    config = train_config(args)
    check_env(config, args)
    from fastsac.run.ending import ENVIRONMENTS, FAILURES
    from fastsac.run.plan import make_plan
    from fastsac.run.trainer import Run

    plan = make_plan(config)
    if plan.is_complete:
        plan.place.release()
        print(f"{plan.run_dir} is complete: nothing to do. A larger --total-steps continues it.")
        return 0
    with Run(plan) as run:
        try:
            result = run.train()
        except (*FAILURES, OSError, RuntimeError) as error:
            cause = None if isinstance(error, ENVIRONMENTS) else disk_error(error)
            if cause is None and not isinstance(error, FAILURES):
                raise
            run.display.close()
            if cause is None:
                return fail("fastsac train", with_notes(str(error), error), 1)
            kept = f"Checkpoints written so far are kept: make room and continue with --resume {plan.run_dir}."
            message = f"cannot write to {plan.run_dir}: {cause.strerror}. {kept}"
            return fail("fastsac train", with_notes(message, error), 1)
        except ValueError as error:  # a fault of ours, not a wrong call: keep the traceback
            raise RuntimeError("training failed") from error
    show_result(result)
    if not result.interrupted:
        return 0
    return OUT_OF_TIME if result.stopped_by == "max_wall_time" else exit_status(result.stopped_by)


def with_notes(message: str, error: BaseException) -> str:
    """A message, and what was noted on the error: where to read more."""
    return " ".join([message, *getattr(error, "__notes__", ())])


def show_result(result: "Result") -> None:
    """Draw the curves; say where everything is and how to go on."""
    if not result.interrupted:  # what sends signals does not wait for pictures
        draw_result(result.run_dir)
    print(f"run directory      {result.run_dir}")
    # Not on the PATH where `make` has called us: say where it is.
    tensorboard = "tensorboard" if shutil.which("tensorboard") else Path(sys.executable).with_name("tensorboard")
    print(f"look at it in      {tensorboard} --logdir {result.run_dir}")
    if result.interrupted:
        program = "fastsac" if shutil.which("fastsac") else Path(sys.executable).with_name("fastsac")
        print(f"continue with      {program} train --resume {result.run_dir}")


def draw_result(run_dir: Path) -> None:
    """The pictures of a run, and where they are."""
    with contextlib.suppress(ValueError):  # a run without evaluations and episodes leaves nothing to draw
        from fastsac.report.curves import plot as draw
        from fastsac.report.ranking import best_text, rank
        from fastsac.report.runs import read_runs
        from fastsac.report.sweep_charts import plot_sweep

        runs = read_runs([run_dir])
        print(f"learning curves    {draw(runs)}")
        if picture := plot_sweep(runs):
            print(f"returns by setting {picture}")
            print(f"best setting       {best_text(rank(runs)[0])}")


def evaluate(args: list[str]) -> int:
    """`fastsac eval`."""
    options = parse(EvalArgs, "fastsac eval", args)
    if options.episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {options.episodes}.")
    if not 0 <= options.seed < 2**31:
        raise ValueError(f"seed must be in [0, 2^31), got {options.seed}.")
    from fastsac.acting.errors import BadStepError, NotFiniteError, call_env, of_nobody, try_make
    from fastsac.acting.evaluation import rollout
    from fastsac.env import make_env
    from fastsac.nn import philox
    from fastsac.policy import load

    member = choose_member(options.run_dir, options.member)
    policy = load(options.run_dir, member, options.checkpoint)
    c = policy.config
    check_named_env("fastsac eval", c.env, options.run_dir, options.trust_env)
    seeds = philox.derive_seeds(options.seed, philox.Purpose.EVAL_SEED, options.episodes)
    make = partial(make_env, c.env, seeds, c.env_threads, c.env_kwargs_of_evaluation, c.action_limit)
    with StopSignals():  # tells a Ctrl-C from a KeyboardInterrupt of an environment's
        env = try_make(make)
        try:
            try:
                returns, lengths = rollout(env, lambda obs: policy.act(obs, normalized=True))
            finally:
                call_env(env.close, "close", of_nobody)
        except (BadStepError, NotFiniteError) as error:
            return fail("fastsac eval", str(error), 1)
    result: dict[str, Any] = {
        "env_id": env.spec.env_id, "run_dir": str(options.run_dir), "member": member,
        "checkpoint": options.checkpoint, "episodes": options.episodes,
        "return_mean": float(returns.mean()), "return_std": float(returns.std()),
        "return_min": float(returns.min()), "return_max": float(returns.max()),
        "length_mean": float(lengths.mean()), "returns": returns.tolist(),
    }  # fmt: skip
    if options.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['env_id']}: return {result['return_mean']:.1f} +- {result['return_std']:.1f} "
            f"(min {result['return_min']:.1f}, max {result['return_max']:.1f}), length {result['length_mean']:.0f}, "
            f"{options.episodes} episodes"
        )
    return 0


def choose_member(run_dir: Path, member: Literal["best"] | int) -> int:
    """The number that `member` stands for."""
    from fastsac.run.extract import best_member

    return best_member(run_dir) if member == "best" else member


def extract(args: list[str]) -> int:
    """`fastsac extract`."""
    options = parse(ExtractArgs, "fastsac extract", args)
    from fastsac.run.extract import extract as write

    member = choose_member(options.run_dir, options.member)
    name = options.run_dir.resolve().name
    out = options.out or options.run_dir.with_name(f"{name}-member{member}")
    config = write(options.run_dir, member, out)
    print(f"member {member} of {options.run_dir}: seed {config.seed}, now alone in {out}")
    return 0


def plot(args: list[str]) -> int:
    """`fastsac plot`."""
    options = parse(PlotArgs, "fastsac plot", args)
    from fastsac.report.curves import plot as draw
    from fastsac.report.ranking import rank, show
    from fastsac.report.runs import read_runs
    from fastsac.report.sweep_charts import beside, plot_sweep

    runs = read_runs(options.run_dirs)
    print(draw(runs, options.out))
    if picture := plot_sweep(runs, options.out and beside(options.out)):
        print(picture)
        show(rank(runs))
    return 0


def envs(args: list[str]) -> int:
    """`fastsac envs`."""
    options = parse(EnvsArgs, "fastsac envs", args)
    from fastsac.env import list_envs, list_slow_envs

    specs = list_envs(options.pattern)
    if not specs:
        raise ValueError(f"no trainable environment matches {options.pattern!r}. `fastsac envs` lists all.")
    width = max(len(s.env_id) for s in specs)
    print(f"{'environment':{width}}  {'obs':>8}  {'action':>12}  {'limit':>6}")
    for s in specs:
        obs = "x".join(map(str, s.image or (s.obs_dim,)))
        action = f"{s.action_dim} choices" if s.discrete else str(s.action_dim)
        print(f"{s.env_id:{width}}  {obs:>8}  {action:>12}  {s.max_episode_steps or '-':>6}")
    if options.pattern is None and (more := list_slow_envs()):
        print(f"and {len(more)} more from images; give part of a name to list them, as in `fastsac envs Pong`.")
    return 0


def doctor(args: list[str]) -> int:
    """`fastsac doctor`."""
    parse(DoctorArgs, "fastsac doctor", args)
    from fastsac.cli.doctor import main as check

    return check()
