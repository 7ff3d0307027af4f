"""The replay buffer: the raw stream of every environment in a ring.

Row t of environment n holds obs_t, the action taken there, and the reward and flags that followed; next_obs is the
obs of row t+1.  That is exact at truncation too, because the stream carries the true final observation, and it takes
half the memory of storing next_obs.

Two kinds of row are no transition: the dummy after a done (see the contract in `fastsac.env`), and the row at the
head, whose action has not been taken yet.  `table` lists the positions of all others, oldest first, itself a ring, so
that one uniform integer draws a valid transition: no rejection, no mask, no wait for the device.

Axes: M members, T ring rows, N environments, R = T * N positions, O obs_dim, A action_dim.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor

from fastsac.config.settings import Config
from fastsac.env import EnvSpec

AT_ONCE = 1 << 20  # rows of all environments that are looked at when the table is made anew
Piece = tuple[int, dict[str, Tensor]]
"""Rows of a state, by name, and the number of the first of them since the replay's start."""


class Rows(NamedTuple):
    """The columns: [M, T, N, ...] in a replay, [R, ...] in the ring of one member."""

    obs: Tensor  # [..., O], float32, or uint8 of images
    action: Tensor  # [..., A]
    reward: Tensor
    terminated: Tensor  # bool
    truncated: Tensor  # bool


class Ring(NamedTuple):
    """The tensors that a draw reads, of one member; of all members M comes first."""

    rows: Rows
    table: Tensor  # [R + 1] int32, positions of transitions
    head: Tensor  # [] int64, the row of the current obs
    tail: Tensor  # [] int64, the oldest entry of the table
    num_entries: Tensor  # [] int64, of the table


class Replay:
    """Ring of T rows by N environments for each of M members; T is the least that holds `capacity` transitions of each.

    Everything that a draw reads is a tensor that keeps its address: `ring()` gives them once and for all.

    Attributes:
        data: the columns of `Rows` as a TensorDict, [M, T, N].
        rows: the same tensors, typed.
    """

    def __init__(
        self,
        num_members: int,
        num_envs: int,
        capacity: int,
        obs_dim: int,
        action_dim: int,
        device: torch.device,
        obs_dtype: torch.dtype = torch.float32,
    ) -> None:
        m, n = num_members, num_envs
        self.num_rows = t = -(-capacity // n) + 1  # one row is the head, which holds no transition
        if t * n >= 2**31:
            most = 2**31 - 1 - 2 * n  # positions are 32-bit numbers
            raise ValueError(f"buffer_size must be at most {most}, got {capacity}. Give --buffer-size {most} or less.")
        self.num_envs = n
        zeros = partial(torch.zeros, device=device)
        self.data = TensorDict(
            obs=zeros(m, t, n, obs_dim, dtype=obs_dtype),
            action=zeros(m, t, n, action_dim),
            reward=zeros(m, t, n),
            terminated=zeros(m, t, n, dtype=torch.bool),
            truncated=zeros(m, t, n, dtype=torch.bool),
            batch_size=(m, t, n),
        )
        self.rows = Rows(**self.data)  # the same tensors: looking a name up in a TensorDict takes microseconds
        # Position R of the table takes the writes of rows that are no transition.
        self.table = zeros(m, t * n + 1, dtype=torch.int32)  # [M, R + 1]
        self.row_count = zeros(m, t, dtype=torch.int64)  # valid transitions in each row
        self.head, self.tail, self.count = (zeros(m, dtype=torch.int64) for _ in range(3))  # [M]
        self.is_dummy = zeros(m, n, dtype=torch.bool)  # the current row follows a done
        self.added = zeros((), dtype=torch.int64)  # rows so far; the head is row `added` of all
        self._positions = torch.arange(n, device=device)

    @property
    def host_head(self) -> int:
        """The row of the current obs.  Waits for the device."""
        return int(self.head[0])

    def reset_(self, obs: Tensor) -> None:
        """Begin a row at obs [M, N, O] of environments that were reset.  Waits for the device.

        Episodes that this interrupts count as truncated: their last transitions keep their true next_obs, and no
        window crosses.
        """
        if bool((self.count > 0).any()):
            last = (self.host_head - 1) % self.num_rows
            self.rows.truncated[:, last] = True
            self.is_dummy.fill_(True)
            zero = torch.zeros_like(self.rows.reward[:, 0])
            self.add_(torch.zeros_like(self.rows.action[:, 0]), zero, zero.bool(), zero.bool(), obs)
        self.rows.obs[:, self.host_head] = obs

    def resume_(self, obs: Tensor, is_dummy: Tensor) -> None:
        """Let the current row be obs [M, N, O], and [M, N] whether it follows a done.  Waits for the device."""
        self.rows.obs[:, self.host_head] = obs
        self.is_dummy.copy_(is_dummy)

    def add_(self, action: Tensor, reward: Tensor, terminated: Tensor, truncated: Tensor, next_obs: Tensor) -> None:
        """Complete the current row and begin the next.  Runs on the device alone, so that a graph can hold it.

        Args are [M, N, ...]; the action was taken at the current row's obs, and the next row holds next_obs.
        """
        r = self.num_rows * self.num_envs
        head = self.head[:1]  # [1]; all members are at the same row
        following = (head + 1) % self.num_rows
        # The next row's old transitions lose their obs: they are the oldest, so they leave at the tail.
        gone = self.row_count.index_select(1, following).squeeze(1)  # [M]
        self.tail.copy_((self.tail + gone) % r)
        self.count.sub_(gone)
        self.row_count.index_fill_(1, following, 0)

        for column, value in zip(self.rows[1:], (action, reward, terminated, truncated), strict=True):
            column.index_copy_(1, head, value.unsqueeze(1))
        self.rows.obs.index_copy_(1, following, next_obs.unsqueeze(1))

        valid = ~self.is_dummy  # [M, N]
        slot = (self.tail + self.count - 1).unsqueeze(-1) + valid.cumsum(-1)
        slot = torch.where(valid, slot % r, r)
        self.table.scatter_(1, slot, (self._positions + head * self.num_envs).int().expand_as(slot))
        fresh = valid.sum(-1)
        self.row_count.index_copy_(1, head, fresh.unsqueeze(1))
        self.count.add_(fresh)
        torch.logical_or(terminated, truncated, out=self.is_dummy)
        self.head.copy_(following.expand_as(self.head))
        self.added.add_(1)

    def ring(self) -> Ring:
        """The tensors that a draw reads, of all members; views, never copies."""
        rows = Rows(*(column.flatten(1, 2) for column in self.rows))
        return Ring(rows, self.table, self.head, self.tail, self.count)

    def nbytes(self) -> int:
        """Bytes of the ring and its table, all members."""
        return sum(t.nbytes for t in (*self.rows, self.table, self.row_count))

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, all members."""
        return sum(column.nbytes for column in self.rows) // self.num_rows

    # Checkpoints: the rows, numbered since the start, and a cursor from which all else follows ------------------------

    def span(self) -> tuple[int, int]:
        """The rows in the ring, [first, last) of all since the start; the last is the head.  Waits for the device."""
        last = int(self.added) + 1
        return max(0, last - self.num_rows), last

    def read(self, first: int, last: int) -> dict[str, Tensor]:
        """Copies [M, last - first, N, ...] of rows [first, last) of all since the start."""
        place = torch.arange(first, last, device=self.table.device) % self.num_rows
        return {name: column.index_select(1, place) for name, column in self._named_rows().items()}

    def cursor(self) -> dict[str, Tensor]:
        """What a checkpoint needs beside the rows: the table and its counts follow from both.  Waits for the device."""
        oldest = self.span()[0] % self.num_rows
        place = torch.arange(self.num_envs, device=self.table.device)
        entries = self.table.gather(1, (self.tail.unsqueeze(-1) + place) % (self.table.shape[1] - 1))  # [M, N]
        belongs = place < self.row_count[:, oldest].unsqueeze(-1)
        env = torch.where(belongs, entries.long() % self.num_envs, self.num_envs)
        oldest_valid = self.is_dummy.new_zeros(len(env), self.num_envs + 1).scatter_(1, env, True)
        return {**self._counters(), "oldest_valid": oldest_valid[:, :-1]}

    def state_dict(self) -> dict[str, Tensor]:
        """Rows in use, oldest first, and the cursor.  Waits for the device."""
        return {**self.read(*self.span()), **self.cursor()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what `state_dict` gave; a ValueError as of `load`."""
        rows = {name: value for name, value in state.items() if name.startswith("rows.")}
        cursor = {name: value for name, value in state.items() if name not in rows}
        self.load(cursor, [(self._check_cursor(cursor)[0], rows)])

    def load(self, cursor: dict[str, Tensor], pieces: Iterable[Piece]) -> None:
        """Take over rows, some at a time, so that no more than some are held beside the ring.  Waits for the device.

        Args:
            cursor: what `cursor` gave; `count` may be left out.
            pieces: numbers of first rows, counted since the start, and the rows [M, L, N, ...] from there on by name;
                oldest first.  Rows that come again are right the second time.

        Raises:
            ValueError: of other sizes, or the parts do not fit together.  The replay is of no use then.
        """
        first, last = self._check_cursor(cursor)
        # [M, L + 1, N] on the CPU, whether a row is a transition: those that follow no done, but for the head.
        valid, reached = torch.zeros(len(self.table), last - first + 1, self.num_envs, dtype=torch.bool), first
        valid[:, 0] = cursor["oldest_valid"]
        for begin, rows in pieces:
            end = begin + _write(self._named_rows(), begin, rows)
            if not first <= begin <= reached < end <= last:
                raise ValueError(f"the replay has rows {begin} to {end}, needs {reached} to {last}.")
            valid[:, begin - first + 1 : end - first + 1] = ~(rows["rows.terminated"] | rows["rows.truncated"])
            reached = end
            del rows  # before the next ones are read
        if reached != last:
            raise ValueError(f"the replay's rows end at {reached}, need to at {last}.")
        valid[:, last - first - 1] = False
        count = valid[:, :-1].sum((1, 2))
        if not torch.equal(count, cursor.get("count", count).cpu()):
            raise ValueError("the replay's counts do not fit its rows.")
        self.count.copy_(count)
        self._restore_table(first, valid[:, :-1], cursor["tail"])
        for name in ("added", "tail", "is_dummy"):
            getattr(self, name).copy_(cursor[name])
        self.head.fill_((last - 1) % self.num_rows)

    def _restore_table(self, first: int, valid: Tensor, tail: Tensor) -> None:
        """Make the table anew from which rows are transitions, [M, L, N]; `first` is the number of the first."""
        place = torch.arange(first, first + valid.shape[1]) % self.num_rows  # [L]
        self.row_count.zero_().index_copy_(1, place.to(self.head.device), valid.sum(-1).to(self.head.device))
        for table, mine, slot in zip(self.table, valid, tail.tolist(), strict=True):
            for entries in _positions(mine, place):
                slots = (slot + torch.arange(len(entries))) % (self.table.shape[1] - 1)
                table[slots.to(table.device)] = entries.to(table.device)
                slot += len(entries)

    def _named_rows(self) -> dict[str, Tensor]:
        return {f"rows.{name}": column for name, column in self.rows._asdict().items()}

    def _counters(self) -> dict[str, Tensor]:
        return {"added": self.added, "tail": self.tail, "count": self.count, "is_dummy": self.is_dummy}

    def _check_cursor(self, cursor: dict[str, Tensor]) -> tuple[int, int]:
        """The rows [first, last) that belong to a cursor; a ValueError where it is not one of this replay."""
        mine = {**self._counters(), "oldest_valid": self.is_dummy}
        _check_parts(cursor, {name: value for name, value in mine.items() if name in cursor or name != "count"})
        last, tail = int(cursor["added"]) + 1, cursor["tail"]
        if last < 1 or not bool(((tail >= 0) & (tail < self.table.shape[1] - 1)).all()):
            raise ValueError("the replay's counters are out of range.")
        return max(0, last - self.num_rows), last


def _check_parts(parts: dict[str, Tensor], like: dict[str, Tensor]) -> None:
    """Raise a ValueError where parts of a state have not the names, shapes and types that they should."""
    if parts.keys() != like.keys() or any(not isinstance(value, Tensor) for value in parts.values()):
        raise ValueError(f"the replay has parts {sorted(parts)}, needs {sorted(like)}.")
    for name, value in parts.items():
        if (value.shape, value.dtype) != (like[name].shape, like[name].dtype):
            raise ValueError(
                f"the replay's {name} is {list(value.shape)}, needs {list(like[name].shape)} ({like[name].dtype})."
            )


def _write(columns: dict[str, Tensor], begin: int, rows: dict[str, Tensor]) -> int:
    """Put rows into a ring, of which the first has this number since the start; returns how many there are."""
    lengths = [value.shape[1] for value in rows.values() if isinstance(value, Tensor) and value.dim() > 1]
    length = max(lengths, default=0)
    _check_parts(rows, {name: column[:, :length] for name, column in columns.items()})
    for name, column in columns.items():
        place = torch.arange(begin, begin + length, device=column.device) % column.shape[1]
        column.index_copy_(1, place, rows[name].to(column.device))
    return length


def _positions(valid: Tensor, place: Tensor) -> Iterator[Tensor]:
    """The positions of transitions, int32, some at a time: `valid` [L, N] says which rows are, `place` [L] where."""
    env, some = torch.arange(valid.shape[1]), max(1, AT_ONCE // valid.shape[1])
    for rows, are_valid in zip(place.split(some), valid.split(some), strict=True):
        yield (rows.unsqueeze(-1) * len(env) + env)[are_valid].int()


def make_replay(config: Config, spec: EnvSpec, device: torch.device) -> Replay:
    """The empty replay of a run."""
    obs_dtype = torch.float32 if spec.image is None else torch.uint8
    sizes = (config.num_members, config.num_envs, config.buffer_size, spec.obs_dim, spec.action_dim)
    return Replay(*sizes, device, obs_dtype)
