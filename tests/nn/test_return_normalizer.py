"""Scaling of rewards beside NumPy."""

import numpy as np
import pytest
import torch

from fastsac.nn.return_normalizer import ReturnNormalizer
from tests.support.ranks import part_of, reduction_of

M, N, T, LARGEST = 2, 3, 50, 5.0
CPU = torch.device("cpu")
GAMMA = torch.tensor([0.9, 0.5])


def make_stream(seed=0):
    """Rewards, ends and valid steps of [T, M, N]; a step after an end is none."""
    rng = np.random.default_rng(seed)
    reward, done = rng.normal(0.3, 1, (T, M, N)), rng.random((T, M, N)) < 0.1
    valid = np.ones_like(done)
    for t in range(1, T):
        valid[t] = ~(done[t - 1] & valid[t - 1])
    return reward * valid, done & valid, valid


def feed(normalizer, stream):
    for reward, done, valid in zip(*stream, strict=True):
        normalizer.update_(torch.from_numpy(reward), torch.from_numpy(done), torch.from_numpy(valid), GAMMA)


def returns_of(stream, member):
    """Every discounted return of a member, by the textbook."""
    found = []
    for env in range(N):
        g = 0.0
        for reward, done, valid in zip(*(array[:, member, env] for array in stream), strict=True):
            if valid:
                g = float(GAMMA[member]) * g + reward
                found.append(g)
                g = 0.0 if done else g
    return np.array(found)


def test_variance_and_largest_return_are_numpys():
    stream = make_stream()
    normalizer = ReturnNormalizer(M, N, LARGEST, CPU)
    feed(normalizer, stream)
    for member in range(M):
        returns = returns_of(stream, member)
        assert int(normalizer.count[member]) == len(returns)
        assert normalizer.running_sum2[member].item() / len(returns) == pytest.approx(returns.var(), rel=1e-6)
        assert normalizer.max_size[member].item() == pytest.approx(np.abs(returns).max(), rel=1e-6)
        expected = 1 / max(np.sqrt(returns.var() + 1e-8), np.abs(returns).max() / LARGEST)
        assert normalizer.scale[member].item() == pytest.approx(expected, rel=1e-6)


def test_by_hand():
    """One environment, gamma 0.5: returns 2, 2, then an end, then -1; variance 2, largest 2."""
    normalizer = ReturnNormalizer(1, 1, 1.0, CPU)
    assert normalizer.scale.item() == 1
    for reward, done in ((2.0, False), (1.0, True), (-1.0, False)):
        now = torch.tensor([[reward]])
        normalizer.update_(now, torch.tensor([[done]]), now.abs() < 9, torch.tensor([0.5]))
    assert (normalizer.running_sum2 / 3).item() == pytest.approx(2.0)
    assert normalizer.scale.item() == pytest.approx(1 / 2.0)  # the largest return is 1 then
    assert normalizer.returns.item() == -1


def test_steps_that_are_none_change_nothing():
    normalizer = ReturnNormalizer(1, 2, LARGEST, CPU)
    one = torch.ones(1, 2)
    normalizer.update_(one, one < 0, one > 0, torch.tensor([0.9]))
    before = [value.clone() for value in normalizer.state_dict().values()]
    normalizer.update_(7 * one, one < 0, one < 0, torch.tensor([0.9]))
    assert all(map(torch.equal, before, normalizer.state_dict().values()))


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
def test_scaled_rewards_do_not_depend_on_the_size_of_rewards(size):
    reward, done, valid = make_stream()
    plain, scaled = (ReturnNormalizer(M, N, LARGEST, CPU) for _ in range(2))
    feed(plain, (reward, done, valid))
    feed(scaled, (size * reward, done, valid))
    torch.testing.assert_close(size * scaled.scale, plain.scale)


def take_in(rank, size, stream):
    """The statistics after a stream [T, M, 2 * N], of a process with a part of the environments."""
    mine = [part_of(rank, size, torch.from_numpy(array), 2) for array in stream]
    normalizer = ReturnNormalizer(M, 2 * N // size, LARGEST, CPU)
    for reward, done, valid in zip(*mine, strict=True):
        normalizer.update_(reward, done, valid, GAMMA, reduction_of(size))
    return normalizer.state_dict()


def test_processes_with_some_environments_each_have_the_statistics_of_all(ranks):
    stream = [np.concatenate(pair, -1) for pair in zip(make_stream(0), make_stream(1), strict=True)]
    stream[0][5, :, 1] *= 20  # the largest return is one of the first process
    whole = take_in(0, 1, stream)
    first, second = ranks.call(take_in, 2, stream)
    torch.testing.assert_close(torch.cat([first.pop("returns"), second.pop("returns")], -1), whole.pop("returns"))
    for name, value in whole.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value, rtol=1e-12 if value.dtype == torch.float64 else 1e-6, atol=0)
