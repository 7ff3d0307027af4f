"""What a run says of its processes at the start."""

import socket

import pytest
import torch

from fastsac.config.settings import Config
from fastsac.config.shares import share_of
from fastsac.learning.learner import make_parts
from fastsac.run.processes import about_processes, about_reductions, check_equal
from fastsac.runtime.gpus import Placement
from fastsac.runtime.world import AgreedError, World
from tests.support.learners import BASE, CPU, SPEC
from tests.support.ranks import reduction_of


class Four(World):
    """Rank 0 of four, on two machines."""

    size = 4

    def __init__(self, names):
        self.places = list(zip([socket.gethostname(), socket.gethostname(), "b", "b"], names, strict=True))

    def gather(self, value):
        """What all say; this one among them."""
        assert value == self.places[0]
        return self.places


GPUS = ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
ON_CPU = Placement(CPU)


@pytest.mark.parametrize(
    ("seeds", "names", "is_shared", "expected"),
    [
        (
            1,
            GPUS,
            False,
            "4 processes train one agent: 2 of 8 environments and 64 of 256 transitions of a batch in each "
            "({}: cuda:0 to cuda:1; b: cuda:0 to cuda:1)",
        ),
        (
            6,
            ["cpu"] * 4,
            False,
            "4 processes share the members, 1 or 2 each ({}: 2 on cpu; b: 2 on cpu); they talk at log points alone, "
            "by gloo",
        ),
        (
            6,
            ["cuda:0"] * 4,
            False,
            "4 processes share the members, 1 or 2 each ({}: 2 on cuda:0 of their own; b: 2 on cuda:0 of their own); "
            "they talk at log points alone, by gloo",
        ),
        (
            6,
            ["cuda:1", "cuda:0", "cuda:0", "cuda:2"],
            False,
            "4 processes share the members, 1 or 2 each ({}: cuda:1, cuda:0; b: cuda:0, cuda:2); they talk at log "
            "points alone, by gloo",
        ),
        (
            6,
            ["cuda:0"] * 4,
            True,
            "4 processes share the members, 1 or 2 each ({}: 2 on cuda:0; b: 2 on cuda:0); they talk at log points "
            "alone, by gloo",
        ),
    ],
)
def test_who_trains_what_and_where(seeds, names, is_shared, expected):
    share = share_of(Config(env="Pendulum-v1", num_envs=8, seeds=seeds), 0, 4)
    placement = Placement(torch.device(names[0]), is_gpu_shared=is_shared)
    text = about_processes(share, placement, Four(names))
    assert text == expected.format(socket.gethostname())


class Told(World):
    """Rank 0 of two, of which the other says something of its own."""

    size = 2

    def __init__(self, other):
        self.other = other

    def gather(self, value):
        """What both say."""
        return [value, self.other]


def test_processes_that_do_not_do_the_same_are_told():
    check_equal("finds checkpoint 7", Told("finds checkpoint 7"))
    with pytest.raises(AgreedError, match=r"^rank 1 finds checkpoint 6, and rank 0 finds checkpoint 7\. All processes"):
        check_equal("finds checkpoint 7", Told("finds checkpoint 6"))
    check_equal("alone", World())


def test_a_process_alone_says_nothing():
    assert about_processes(BASE, ON_CPU, World()) == ""
    assert about_processes(BASE.replace(parallel="off"), ON_CPU, World()) == ""
    expected = "parallel data divides nothing: this process is alone; torchrun starts several"
    assert about_processes(BASE.replace(parallel="data"), ON_CPU, World()) == expected
    assert about_reductions(make_parts(BASE, SPEC, CPU, "eager").learner) == ""


def tell(rank):
    return about_reductions(make_parts(BASE, SPEC, CPU, "eager", reduction=reduction_of(2)).learner)


def test_processes_of_one_agent_say_what_reductions_take(ranks):
    for text in ranks.call(tell):
        assert text.startswith("gradients are reduced by gloo: latency ")
