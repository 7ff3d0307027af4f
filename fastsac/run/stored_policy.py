"""What a policy acts by, read from a checkpoint of a run or from a folder that holds it alone."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from fastsac import checkpoint
from fastsac.algorithms import registry
from fastsac.algorithms.algorithm import Algorithm
from fastsac.algorithms.plugins import check_plugins
from fastsac.config.settings import Config
from fastsac.config.stored import check_run_dir
from fastsac.nn.vectors import Params
from fastsac.run import policy_dir
from fastsac.run.run_state import RunState, find
from fastsac.run.task_record import TaskRecord

Which = Literal["last", "best"]
NORM = ("obs_mean", "obs_rstd")


@dataclass(frozen=True)
class StoredPolicy:
    """A member's policy, with what is needed to act by it."""

    config: Config  # of its run, which may have other members
    member: int
    task: TaskRecord
    algorithm: Algorithm
    vector: Tensor  # [P], parameters and statistics of the network that acts
    norm: tuple[Tensor, Tensor] | None  # mean and reciprocal deviation of observations, [O] each, if normalised
    env_steps: int  # that it had been trained for

    @property
    def numbers(self) -> Params:
        """All that it acts by, by name."""
        views = self.algorithm.learned[self.algorithm.acts_by].views(self.vector)
        return views if self.norm is None else {**views, **dict(zip(NORM, self.norm, strict=True))}


def read_stored(run_dir: Path, member: int = 0, which: Which = "last") -> StoredPolicy:
    """The policy of a member; see `fastsac.policy.Policy.load`, whose arguments and errors these are."""
    check_run_dir(run_dir)
    config = Config.load(run_dir)
    check_plugins(config, run_dir, logging.getLogger("fastsac").info)
    config.check_member(member)
    if which not in ("last", "best"):
        raise ValueError(f"checkpoint must be last or best, got {which!r}.")
    if policy_dir.is_policy_dir(run_dir):
        return _alone(run_dir, config, which)
    return _of_run(run_dir, config, member, which)


def _alone(folder: Path, config: Config, which: Which) -> StoredPolicy:
    if which == "best":
        raise ValueError(f"{folder} holds one policy alone, not the best beside the last. Leave checkpoint out.")
    about = policy_dir.read_about(folder)
    algorithm = registry.get_algorithm(about.task.sizes["algo"])(config, about.task.spec)
    numbers = policy_dir.read_numbers(folder, about.sha256)
    size = (about.task.sizes["obs_dim"],)
    shapes = algorithm.networks[algorithm.acts_by].shapes | (dict.fromkeys(NORM, size) if config.obs_norm else {})
    policy_dir.check_shapes(folder, numbers, shapes)
    norm = (numbers.pop(NORM[0]), numbers.pop(NORM[1])) if config.obs_norm else None
    vector = algorithm.learned[algorithm.acts_by].vector({name: numbers[name] for name in shapes if name not in NORM})
    return StoredPolicy(config, 0, about.task, algorithm, vector, norm, about.card.env_steps)


def _of_run(run_dir: Path, config: Config, member: int, which: Which) -> StoredPolicy:
    found = find(run_dir, with_replay=False)
    if found.note:
        logging.getLogger("fastsac").warning(found.note)
    state, run = checkpoint.read(found), RunState.from_json(found.meta)
    algorithm = registry.get_algorithm(run.sizes["algo"])(config, run.spec)
    try:
        if which == "best":
            if state["best"]["return"][member] == -math.inf:
                raise ValueError(f"{run_dir} has no evaluation by which a policy could be the best. Take the last.")
            vector, norm = state["best"]["params"][member], state["best"]
            env_steps = int(state["best"]["env_steps"][member])
        else:
            vector, norm = state["state"]["params"][algorithm.acts_by][member], state["normalizer"]
            env_steps = run.env_steps[member]
        mean_and_rstd = (norm["mean"][member], norm["rstd"][member]) if config.obs_norm else None
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"the checkpoint in {run_dir} is not of the algorithm in its config.json.") from error
    return StoredPolicy(config, member, run, algorithm, vector, mean_and_rstd, env_steps)
