"""Algorithms by name; the list is `fastsac.config.algorithms`."""

import importlib

from fastsac.algorithms.algorithm import Algorithm
from fastsac.config.algorithms import OF_AUTO


def resolve_algorithm(algo: str, discrete: bool) -> str:
    """What `auto` means for a task, and `sql` for discrete actions; other names stay."""
    if algo == "sql" and discrete:
        return "sql-discrete"
    if algo != "auto":
        return algo
    return OF_AUTO[discrete]


def get_algorithm(algo: str) -> type[Algorithm]:
    """The class of an algorithm: of sac-v1 it is SacV1 in fastsac/algorithms/sac_v1.py."""
    module = importlib.import_module(f"fastsac.algorithms.{algo.replace('-', '_')}")
    found: type[Algorithm] = getattr(module, algo.title().replace("-", ""))
    return found
