"""Training, evaluating and exporting from Python: by the name of an environment, or with an environment itself.

Axes: N episodes, B batch, O obs_dim, A action_dim.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, Protocol, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray

from fastsac.acting.evaluation import MAX_STEPS, rollout
from fastsac.acting.recording import record
from fastsac.algorithms.plugins import check_plugins
from fastsac.config.defaults import Settings
from fastsac.config.fields import check_number
from fastsac.config.kinds import conform
from fastsac.config.seeds import check_seed
from fastsac.config.settings import Config
from fastsac.deploy.check import NUM_ENVS
from fastsac.deploy.export import Exported, check_paths, export_policy
from fastsac.env.foreign import check_env
from fastsac.environments import Env, environments_for, name_of, seeds_of
from fastsac.policy import Policy
from fastsac.run import trainer
from fastsac.run.callbacks import Callback
from fastsac.run.fastest import with_fastest
from fastsac.run.result import Result
from fastsac.run.transition_files import check_free, write_recording

LOG = logging.getLogger("fastsac")
STEPS_OF_ONE = 20_000  # transitions that `collect` takes of one environment, before it has several
P = ParamSpec("P")
Q = ParamSpec("Q")


# Training -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Arguments(Settings):
    """The arguments of `train` beside an environment, by name, for type checkers."""

    callbacks: Sequence[Callback] = ()
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class EnvAndArguments(Arguments):
    """All arguments of `train`, likewise."""

    env: Env | Config | None = None


class Train(Protocol[P, Q]):
    """How `train` is called: the settings, with their types, are the fields of `Config`."""

    @overload
    def __call__(self, env: Env | Config, /, *args: P.args, **settings: P.kwargs) -> Result: ...
    @overload
    def __call__(self, *args: Q.args, **settings: Q.kwargs) -> Result: ...


def _with_settings(settings: Callable[P, object], all_by_name: Callable[Q, object]) -> Callable[[Any], Train[P, Q]]:
    """To type checkers, a function with the arguments of these; it stays as it is."""
    return lambda function: cast(Train[P, Q], function)


@_with_settings(Arguments, EnvAndArguments)
def train(
    env: Env | Config | None = None, *, callbacks: Sequence[Callback] = (), quiet: bool = False, **settings: Any
) -> Result:
    """Train a policy, or several; returns the closing figures and where everything is.

        result = fastsac.train("Pendulum-v1", seed=3)
        result = fastsac.train(lambda: gymnasium.make("Pendulum-v1"), total_steps=10_000)
        result = fastsac.train(MyEnv, resume=result.run_dir, total_steps=20_000)

    Args:
        env: the name of an environment, as `fastsac envs` lists them; an environment itself, which is one of those that
            `register_env` takes; or a `Config`, whose values the settings replace.  Of a Gymnasium vector environment,
            num_envs is its own number unless given.  May be left out with resume.
        callbacks: functions that are called with each `Event`: at log points, evaluations, checkpoints and the end.
            One that returns `Stop(reason)` ends the run.
        quiet: print warnings alone, on standard error.
        settings: as of `Config`.  With resume=RUN_DIR all others are those of the run unless given.

    Raises:
        ValueError: wrong settings, or what cannot be done here; nothing was written.
        RuntimeError: an environment failed or a number is not finite; checkpoints written before are kept.
        Exception: a callback's own; a checkpoint of where the run was is kept.
    """
    config, notes = _config(env, settings)
    return trainer.train(config, notes, callbacks, conform("quiet", quiet, bool))


def _config(env: Env | Config | None, settings: dict[str, Any]) -> tuple[Config, tuple[str, ...]]:
    """The settings of a call of `train`, and what to say of them."""
    if isinstance(env, Config):
        return env.replace(**settings), ()
    resume, run_dir = settings.get("resume"), settings.get("run_dir")
    if resume is not None and resume != "auto":
        return _continued(Config.load(resume), env, settings), ()
    if env is None:
        raise ValueError('env must be given, for example fastsac.train("Pendulum-v1").')
    before = ""  # what a run that resume auto goes on with was made in
    if resume == "auto" and run_dir is not None and (Path(run_dir) / "config.json").exists():
        before = Config.load(run_dir).env
    name = name_of(env, before)
    num_envs = getattr(env, "num_envs", None)  # of a vector environment
    settings, notes = with_fastest(name, settings)
    return Config(**{**({} if num_envs is None else {"num_envs": num_envs}), **settings, "env": name}), notes


def _continued(before: Config, env: Env | None, settings: dict[str, Any]) -> Config:
    """The settings of a run, with others in their place."""
    check_plugins(before, Path(settings["resume"]), LOG.info)
    if env is None:
        check_env(before.env, Path(settings["resume"]), is_trusted=False, say=LOG.info)
    name = before.env if env is None else name_of(env, before.env)
    return before.replace(**{"run_dir": None, **settings, "env": name})


# Evaluating -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Episodes of one policy."""

    env_id: str
    returns: NDArray[np.float64]  # [N], undiscounted
    lengths: NDArray[np.int64]  # [N]
    success: NDArray[np.float64]  # [N], 1 or 0; NaN where the environment does not tell
    cut: NDArray[np.bool_]  # [N], cut off after 10,000 steps in a task that tells no time limit
    seeds: list[int]  # of the N environments

    @property
    def mean(self) -> float:
        """Mean of the returns."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the returns."""
        return float(self.returns.std())

    @property
    def success_rate(self) -> float | None:
        """Share of the episodes that succeeded, of those that told; None where none did."""
        known = self.success[np.isfinite(self.success)]
        return float(known.mean()) if known.size else None

    def __repr__(self) -> str:
        low, high, length = self.returns.min(), self.returns.max(), self.lengths.mean()
        text = (
            f"{self.env_id}: return {self.mean:.1f} +- {self.std:.1f} (min {low:.1f}, max {high:.1f}), "
            f"length {length:.0f}, {len(self.returns)} episodes"
        )
        if self.success_rate is not None:
            text += f", success rate {self.success_rate:.0%}"
        return text + (f", {self.cut.sum()} cut off after {MAX_STEPS:,} steps" if self.cut.any() else "")


def evaluate(
    policy: Policy | str | Path,
    env: Env | None = None,
    episodes: int = 10,
    seed: int = 0,
    deterministic: bool = True,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Episodes with a policy, one in each of N new environments: their returns and lengths.

    Args:
        policy: what `load` gave, or a run directory, whose newest policy of the first member it is.
        env: where, as of `train`; None for the environment of the run.
        episodes: N, at least 1.
        seed: of the environments and of sampled actions, in [0, 2^31).
        deterministic: the best actions; else samples.
        env_kwargs: keyword arguments of the environments; None for those of the run's evaluations, the time limit among
            them, where the environment is the run's, or an object of the same id or class.

    Raises:
        ValueError: a wrong argument, no such run, or an environment of other sizes.
        RuntimeError: an environment failed.
    """
    episodes, seed = conform("episodes", episodes, int), conform("seed", seed, int)
    check_number("episodes", episodes, at_least=1)
    check_seed(seed)
    policy = policy if isinstance(policy, Policy) else Policy.load(policy)
    with environments_for(policy, env, episodes, seed, env_kwargs, policy.config.env_kwargs_of_evaluation) as made:
        result = rollout(made, partial(policy.choose_rows, deterministic=deterministic))
    return Evaluation(made.spec.env_id, *result, seeds_of(seed, episodes))


def collect(
    policy: Policy | str | Path,
    file: str | Path,
    steps: int = 10_000,
    env: Env | None = None,
    seed: int = 0,
    deterministic: bool = True,
    env_kwargs: Mapping[str, Any] | None = None,
) -> NDArray[np.float64]:
    """Write transitions of a policy, which `prefill` takes; returns the returns of the episodes that ended.

    Args:
        policy: as of `evaluate`.
        file: a new .npz.
        steps: transitions, at least 1.
        env: as of `evaluate`.
        seed: as of `evaluate`.
        deterministic: the best actions; else samples, which show more of the task.
        env_kwargs: as of `evaluate`, but None is for those of the run's training.

    Raises:
        ValueError: as `evaluate`, or the file exists or cannot be written there.
        RuntimeError: an environment failed.
    """
    steps, seed, path = conform("steps", steps, int), conform("seed", seed, int), Path(file)
    check_number("steps", steps, at_least=1)
    check_seed(seed)
    check_free(path)
    policy = policy if isinstance(policy, Policy) else Policy.load(policy)
    num_envs = max(1, min(16, steps // STEPS_OF_ONE))
    with environments_for(policy, env, num_envs, seed, env_kwargs, policy.config.env_kwargs_of_training) as made:
        recording = record(made, partial(policy.choose_rows, deterministic=deterministic), steps)
    write_recording(path, recording, policy.in_units(torch.from_numpy(recording.action)).numpy())
    return recording.returns


# Exporting ------------------------------------------------------------------------------------------------------------


def export(
    policy: Policy | str | Path,
    *paths: str | Path,
    env: Env | None = None,
    stochastic: bool = False,
    env_kwargs: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a policy to files that run without fastsac, checked against it before they are written.

        fastsac.export("runs/X", "policy.onnx", "policy.pt2")

    Args:
        policy: what `load` gave, or a run directory, whose newest policy of the first member it is.
        paths: files to write: .onnx, or .pt2 of `torch.export`.
        env: where the policy is stepped for the check, as of `evaluate`.
        stochastic: sample the actions by a second input, standard normal noise [B, A].
        env_kwargs: as of `evaluate`.
        overwrite: write over files that exist.

    Raises:
        ValueError: a wrong argument, no such run, a missing package, or a file that exists or cannot be written.
        RuntimeError: a file would not do what the policy does, or an environment failed; nothing was written.
    """
    targets = [Path(path) for path in paths]
    check_paths(targets, overwrite)
    policy = policy if isinstance(policy, Policy) else Policy.load(policy)
    with environments_for(policy, env, NUM_ENVS, 0, env_kwargs, policy.config.env_kwargs_of_evaluation) as made:
        return export_policy(policy, made, targets, stochastic)
