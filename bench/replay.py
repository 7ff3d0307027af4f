"""How many batches a second does the replay give, and what does a transition cost, beside torchrl's replay buffer?

Both hold as many random transitions on the same device, written as vector steps of as many environments.  A draw is a
batch with observation, action, reward, end of the task and next observation.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from bench.lib import harness, record
from bench.lib.tables import Figures, number
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config
from fastsac.learning.draw import draw_batch
from fastsac.learning.replay import Replay, Ring
from fastsac.runtime.launch import Launch, Mode

OBS_DIM, ACTION_DIM = 17, 6  # HalfCheetah's
NUM_ENVS = 64  # whose vector steps are written
CHUNK = 64  # draws or writes between two looks at the clock
Once = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 5
    """Timed rounds; each runs every candidate once.  At least 1."""
    seconds: float = 1.0
    """About how long one candidate runs in one round.  Above 0."""

    transitions: tuple[int, ...] = (100_000, 1_000_000)
    """Transitions in the replay; one row each and candidate."""
    batch_size: int = 256
    """Transitions per draw."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.at_least_1(self, "batch_size")
        least = max(self.batch_size, 2 * NUM_ENVS)
        if not self.transitions or min(self.transitions) < least:
            raise ValueError(f"transitions must be at least {least}, got {self.transitions}.")


def vec_step(device: torch.device) -> list[Tensor]:
    """Random observation, action, reward and next observation, [N, ...] each, and that no episode ends, [N]."""
    shapes = ((OBS_DIM,), (ACTION_DIM,), (), (OBS_DIM,))
    values = [torch.randn(NUM_ENVS, *shape, device=device).tanh() for shape in shapes]
    return [*values, torch.zeros(NUM_ENVS, dtype=torch.bool, device=device)]


class Ours:
    """This program's replay: each observation once, a draw by one uniform number per transition."""

    def __init__(self, batch_size: int, transitions: int, device: torch.device) -> None:
        self.device = device
        self.config = Config(
            env="random numbers", num_envs=NUM_ENVS, batch_size=batch_size, buffer_size=transitions,
            learning_starts=batch_size,
        )  # fmt: skip
        self.replay = Replay(1, NUM_ENVS, transitions, OBS_DIM, ACTION_DIM, device)
        self.bytes_per_transition = self.replay.nbytes() / transitions
        self.replay.reset_(vec_step(device)[0].unsqueeze(0))
        for _ in range(-(-transitions // NUM_ENVS)):
            self.write(vec_step(device))
        self._ring: Ring = pytree.tree_map(lambda t: t[0], self.replay.ring())
        self._seed, self._gamma = torch.tensor(1, device=device), torch.tensor(0.99, device=device)
        self.counter = torch.zeros((), dtype=torch.int64, device=device)

    def write(self, step: Sequence[Tensor]) -> None:
        """One vector step, by the function that training calls."""
        _, action, reward, next_obs, never = (value.unsqueeze(0) for value in step)
        self.replay.add_(action, reward, never, never, next_obs)

    @torch.no_grad()
    def draw(self) -> Batch:
        """One batch, by the function that every update begins with, and the counter that it depends on."""
        batch = draw_batch(self.config, self._ring, self._gamma, self._seed, self.counter)
        self.counter.add_(1)
        return batch

    def drawing(self, mode: Mode) -> Callable[[int], None]:
        """A function that makes so many draws into static memory, as an update would find them: run as updates are."""
        batch = [value for value in self.draw() if isinstance(value, Tensor)]

        def step(counter: Tensor, out: list[Tensor]) -> None:
            drawn = draw_batch(self.config, self._ring, self._gamma, self._seed, counter)
            for target, value in zip(out, (v for v in drawn if isinstance(v, Tensor)), strict=True):
                target.copy_(value)
            counter.add_(1)

        launch = Launch(step, {0: (self.counter, batch)}, [self.counter, *batch], mode, steps_per_graph=16)
        launch.warm_up([0])
        return lambda draws: launch([0] * draws)

    def writing(self, step: Sequence[Tensor]) -> Callable[[int], None]:
        """A function that writes one vector step so many times: captured on CUDA, as in training, never compiled."""
        mode: Mode = "captured" if self.device.type == "cuda" else "eager"
        self.write(step)  # once for real, before it is captured
        launch = Launch(lambda: self.write(step), {0: ()}, [self.counter], mode, compiled=False)
        launch.warm_up([0])
        return lambda writes: launch([0] * writes)


class Torchrl:
    """torchrl's TensorDictReplayBuffer on a LazyTensorStorage, with each next observation, as its users have it."""

    def __init__(self, batch_size: int, transitions: int, device: torch.device) -> None:
        from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

        logging.getLogger("torchrl").setLevel(logging.WARNING)  # it tells of every storage
        vec_steps = -(-transitions // NUM_ENVS)
        storage = LazyTensorStorage(vec_steps * NUM_ENVS, device=device)
        self.buffer = TensorDictReplayBuffer(storage=storage, batch_size=batch_size)
        for _ in range(vec_steps):
            self.writing(vec_step(device))()
        tensors = self.buffer[:].values(include_nested=True, leaves_only=True)
        self.bytes_per_transition = sum(t.element_size() * t[0].numel() for t in tensors)

    def writing(self, step: Sequence[Tensor]) -> Once:
        """A function that writes one vector step, in the layout of torchrl's environments."""
        from tensordict import TensorDict

        obs, action, reward, next_obs, never = step
        flag = never.unsqueeze(-1)
        after = {"observation": next_obs, "reward": reward.unsqueeze(-1), "terminated": flag, "done": flag}
        values = TensorDict({"observation": obs, "action": action, "next": after}, [len(obs)], obs.device)
        return lambda: self.buffer.extend(values)

    def draw(self) -> Any:
        """One batch."""
        return self.buffer.sample()


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device, reporter = record.start(Settings, "replay", __doc__, argv)
    modes: tuple[Mode, ...] = ("eager", "compiled", "captured") if device.type == "cuda" else ("eager", "compiled")
    size = settings.batch_size
    draws: dict[str, Callable[[int], None]] = {}
    writes: dict[str, Callable[[int], None]] = {}
    memory: list[harness.Row] = []
    for transitions in settings.transitions:
        ours, theirs = f"fastsac, {transitions:,}", f"torchrl, {transitions:,}"
        mine, other = Ours(size, transitions, device), Torchrl(size, transitions, device)
        for mode in modes:
            draws[f"fastsac {mode}, {transitions:,}"] = repeated(mine.draw) if mode == "eager" else mine.drawing(mode)
        draws[theirs] = repeated(other.draw)
        writes[ours] = mine.writing(vec_step(device))
        writes[theirs] = repeated(other.writing(vec_step(device)))
        memory += [{"name": ours, "bytes_per_transition": mine.bytes_per_transition}]
        memory += [{"name": theirs, "bytes_per_transition": other.bytes_per_transition}]

    def timed(unit: str, runs: dict[str, Callable[[int], None]]) -> harness.Row:
        candidates = [harness.Candidate(name, in_chunks(run, device)) for name, run in runs.items()]
        return {"unit": unit, "rows": harness.interleave(candidates, settings.repeats, settings.seconds)}

    report = reporter.finish(draws=timed("draws/s", draws), writes=timed("vector steps/s", writes), memory=memory)
    return reporter.show(report, figures(report))


def repeated(once: Once) -> Callable[[int], None]:
    """`once`, so many times."""

    def run(times: int) -> None:
        for _ in range(times):
            once()

    return run


def in_chunks(run: Callable[[int], None], device: torch.device) -> harness.Run:
    """A candidate's function: so many units in chunks, after which the device is waited for."""

    def units(count: int) -> int:
        for start in range(0, count, CHUNK):
            run(min(CHUNK, count - start))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return count

    return units


def figures(report: harness.Report) -> list[Figures]:
    """Bytes, draws and writes side by side."""
    written = {row["name"]: row["median"] for row in report["writes"]["rows"]}
    held = {row["name"]: row["bytes_per_transition"] for row in report["memory"]}
    lines = []
    for row in report["draws"]["rows"]:
        system, _, size = row["name"].partition(", ")
        name = f"{system.split()[0]}, {size}"  # however it draws
        lines.append([row["name"], number(held[name], 1), number(row["median"], 0), number(written[name], 0)])
    drawn = f"draws of {report['settings']['batch_size']}/s"
    columns = ["bytes per transition", drawn, f"writes of {NUM_ENVS}/s"]
    return [Figures("replay of so many transitions", columns, lines, "Memory")]


if __name__ == "__main__":
    main()
