"""The transitions of `prefill`, which a run begins with or draws from beside its own: read and checked.

Axes: K transitions, O obs_dim, A action_dim.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fastsac.config.settings import Config
from fastsac.env import AnyArray, BoolArray, EnvSpec, FloatArray, flatten, rows_of_actions
from fastsac.learning.demonstrations import Demonstrations, Transitions
from fastsac.learning.learner import Parts
from fastsac.learning.replay import Ring
from fastsac.run.run_state import Resume
from fastsac.run.transition_files import NEXT, Arrays, read_transitions


@dataclass
class Prefill:
    """The transitions of a run that draws from them, or begins with them."""

    demonstrations: Demonstrations | None  # None once the run has taken them
    digest: str  # of the transitions
    note: str

    def take(self) -> Demonstrations:
        """The transitions, for whose memory the plan of the run is no reason to stay; can be called once."""
        taken, self.demonstrations = self.demonstrations, None
        assert taken is not None
        return taken


def plan_prefill(config: Config, spec: EnvSpec, device: torch.device, resume: Resume | None) -> Prefill | None:
    """The transitions that `prefill` names; None where there are none, or a resumed run has them in its replay.

    Raises:
        ValueError: they cannot be read, do not fit the task or the replay, or are not those of the run that goes on.
    """
    if config.prefill is None:
        return None
    name = str(config.prefill)
    if resume is not None and resume.state.prefill is None:
        raise ValueError("prefill begins a run, and cannot be given to one that goes on. Leave it out.")
    if resume is not None and config.prefill_share == 0:
        return None
    try:
        transitions = transitions_of(read_transitions(name), spec)
        demonstrations = Demonstrations(config, transitions, device)
    except ValueError as error:
        raise ValueError(f"prefill {name}: {error}") from error
    digest = _digest(transitions)
    if resume is not None and resume.state.prefill != digest:
        raise ValueError(
            f"prefill {name} has other transitions than those that the run began with. Give the same file."
        )
    if config.prefill_share == 0:
        demonstrations.check_fits()
    ends = int((transitions.terminated | transitions.truncated).sum())
    use = f"{config.num_demonstrated} of {config.batch_size} in each batch" if config.prefill_share else "in the replay"
    note = f"prefill {name}: {demonstrations.num_transitions:,} transitions, {ends:,} ends of episodes, {use}"
    return Prefill(demonstrations, digest, note)


def ring_bytes(prefill: Prefill | None, config: Config) -> int:
    """Memory that `ring_of` will take."""
    demonstrations = None if prefill is None else prefill.demonstrations
    return demonstrations.ring_bytes if demonstrations is not None and config.prefill_share else 0


def ring_of(demonstrations: Demonstrations | None, config: Config) -> Ring | None:
    """What a share of each batch is drawn from."""
    return demonstrations.ring() if demonstrations is not None and config.prefill_share else None


def begin_(demonstrations: Demonstrations | None, parts: Parts) -> None:
    """Let a new run begin with the transitions: normalisers take them in, and the replay unless they have a ring."""
    if demonstrations is not None:
        demonstrations.feed_(parts.normalizer, parts.return_normalizer)
        if "demonstrations" not in parts.learner.buffers:
            demonstrations.fill_(parts.replay)


def transitions_of(arrays: Arrays, spec: EnvSpec) -> Transitions:
    """Arrays of a file in the units of the contract; a ValueError where they do not fit the task."""
    _check_task(arrays, spec)
    obs = _obs(spec, arrays["observations"], "observations")
    count = len(obs)
    sizes = {name: _length(value) for name, value in arrays.items()}
    if differing := [f"{name} {size}" for name, size in sizes.items() if size != count]:
        raise ValueError(f"arrays must have one length, got observations {count}, {', '.join(differing)}.")
    return Transitions(
        obs,
        rows_of_actions(spec, arrays["actions"]),
        _rewards(arrays["rewards"]),
        _flags("terminations", arrays["terminations"]),
        _flags("truncations", arrays["truncations"]),
        _obs(spec, arrays[NEXT], NEXT) if NEXT in arrays else None,
    )


def _check_task(arrays: Arrays, spec: EnvSpec) -> None:
    """Raise a ValueError where the rows of observations or actions have another length than the task's."""
    wanted = {"observations": spec.obs_dim} | ({} if spec.discrete else {"actions": spec.action_dim})
    lengths = {name: np.shape(arrays[name])[1] for name in wanted if np.ndim(arrays[name]) == 2}
    if differing := [name for name, length in lengths.items() if length != wanted[name]]:
        (first, *_) = differing
        raise ValueError(
            f"is of another task: its {first} have {lengths[first]} numbers, those of {spec.env_id} {wanted[first]}."
        )


def _length(value: Any) -> int:
    while isinstance(value, dict):
        value = next(iter(value.values()))
    return len(value) if np.ndim(value) else 1


def _obs(spec: EnvSpec, value: Any, name: str) -> AnyArray:
    """Rows [K, O]."""
    try:
        rows, is_single = flatten(spec, value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if spec.image is not None and rows.dtype != np.uint8:
        raise ValueError(f"{name} must be images of uint8, got {rows.dtype}.")
    if is_single:
        raise ValueError(f"{name} must be those of several steps, one after the other, got one.")
    return np.ascontiguousarray(rows)


def _rewards(value: AnyArray) -> FloatArray:
    """[K]."""
    if value.dtype.kind not in "biuf" or value.size != len(value):
        raise ValueError(f"rewards must be numbers [K], got {value.dtype} {list(value.shape)}.")
    rewards: FloatArray = value.reshape(-1).astype(np.float32)
    if not np.isfinite(rewards).all():
        raise ValueError("rewards must be finite, got NaN or infinity.")
    return rewards


def _flags(name: str, value: AnyArray) -> BoolArray:
    """[K]."""
    if value.dtype.kind not in "biuf" or value.size != len(value) or not np.isin(value, (0, 1)).all():
        raise ValueError(f"{name} must be true or false, or 1 or 0, [K], got {value.dtype} {list(value.shape)}.")
    flags: BoolArray = value.reshape(-1).astype(np.bool_)
    return flags


def _digest(transitions: Transitions) -> str:
    digest = hashlib.sha256()
    for column in transitions:
        if column is not None:
            digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
