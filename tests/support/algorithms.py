"""A loop for each algorithm."""

from typing import Any

from fastsac.algorithms.registry import get_algorithm
from fastsac.algorithms.step import State
from fastsac.env import EnvSpec
from fastsac.runtime.launch import Mode
from tests.support.learners import BASE, A, O
from tests.support.loops import Loop


def spec_of(algo: str) -> EnvSpec:
    return EnvSpec("test:test", O, A, (("obs", O),), None, discrete=get_algorithm(algo).discrete)


def make(algo: str, mode: Mode = "eager", **changes: Any) -> Loop:
    return Loop(BASE.replace(algo=algo, **changes), spec_of(algo), mode)


def states(loop: Loop) -> State:
    return loop.learner.buffers["state"]
