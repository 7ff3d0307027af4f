"""What the adapters share: what they are asked for, the random transitions, and a gate for loops that never return.

Runs in the peers' interpreters: the standard library, NumPy and Gymnasium only.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Notes = dict[str, Any]
ENDLESS = 2**40  # steps


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is equal for all systems, whatever is measured."""

    hidden_dims: tuple[int, ...] = (256, 256)
    batch_size: int = 256
    gamma: float = 0.99
    tau: float = 0.005
    lr: float = 3e-4
    device: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))  # JSON has lists only


@dataclass(frozen=True, kw_only=True)
class Sizes(Asked):
    """An update of random numbers: what it costs depends on these alone."""

    obs_dim: int = 17
    action_dim: int = 6
    transitions: int = 100_000  # in the replay that batches are drawn from


@dataclass(frozen=True, kw_only=True)
class Task(Asked):
    """A training loop: `updates_per_vec_step` updates after each step of `num_envs` environments together."""

    env: str = "HalfCheetah-v5"
    num_envs: int = 1
    updates_per_vec_step: int = 1
    learning_starts: int = 1_000  # environment steps with random actions before the first update; not timed
    buffer_size: int = 1_000_000


@dataclass(frozen=True)
class Work:
    """What an adapter makes.

    Attributes:
        run: does about the given number of units of work, waits for the device, returns the units done.
        notes: what the row should say.
        hyper: the hyper-parameters, read back from the peer's objects where it has them.
    """

    run: Callable[[int], int]
    notes: Notes = field(default_factory=dict)
    hyper: Notes = field(default_factory=dict)


class Unsupported(Exception):
    """The peer cannot do what it is asked for; the message says what it lacks."""


# Random transitions -------------------------------------------------------------------------------------------------


class Transitions(NamedTuple):
    """Random transitions, none of them the end of an episode; float32.

    Attributes:
        obs: [T, O].
        action: [T, A], in (-1, 1).
        reward: [T].
        next_obs: [T, O].
    """

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_obs: np.ndarray


def random_transitions(sizes: Sizes) -> Transitions:
    """As many as the replay is to hold."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((sizes.transitions, *shape), np.float32)

    return Transitions(normal(sizes.obs_dim), np.tanh(normal(sizes.action_dim)), normal(), normal(sizes.obs_dim))


def make_idle_env(obs_dim: int, action_dim: int) -> Any:
    """An environment that is never stepped, for peers that ask for one to know the spaces."""
    import gymnasium

    env: Any = gymnasium.Env()
    env.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32)
    env.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
    return env


# torch --------------------------------------------------------------------------------------------------------------


def torch_device(name: str) -> Any:
    """The device, with the matmul precision that this program trains with on CUDA, for the peers too."""
    import torch

    if name.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    torch.manual_seed(1)
    return torch.device(name)


def wait_for(device: str) -> None:
    """Wait for torch's work on the device."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def repeated(update: Callable[[], Any], device: str) -> Callable[[int], int]:
    """`Work.run` by a function that makes one unit of it."""

    def run(units: int) -> int:
        for _ in range(units):
            update()
        wait_for(device)
        return units

    return run


# Loops that do not return -------------------------------------------------------------------------------------------


class Gate:
    """Runs a peer's own endless loop in a thread, and lets it go on by as many units as it is asked for.

    The loop calls `progress` between two steps, by a callback that the peer offers or by its environment.  There it
    stands still, without using the processor, until `run` lets it go on.

    Args:
        loop: the peer's loop, which is given this gate.
        wait: waits for the device.
    """

    def __init__(self, loop: Callable[["Gate"], None], wait: Callable[[], None] = lambda: None) -> None:
        self._loop, self._wait = loop, wait
        self._changed = threading.Condition()
        self._done = self._target = 0
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def progress(self, units: int) -> None:
        """The loop has come so many units further."""
        with self._changed:
            self._done += units
            if self._done >= self._target:
                self._wait()
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._done < self._target)

    def run(self, units: int) -> int:
        """Let the loop make at least so many units; returns how many it made.

        Raises:
            RuntimeError: the loop ended or failed.
        """
        with self._changed:
            before = self._done
            self._target = before + units
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run_loop, daemon=True)
                self._thread.start()
            self._changed.wait_for(lambda: self._done >= self._target or self._error is not None)
            if self._error is not None:
                raise RuntimeError(f"its loop ended: {type(self._error).__name__}: {self._error}") from self._error
            return self._done - before

    def _run_loop(self) -> None:
        try:
            self._loop(self)
            error: BaseException = RuntimeError("it returned")
        except BaseException as e:
            error = e
        with self._changed:
            self._error = error
            self._changed.notify_all()
