"""What a reduction takes: measured by all processes together, the same in each, and in words."""

import re

from fastsac.runtime.reduction import GroupReduction
from fastsac.runtime.reduction_speed import measured_text, reduction_s
from tests.support.ranks import CPU


class Counting(GroupReduction):
    """Counts what it adds up."""

    def __init__(self, name):
        self.sizes = []
        super().__init__(name, CPU)

    def sum(self, x):
        self.sizes.append(x.numel())
        return super().sum(x)


def measure(rank):
    over = Counting("speed")
    took = [reduction_s(over, size, CPU, limit_s=0.02) for size in (4, 4_000_000)]
    return over.backend, took, over.sizes


def test_all_processes_measure_as_often_and_get_the_same(ranks):
    (backend, took, sizes), (_, other, others) = ranks.call(measure)
    assert (backend, took, sizes) == ("gloo", other, others)
    assert 0 < took[0] < took[1]
    assert {*sizes} == {1, 1_000_000}
    assert 3 <= sizes.count(1_000_000) <= sizes.count(1) <= 202


def say(rank):
    return measured_text(GroupReduction("speed", CPU), [2_048, 2_048], CPU)


def test_words_for_it(ranks):
    for text in ranks.call(say):
        assert re.fullmatch(r"latency [\d.e-]+ ms, 4\.0 KiB in [\d.e-]+ ms \([\d.e-]+ GB/s\)", text), text
