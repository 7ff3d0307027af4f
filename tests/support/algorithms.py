"""A loop for each algorithm."""

from fastsac.algorithms.registry import get_algorithm
from fastsac.env import EnvSpec
from tests.support.learners import BASE, A, O
from tests.support.loops import Loop


def spec_of(algo):
    return EnvSpec("test:test", O, A, (("obs", O),), None, discrete=get_algorithm(algo).discrete)


def make(algo, mode="eager", **changes):
    return Loop(BASE.replace(algo=algo, **changes), spec_of(algo), mode)


def states(loop):
    return loop.learner.buffers["state"]
