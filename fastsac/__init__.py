"""fastsac: Soft Actor-Critic, fast and exact.

Public names: `Config`, `train`, `load`, `Policy`, `Result`, `make_env`, `EnvSpec`, `Step`, `VectorEnv`.
"""

from fastsac.runtime import compile_cache

TYPE_CHECKING = False  # typing's own takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from fastsac.config.settings import Config
    from fastsac.env import EnvSpec, Step, VectorEnv, make_env
    from fastsac.policy import Policy, load
    from fastsac.run.result import Result
    from fastsac.run.trainer import train

__version__ = "0.1.0"
__all__ = ["Config", "EnvSpec", "Policy", "Result", "Step", "VectorEnv", "load", "make_env", "train"]

_HOME = {
    "Config": "fastsac.config.settings", "EnvSpec": "fastsac.env", "Step": "fastsac.env", "VectorEnv": "fastsac.env",
    "make_env": "fastsac.env", "Policy": "fastsac.policy", "load": "fastsac.policy", "Result": "fastsac.run.result",
    "train": "fastsac.run.trainer",
}  # fmt: skip


def __getattr__(name: str) -> "Any":
    """Import public names at their first use: `fastsac --help` need not wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'fastsac' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


compile_cache.claim()  # before anything here, or beside it, imports torch's compiler
