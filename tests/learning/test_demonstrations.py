"""Demonstrations in a ring of their own and in the replay: every transition as it was, no window across an end."""

import numpy as np
import pytest
import torch

from fastsac.config.shares import PartOfAgent
from fastsac.learning.demonstrations import Demonstrations, make_stream
from fastsac.learning.draw import draw, draw_batch
from fastsac.learning.learner import make_parts
from fastsac.learning.replay import Replay
from tests.support.demonstrations import FINAL, transitions
from tests.support.learners import BASE, CPU, SPEC, A, O, fill, make_filled

GAMMA = torch.tensor(0.5)


def alone(ring):
    """Of the first member."""
    rows = type(ring.rows)(*(column[0] for column in ring.rows))
    return type(ring)(rows, *(tensor[0] for tensor in ring[1:]))


def all_of(ring, num_envs, n_step=1):
    """Each transition of a ring once, by the number of its first obs: reward, discount, next_obs, action."""
    count = int(ring.num_entries)
    word = (torch.arange(count) * 2**32 + 2**31) // count  # the middle of each share of the words
    batch = draw(ring, word, num_envs, n_step, GAMMA)
    columns = (batch.obs[:, 0], batch.reward, batch.discount, batch.next_obs[:, 0], batch.action[:, 0])
    rows = {row[0]: row[1:] for row in zip(*(column.tolist() for column in columns), strict=True)}
    assert len(rows) == count
    return rows


def places(ends, with_next=True, **changes):
    """Demonstrations as a ring of their own, and as a replay of several environments has them."""
    shown = Demonstrations(BASE.replace(**changes), transitions(ends, with_next), CPU)
    yield alone(shown.ring()), 1
    for num_envs in (1, 2, 4, 7):
        config = BASE.replace(num_envs=num_envs, **changes)
        shown = Demonstrations(config, transitions(ends, with_next), CPU)
        replay = Replay(config.num_members, num_envs, 100, O, A, CPU)
        shown.fill_(replay)
        replay.reset_(torch.full((config.num_members, num_envs, O), -1.0))
        yield alone(replay.ring()), num_envs


def expected(k, reward, discount, next_obs):
    return k, [pytest.approx(reward), discount, pytest.approx(next_obs), pytest.approx(k / 100)]


def test_every_transition_keeps_its_true_successor():
    for ring, num_envs in places(".T.C|...."):
        found = all_of(ring, num_envs)
        assert sorted(found) == [*range(9)]
        for k in (0, 2, 5, 6, 7):
            assert expected(k, 0.5**k, 0.5, k + 1) == (k, [*found[k]])
        assert found[1][:2] == (0.5, 0.0), "no bootstrap after a termination"
        for k in (3, 4):
            assert expected(k, 0.5**k, 0.5, k + FINAL) == (k, [*found[k]]), "cut off: its own final observation"
        assert expected(8, 0.5**8, 0.5, 9.0) == (8, [*found[8]]), "the file's last row"


def test_without_next_observations_what_is_not_told_is_left_out():
    for ring, num_envs in places(".T.C..CC..", with_next=False):
        found = all_of(ring, num_envs)
        assert sorted(found) == [0, 1, 2, 4, 5, 8]
        assert found[1][1] == 0.0
        assert [found[k][2] for k in (0, 2, 4, 5, 8)] == [1, 3, 5, 6, 9]


def test_windows_stop_at_ends():
    """By hand: rewards 2^-k, gamma 0.5, three of them where none ends before."""
    for ring, _ in [*places(".T.C....")][:2]:
        found = all_of(ring, 1, n_step=3)
        assert found[0][:2] == pytest.approx((1 + 0.25, 0))
        assert found[2][:3] == pytest.approx((2**-2 + 2**-4, 0.25, 3 + FINAL))
        assert found[3][:3] == pytest.approx((2**-3, 0.5, 3 + FINAL))
        assert found[4][:3] == pytest.approx((2**-4 + 2**-6 + 2**-8, 0.125, 7))
        assert found[6][:3] == pytest.approx((2**-6 + 2**-8, 0.25, 8))


def test_what_is_put_into_a_replay_side_by_side_is_cut_where_environments_meet_and_nowhere_else():
    for ring, num_envs in [*places("........")][1:]:
        found = all_of(ring, num_envs, n_step=2)
        length = -(-8 // num_envs)
        for k in range(8):
            is_cut = k % length == length - 1 or k == 7
            assert found[k][2] == k + (1 if is_cut else 2), (k, num_envs)


def test_time_limits_are_terminations_where_the_settings_say_so():
    for with_next in (True, False):
        for ring, num_envs in places("..C..", with_next, bootstrap_time_limits=False):
            found = all_of(ring, num_envs)
            assert found[2][1] == 0.0
            assert [found[k][1] for k in (0, 1, 3)] == [0.5] * 3
    for ring, num_envs in places("..|..", bootstrap_time_limits=False):
        assert all_of(ring, num_envs)[2][1] == 0.5, "a seam is no time limit"


def test_members_share_the_memory_and_clip_rewards_each_by_itself():
    shown = Demonstrations(BASE.replace(seeds=3), transitions("...."), CPU)
    rows = shown.ring().rows
    assert all(column.shape[0] == 3 and column.stride(0) == 0 for column in rows)
    shown = Demonstrations(BASE.replace(sweep=("reward_clip=0,0.25",)), transitions("...."), CPU)
    rewards = shown.ring().rows.reward
    assert rewards[0, :4].tolist() == [1, 0.5, 0.25, 0.125]
    assert rewards[1, :4].tolist() == [0.25, 0.25, 0.25, 0.125]


def test_a_replay_that_began_with_them_overwrites_them_first_and_is_saved_as_any():
    config = BASE.replace(num_envs=2)
    replay, other = (Replay(1, 2, 20, O, A, CPU) for _ in range(2))
    Demonstrations(config, transitions("..T....C..|..."), CPU).fill_(replay)
    apart = torch.tensor([0.0, 0.25])[:, None]
    replay.reset_(torch.full((1, 2, O), -1.0) + apart)
    zero = torch.zeros(1, 2)
    counts = []
    for step in range(14):
        assert int(replay.row_count.sum()) == int(replay.count)
        other.load_state_dict(replay.state_dict())
        assert all_of(alone(other.ring()), 2) == all_of(alone(replay.ring()), 2)
        counts.append(sum(k >= 0 for k in all_of(alone(replay.ring()), 2)))
        next_obs = torch.full((1, 2, O), -2.0 - step) + apart
        replay.add_(torch.zeros(1, 2, A), zero, zero.bool(), zero.bool(), next_obs)
    assert counts[0] == 14
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_a_share_of_every_batch_is_drawn_from_them_by_numbers_of_the_same_stream():
    parts = make_filled(prefill="x", prefill_share=0.25, n_step=2)
    config, buffers = parts.learner.config, parts.learner.buffers
    assert "demonstrations" not in buffers, "a learner without them is as it was"
    shown = Demonstrations(config, transitions("." * 50), CPU).ring()
    seed, counts = buffers["seed"][0], np.zeros(50)
    plain = config.replace(prefill_share=0.0, prefill=None, batch_size=8)
    for counter in map(torch.tensor, range(400)):
        batch = draw_batch(config, alone(parts.replay.ring()), GAMMA, seed, counter, alone(shown))
        same = draw_batch(plain, alone(parts.replay.ring()), GAMMA, seed, counter)
        assert torch.equal(batch.obs[:6], same.obs[:6])
        assert batch.window is not None
        assert batch.window.obs.shape == (1, 8, O)
        counts += np.bincount(batch.obs[6:, 0].int(), minlength=50)
    assert counts.sum() == 800
    assert abs(counts - 16).max() < 16, "uniform: 16 each, with deviation 4"


def learn(mode="eager", share=0.5, **changes):
    """A learner after six updates, with random rows in its replay and demonstrations beside it."""
    config = BASE.replace(prefill="x", prefill_share=share, **changes)
    shown = Demonstrations(config, transitions("...T...C.|..", obs_dim=O, action_dim=A), CPU)
    parts = make_parts(config, SPEC, CPU, mode, shown.ring() if share else None)
    shown.feed_(parts.normalizer, parts.return_normalizer)
    fill(parts)
    parts.learner.warm_up()
    parts.learner.launch([6] * config.num_members)
    return parts.learner


def test_a_learner_learns_from_them_as_each_member_does_alone():
    many, one = learn(seeds=2), learn(seed=6)
    critics = [learner.buffers["state"]["params"]["critic"] for learner in (many, one, learn(seed=6, share=0.0))]
    torch.testing.assert_close(critics[0][1], critics[1][0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(critics[1], critics[2], rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"seeds": 2, "n_step": 3, "obs_norm": True, "reward_norm": True}], ids=str)
def test_compiled_agrees_with_eager(changes):
    for mine, other in zip(*(learn(mode, **changes).read_metrics() for mode in ("eager", "compiled")), strict=True):
        assert mine == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_recorded_launches_agree_with_eager(recorder):
    for mine, other in zip(*(learn(mode).read_metrics() for mode in ("eager", "captured")), strict=True):
        assert mine == pytest.approx(other, rel=1e-4)
    assert recorder.replayed > 0


def test_normalisers_take_each_of_them_in_once():
    config = BASE.replace(obs_norm=True, reward_norm=True, gamma=0.5, seeds=2)
    shown = Demonstrations(config, transitions("..T.C|."), CPU)
    parts = make_parts(config, SPEC, CPU, "eager")
    shown.feed_(parts.normalizer, parts.return_normalizer)
    obs = np.arange(7.0)
    assert parts.normalizer.count.flatten().tolist() == [7, 7]
    torch.testing.assert_close(parts.normalizer.mean, torch.full((2, O), float(obs.mean())))
    torch.testing.assert_close(parts.normalizer.rstd, torch.full((2, O), float(1 / obs.std())))
    r = 0.5 ** np.arange(7.0)
    returns = [r[0], r[1] + r[0] / 2, r[2] + r[1] / 2 + r[0] / 4, r[3], r[4] + r[3] / 2, r[5], r[6]]
    assert parts.return_normalizer is not None
    assert parts.return_normalizer.count.tolist() == [7, 7]
    expected = torch.full((2,), float(np.mean(returns)), dtype=torch.float64)
    torch.testing.assert_close(parts.return_normalizer.running_mean, expected)
    assert parts.return_normalizer.max_size.tolist() == [max(returns)] * 2
    assert not parts.return_normalizer.returns.any(), "episodes of the run begin anew"


def test_what_does_not_fit_is_refused():
    config = BASE.replace(buffer_size=40, learning_starts=8)
    Demonstrations(config, transitions("." * 39), CPU).check_fits()
    message = r"^buffer_size must hold the 45 transitions .* got 40\. Give --buffer-size 48 or more\."
    with pytest.raises(ValueError, match=message):
        Demonstrations(config, transitions("." * 45), CPU).check_fits()
    with pytest.raises(ValueError, match="no transition whose next observation is known"):
        Demonstrations(config, transitions("CC.", with_next=False), CPU)


def test_a_stream_by_hand():
    stream = make_stream(transitions("T.C", with_next=False))
    assert stream.obs[:, 0].tolist() == [0, 0, 1, 2]
    assert stream.is_transition.tolist() == [True, False, True, False]
    assert stream.terminated.tolist() == [True, False, False, False]
    assert stream.truncated.tolist() == [False, False, True, True]


def test_processes_begin_with_parts_of_what_one_begins_with():
    config, shown = BASE.replace(num_envs=6, batch_size=6, buffer_size=600), transitions("..T....C..|...")
    rows = []
    for each in (config, *(PartOfAgent.of(config, rank, 3) for rank in range(3))):
        replay = Replay(1, each.num_envs, 100, O, A, CPU)
        Demonstrations(each, shown, CPU).fill_(replay)
        rows.append(replay.state_dict())
    whole, *parts = rows
    for name in ("rows.obs", "rows.action", "rows.reward", "rows.terminated", "rows.truncated"):
        assert torch.equal(torch.cat([part[name] for part in parts], 2), whole[name])
    assert sum(int(part["count"]) for part in parts) == int(whole["count"]) == 14
