"""Films of evaluations: which of them, of whose episode, and where they go.  One that fails ends no run.

Axes: O obs_dim, A action_dim.
"""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fastsac.acting.errors import call_env, of_members
from fastsac.acting.filming import check_drawing, show_episode
from fastsac.config.settings import Config
from fastsac.env import FloatArray, RenderedEnv, first_line, make_rendered_env
from fastsac.film.film import Film, check_encoder
from fastsac.film.frames import pace_of
from fastsac.nn.philox import Purpose, derive_seeds
from fastsac.run.evaluator import EvaluationStoppedError

if TYPE_CHECKING:
    from fastsac.run.trainer import Run

FOLDER = "videos"  # in the run directory


def check_films(config: Config) -> None:
    """Refuse films that cannot be made, with a ValueError; draws one picture."""
    if config.video_every == 0:
        return
    if config.video_every > config.total_steps:
        raise ValueError(
            f"video_every {config.video_every:,} must be at most total_steps {config.total_steps:,}, or nothing is "
            "filmed. Lower --video-every, or leave it out: `fastsac play RUN_DIR` films the policy of a run."
        )
    check_encoder()
    check_drawing(partial(_make, config, 0))


class Films:
    """Films the evaluations of a run that `video_every` asks for."""

    def __init__(self, run: "Run") -> None:
        self._run = run

    def is_due(self, before: int) -> bool:
        """Whether an evaluation is filmed, when the one before it was at env step `before`."""
        every = self._run.config.video_every
        return every > 0 and before // every < self._run.env_steps // every

    def make(self, returns: Sequence[float]) -> None:
        """Film the first episode of the evaluation that was just made, of the member that did best.

        Args:
            returns: of each member, the mean of the evaluation.
        """
        run = self._run
        path = _path(run, _best(returns))
        try:
            with run.aside("filming an episode"):
                episode_return = self._film(_best(returns), run.files.folder / path)
                run.files.film(run.files.folder / path, run.env_steps)
        except EvaluationStoppedError:
            return
        except Exception as error:  # whatever an environment, the encoder, the disk or a logger raises
            run.display.warn(f"{path} was not filmed: {first_line(error)}. The run goes on.")
            return
        run.display.info(f"film of {run.env_steps:,} steps: {run.plan.run_dir / path}, return {episode_return:.1f}")

    def _film(self, member: int, path: Path) -> float:
        """Write the film of one member's episode; returns the episode's return."""
        run, config = self._run, self._run.config
        (seed,) = derive_seeds(config.member_seeds[member], Purpose.EVAL_SEED, 1, run.collector.vec_steps)
        locate = of_members(config, 1, lambda: run.collector.env_steps, " in a film")
        with closing(call_env(partial(_make, config, seed), "make", locate)) as env:
            pace = pace_of(env.steps_per_s)
            with Film(path, pace.frames_per_s) as film:
                episode = show_episode(env, partial(self._act, member), film, pace.stride, locate)
        return float(episode.returns[0])

    def _act(self, member: int, obs: FloatArray) -> FloatArray:
        """Actions [1, A] for obs [1, O], computed among as many rows as in an evaluation, so that they round alike."""
        run = self._run
        if run.together.interrupts():
            raise EvaluationStoppedError
        rows = torch.from_numpy(obs).expand(run.config.eval_episodes, -1).to(run.plan.device)
        actions: FloatArray = run.learner.act_of_member(member, rows)[:1].cpu().numpy()
        return actions


def _make(config: Config, seed: int) -> RenderedEnv:
    return make_rendered_env(config.env, seed, config.env_kwargs_of_evaluation, config.action_limit)


def _best(returns: Sequence[float]) -> int:
    """The member with the highest return; the first where none has one."""
    return int(np.nan_to_num(returns, nan=-np.inf).argmax())


def _path(run: "Run", member: int) -> Path:
    """Of the film of one member, within the run directory."""
    whose = f"-member{member}" if run.plan.config.num_members > 1 else ""
    return Path(FOLDER) / f"step-{run.env_steps:09d}{whose}.mp4"
