"""Waiting for other processes, of which some do not come."""

import time
from typing import Any

import pytest

from fastsac.runtime.peers import PeerError
from fastsac.runtime.world import Ranks, join


class FakePeers:
    """Those that are behind, at one look after the other; the last for ever."""

    lost_s = 0.0

    def __init__(self, *behind: list[int]) -> None:
        self._looks, self.met = [*behind], 0

    @property
    def behind(self) -> list[int]:
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    def meet(self) -> None:
        self.met += 1

    def check(self) -> None:
        """All live."""

    def missing(self, seconds: float) -> PeerError:
        return PeerError(f"{self.behind[0]} is missing", self.behind[0])


class FakeWork:
    """It is done after so many looks; waiting for it may fail."""

    def __init__(self, looks: float, error: Exception | None = None) -> None:
        self._looks, self._error = looks, error

    def is_completed(self) -> bool:
        self._looks -= 1
        return self._looks < 0

    def wait(self) -> None:
        if self._error is not None:
            raise self._error


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock takes 100 s."""
    now = iter(range(0, 10**9, 100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def ranks(peers: FakePeers) -> Any:
    one: Any = Ranks.__new__(Ranks)
    one.rank, one.size, one._peers = 2, 3, peers
    return one


@pytest.mark.parametrize("is_talk", [False, True])
def test_a_rank_that_does_not_come_is_named(clock, is_talk):
    peers = FakePeers([1])
    with pytest.raises(PeerError, match=r"^1 is missing$") as found:
        ranks(peers).wait(FakeWork(float("inf")), is_talk)
    assert (found.value.rank, peers.met) == (1, 1)


def test_rank_0_may_take_its_time_before_all_talk(clock):
    ranks(FakePeers([0])).wait(FakeWork(1000), is_talk=True)
    with pytest.raises(PeerError, match=r"^0 is missing$"):
        ranks(FakePeers([0])).wait(FakeWork(1000))
    with pytest.raises(PeerError, match=r"^1 is missing$"):  # when rank 0 has come
        ranks(FakePeers(*[[1, 0]] * 100, [1])).wait(FakeWork(1000), is_talk=True)


def test_words_of_torch_are_not_in_the_line(clock):
    error = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer")
    with pytest.raises(PeerError, match=r"^the connection to another rank broke$"):
        ranks(FakePeers([])).wait(FakeWork(0, error))


def test_a_process_alone_knows_of_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "1", "TORCHELASTIC_RESTART_COUNT": "2", "TORCHELASTIC_MAX_RESTARTS": "3"}.items():
        monkeypatch.setenv(name, value)
    with join("auto") as world:
        assert (world.is_alone, world.restarts, world.max_restarts) == (True, 2, 3)
