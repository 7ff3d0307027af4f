"""Demonstrations: transitions that a run begins with, as a stream of rows, in a ring of their own or in the replay.

A stream is as the rows of one environment in `replay.py`: the next row has next_obs, and a row that is no transition
follows every end, with the final observation.  Where two transitions that stand beside each other do not belong
together, there is such an end too, truncated, so that no n-step window crosses it and its next_obs is the true one.

Axes: K transitions, L rows of the stream, M members, N environments, O obs_dim, A action_dim.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac.config.settings import Config
from fastsac.env import BoolArray, FloatArray, ObsArray
from fastsac.learning.replay import Replay, Ring, Rows
from fastsac.nn.normalizer import Normalizer
from fastsac.nn.return_normalizer import ReturnNormalizer

PIECE = 16_384  # observations that a normaliser takes in at once


class Transitions(NamedTuple):
    """Transitions in the order in which they were made, in the units of the contract of `fastsac.env`."""

    obs: ObsArray  # [K, O]
    action: FloatArray  # [K, A]
    reward: FloatArray  # [K]
    terminated: BoolArray  # [K]
    truncated: BoolArray  # [K]
    next_obs: ObsArray | None  # [K, O]; None where only the following obs tells it


class Stream(NamedTuple):
    """Rows of one environment; the last is no transition."""

    obs: ObsArray  # [L, O]
    action: FloatArray  # [L, A]
    reward: FloatArray  # [L]
    terminated: BoolArray  # [L]
    is_transition: BoolArray  # [L]

    def take(self, index: NDArray[np.intp], is_transition: BoolArray) -> "Stream":
        """The rows of an index, of any shape, of which some are transitions."""
        rows = [column[index] for column in self[:3]]
        return Stream._make([*rows, self.terminated[index] & is_transition, is_transition])

    @property
    def truncated(self) -> BoolArray:
        """Which rows end without a termination, [L, ...]: no transition follows."""
        follows = np.zeros_like(self.is_transition)
        follows[:-1] = self.is_transition[1:]
        truncated: BoolArray = ~follows & ~self.terminated
        return truncated


def make_stream(t: Transitions) -> Stream:
    """The rows of transitions; one whose next_obs is not told is left out.

    That is one that is truncated, and the last one, where next_obs is not given: its obs is the final one of the
    transition before it.
    """
    count = len(t.reward)
    if t.next_obs is None:
        is_told = t.terminated.copy()
        is_told[:-1] |= ~t.truncated[:-1]
        ends, final = t.terminated, t.obs  # what follows a termination has no value, whatever it is
    else:
        is_told = np.ones(count, np.bool_)
        ends, final = t.terminated | t.truncated, t.next_obs
        ends[-1] = True
        ends[:-1] |= (t.next_obs[:-1] != t.obs[1:]).any(-1)
    index = np.repeat(np.arange(count), 1 + ends)  # [L], an end twice
    is_final = np.concatenate([[False], index[1:] == index[:-1]])
    rows = Stream(t.obs, t.action, t.reward, t.terminated, is_told).take(index, is_told[index] & ~is_final)
    return rows._replace(obs=np.where(is_final[:, None], final[index], rows.obs))


class Demonstrations:
    """A stream for all members of a run, as its settings want it: rewards clipped, time limits as terminations.

    Args:
        config: settings.
        transitions: as they came.
        device: where to hold them.

    Raises:
        ValueError: there is no transition whose next observation is known.
    """

    def __init__(self, config: Config, transitions: Transitions, device: torch.device) -> None:
        if not config.bootstrap_time_limits:
            transitions = transitions._replace(terminated=transitions.terminated | transitions.truncated)
        self._config, self._device, self._obs = config, device, transitions.obs
        self._stream = make_stream(transitions)
        self.num_transitions = int(self._stream.is_transition.sum())
        if self.num_transitions == 0:
            raise ValueError("there is no transition whose next observation is known. Give next_observations.")

    @property
    def ring_bytes(self) -> int:
        """Memory of `ring()` on its device, where members share it; on a CPU it is that of the stream but for flags."""
        length = len(self._stream.reward)
        flags_and_table = length + 4 * (length + 1)
        on_cpu = self._device.type == "cpu"
        return flags_and_table + (0 if on_cpu else sum(column.nbytes for column in self._stream[:4]))

    def check_fits(self) -> None:
        """Raise a ValueError if a replay of these settings is too small for them."""
        c, length = self._config, self._length()
        if length > -(-c.buffer_size // c.num_envs):
            whole = c.buffer_size * (c.all_envs // c.num_envs)
            raise ValueError(
                f"buffer_size must hold the {self.num_transitions:,} transitions that the run begins with, and the "
                f"ends of their episodes, got {whole:,}. Give --buffer-size {length * c.all_envs} or more."
            )

    def ring(self) -> Ring:
        """A ring of all transitions for each member, which is never written; members share what does not differ."""
        stream, length = self._stream, len(self._stream.reward)
        table = torch.zeros(length + 1, dtype=torch.int32)
        table[: self.num_transitions] = torch.from_numpy(np.flatnonzero(stream.is_transition)).int()
        numbers = (torch.tensor(number) for number in (length - 1, 0, self.num_transitions))
        head, tail, num_entries = (self._for_all(number) for number in numbers)
        return Ring(self._rows(stream), self._for_all(table), head, tail, num_entries)

    def fill_(self, replay: Replay) -> None:
        """Let an empty replay begin with the transitions, side by side in its environments.  Waits for the device.

        Of several processes, each has those of its environments.
        """
        first, length = self._config.first_env, self._length()
        env = np.arange(first, first + replay.num_envs)
        index = np.arange(length + 1)[:, None] + env * length  # [L', N]; neighbours share a row, as final obs
        index = np.minimum(index, len(self._stream.reward) - 1)
        is_transition = self._stream.is_transition[index]
        is_transition[-1] = False
        stream = self._stream.take(index, is_transition)
        rows = {f"rows.{name}": column for name, column in self._rows(stream)._asdict().items()}
        valid = self._for_all(torch.from_numpy(is_transition))  # [M, L', N]
        count = valid.sum((1, 2))
        replay.load_state_dict({
            **rows, "added": torch.tensor(length, device=self._device), "tail": torch.zeros_like(count),
            "count": count, "is_dummy": torch.ones_like(valid[:, 0]), "oldest_valid": valid[:, 0],
        })  # fmt: skip

    def feed_(self, normalizer: Normalizer, return_normalizer: ReturnNormalizer | None) -> None:
        """Let normalisers take in what was seen, once: observations, and the returns of the transitions' episodes."""
        if self._config.obs_norm:
            for piece in np.split(self._obs, [*range(PIECE, len(self._obs), PIECE)]):
                normalizer.update_(self._for_all(torch.from_numpy(piece)))
        if return_normalizer is not None:
            rewards = self._reward(self._stream).tolist()
            members = zip(rewards, self._config.members, strict=True)
            returns = [self._returns(reward, member.gamma) for reward, member in members]
            values = torch.tensor(returns, dtype=torch.float64, device=self._device)  # [M, K]
            return_normalizer.merge_(values, torch.ones_like(values, dtype=torch.bool))

    def _length(self) -> int:
        """Rows of each environment's part of the stream, without the last, which is the next one's first."""
        return -(-(len(self._stream.reward) - 1) // self._config.all_envs)

    def _returns(self, reward: Sequence[float], gamma: float) -> list[float]:
        """Discounted sums of the rewards of an episode so far, [K], at each transition."""
        found, running = [], 0.0
        for value, is_transition in zip(reward, self._stream.is_transition.tolist(), strict=True):
            running = gamma * running + value if is_transition else 0.0
            if is_transition:
                found.append(running)
        return found

    def _rows(self, stream: Stream) -> Rows:
        """Columns [M, ...] of a stream on the device."""
        obs, action, terminated, truncated = (
            self._for_all(torch.from_numpy(np.ascontiguousarray(column)))
            for column in (stream.obs, stream.action, stream.terminated, stream.truncated)
        )
        return Rows(obs, action, self._reward(stream), terminated, truncated)

    def _reward(self, stream: Stream) -> Tensor:
        """[M, ...] on the device, clipped as each member wants it."""
        reward = self._for_all(torch.from_numpy(np.ascontiguousarray(stream.reward)))
        clips = [member.reward_clip for member in self._config.members]
        if any(clips):
            limit = torch.tensor([clip or float("inf") for clip in clips], device=self._device)
            limit = limit.view(-1, *[1] * (reward.dim() - 1))
            reward = reward.clamp(-limit, limit)
        return reward

    def _for_all(self, value: Tensor) -> Tensor:
        """[M, ...], without memory for each member."""
        return value.to(self._device).expand(self._config.num_members, *value.shape)
