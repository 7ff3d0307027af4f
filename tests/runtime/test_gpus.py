"""Which GPU each process takes: what they see is data, so that no GPU is needed."""

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fastsac.runtime.gpus import Placement, View, choose_placement, look, own_gpus, visible_gpus
from fastsac.runtime.world import World


def on_hosts(*hosts: Sequence[str]) -> list[View]:
    """What processes see, a word of UUIDs of one letter for each; "-" sees none."""
    return [
        View(f"node{number}", local_rank, tuple(gpus.strip("-")))
        for number, host in enumerate(hosts)
        for local_rank, gpus in enumerate(host)
    ]


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (on_hosts(["abcd"] * 4), "a b c d"),  # torchrun
        (on_hosts(["abcd"] * 2), "a b"),
        (on_hosts(["ab", "ab"], ["cd", "cd"]), "a b c d"),
        (on_hosts(["a", "b", "c"]), "a b c"),  # SLURM with a GPU for each task
        (on_hosts(["a"], ["b"]), "a b"),
        (on_hosts(["ab", "cd"]), "a c"),  # several each
        (on_hosts(["ab", "ba"]), "a b"),  # in another order
        (on_hosts(["ab", "a"]), "b a"),  # the first makes room
        (on_hosts(["a", "ab", "abc"]), "a b c"),
        (on_hosts(["abc", "ab", "a"]), "c b a"),
        (on_hosts(["ab", "ab", "bc"]), "a b c"),
        (on_hosts(["-", "ab", "ab"]), " a b"),
        ([View("x", 0, ("a", "b")), View("y", 0, ("a", "b"))], "a b"),  # containers, or two torchruns, of one machine
        ([View("x", 1, ("a", "b")), View("x", 0, ("a", "b"))], "b a"),  # ranks in another order than local ranks
    ],
)
def test_each_process_has_a_gpu_of_its_own(views: list[View], expected: str) -> None:
    assert own_gpus(views) == expected.split(" ")
    for name in ("auto", "cuda"):
        for rank, gpu in enumerate(expected.split(" ")):
            if gpu:
                device = torch.device("cuda", views[rank].gpus.index(gpu))
                assert choose_placement(name, views, rank) == Placement(device, gpu)


SHARE = "or share one by --device cuda:0."


@pytest.mark.parametrize(
    ("views", "line"),
    [
        (
            on_hosts(["a"] * 4),
            f"4 processes need 4 GPUs, and there is 1. Start torchrun with --nproc-per-node 1, {SHARE}",
        ),
        (
            on_hosts(["ab"] * 4),
            f"4 processes need 4 GPUs, and there are 2. Start torchrun with --nproc-per-node 2, {SHARE}",
        ),
        (
            on_hosts(["ab", "ab"], ["cd"] * 3),
            f"3 processes on node1 need 3 GPUs, and there are 2. Start torchrun with --nproc-per-node 2, {SHARE}",
        ),
        (
            on_hosts(["abc", "d", "d"]),
            "ranks 1, 2 see 1 GPU together, and need one each. Let the launcher show each process a GPU of its own "
            "(CUDA_VISIBLE_DEVICES), or share them by --device cuda:0.",
        ),
        (
            on_hosts(["x"], ["ab", "bc", "ac", "abc", "d"]),
            "ranks 1, 2, 3, 4 on node1 see 3 GPUs together, and need one each. Let the launcher show each process a "
            "GPU of its own (CUDA_VISIBLE_DEVICES), or share them by --device cuda:0.",
        ),
    ],
)
def test_too_few_gpus_are_one_line_in_every_process(views: list[View], line: str) -> None:
    for rank in range(len(views)):
        with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
            choose_placement("auto", views, rank)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """UUIDs of the GPUs that torch finds, to be changed."""
    uuids: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(uuids))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(uuids))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=Uuid(uuids[number])))
    return uuids


class Uuid:
    """As torch has it: no string, but one can be made of it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


@pytest.mark.parametrize(
    ("views", "name", "num_sharing", "is_shared"),
    [
        (on_hosts(["ab", "ab"]), "cuda:0", 2, True),
        (on_hosts(["a", "b"]), "cuda:0", 1, False),  # each its own
        (on_hosts(["ab"], ["cd"]), "cuda:1", 1, False),
        (on_hosts(["a", "b", "b"]), "cuda:0", 1, True),  # others do: no NCCL for anyone
        (on_hosts(["a", "a", "b"]), "cuda:0", 2, True),
        ([View("x", 0, ("a",)), View("y", 0, ("a",))], "cuda:0", 2, True),  # containers of one machine
        (on_hosts(["ab", "a"]), "cuda:1", 1, False),  # the second one is refused, in its process
    ],
)
def test_a_gpu_that_is_named_is_shared_by_those_who_have_the_same(
    gpus: list[str], views: list[View], name: str, num_sharing: int, is_shared: bool
) -> None:
    gpus[:] = views[0].gpus
    device = torch.device(name)
    assert choose_placement(name, views, 0) == Placement(device, gpus[device.index], num_sharing, is_shared)


def test_a_gpu_that_is_named_and_not_there_is_refused(gpus: list[str]) -> None:
    gpus[:] = ["a"]
    with pytest.raises(ValueError, match=r"^device cuda:1 was asked for, but there are only 1 GPUs\."):
        choose_placement("cuda:1", on_hosts(["ab", "a"]), 1)


def test_processes_without_gpus_are_on_the_cpu(gpus: list[str]) -> None:
    views = on_hosts(["-", "a"])
    assert choose_placement("auto", views, 0) == Placement(torch.device("cpu"))
    with pytest.raises(ValueError, match="torch finds no CUDA GPU here"):
        choose_placement("cuda", views, 0)
    gpus[:] = ["a"]
    assert visible_gpus("cpu") == ()
    assert choose_placement("cpu", on_hosts(["a", "a"]), 0) == Placement(torch.device("cpu"))


def test_a_process_alone_looks_at_nothing_and_takes_the_first(gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus[:] = ["a", "b"]
    monkeypatch.setattr(torch.cuda, "get_device_properties", None)
    assert look("auto", World()) == []
    for name, number in (("auto", 0), ("cuda", 0), ("cuda:1", 1)):
        assert choose_placement(name, [], 0) == Placement(torch.device("cuda", number))


class Second(World):
    """Rank 1 of two, of which the first one sees another GPU."""

    rank, size, local_rank, local_size = 1, 2, 1, 2

    def gather(self, value: Any) -> list[Any]:
        """What both say."""
        return [View(value.host, 0, ("a",)), value]


def test_processes_that_are_shown_a_gpu_each_have_each_their_own(gpus: list[str]) -> None:
    gpus[:] = ["b"]
    views = look("auto", Second())
    assert [(view.local_rank, view.gpus) for view in views] == [(0, ("a",)), (1, ("b",))]
    for name in ("auto", "cuda", "cuda:0"):
        assert choose_placement(name, views, 1) == Placement(torch.device("cuda", 0), "b")
