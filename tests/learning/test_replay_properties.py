"""The replay against a plain list of rows, over random sequences of everything that can happen to it.

Rewards are small whole numbers and gamma is 1/2, so that sums in float32 are exact and equality is meant.
"""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

from fastsac.learning.draw import draw
from fastsac.learning.replay import Replay

GAMMA = 0.5
CPU = torch.device("cpu")


class Model:
    """What the replay should hold: every row there ever was, per member and environment.

    A row is a dictionary; `obs` is a number of its own, and so is the reward within a few thousand rows.
    """

    def __init__(self, num_members, num_envs, capacity, n_step):
        self.m, self.n, self.capacity, self.n_step = num_members, num_envs, capacity, n_step
        self.rows = [[[] for _ in range(num_envs)] for _ in range(num_members)]
        self.obs = self.is_dummy = None
        self.ids = 0
        self.replay = self.make()

    def make(self):
        return Replay(self.m, self.n, self.capacity, 1, 1, CPU)

    def fresh(self):
        """[M, N, 1], numbers that were never used."""
        first, self.ids = self.ids, self.ids + self.m * self.n
        return torch.arange(first, self.ids, dtype=torch.float32).view(self.m, self.n, 1)

    # What can happen

    def begin(self):
        obs = self.fresh()
        if any(self.valid(m) for m in range(self.m)):  # goes on after an interruption: a truncation and a dummy
            for _, row in self.last_rows():
                row["truncated"] = True
            self.append(torch.zeros_like(obs), torch.zeros(self.m, self.n), None, None, obs, dummy=True)
            self.is_dummy = torch.zeros(self.m, self.n, dtype=torch.bool)
        if self.is_dummy is None:
            self.is_dummy = torch.zeros(self.m, self.n, dtype=torch.bool)
        self.obs = obs
        self.replay.reset_(obs)

    def step(self, terminated, truncated):
        obs, action = self.fresh(), -self.obs
        reward = (self.obs.squeeze(-1) * 7) % 1021
        self.append(action, reward, terminated, truncated, obs)
        self.replay.add_(action, reward, terminated, truncated, obs)
        self.obs, self.is_dummy = obs, terminated | truncated

    def save_and_load(self):
        other = self.make()
        other.load_state_dict({k: v.clone() for k, v in self.replay.state_dict().items()})
        self.replay = other

    # The rows

    def last_rows(self):
        return [((m, n), self.rows[m][n][-1]) for m in range(self.m) for n in range(self.n) if self.rows[m][n]]

    def append(self, action, reward, terminated, truncated, next_obs, dummy=None):
        for m in range(self.m):
            for n in range(self.n):
                self.rows[m][n].append(
                    {
                        "obs": self.obs[m, n].item(), "action": action[m, n].item(), "reward": reward[m, n].item(),
                        "terminated": terminated is not None and bool(terminated[m, n]),
                        "truncated": truncated is not None and bool(truncated[m, n]),
                        "next_obs": next_obs[m, n].item(), "dummy": bool(dummy or self.is_dummy[m, n]),
                    }
                )  # fmt: skip

    def valid(self, member):
        """(environment, position in its list) of all transitions that the ring still holds."""
        kept = -(-self.capacity // self.n)
        return [
            (n, i)
            for n, rows in enumerate(self.rows[member])
            for i in range(max(0, len(rows) - kept), len(rows))
            if not rows[i]["dummy"]
        ]

    def window(self, rows, i):
        """What a draw of rows[i] should give: obs, action, reward, discount, next_obs, [(discount, obs) between]."""
        total, discount, between, first = 0.0, 1.0, [], rows[i]
        for k in range(self.n_step):
            row = rows[i + k]
            if k > 0:
                between.append((discount, row["obs"]))
            total += discount * row["reward"]
            discount *= GAMMA
            if row["terminated"] or row["truncated"] or i + k + 1 == len(rows):
                break
        between += [(0.0, None)] * (self.n_step - 1 - len(between))
        return first["obs"], first["action"], total, 0.0 if row["terminated"] else discount, row["next_obs"], between

    # The comparison

    def check(self):
        for m in range(self.m):
            expected = {}
            for n, i in self.valid(m):
                window = self.window(self.rows[m][n], i)
                expected[window[0]] = window
            ring = pytree.tree_map(lambda t: t[m], self.replay.ring())  # noqa: B023
            count = int(ring.num_entries)
            assert count == len(expected)
            if count:
                self.check_draws(ring, count, expected)

    def check_draws(self, ring, count, expected):
        """Each valid transition is drawn by the least and by the greatest word of its share, and nothing else is."""
        bounds = [-(-(i << 32) // count) for i in range(count + 1)]
        words = torch.tensor([*bounds[:-1], *(bound - 1 for bound in bounds[1:])], dtype=torch.int64)
        batch = draw(ring, words, self.n, self.n_step, torch.tensor(GAMMA), with_window=True)
        drawn = batch.obs.squeeze(-1).tolist()
        assert sorted(drawn[:count]) == sorted(expected)
        assert drawn[count:] == drawn[:count]
        for j, key in enumerate(drawn):
            obs, action, reward, discount, next_obs, between = expected[key]
            got = [x[j].item() for x in batch[:5]]
            assert got == [obs, action, reward, discount, next_obs]
            for k, (weight, state) in enumerate(between):
                assert batch.window.discount[k, j].item() == weight
                assert weight == 0 or batch.window.obs[k, j].item() == state


@st.composite
def histories(draw_):
    """Sizes, and what happens: a number of bits per vector step, or the name of something else."""
    m, n, n_step = draw_(st.integers(1, 2)), draw_(st.integers(1, 3)), draw_(st.integers(1, 4))
    capacity = draw_(st.integers(n * (n_step + 1), n * (n_step + 8)))
    # Most environments go on, so that there are windows to speak of.
    flags = st.lists(st.sampled_from([(0, 0)] * 5 + [(1, 0), (0, 1), (1, 1)]), min_size=m * n, max_size=m * n)
    steps = st.lists(flags, min_size=1, max_size=8)
    happening = st.one_of(steps, steps, steps, st.sampled_from(["begin", "save and load"]))
    return m, n, capacity, n_step, draw_(st.lists(happening, min_size=1, max_size=12))


@settings(
    max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(histories())
def test_the_replay_equals_a_list_of_rows(history):
    m, n, capacity, n_step, events = history
    model = Model(m, n, capacity, n_step)
    model.begin()
    assert not any(model.valid(member) for member in range(m))
    for event in events:
        if event == "begin":
            model.begin()
        elif event == "save and load":
            model.save_and_load()
        else:
            for flags in event:
                terminated, truncated = torch.tensor(flags, dtype=torch.bool).view(m, n, 2).unbind(-1)
                model.step(terminated, truncated)
        model.check()
