"""The ring against a plain Python model: exactly the valid transitions are drawn, each with its own window."""

import weakref
from typing import TypedDict

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac.algorithms.batch import Batch
from fastsac.learning import replay as replay_module
from fastsac.learning.draw import draw
from fastsac.learning.replay import Replay
from tests.support.rollouts import arrays
from tests.support.scripted_env import ACTION, EPISODE, SEED, STEP
from tests.support.scripted_env import make as make_scripted

M, N, GAMMA = 2, 3, 0.9
SEEDS = [0, 1, 2, 101, 103, 110]  # member by member


class Row(TypedDict):
    """What the replay should hold of one environment's vector step."""

    obs: Tensor  # [O]
    action: Tensor  # [A]
    reward: float
    terminated: bool
    truncated: bool
    next_obs: Tensor  # [O]
    dummy: bool


class Stream:
    """Drives the scripted environment into a replay and keeps every transition in a plain list."""

    def __init__(self, capacity):
        self.env = make_scripted("3t,5c,2b,1t", SEEDS, 0, {}, None)
        self.replay = Replay(M, N, capacity, self.env.spec.obs_dim, self.env.spec.action_dim, torch.device("cpu"))
        self.generator = torch.Generator().manual_seed(0)
        # Per environment, all rows since the last restart.
        self.rows: list[list[list[Row]]] = [[[] for _ in range(N)] for _ in range(M)]
        self.begin()

    def begin(self):
        self.obs = torch.from_numpy(self.env.reset()).view(M, N, -1)
        self.replay.reset_(self.obs)
        self.is_dummy = torch.zeros(M, N, dtype=torch.bool)
        self.first_row = self.replay.host_head

    def step(self):
        action = torch.rand(M, N, 2, generator=self.generator) * 2 - 1
        self.env.send(action.view(M * N, -1).numpy())
        step = arrays(self.env.recv())
        obs, reward, terminated, truncated = (torch.from_numpy(x).view(M, N, *x.shape[1:]) for x in step)
        for m in range(M):
            for n in range(N):
                row: Row = {
                    "obs": self.obs[m, n], "action": action[m, n], "reward": reward[m, n].item(),
                    "terminated": bool(terminated[m, n]), "truncated": bool(truncated[m, n]),
                    "next_obs": obs[m, n], "dummy": bool(self.is_dummy[m, n]),
                }  # fmt: skip
                self.rows[m][n].append(row)
        self.replay.add_(action, reward, terminated, truncated, obs)
        self.obs, self.is_dummy = obs, terminated | truncated

    def expected(self, member, n_step):
        """{reward of the first row: (row, window's reward, discount, next_obs, between)} of the ring's transitions.

        `between` is the list of (gamma^k, obs) of the states after the first.
        """
        found = {}
        for rows in self.rows[member]:
            first = max(0, len(rows) - (self.replay.num_rows - 1))
            for i in range(first, len(rows)):
                if rows[i]["dummy"]:
                    continue
                total, discount, j = 0.0, 1.0, i
                between = []
                while True:
                    between += [(discount, rows[j]["obs"])] if j > i else []
                    total += discount * rows[j]["reward"]
                    discount *= GAMMA
                    done = rows[j]["terminated"] or rows[j]["truncated"]
                    if done or j - i + 1 == n_step or j + 1 == len(rows):
                        break
                    j += 1
                discount = 0.0 if rows[j]["terminated"] else discount
                found[rows[i]["reward"]] = (rows[i], total, discount, rows[j]["next_obs"], between)
        return found


def draw_all(replay, member, n_step, with_window=False):
    """Every entry of the table once, through `draw`."""
    ring = pytree.tree_map(lambda t: t[member], replay.ring())
    count = int(ring.num_entries)
    word = torch.tensor([-(-(i << 32) // count) for i in range(count)], dtype=torch.int64)
    return draw(ring, word, N, n_step, torch.tensor(GAMMA), with_window)


def row_of(batch, i):
    return Batch(*(x[i] for x in batch[:5]))


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("capacity", [24, 25, 1000])
def test_draws_exactly_the_valid_transitions(n_step, capacity):
    stream = Stream(capacity)
    for _ in range(40):
        stream.step()
        for member in range(M):
            batch = draw_all(stream.replay, member, n_step, with_window=True)
            assert draw_all(stream.replay, member, n_step).window is None
            one_step = draw_all(stream.replay, member, 1)
            expected = stream.expected(member, n_step)
            drawn = one_step.reward.tolist()
            assert sorted(drawn) == sorted(expected)  # each once, and no other
            for i, key in enumerate(drawn):
                row, total, discount, next_obs, between = expected[key]
                got = row_of(batch, i)
                assert torch.equal(got.obs, row["obs"])
                assert torch.equal(got.action, row["action"])
                assert got.reward.item() == pytest.approx(total, rel=1e-6)
                assert got.discount.item() == pytest.approx(discount, rel=1e-6)
                assert torch.equal(got.next_obs, next_obs)
                for k in range(n_step - 1):
                    weight, obs = between[k] if k < len(between) else (0.0, batch.window.obs[k, i])
                    assert batch.window.discount[k, i].item() == pytest.approx(weight, rel=1e-6)
                    assert torch.equal(batch.window.obs[k, i], obs)
                assert n_step > 1 or batch.window is None


def test_no_transition_mixes_episodes():
    """The scripted observations name their seed, episode and step: check them without the model."""
    stream = Stream(30)
    for _ in range(60):
        stream.step()
    for member in range(M):
        b = draw_all(stream.replay, member, 1)
        assert len(b.reward) > 0
        assert torch.equal(b.obs[:, SEED], b.next_obs[:, SEED])
        assert set(b.obs[:, SEED].tolist()) == {float(s) for s in SEEDS[member * N : (member + 1) * N]}
        assert torch.equal(b.obs[:, EPISODE], b.next_obs[:, EPISODE])
        assert torch.equal(b.obs[:, STEP] + 1, b.next_obs[:, STEP])
        assert torch.equal(b.next_obs[:, ACTION:], b.action)


def test_draws_are_uniform():
    stream = Stream(60)
    for _ in range(50):
        stream.step()
    ring = pytree.tree_map(lambda t: t[0], stream.replay.ring())
    count = int(ring.num_entries)
    word = torch.randint(0, 2**32, (200 * count,), generator=torch.Generator().manual_seed(1))
    rewards = draw(ring, word, N, 1, torch.tensor(GAMMA)).reward
    _, times = rewards.unique(return_counts=True)
    assert len(times) == count
    chi2 = ((times - 200.0).square() / 200).sum().item()
    assert chi2 < count + 4 * (2 * count) ** 0.5


def test_restart_keeps_the_true_next_obs_and_stops_windows():
    stream = Stream(1000)
    for _ in range(7):
        stream.step()
    last = [[stream.rows[m][n][-1] for n in range(N)] for m in range(M)]
    before = {m: stream.expected(m, 1) for m in range(M)}
    stream.begin()
    for _ in range(3):
        stream.step()
    for m in range(M):
        batch, one = draw_all(stream.replay, m, 3), draw_all(stream.replay, m, 1)
        drawn = one.reward.tolist()
        assert set(before[m]) <= set(drawn)
        for n in range(N):
            row = last[m][n]
            if not row["dummy"]:
                got = row_of(batch, drawn.index(row["reward"]))
                assert torch.equal(got.next_obs, row["next_obs"])
                assert got.discount.item() == pytest.approx(0.0 if row["terminated"] else GAMMA)
        assert len(drawn) == len(before[m]) + 3 * N - sum(r["dummy"] for n in range(N) for r in stream.rows[m][n][7:])


@pytest.mark.parametrize("steps", [5, 9, 40])
def test_state_dict_round_trip(steps):
    stream = Stream(27)
    for _ in range(steps):
        stream.step()
    other = Replay(M, N, 27, 5, 2, torch.device("cpu"))
    other.load_state_dict({k: v.clone() for k, v in stream.replay.state_dict().items()})
    for m in range(M):
        for a, b in zip(draw_all(stream.replay, m, 2)[:5], draw_all(other, m, 2)[:5], strict=True):
            assert torch.equal(a, b)
    assert other.host_head == stream.replay.host_head


def test_state_dict_holds_a_wrapped_ring_whatever_its_last_row_is():
    env = make_scripted("3t", [0], 0, {}, None)
    replay = Replay(1, 1, 9, env.spec.obs_dim, 2, torch.device("cpu"))
    replay.reset_(torch.from_numpy(env.reset()).view(1, 1, -1))
    for _ in range(60):
        env.send(torch.zeros(1, 2).numpy())
        obs, reward, terminated, truncated = (torch.from_numpy(x).view(1, 1, *x.shape[1:]) for x in arrays(env.recv()))
        replay.add_(torch.zeros(1, 1, 2), reward, terminated, truncated, obs)
        other = Replay(1, 1, 9, env.spec.obs_dim, 2, torch.device("cpu"))
        other.load_state_dict({k: v.clone() for k, v in replay.state_dict().items()})
        # Of the table, what is outside of tail and count is never read.
        slots = (int(replay.tail) + torch.arange(int(replay.count))) % (replay.table.shape[1] - 1)
        rings = (ring._replace(table=ring.table[:, slots]) for ring in (other.ring(), replay.ring()))
        for mine, value in zip(*map(pytree.tree_leaves, rings), strict=True):
            assert torch.equal(mine, value)
        assert torch.equal(other.row_count, replay.row_count)
        assert torch.equal(other.is_dummy, replay.is_dummy)


@pytest.mark.parametrize("steps", [5, 40])
def test_parts_of_a_state_that_do_not_fit_together_are_refused(steps):
    stream = Stream(27)
    for _ in range(steps):
        stream.step()
    state = stream.replay.state_dict()
    damages = {
        "added": state["added"] + 100 * (steps < 27) - 50, "count": state["count"] - 1, "tail": state["tail"] - 1000,
        "rows.obs": state["rows.obs"].double(), "rows.reward": state["rows.reward"][:, 1:], "rows.action": None,
        "oldest_valid": state["oldest_valid"][:1], "is_dummy": None,
    }  # fmt: skip
    for name, value in damages.items():
        with pytest.raises(ValueError, match="the replay"):
            stream.replay.load_state_dict({**state, name: value})


@pytest.mark.parametrize("steps", [5, 40])
def test_rows_come_a_few_at_a_time(steps, monkeypatch):
    """Each piece once, none held while the next is made, rows that come again as they are the second time."""
    monkeypatch.setattr(replay_module, "AT_ONCE", 2 * N)
    stream = Stream(27)
    for _ in range(steps):
        stream.step()
    whole = stream.replay
    held: list[weakref.ref[Tensor]] = []
    first, last = whole.span()

    def pieces():
        for begin in range(first, last, 3):
            assert all(piece() is None for piece in held)
            yield rows_from(max(first, begin - 1), min(begin + 3, last), spoilt=begin + 3 < last)

    def rows_from(begin, end, spoilt):
        rows = whole.read(begin, end)
        rows["rows.reward"][:, -1] += spoilt  # which comes again
        held.extend(weakref.ref(rows[name]) for name in rows)
        return begin, rows

    other = Replay(M, N, 27, 5, 2, torch.device("cpu"))
    other.load(whole.cursor(), pieces())
    assert len(held) == 5 * -(-(last - first) // 3)
    for name, value in whole.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    for m in range(M):
        assert torch.equal(draw_all(whole, m, 2).reward, draw_all(other, m, 2).reward)


@pytest.mark.parametrize(
    ("spans", "line"),
    [
        ([(0, 4)], "rows end at 4, need to at 6"),
        ([(0, 2), (3, 6)], "has rows 3 to 6, needs 2 to 6"),
        ([(1, 6)], "has rows 1 to 6, needs 0 to 6"),
        ([(0, 6), (4, 6)], "has rows 4 to 6, needs 6 to 6"),
    ],
)
def test_rows_that_do_not_follow_each_other_are_refused(spans, line):
    stream = Stream(27)
    for _ in range(5):
        stream.step()
    pieces = [(begin, stream.replay.read(begin, end)) for begin, end in spans]
    with pytest.raises(ValueError, match=f"^the replay.* {line}"):
        Replay(M, N, 27, 5, 2, torch.device("cpu")).load(stream.replay.cursor(), pieces)


def test_addresses_never_change():
    stream = Stream(24)
    before = [leaf.data_ptr() for leaf in pytree.tree_leaves(stream.replay.ring())]
    for _ in range(30):
        stream.step()
    assert before == [leaf.data_ptr() for leaf in pytree.tree_leaves(stream.replay.ring())]


def test_bytes_are_counted():
    replay = Replay(2, 4, 400, 7, 3, torch.device("cpu"))
    assert replay.num_rows == 101
    position = 4 * 7 + 4 * 3 + 4 + 2 + 4  # obs, action, reward, two flags, an entry of the table
    assert replay.nbytes() == 2 * (101 * 4 * position + 4 + 101 * 8)  # one more entry, counts of the rows
