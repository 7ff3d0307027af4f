"""Philox against its published vectors; the numbers built on it."""

import math

import pytest
import torch

from fastsac.nn import philox

# Known-answer vectors of Random123 1.14 (kat_vectors, philox4x32-10): counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_equals_the_published_vectors(call, counter, key, expected):
    out = call(philox.philox, tuple(torch.tensor([c]) for c in counter), tuple(torch.tensor([k]) for k in key))
    assert tuple(int(w) for w in out) == expected


def test_words_are_a_function_of_seed_purpose_and_counter():
    def words(seed, purpose, counter):
        return philox.words(torch.tensor(seed), purpose, torch.tensor(counter), 64)

    base = words(1, philox.Purpose.DRAW, 5)
    assert torch.equal(base, words(1, philox.Purpose.DRAW, 5))
    for other in ((2, philox.Purpose.DRAW, 5), (1, philox.Purpose.UPDATE, 5), (1, philox.Purpose.DRAW, 6)):
        assert not torch.isin(words(*other), base).any()
    beyond = words(1, philox.Purpose.DRAW, 5 + 2**32)  # the high half of the counter counts
    assert not torch.isin(beyond, base).any()


def test_index_is_exact_at_the_ends_and_uniform():
    top = torch.tensor([0, 2**32 - 1])
    assert philox.index(top, 2**31 - 1).tolist() == [0, 2**31 - 2]
    words = philox.words(torch.tensor(3), philox.Purpose.DRAW, torch.tensor(0), 60_000)
    counts = torch.bincount(philox.index(words, torch.tensor(6)), minlength=6).double()
    chi2 = ((counts - 10_000).square() / 10_000).sum()
    assert chi2 < 20.5  # 99.9th percentile of chi-square with 5 degrees of freedom


def test_normal_has_the_moments_of_a_standard_normal():
    x = philox.normal(torch.tensor(3), philox.Purpose.UPDATE, torch.tensor(7), (400, 250)).double()
    n = x.numel()
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs(x.pow(4).mean() - 3) < 4 * math.sqrt(96 / n)
    neighbours = (x[:, 1:] * x[:, :-1]).mean()
    assert abs(neighbours) < 4 / math.sqrt(n)


def test_a_prefix_of_the_numbers_does_not_depend_on_vmap():
    seeds = torch.tensor([4, 9])
    both = torch.func.vmap(lambda s: philox.normal(s, 2, torch.tensor(1), (8, 3)))(seeds)
    for i, seed in enumerate(seeds):
        assert torch.equal(both[i], philox.normal(seed, 2, torch.tensor(1), (8, 3)))


def test_derived_seeds_of_neighbouring_members_differ():
    lists = [philox.derive_seeds(seed, philox.Purpose.ENV_SEED, 500) for seed in range(4)]
    assert len({s for seeds in lists for s in seeds}) == 2000
    assert all(0 <= s < 2**31 for seeds in lists for s in seeds)
    assert lists[1][:3] == philox.derive_seeds(1, philox.Purpose.ENV_SEED, 3)


def test_numbers_are_those_of_eager(call):
    """The compiler may not meet an integer overflow, which C++ leaves undefined."""

    def numbers(seed, counter):
        return philox.words(seed, philox.Purpose.DRAW, counter, 20), philox.normal(seed, 2, counter, (3, 5))

    args = torch.tensor(2**31 - 1), torch.tensor(2**33 + 7)
    words, noise = call(numbers, *args)
    expected_words, expected_noise = numbers(*args)
    assert torch.equal(words, expected_words)
    torch.testing.assert_close(noise, expected_noise)


SHAPES = [((6, 3), 2), ((2, 6, 3), 3), ((2, 3, 4, 5), 2), ((0, 6, 3), 2), ((6, 1), 6)]


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_rows_of_several_processes_are_those_of_one(shape, size):
    seed, counter, num = torch.tensor(7), torch.tensor(2**33 + 1), shape[-2] // size
    whole = philox.normal(seed, philox.Purpose.ACT, counter, shape)
    words = philox.words(seed, philox.Purpose.DRAW, counter, shape[-2])
    parts, drawn = [], []
    for rank in range(size):
        rows = philox.Rows.of(rank * num, num, shape[-2], torch.device("cpu"))
        mine = (*shape[:-2], num, shape[-1])
        parts.append(philox.normal(seed, philox.Purpose.ACT, counter, mine, rows))
        drawn.append(philox.words(seed, philox.Purpose.DRAW, counter, num, rows))
    torch.testing.assert_close(torch.cat(parts, -2), whole, rtol=1e-6, atol=1e-6)  # a vector's cosine is another one
    assert torch.equal(torch.cat(drawn), words)


def test_rows_are_those_of_eager(call):
    def numbers(seed, rows):
        return philox.words(seed, philox.Purpose.DRAW, torch.tensor(3), 10, rows)

    rows = philox.Rows.of(10, 10, 40, torch.device("cpu"))
    assert torch.equal(call(numbers, torch.tensor(5), rows), numbers(torch.tensor(5), rows))


def test_all_rows_need_no_word():
    assert philox.Rows.of(0, 4, 4, torch.device("cpu")) is None


def test_seeds_from_a_first_one_are_those_of_the_whole():
    whole = philox.derive_seeds(3, philox.Purpose.ENV_SEED, 7, counter=9)
    parts = [philox.derive_seeds(3, philox.Purpose.ENV_SEED, 2, counter=9, first=first) for first in (0, 2, 4)]
    assert [seed for part in parts for seed in part] == whole[:6]
    assert philox.derive_seeds(3, philox.Purpose.ENV_SEED, 0, first=5) == []
