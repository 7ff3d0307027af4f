"""The replay buffer: the raw stream of every environment in a ring, and exact draws from it.

Row t of environment n holds obs_t, the action taken there, and the reward and flags that followed; next_obs is the
obs of row t+1.  That is exact at truncation too, because the stream carries the true final observation, and it takes
half the memory of storing next_obs.

Two kinds of row are no transition: the dummy after a done (see the contract in `fastsac.env`), and the row at the
head, whose action has not been taken yet.  `table` lists the positions of all others, oldest first, itself a ring, so
that one uniform integer draws a valid transition: no rejection, no mask, no wait for the device.

Axes: M members, T ring rows, N environments, R = T * N positions, B batch, O obs_dim, A action_dim.
"""

import torch
from tensordict import TensorDict
from torch import Tensor

from fastsac.algorithms.batch import Batch, WindowStates
from fastsac.nn import philox

Ring = dict[str, Tensor]


def bytes_per_transition(obs_dim: int, action_dim: int, obs_dtype: torch.dtype = torch.float32) -> int:
    """Memory of one position: obs, action and reward in float32, two flags, one entry of the table."""
    return obs_dtype.itemsize * obs_dim + 4 * (action_dim + 1) + 2 + 4


class Replay:
    """Ring of T rows by N environments for each of M members.

    Everything that a draw reads is a tensor that keeps its address: `ring()` gives them once and for all.

    Args:
        num_members: M.
        num_envs: N, per member.
        capacity: transitions per member; T is the least number of rows that holds so many.
        obs_dim: O.
        action_dim: A.
        device: where the ring lives.
        obs_dtype: float32, or uint8 for images.
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
            raise ValueError(f"buffer_size must be below 2^31 transitions per member, got {capacity}.")
        self.num_envs = n
        self.rows = TensorDict(
            {
                "obs": torch.zeros(m, t, n, obs_dim, dtype=obs_dtype, device=device),
                "action": torch.zeros(m, t, n, action_dim, device=device),
                "reward": torch.zeros(m, t, n, device=device),
                "terminated": torch.zeros(m, t, n, dtype=torch.bool, device=device),
                "truncated": torch.zeros(m, t, n, dtype=torch.bool, device=device),
            },
            batch_size=[m, t, n],
            device=device,
        )
        self._columns = dict(self.rows.items())  # looking a name up in a TensorDict takes microseconds
        # Position R of the table takes the writes of rows that are no transition.
        self.table = torch.zeros(m, t * n + 1, dtype=torch.int32, device=device)  # [M, R + 1]
        self.row_count = torch.zeros(m, t, dtype=torch.int64, device=device)  # valid transitions in each row
        self.head = torch.zeros(m, dtype=torch.int64, device=device)  # [M], the row of the current obs
        self.tail = torch.zeros(m, dtype=torch.int64, device=device)  # [M], oldest entry of the table
        self.count = torch.zeros(m, dtype=torch.int64, device=device)  # [M], entries of the table
        self.is_dummy = torch.zeros(m, n, dtype=torch.bool, device=device)  # the current row follows a done
        self.added = torch.zeros((), dtype=torch.int64, device=device)  # rows so far; the head is row `added` of all
        self._positions = torch.arange(n, device=device, dtype=torch.int64)

    @property
    def host_head(self) -> int:
        """The row of the current obs.  Waits for the device."""
        return int(self.head[0])

    def begin_(self, obs: Tensor) -> None:
        """Start the stream at obs [M, N, O], or start it anew after an interruption.  Waits for the device.

        What was interrupted counts as truncated: its last transition keeps its true next_obs and no window crosses.
        """
        if bool((self.count > 0).any()):
            last = (self.host_head - 1) % self.num_rows
            self.rows["truncated"][:, last] = True
            self.is_dummy.fill_(True)
            zero = torch.zeros_like(self.rows["reward"][:, 0])
            self.add_(torch.zeros_like(self.rows["action"][:, 0]), zero, zero.bool(), zero.bool(), obs)
        self.rows["obs"][:, self.host_head] = obs

    def add_(self, action: Tensor, reward: Tensor, terminated: Tensor, truncated: Tensor, next_obs: Tensor) -> None:
        """Complete the current row and begin the next.  Runs on the device alone, so that a graph can hold it.

        Args:
            action: [M, N, A], taken at the current row's obs.
            reward: [M, N].
            terminated: [M, N] bool.
            truncated: [M, N] bool.
            next_obs: [M, N, O], which the next row holds.
        """
        r = self.num_rows * self.num_envs
        head = self.head[:1]  # [1]; all members are at the same row
        following = (head + 1) % self.num_rows
        # The next row's old transitions lose their obs: they are the oldest, so they leave at the tail.
        gone = self.row_count.index_select(1, following).squeeze(1)  # [M]
        self.tail.copy_((self.tail + gone) % r)
        self.count.sub_(gone)
        self.row_count.index_fill_(1, following, 0)

        current = {"action": action, "reward": reward, "terminated": terminated, "truncated": truncated}
        for name, value in current.items():
            self._columns[name].index_copy_(1, head, value.unsqueeze(1))
        self._columns["obs"].index_copy_(1, following, next_obs.unsqueeze(1))

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
        """The tensors that `draw` reads, each with members first and positions flat; views, never copies."""
        flat = {key: value.flatten(1, 2) for key, value in self.rows.items()}
        return {**flat, "table": self.table, "head": self.head, "tail": self.tail, "count": self.count}

    def nbytes(self) -> int:
        """Bytes of the ring and its table, all members."""
        tensors = [*self.rows.values(), self.table, self.row_count]
        return sum(t.numel() * t.element_size() for t in tensors)

    def span(self) -> tuple[int, int]:
        """The rows in the ring, [first, last) of all since the start; the last is the head.  Waits for the device."""
        last = int(self.added) + 1
        return max(0, last - self.num_rows), last

    def read(self, first: int, last: int) -> dict[str, Tensor]:
        """Copies [M, last - first, N, ...] of rows [first, last) of all since the start."""
        place = torch.arange(first, last, device=self.table.device) % self.num_rows
        return {f"rows.{name}": value.index_select(1, place) for name, value in self.rows.items()}

    def cursor(self) -> dict[str, Tensor]:
        """What goes with the rows; the table and its counts follow from both.  Waits for the device."""
        oldest = self.span()[0] % self.num_rows
        place = torch.arange(self.num_envs, device=self.table.device)
        entries = self.table.gather(1, (self.tail.unsqueeze(-1) + place) % (self.table.shape[1] - 1))  # [M, N]
        belongs = place < self.row_count[:, oldest].unsqueeze(-1)
        env = torch.where(belongs, entries.long() % self.num_envs, self.num_envs)
        oldest_valid = self.is_dummy.new_zeros(len(env), self.num_envs + 1).scatter_(1, env, True)
        names = ("added", "tail", "count", "is_dummy")
        return {**{name: getattr(self, name) for name in names}, "oldest_valid": oldest_valid[:, :-1]}

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, all members."""
        return sum(value.nbytes for value in self.rows.values()) // self.num_rows

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a continued run needs: rows in use, oldest first, and the cursor.  Waits for the device."""
        return {**self.read(*self.span()), **self.cursor()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ValueError: of other sizes, or its parts do not fit together.
        """
        self._check(state)
        device, n = self.table.device, self.num_envs
        added, length = int(state["added"]), state["rows.reward"].shape[1]
        place = torch.arange(added + 1 - length, added + 1) % self.num_rows  # [L], on the CPU as all that follows
        for name in self.rows.keys():  # noqa: SIM118, a TensorDict iterates over its members
            self.rows[name].index_copy_(1, place.to(device), state[f"rows.{name}"].to(device))
        valid = self._valid(state)  # [M, L, N]
        self.row_count.zero_().index_copy_(1, place.to(device), valid.sum(-1).to(device))
        positions = place.unsqueeze(-1) * n + torch.arange(n)  # [L, N]
        for m, (mine, tail) in enumerate(zip(valid, state["tail"].tolist(), strict=True)):
            entries = positions[mine].int()
            slots = (tail + torch.arange(len(entries))) % (self.table.shape[1] - 1)
            self.table[m, slots.to(device)] = entries.to(device)
        for name in ("added", "tail", "count", "is_dummy"):
            getattr(self, name).copy_(state[name])
        self.head.fill_(added % self.num_rows)

    def _valid(self, state: dict[str, Tensor]) -> Tensor:
        """Which rows of a state are transitions, [M, L, N]: those that follow no done, but for the head."""
        done = (state["rows.terminated"] | state["rows.truncated"]).cpu()
        valid = torch.cat([state["oldest_valid"].cpu().unsqueeze(1), ~done[:, :-1]], dim=1)
        valid[:, -1] = False
        return valid

    def _check(self, state: dict[str, Tensor]) -> None:
        """Raise ValueError where sizes differ or the parts of a state do not fit together."""
        mine = {**{f"rows.{name}": value for name, value in self.rows.items()}, **self.cursor()}
        if state.keys() != mine.keys() or any(not isinstance(value, Tensor) for value in state.values()):
            raise ValueError(f"the replay has parts {sorted(state)}, needs {sorted(mine)}.")
        added = int(state["added"]) if state["added"].shape == () else -1
        length = min(added + 1, self.num_rows)
        for name, value in mine.items():
            shape = [value.shape[0], length, *value.shape[2:]] if name.startswith("rows.") else list(value.shape)
            if list(state[name].shape) != shape or state[name].dtype != value.dtype:
                raise ValueError(f"the replay's {name} is {list(state[name].shape)}, needs {shape} ({value.dtype}).")
        count, tail = self._valid(state).sum((1, 2)), state["tail"].cpu()
        in_table = bool(((tail >= 0) & (tail < self.table.shape[1] - 1)).all())
        if not torch.equal(count, state["count"].cpu()) or not in_table:
            raise ValueError("the replay's counts do not fit its rows.")


def draw(ring: Ring, word: Tensor, num_envs: int, n_step: int, gamma: Tensor, with_window: bool = False) -> Batch:
    """Transitions of one member, uniform over all valid ones, with n-step windows.

    A window stops at an episode's end and at the write head; `discount` holds gamma to the number of rewards summed.

    Args:
        ring: one member's tensors of `Replay.ring`.
        word: [B], uniform 32-bit words.
        num_envs: N.
        n_step: rewards per window.
        gamma: [], discount per step.
        with_window: give the states between the first and the last of the windows, too.
    """
    num_positions = ring["reward"].shape[0]
    num_rows = num_positions // num_envs
    slot = ring["tail"] + philox.index(word, ring["count"])  # [B]
    slot = torch.where(slot >= num_positions, slot - num_positions, slot)
    start = ring["table"][slot].long()
    row, env = start // num_envs, start % num_envs
    room = (ring["head"] - row) % num_rows  # complete rows from here to the head, at least 1

    position, live = start, torch.ones_like(start, dtype=torch.bool)
    reward = torch.zeros_like(ring["reward"][start])
    discount = torch.ones_like(reward)
    terminated = torch.zeros_like(live)
    next_position = start
    between = []
    for k in range(n_step):
        if with_window and k > 0:
            between.append(WindowStates(ring["obs"][position], torch.where(live, discount, 0.0)))
        reward = reward + torch.where(live, discount * ring["reward"][position], 0.0)
        discount = torch.where(live, discount * gamma, discount)
        end = ring["terminated"][position]
        terminated = terminated | (live & end)
        after = (row + (k + 1)) % num_rows * num_envs + env
        next_position = torch.where(live, after, next_position)
        live = live & ~end & ~ring["truncated"][position] & (k + 1 < room)
        position = after
    discount = torch.where(terminated, 0.0, discount)
    states = WindowStates(*(torch.stack(x) for x in zip(*between, strict=True))) if between else None
    return Batch(ring["obs"][start], ring["action"][start], reward, discount, ring["obs"][next_position], states)
