"""Running statistics against numpy's on all the data at once."""

import torch

from fastsac.nn import normalizer
from fastsac.nn.normalizer import Normalizer
from tests.support.ranks import part_of, reduction_of


def test_running_statistics_equal_those_of_all_frames():
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 90, 4, generator=generator) * torch.tensor([1.0, 10.0, 0.1, 1.0]) + 1000.0
    norm = Normalizer(2, 4, torch.device("cpu"))
    for start in range(0, 90, 6):
        norm.update_(frames[:, start : start + 6])
    torch.testing.assert_close(norm.mean, frames.double().mean(1).float())
    expected = frames.double().var(1, correction=0).rsqrt().float()
    torch.testing.assert_close(norm.rstd, expected, rtol=1e-4, atol=0)


def test_apply_by_hand_and_cut(call):
    out = call(normalizer.apply, torch.tensor([[3.0, -999.0]]), torch.tensor([1.0, 0.0]), torch.tensor([0.5, 1.0]))
    assert out.tolist() == [[1.0, -10.0]]


def test_state_dict_round_trip():
    norm, other = Normalizer(1, 3, torch.device("cpu")), Normalizer(1, 3, torch.device("cpu"))
    norm.update_(torch.randn(1, 8, 3, generator=torch.Generator().manual_seed(0)))
    other.load_state_dict(norm.state_dict())
    frame = torch.ones(1, 2, 3)
    norm.update_(frame)
    other.update_(frame)
    assert torch.equal(norm.mean, other.mean)
    assert torch.equal(norm.rstd, other.rstd)


def take_in(rank, size, obs):
    """The statistics after all of obs [T, M, N, O], of a process with a part of the environments."""
    norm = Normalizer(obs.shape[1], obs.shape[3], torch.device("cpu"))
    for row in obs:
        norm.update_(part_of(rank, size, row, 1), reduction_of(size))
    return norm.state_dict()


def test_processes_with_some_environments_each_have_the_statistics_of_all(ranks):
    obs = 100 + torch.randn(7, 1, 6, 4, generator=torch.Generator().manual_seed(0)).cumsum(2)
    whole = take_in(0, 1, obs)
    first, second = ranks.call(take_in, 2, obs)
    for name, value in whole.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value, rtol=1e-12 if value.dtype == torch.float64 else 1e-6, atol=0)
