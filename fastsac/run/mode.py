"""Whether updates run eager, compiled or captured."""

import torch
from torch.torch_version import TorchVersion

from fastsac.config.budget import update_budget
from fastsac.config.presets import find_goal_steps
from fastsac.config.settings import Config
from fastsac.runtime.device import c_compiler, cpp_compiler
from fastsac.runtime.launch import Mode

# Seconds that compiling takes on a CPU with an empty cache, and that it saves, as `python -m bench.startup` measures
# them (bench/results): in every update, and for every number in the widest layer of all members.  What it takes longer
# for some networks and heads, by name, is of `python -m bench.recipes`.
COMPILE_S = 18.0
LONGER_S = {"simba": 7.0, "flash": 14.0, "categorical": 28.0}
SAVED_S, SAVED_S_PER_NUMBER = 1.9e-3, 45e-9
TORCH = TorchVersion(torch.__version__)


def choose_mode(config: Config, device: torch.device, uses_gloo: bool = False) -> tuple[Mode, str]:
    """Eager, compiled or captured, and why; depends on the configuration alone, so that a repeat chooses the same.

    Args:
        config: of the whole run.
        device: to train on.
        uses_gloo: whether the update has reductions over processes that no CUDA graph can hold.
    """
    on_cuda = device.type == "cuda"
    if config.cuda_graphs == "on" and not on_cuda:
        raise ValueError(f"cuda_graphs on needs a CUDA device, got device {device}. Give --cuda-graphs auto.")
    if config.cuda_graphs == "on" and config.compile == "off":
        raise ValueError("cuda_graphs on needs the compiled update. Give --compile auto.")
    if config.compile == "off":
        return "eager", "compile off"
    needed, found = ("C", c_compiler()) if on_cuda else ("C++", cpp_compiler())
    if found is None:
        if config.compile == "on":
            raise ValueError(f"compile on needs a {needed} compiler; none was found. Install g++ or set CC and CXX.")
        return "eager", f"no {needed} compiler found"
    if on_cuda:
        if config.cuda_graphs == "off":
            return "compiled", "CUDA graphs off"
        if uses_gloo:
            if config.cuda_graphs == "on":
                raise ValueError(
                    "cuda_graphs on needs a GPU for each process. Give --device cuda, or --parallel members."
                )
            return "compiled", "processes that share a GPU talk by gloo, which CUDA graphs cannot hold"
        return "captured", f"CUDA graphs of up to {config.updates_per_graph} updates"
    if config.num_members > 1 and TORCH < "2.12":  # Adam gets the bias correction of the step after
        if config.compile == "on":
            raise ValueError(
                f"compile on gives several members wrong steps on a CPU with torch {TORCH}. Install torch 2.12."
            )
        return "eager", f"torch {TORCH} compiles several members wrongly for a CPU; 2.12 does not"
    if config.compile == "on":
        return "compiled", "compile on"
    return _choose_by_time(config)


def _choose_by_time(config: Config) -> tuple[Mode, str]:
    """Compiled if that saves more time than it takes where nothing has been compiled before.

    Whether the cache is filled is not asked: eager and compiled updates round differently, and the same command must
    give the same numbers the first time and the second.
    """
    compile_s = COMPILE_S + sum(LONGER_S.get(name, 0.0) for name in (config.network, config.critic_head))
    updates = expected_updates(config)
    saved_s = updates * saved_per_update(config)
    usual = "the usual " if _goal_steps(config) else ""
    why = f"compiling takes some {compile_s:.0f} s and saves {saved_s:.0f} s in {usual}{updates:,} updates"
    if saved_s < compile_s:
        return "eager", f"{why} (--compile on does it anyway)"
    return "compiled", f"{why} (--compile off does without)"


def expected_updates(config: Config) -> int:
    """Gradient steps of a member in all, or until the return at which such a run usually stops."""
    steps = min(config.total_steps, _goal_steps(config) or config.total_steps)
    budgets = zip(config.values_of("learning_starts"), config.values_of("utd_ratio"), strict=True)
    return max(update_budget(steps, *budget) for budget in budgets)


def _goal_steps(config: Config) -> int | None:
    return find_goal_steps(config.preset) if config.has_goal else None


def saved_per_update(config: Config) -> float:
    """Seconds that compiling saves in an update on a CPU, about: so many per update, and per number in a layer."""
    numbers = config.num_members * config.batch_size * max(config.actor_dims + config.critic_dims)
    return SAVED_S + SAVED_S_PER_NUMBER * numbers
