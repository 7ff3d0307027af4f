"""The batch of a gradient step: an exact, uniform draw of transitions from the replay's ring, and its normalisation.

Axes: R positions of the ring, N environments, B batch, O obs_dim.
"""

import torch
from torch import Tensor

from fastsac.algorithms.batch import Batch, WindowStates
from fastsac.config.settings import Config
from fastsac.learning.replay import Ring
from fastsac.nn import normalizer, philox


def draw_batch(
    config: Config,
    ring: Ring,
    gamma: Tensor,
    seed: Tensor,
    counter: Tensor,
    demonstrations: Ring | None = None,
    rows: philox.Rows | None = None,
) -> Batch:
    """The batch of one member at `counter` []; a pure function of its arguments.

    Args:
        config: settings.
        ring: of the member.
        gamma: [].
        seed: int64 [].
        counter: int64 [].
        demonstrations: a ring of one environment, of which the last rows are.
        rows: which of the batch these are, where several processes have their parts.
    """
    word = philox.words(seed, philox.Purpose.DRAW, counter, config.batch_size, rows)
    how = (config.n_step, gamma, config.num_window_states > 0)
    if demonstrations is None:
        return draw(ring, word, config.num_envs, *how)
    fresh, shown = word.tensor_split([config.batch_size - config.num_demonstrated])
    return _joined(draw(ring, fresh, config.num_envs, *how), draw(demonstrations, shown, 1, *how))


def _joined(first: Batch, second: Batch) -> Batch:
    """Two batches as one."""
    window = None
    if first.window is not None and second.window is not None:
        window = WindowStates(*(torch.cat(pair, 1) for pair in zip(first.window, second.window, strict=True)))
    return Batch._make([*map(torch.cat, zip(first[:-1], second[:-1], strict=True)), window])


def normalize_batch(batch: Batch, mean: Tensor, rstd: Tensor) -> Batch:
    """The batch with all observations normalised by mean [O] and rstd [O]."""
    obs, next_obs = (normalizer.apply(o, mean, rstd) for o in (batch.obs, batch.next_obs))
    window = batch.window and batch.window._replace(obs=normalizer.apply(batch.window.obs, mean, rstd))
    return batch._replace(obs=obs, next_obs=next_obs, window=window)


def draw(ring: Ring, word: Tensor, num_envs: int, n_step: int, gamma: Tensor, with_window: bool = False) -> Batch:
    """Transitions of one member, uniform over all valid ones, with n-step windows.

    A window stops at an episode's end and at the write head; `discount` holds gamma to the number of rewards summed.

    Args:
        ring: of one member.
        word: uniform 32-bit words, [B].
        num_envs: N.
        n_step: rewards per window.
        gamma: [].
        with_window: give the states between the first and the last of the windows, too.
    """
    rows, num_positions = ring.rows, ring.rows.reward.shape[0]
    num_rows = num_positions // num_envs
    slot = ring.tail + philox.index(word, ring.num_entries)  # [B]
    slot = torch.where(slot >= num_positions, slot - num_positions, slot)
    start = ring.table[slot].long()
    row, env = start // num_envs, start % num_envs
    room = (ring.head - row) % num_rows  # complete rows from here to the head, at least 1

    position = next_position = start
    live = torch.ones_like(start, dtype=torch.bool)
    terminated = torch.zeros_like(live)
    reward = torch.zeros_like(rows.reward[start])
    discount = torch.ones_like(reward)
    between = []
    for k in range(n_step):
        if with_window and k > 0:
            between.append(WindowStates(rows.obs[position], torch.where(live, discount, 0.0)))
        reward = reward + torch.where(live, discount * rows.reward[position], 0.0)
        discount = torch.where(live, discount * gamma, discount)
        end = rows.terminated[position]
        terminated = terminated | (live & end)
        after = (row + (k + 1)) % num_rows * num_envs + env
        next_position = torch.where(live, after, next_position)
        live = live & ~end & ~rows.truncated[position] & (k + 1 < room)
        position = after
    discount = torch.where(terminated, 0.0, discount)
    states = WindowStates(*(torch.stack(x) for x in zip(*between, strict=True))) if between else None
    return Batch(rows.obs[start], rows.action[start], reward, discount, rows.obs[next_position], states)
