"""How many batches a second does the replay give, and what does a transition cost, beside torchrl's replay buffer?

Both hold the same random transitions on the same device, written as vector steps of the same environments.  A draw is
a batch with observation, action, reward, end of the task and next observation.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from bench.lib import harness, tables
from bench.lib.record import Reporter
from bench.lib.results import Result, first_of_each
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config
from fastsac.learning.draw import draw_batch
from fastsac.learning.replay import Replay, Ring
from fastsac.runtime.launch import Launch, Mode

QUESTION = __doc__ or ""
CHUNK = 64  # draws or writes between two looks at the clock
MODES: tuple[Mode, ...] = ("eager", "compiled", "captured")


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 5
    """Timed rounds; each runs every candidate once.  At least 1."""
    seconds: float = 1.0
    """About how long one candidate runs in one round.  Above 0."""

    obs_dim: int = 17
    """Length of the observation."""
    action_dim: int = 6
    """Length of the action."""
    transitions: tuple[int, ...] = (100_000, 1_000_000)
    """Transitions in the replay; one row each and candidate."""
    batch_size: int = 256
    """Transitions per draw."""
    num_envs: int = 64
    """Environments whose vector steps are written."""
    modes: tuple[Mode, ...] | None = None
    """How ours draws; default eager and compiled, on CUDA also captured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.at_least_1(self, "obs_dim", "action_dim", "batch_size", "num_envs")
        if not self.transitions or min(self.transitions) < max(self.batch_size, self.num_envs):
            told = ", ".join(map(str, self.transitions)) or "none"
            least = f"batch_size ({self.batch_size}) and num_envs ({self.num_envs})"
            raise ValueError(f"transitions must be at least {least}, got {told}.")


class Stream:
    """Random vector steps, none of them the end of an episode: the same ones for every replay.

    Args:
        settings: sizes.
        device: of the tensors.
    """

    def __init__(self, settings: Settings, device: torch.device) -> None:
        n, self.device = settings.num_envs, device
        self._generator = torch.Generator(device).manual_seed(0)
        self._shapes = ((n, settings.action_dim), (n,), (n, settings.obs_dim))
        self.never = torch.zeros(n, dtype=torch.bool, device=device)
        self.obs = self._normal(n, settings.obs_dim)

    def step(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Observation, action, reward and next observation, [N, ...] each."""
        before, (action, reward, self.obs) = self.obs, (self._normal(*shape) for shape in self._shapes)
        return before, action.tanh(), reward, self.obs

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, device=self.device, generator=self._generator)


class Ours:
    """This program's replay: each observation once, a draw by one uniform number per transition.

    Args:
        settings: sizes.
        transitions: to hold.
        device: where.
    """

    def __init__(self, settings: Settings, transitions: int, device: torch.device) -> None:
        s, self.device = settings, device
        self.config = Config(
            env="random numbers", num_envs=s.num_envs, batch_size=s.batch_size, buffer_size=transitions,
            learning_starts=s.batch_size,
        )  # fmt: skip
        self.replay = Replay(1, s.num_envs, transitions, s.obs_dim, s.action_dim, device)
        self.bytes_per_transition = self.replay.nbytes() / transitions
        stream = Stream(s, device)
        self.replay.reset_(stream.obs.unsqueeze(0))
        for _ in range(-(-transitions // s.num_envs)):
            self.write(stream.step(), stream.never)
        self._ring: Ring = pytree.tree_map(lambda t: t[0], self.replay.ring())
        self._seed, self._gamma = torch.tensor(1, device=device), torch.tensor(0.99, device=device)
        self.counter = torch.zeros((), dtype=torch.int64, device=device)

    def write(self, step: tuple[Tensor, ...], never: Tensor) -> None:
        """One vector step, by the function that training calls."""
        _, action, reward, next_obs = (value.unsqueeze(0) for value in step)
        self.replay.add_(action, reward, never.unsqueeze(0), never.unsqueeze(0), next_obs)

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

    def writing(self, stream: Stream) -> Callable[[int], None]:
        """A function that writes one vector step so many times: captured on CUDA, as in training, never compiled."""
        step = stream.step()
        mode: Mode = "captured" if self.device.type == "cuda" else "eager"
        self.write(step, stream.never)  # once for real, before it is captured
        launch = Launch(lambda: self.write(step, stream.never), {0: ()}, [self.counter], mode, compiled=False)
        launch.warm_up([0])
        return lambda writes: launch([0] * writes)


class Torchrl:
    """torchrl's TensorDictReplayBuffer on a LazyTensorStorage, with each next observation, as its users have it.

    Args:
        settings: sizes.
        transitions: to hold.
        device: where.
    """

    def __init__(self, settings: Settings, transitions: int, device: torch.device) -> None:
        from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

        logging.getLogger("torchrl").setLevel(logging.WARNING)  # it tells of every storage
        rows = -(-transitions // settings.num_envs) * settings.num_envs
        storage = LazyTensorStorage(rows, device=device)
        self.buffer = TensorDictReplayBuffer(storage=storage, batch_size=settings.batch_size)
        stream = Stream(settings, device)
        for _ in range(rows // settings.num_envs):
            self.write(self.step(stream))
        tensors = self.buffer[:].values(include_nested=True, leaves_only=True)
        self.bytes_per_transition = sum(t.element_size() * t[0].numel() for t in tensors)

    @staticmethod
    def step(stream: Stream) -> Any:
        """One vector step, in the layout of torchrl's environments."""
        from tensordict import TensorDict

        obs, action, reward, next_obs = stream.step()
        flag = stream.never.unsqueeze(-1)
        after = {"observation": next_obs, "reward": reward.unsqueeze(-1), "terminated": flag, "done": flag}
        values = {"observation": obs, "action": action, "next": after}
        return TensorDict(values, batch_size=[len(obs)], device=stream.device)

    def write(self, step: Any) -> None:
        """One vector step."""
        self.buffer.extend(step)

    def draw(self) -> Any:
        """One batch."""
        return self.buffer.sample()


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "replay", QUESTION, argv)
    reporter = Reporter("replay", QUESTION, settings, argv)
    draws: list[harness.Candidate] = []
    writes: list[harness.Candidate] = []
    memory: list[harness.Row] = []
    for transitions in settings.transitions:
        ours, theirs = f"fastsac, {transitions:,}", f"torchrl, {transitions:,}"
        mine = Ours(settings, transitions, device)
        for mode in settings.modes or (MODES if device.type == "cuda" else MODES[:2]):
            run = repeated(mine.draw) if mode == "eager" else mine.drawing(mode)
            draws.append(harness.Candidate(f"fastsac {mode}, {transitions:,}", in_chunks(run, device)))
        writes.append(harness.Candidate(ours, in_chunks(mine.writing(Stream(settings, device)), device)))
        memory.append({"name": ours, "bytes_per_transition": mine.bytes_per_transition})
        other = Torchrl(settings, transitions, device)
        write = partial(other.write, other.step(Stream(settings, device)))
        draws.append(harness.Candidate(theirs, in_chunks(repeated(other.draw), device)))
        writes.append(harness.Candidate(theirs, in_chunks(repeated(write), device)))
        memory.append({"name": theirs, "bytes_per_transition": other.bytes_per_transition})

    def measured(unit: str, candidates: list[harness.Candidate]) -> harness.Row:
        rows = harness.interleave(candidates, settings.repeats, settings.seconds)
        pairs = [(c.name, f"torchrl, {c.name.partition(', ')[2]}") for c in candidates if tables.is_ours(c.name)]
        return {"unit": unit, "rows": rows, "ratios": harness.ratios(rows, pairs)}

    report = reporter.finish(draws=measured("draws/s", draws), writes=measured("vector steps/s", writes), memory=memory)
    tables.show(figures(report))
    return report


def repeated(once: Callable[[], Any]) -> Callable[[int], None]:
    """`once`, so many times."""

    def run(times: int) -> None:
        for _ in range(times):
            once()

    return run


def in_chunks(run: Callable[[int], None], device: torch.device) -> Callable[[int], int]:
    """A candidate's function: so many units in chunks, after which the device is waited for."""

    def units(count: int) -> int:
        for start in range(0, count, CHUNK):
            run(min(CHUNK, count - start))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return count

    return units


def figures(report: harness.Report) -> list[tables.Figures]:
    """Draws, writes with their ratios, and bytes per transition."""
    found = []
    for part, size in (("draws", "batch_size"), ("writes", "num_envs")):
        found += tables.rates({"bench": f"replay, {part} of {report['settings'][size]}", **report[part]})
    rows = [[row["name"], f"{row['bytes_per_transition']:.1f}"] for row in report["memory"]]
    return [*found, tables.Figures("replay: memory", ["", "bytes per transition"], rows)]


def page(results: Sequence[Result]) -> Iterator[str]:
    """Bytes, draws and writes side by side."""
    for result in first_of_each(results, "memory"):
        report = result.report
        lines = []
        for row in report["draws"]["rows"]:
            size = row["name"].partition(", ")[2]
            plain = f"{'fastsac' if tables.is_ours(row['name']) else 'torchrl'}, {size}"
            written = {r["name"]: r.get("median") for r in report["writes"]["rows"]}.get(plain)
            held = {r["name"]: r["bytes_per_transition"] for r in report["memory"]}.get(plain)
            rates = [tables.number(rate, 0) for rate in (row.get("median"), written)]
            lines.append([row["name"], tables.number(held, 1), *rates])
        sizes = report["settings"]
        columns = [f"replay on {result.machine}, transitions", "bytes per transition"]
        columns += [f"draws of {sizes['batch_size']}/s", f"writes of {sizes['num_envs']}/s"]
        yield tables.Figures("", columns, lines).markdown()


PAGE = {"Memory": page}

if __name__ == "__main__":
    main()
