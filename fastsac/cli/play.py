"""`fastsac play`: episodes with a trained policy, in a window or as a film."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from fastsac import policies
from fastsac.cli.main import say
from fastsac.cli.parsing import parse
from fastsac.cli.policy_choice import PolicyChoice, in_environments
from fastsac.config.fields import check_number, setting
from fastsac.config.seeds import check_seed
from fastsac.disk.new_files import check_ending
from fastsac.runtime.signals import StopSignals, exit_status

if TYPE_CHECKING:
    from fastsac.env import FloatArray, RenderedEnv
    from fastsac.film.frames import Pace, Screen
    from fastsac.policy import Policy

PROG = "fastsac play"


@dataclass(frozen=True, kw_only=True)
class PlayArgs(PolicyChoice):
    """Show episodes of a run's policy in a window, or film them where there is no display.

    Ctrl-C ends it, and keeps what was filmed until then.  Films need pip install "fastsac[video]".
    """

    video: Path | None = setting(
        None,
        metavar="FILE.mp4",
        unset="a window, or without a display RUN_DIR/videos/play.mp4, of demo:NAME ./NAME.mp4",
    )
    """Film all episodes into this file, and open no window."""
    episodes: int = 1
    """Number of episodes, one after the other."""
    stochastic: tyro.conf.FlagCreatePairsOff[bool] = False
    """Sample the actions, as in training; without it, they are the best ones."""
    seed: int = 0
    """Random seed of the environments and of sampled actions, in [0, 2^31)."""
    speed: float = 1.0
    """How fast to show the episodes: 1 is the task's own time, 0.5 half as fast."""
    seconds: float | None = setting(None, unset="the whole episode")
    """Show the first seconds of each episode; the rest is played unseen, and counts."""

    def __post_init__(self) -> None:
        check_number("episodes", self.episodes, at_least=1)
        check_seed(self.seed)
        if not (self.speed > 0 and math.isfinite(self.speed)):
            raise ValueError(f"speed must be above 0 and finite, got {self.speed}.")
        if self.seconds is not None and not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise ValueError(f"seconds must be above 0 and finite, or none, got {self.seconds}.")
        if self.video is not None:
            check_ending("video", self.video, [".mp4"])


class Interrupted(Exception):
    """A signal has come."""


def run(args: list[str]) -> int:
    """Show; returns the exit status."""
    return show(parse(PlayArgs, PROG, args), PROG)


def show(options: PlayArgs, prog: str) -> int:
    """Show the episodes, as the command `prog`; returns the exit status, or raises a ValueError where that can't be."""
    from fastsac.acting.errors import BadStepError, NotFiniteError
    from fastsac.acting.filming import check_drawing
    from fastsac.env import make_rendered_env
    from fastsac.film.frames import pace_of
    from fastsac.film.window import WindowClosed

    policy = options.load()
    config = policy.config
    with in_environments(policy, prog, options.trust_env) as signals:

        def make(seed: int) -> "RenderedEnv":
            return make_rendered_env(config.env, seed, config.env_kwargs_of_evaluation, config.action_limit)

        pace = pace_of(check_drawing(partial(make, 0)), options.speed)
        with open_screen(options, f"{policy.spec.env_id}, {policies.title_of(options.run_dir)}", pace) as screen:
            signals.armed = True
            try:
                play(policy, make, screen, pace, options, signals)
            except Interrupted:
                pass
            except WindowClosed:
                return 0
            except (BadStepError, NotFiniteError) as error:
                say(prog, str(error))
                return 1
    return exit_status(signals.received) if signals.received else 0


def play(
    policy: "Policy",
    make: Callable[[int], "RenderedEnv"],
    screen: "Screen",
    pace: "Pace",
    options: PlayArgs,
    signals: StopSignals,
) -> None:
    """Show the episodes, and print what they came to; raises Interrupted after a signal."""
    import torch

    from fastsac.acting.errors import call_env, of_nobody
    from fastsac.acting.filming import show_episode
    from fastsac.environments import check_fits
    from fastsac.nn.philox import Purpose, derive_seeds

    def act(obs: "FloatArray") -> "FloatArray":
        if signals.received:
            raise Interrupted
        return policy.choose_rows(obs, not options.stochastic)

    num_states = math.inf if options.seconds is None else pace.num_states(options.seconds)
    torch.manual_seed(options.seed)
    for number, seed in enumerate(derive_seeds(options.seed, Purpose.EVAL_SEED, options.episodes), start=1):
        with closing(call_env(partial(make, seed), "make", of_nobody)) as env:
            check_fits(policy.spec, env.spec)
            episode = show_episode(env, act, screen, pace.stride, num_states=num_states)
        print(episode_text(number, episode.returns[0], episode.lengths[0], episode.cut[0]), flush=True)


def episode_text(number: int, total: float, length: int, is_cut: bool) -> str:
    """What is said of an episode: its return, its length, and whether it was cut off."""
    from fastsac.acting.evaluation import MAX_STEPS

    end = f", cut off after {MAX_STEPS:,} steps" if is_cut else ""
    return f"episode {number}: return {total:.1f}, length {length}{end}"


@contextmanager
def open_screen(options: PlayArgs, title: str, pace: "Pace") -> "Iterator[Screen]":
    """A window, or a film where one is asked for or there is no display; says at the end where the film is."""
    from fastsac.film.film import Film, FilmError, check_encoder
    from fastsac.film.frames import Told
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
    path = options.video or free_name(options.run_dir)
    try:
        with Film(path, pace.frames_per_s, keeps_part=True) as film:
            yield Told(film, pace.frames_per_s, partial(print, flush=True))
    except FilmError as error:
        raise ValueError(str(error)) from error
    part = "" if options.seconds is None else f", the first {options.seconds:g} s of each episode"
    print(f"film: {path}, {film.num_frames} frames, {pace.frames_per_s:.4g} a second{part}")


def free_name(run_dir: Path) -> Path:
    """A file that is not there: RUN_DIR/videos/play.mp4, -2, ...; NAME.mp4 here for a policy of the package."""
    first = policies.file_here([run_dir], ".mp4") or run_dir / "videos" / "play.mp4"
    others = (first.with_name(f"{first.stem}-{number}.mp4") for number in itertools.count(2))
    return next(path for path in itertools.chain([first], others) if not path.exists())
