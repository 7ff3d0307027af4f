"""Signs of life between processes, over a store that is a dictionary."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from fastsac.runtime import peers
from fastsac.runtime.peers import PeerError, Peers


class DictStore:
    """As torch's store, in one process."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.is_broken = False

    def set(self, key: str, value: str) -> None:
        if self.is_broken:
            raise RuntimeError("Connection reset by peer")
        self.values[key] = value

    def multi_get(self, keys: list[str]) -> list[bytes]:
        if self.is_broken:
            raise RuntimeError("Connection reset by peer")
        return [self.values[key].encode() for key in keys]


def until(fact: Callable[[], object]) -> None:
    """Wait for something that a thread brings about."""
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def raised(one: Peers) -> str | None:
    try:
        one.check()
    except PeerError as error:
        return str(error)
    return None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("BEAT_S", 0.02), ("LOST_S", 0.3), ("GRACE_S", 0.2)):
        monkeypatch.setattr(peers, name, seconds)


@pytest.fixture
def pair(quick: None) -> Iterator[tuple[Peers, Peers, DictStore]]:
    store = DictStore()
    for rank in range(2):  # the constructor waits until all are there
        store.values[f"peer/{rank}"] = json.dumps({"name": f"host:{rank}"})
    both = [Peers(store, rank, 2, f"host:{rank}", leave=lambda status: None) for rank in range(2)]
    for one in both:
        one.start()
    yield both[0], both[1], store
    for one in both:
        one.close()


def test_names_and_wishes_reach_the_others(pair: tuple[Peers, Peers, DictStore]) -> None:
    first, second, _ = pair
    assert first.names == ["rank 0 (host:0)", "rank 1 (host:1)"]
    assert [first.wish, second.wish] == [None, None]
    second.ask("SIGTERM")
    second.ask("max_wall_time")  # the first reason counts
    until(lambda: first.wish)
    assert [one.wish for one in (first, second)] == ["SIGTERM", "SIGTERM"]
    first.check()


def test_a_failure_is_told_with_its_words(pair: tuple[Peers, Peers, DictStore]) -> None:
    first, second, _ = pair
    second.fail("critic_loss was not finite")
    until(lambda: raised(first))
    with pytest.raises(PeerError, match=r"^rank 1 \(host:1\) has ended: critic_loss was not finite$") as found:
        first.check()
    assert (found.value.rank, found.value.is_told) == (1, True)


def test_a_process_without_sign_of_life_is_lost(pair: tuple[Peers, Peers, DictStore]) -> None:
    first, second, store = pair
    second.close()  # its thread ends; what it said last is taken back: it was killed
    store.values["peer/1"] = json.dumps({"name": "host:1", "beat": 3})
    until(lambda: raised(first))
    with pytest.raises(PeerError, match=r"^rank 1 \(host:1\) is gone: no sign of life for 0 s$") as found:
        first.check()
    assert (found.value.rank, found.value.is_told) == (1, False)


def test_a_process_that_has_left_is_not_missed(pair: tuple[Peers, Peers, DictStore]) -> None:
    first, second, _ = pair
    second.close()
    time.sleep(3 * peers.LOST_S)
    first.check()


def test_a_store_that_is_gone_is_told(pair: tuple[Peers, Peers, DictStore]) -> None:
    first, _, store = pair
    store.is_broken = True
    until(lambda: raised(first))
    assert raised(first) == "the process that keeps the ranks together does not answer any more"


def test_a_process_that_waits_in_vain_is_ended(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    store, left = DictStore(), list[int]()
    store.values["peer/1"] = json.dumps({"name": "host:1"})
    one = Peers(store, 0, 2, "host:0", leave=left.append)
    one.start()
    until(lambda: left)  # nobody calls check
    assert left == [1]
    assert capsys.readouterr().err == (
        "fastsac: rank 1 (host:1) is gone: no sign of life for 0 s. Checkpoints written so far are kept.\n"
    )
