"""`fastsac play`: episodes with a trained policy, in a window or as a film."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from fastsac.cli.main import say
from fastsac.cli.parsing import parse
from fastsac.config.fields import setting
from fastsac.runtime.signals import StopSignals, exit_status

if TYPE_CHECKING:
    from fastsac.env import FloatArray, RenderedEnv
    from fastsac.film.frames import Pace, Screen
    from fastsac.policy import Policy

PROG = "fastsac play"


@dataclass(frozen=True)
class PlayArgs:
    """Show episodes of a run's policy in a window, or film them where there is no display.

    Ctrl-C ends it, and keeps what was filmed until then.  Films need pip install "fastsac[video]".
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """Run directory, as `fastsac train` writes it."""
    video: Path | None = setting(
        None, metavar="FILE.mp4", unset="a window, or without a display RUN_DIR/videos/play.mp4"
    )
    """Film all episodes into this file, and open no window."""
    episodes: int = 1
    """Number of episodes, one after the other."""
    member: Literal["best"] | int = 0
    """Member of the run, by number; best is the one with the highest return at its last evaluation."""
    checkpoint: Literal["last", "best"] = "last"
    """Policy to show: last is the newest, best is the one with the member's highest evaluation return so far."""
    stochastic: tyro.conf.FlagCreatePairsOff[bool] = False
    """Sample the actions, as in training; without it, they are the best ones."""
    seed: int = 0
    """Random seed of the environments and of sampled actions, in [0, 2^31)."""
    speed: float = 1.0
    """How fast to show the episodes: 1 is the task's own time, 0.5 half as fast."""
    trust_env: tyro.conf.FlagCreatePairsOff[bool] = False
    """Allow the module of the environment to be imported from the run directory."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ValueError(f"episodes must be at least 1, got {self.episodes}.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be in [0, 2^31), got {self.seed}.")
        if not (self.speed > 0 and math.isfinite(self.speed)):
            raise ValueError(f"speed must be above 0 and finite, got {self.speed}.")
        if self.video is not None and self.video.suffix != ".mp4":
            raise ValueError(f"video must be the name of an .mp4 file, got {self.video}.")


class Interrupted(Exception):
    """A signal has come."""


def run(args: list[str]) -> int:
    """Show; returns the exit status."""
    options = parse(PlayArgs, PROG, args)
    from fastsac.acting.errors import BadStepError, NotFiniteError
    from fastsac.acting.filming import check_drawing
    from fastsac.env import make_rendered_env
    from fastsac.env.foreign import check_env
    from fastsac.film.frames import pace_of
    from fastsac.film.window import WindowClosed
    from fastsac.policy import load
    from fastsac.run.extract import best_member

    member = best_member(options.run_dir) if options.member == "best" else options.member
    policy = load(options.run_dir, member, options.checkpoint)
    config = policy.config
    check_env(config.env, options.run_dir, options.trust_env, partial(say, PROG))
    with StopSignals() as signals:

        def make(seed: int) -> "RenderedEnv":
            return make_rendered_env(config.env, seed, config.env_kwargs_of_evaluation, config.action_limit)

        pace = pace_of(check_drawing(partial(make, 0)), options.speed)
        with open_screen(options, f"{policy.spec.env_id}, {options.run_dir}", pace) as screen:
            signals.armed = True
            try:
                play(policy, make, screen, pace.stride, options, signals)
            except Interrupted:
                pass
            except WindowClosed:
                return 0
            except (BadStepError, NotFiniteError) as error:
                say(PROG, str(error))
                return 1
    return exit_status(signals.received) if signals.received else 0


def play(
    policy: "Policy",
    make: Callable[[int], "RenderedEnv"],
    screen: "Screen",
    stride: int,
    options: PlayArgs,
    signals: StopSignals,
) -> None:
    """Show the episodes, and print what they came to; raises Interrupted after a signal."""
    import torch

    from fastsac.acting.evaluation import MAX_STEPS
    from fastsac.acting.filming import show_episode
    from fastsac.environments import check_fits, choose
    from fastsac.nn.philox import Purpose, derive_seeds

    def act(obs: "FloatArray") -> "FloatArray":
        if signals.received:
            raise Interrupted
        return choose(policy, not options.stochastic, obs)

    torch.manual_seed(options.seed)
    for number, seed in enumerate(derive_seeds(options.seed, Purpose.EVAL_SEED, options.episodes), start=1):
        with closing(make(seed)) as env:
            check_fits(policy.spec, env.spec)
            episode = show_episode(env, act, screen, stride)
        end = f", cut off after {MAX_STEPS:,} steps" if episode.cut[0] else ""
        print(f"episode {number}: return {episode.returns[0]:.1f}, length {episode.lengths[0]}{end}", flush=True)


@contextmanager
def open_screen(options: PlayArgs, title: str, pace: "Pace") -> "Iterator[Screen]":
    """A window, or a film where one is asked for or there is no display; says at the end where the film is."""
    from fastsac.film.film import Film, check_encoder
    from fastsac.film.window import NoWindowError, Window

    if options.video is None:
        try:
            window = Window(title, pace.frames_per_s)
        except NoWindowError as error:
            print(f"no window: {error}; this makes a film", flush=True)
        else:
            with closing(window):
                yield window
            return
    check_encoder()
    path = options.video or free_name(options.run_dir / "videos")
    try:
        with Film(path, pace.frames_per_s) as film:
            yield film
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}.") from error
    print(f"film: {path}, {film.num_frames} frames, {pace.frames_per_s:.4g} a second")


def free_name(folder: Path) -> Path:
    """The first of play.mp4, play-2.mp4, ... that is not there."""
    names = itertools.chain(["play.mp4"], map("play-{}.mp4".format, itertools.count(2)))
    return next(path for path in map(folder.joinpath, names) if not path.exists())
