"""fastsac: Soft Actor-Critic, fast and exact.

    result = fastsac.train("Pendulum-v1", seed=3)          # or an environment itself, or a Config
    policy = fastsac.load(result.run_dir)
    action = policy.act(obs)                               # what env.step returned, one or a batch
    print(fastsac.evaluate(policy, episodes=20))
    print(fastsac.export(policy, "policy.onnx"))           # runs anywhere, without fastsac

`Config` lists all settings.  Callbacks are told each `Event` of a run, and may end it by `Stop`; a `Run` of what
`make_plan(config)` gives is stepped by hand.  `register_env` names an environment that is a Python object, `make_env`
makes one as training sees it, and `VectorEnv`, `EnvSpec` and `Step` are for writing one's own.  See docs/python.md.
"""

from fastsac.runtime import compile_cache

TYPE_CHECKING = False  # typing's own takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from fastsac.algorithms.heads.head import Head
    from fastsac.api import Evaluation, collect, evaluate, export, train
    from fastsac.config.settings import Config
    from fastsac.deploy.export import Exported
    from fastsac.env import EnvSpec, Step, VectorEnv, make_env, register_env
    from fastsac.nn.architecture import Architecture
    from fastsac.policy import Policy, load
    from fastsac.run.callbacks import CheckpointEvent, EndEvent, EvalEvent, Event, LogEvent, Stop
    from fastsac.run.plan import make_plan
    from fastsac.run.result import Result
    from fastsac.run.trainer import Run

__version__ = "0.1.0"
__all__ = [
    "Architecture", "CheckpointEvent", "Config", "EndEvent", "EnvSpec", "EvalEvent", "Evaluation", "Event",
    "Exported", "Head", "LogEvent", "Policy", "Result", "Run", "Step", "Stop", "VectorEnv", "collect", "evaluate",
    "export", "load", "make_env", "make_plan", "register_env", "train",
]  # fmt: skip

_HOME = {
    "Config": "fastsac.config.settings", "EnvSpec": "fastsac.env", "Step": "fastsac.env", "VectorEnv": "fastsac.env",
    "make_env": "fastsac.env", "register_env": "fastsac.env", "Policy": "fastsac.policy", "load": "fastsac.policy",
    "Result": "fastsac.run.result", "train": "fastsac.api", "evaluate": "fastsac.api", "Evaluation": "fastsac.api",
    "collect": "fastsac.api", "export": "fastsac.api", "Exported": "fastsac.deploy.export",
    "Architecture": "fastsac.nn.architecture", "Head": "fastsac.algorithms.heads.head",
    "CheckpointEvent": "fastsac.run.callbacks", "EndEvent": "fastsac.run.callbacks",
    "EvalEvent": "fastsac.run.callbacks", "Event": "fastsac.run.callbacks", "LogEvent": "fastsac.run.callbacks",
    "Stop": "fastsac.run.callbacks",
    "Run": "fastsac.run.trainer", "make_plan": "fastsac.run.plan",
}  # fmt: skip


def __getattr__(name: str) -> "Any":
    """Import public names at their first use: `fastsac --help` need not wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'fastsac' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return ["__version__", *__all__]


compile_cache.claim()  # before anything here, or beside it, imports torch's compiler
