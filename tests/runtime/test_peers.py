"""Signs of life between processes, over a store that is a dictionary."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastsac.runtime import peers, vitals
from fastsac.runtime.peers import PeerError, Peers
from fastsac.runtime.vitals import Process

Child = subprocess.Popen[bytes]


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

    def add(self, key: str, amount: int) -> int:
        if self.is_broken:
            raise RuntimeError("Connection reset by peer")
        self.values[key] = str(int(self.values.get(key, 0)) + amount)
        return int(self.values[key])


def until(fact: Callable[[], object]) -> None:
    """Wait for something that a thread brings about."""
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def silence(one: Peers, store: DictStore, process: Process | None) -> None:
    """End its thread, and take back what it said last: as if that process had no time for it any more."""
    one.close()
    store.values["peer/1"] = json.dumps({"name": "host:1", "beat": 3, "process": process})


def beat(store: DictStore) -> int:
    """The number of looks of rank 0."""
    return int(json.loads(store.values["peer/0"])["beat"])


def vitals_of(child: Child) -> Process:
    mine, stat = vitals.this_process(), Path(f"/proc/{child.pid}/stat").read_text()
    assert mine is not None
    return mine._replace(pid=child.pid, born=int(stat.rpartition(")")[2].split()[19]))


@pytest.fixture
def child() -> Iterator[Child]:
    """A process that does nothing."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def raised(one: Peers) -> str | None:
    try:
        one.check()
    except PeerError as error:
        return str(error)
    return None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("BEAT_S", 0.02), ("LOST_S", 1.0), ("AWAY_S", 1.0), ("GRACE_S", 0.2)):
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


def test_the_first_to_fail_says_why(pair: tuple[Peers, Peers, DictStore]) -> None:
    first, second, store = pair
    assert [second.fail("a NaN"), first.fail("the same NaN"), second.fail("and more")] == [True, False, True]
    assert json.loads(store.values["peer/1"])["failure"] == "a NaN"


def test_a_failure_that_no_store_takes_is_said(pair: tuple[Peers, Peers, DictStore]) -> None:
    first, second, store = pair
    first.fail("a NaN")
    store.is_broken = True
    assert second.fail("no connection")


def test_a_process_without_sign_of_life_is_lost(pair: tuple[Peers, Peers, DictStore]) -> None:
    first, second, store = pair
    silence(second, store, None)
    until(lambda: raised(first))
    with pytest.raises(PeerError, match=r"^rank 1 \(host:1\) is gone: no sign of life for 1 s$") as found:
        first.check()
    assert (found.value.rank, found.value.is_told) == (1, False)


def test_a_process_that_is_stopped_is_lost(
    pair: tuple[Peers, Peers, DictStore], child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, store = pair
    monkeypatch.setattr(peers, "AWAY_S", 1e9)
    child.send_signal(signal.SIGSTOP)
    silence(second, store, vitals_of(child))
    until(lambda: raised(first))
    assert raised(first) == "rank 1 (host:1) is gone: no sign of life for 1 s"


def test_a_process_that_is_killed_is_lost_at_once(
    pair: tuple[Peers, Peers, DictStore], child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, store = pair
    monkeypatch.setattr(peers, "LOST_S", 1e9)
    silence(second, store, vitals_of(child))
    child.kill()
    until(lambda: raised(first))  # it is a zombie: nobody has waited for it
    assert raised(first) == "rank 1 (host:1) is gone: its process has ended without a word"


def test_a_process_that_is_busy_is_not_lost_until_it_is_silent_for_long(
    pair: tuple[Peers, Peers, DictStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, store = pair
    monkeypatch.setattr(peers, "LOST_S", 0.0)
    silence(second, store, vitals.this_process())
    before = beat(store)
    until(lambda: beat(store) > before + 5)  # the first has looked again and again
    first.check()
    monkeypatch.setattr(peers, "SILENT_S", 0.01)
    until(lambda: raised(first))
    assert raised(first) == "rank 1 (host:1) is gone: no sign of life for 0 s"


def test_the_process_that_has_come_least_far_is_known(pair: tuple[Peers, Peers, DictStore]) -> None:
    first, second, _ = pair
    assert str(first.missing(1800)) == "all ranks are there, but what they send has not arrived for 30 minutes"
    first.meet()
    error = first.missing(1800)
    assert str(error) == "rank 1 (host:1) has not come to where the others wait for 30 minutes"
    assert (first.behind, second.behind, error.rank, error.is_told_by(0)) == ([1], [], 1, True)
    second.meet()
    until(lambda: not first.behind)


def test_a_process_that_has_left_is_not_missed(pair: tuple[Peers, Peers, DictStore]) -> None:
    first, second, _ = pair
    second.close()
    time.sleep(2 * peers.LOST_S)
    assert raised(first) is None


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
    assert capsys.readouterr().err == "fastsac: rank 1 (host:1) is gone: no sign of life for 1 s.\n"


def test_a_process_that_has_noticed_has_time_to_end(quick: None) -> None:
    store, left = DictStore(), list[int]()
    store.values["peer/1"] = json.dumps({"name": "host:1"})
    one = Peers(store, 0, 2, "host:0", leave=left.append)
    one.start()
    until(lambda: raised(one))
    time.sleep(3 * peers.GRACE_S)
    one.close()
    assert left == []


def test_a_process_that_has_noticed_and_does_not_end_is_ended(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "ENDING_S", 0.1)
    store, left = DictStore(), list[int]()
    store.values["peer/1"] = json.dumps({"name": "host:1"})
    one = Peers(store, 0, 2, "host:0", leave=left.append)
    one.start()
    until(lambda: raised(one))
    until(lambda: left)
    assert left == [1]
