"""How many batches a second does the replay give, and what does a transition cost, beside torchrl's replay buffer?

Both hold the same random transitions on the same device, written as vector steps of the same environments.  A draw is
a batch with observation, action, reward, end of the task and next observation.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from bench import chart, harness, rate_chart
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config
from fastsac.learning.draw import draw_batch
from fastsac.learning.replay import Replay, Ring
from fastsac.runtime.launch import Launch, Mode

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
    peers: Literal["torchrl", "none"] = "torchrl"
    """What to measure beside it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("obs_dim", "action_dim", "batch_size", "num_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
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
    try:
        settings, device = harness.start(Settings, "replay", __doc__, argv)
    except ValueError as error:
        raise SystemExit(f"bench.replay: {' '.join(str(error).split())}") from None
    reporter = harness.Reporter("replay", __doc__, settings)
    draws, writes, memory, pairs = [], [], [], []
    for transitions in settings.transitions:
        found = candidates(settings, transitions, device)
        draws += found[0]
        writes += found[1]
        memory += found[2]
        theirs = f"torchrl, {transitions:,}"
        pairs += [(c.name, theirs) for c in (*found[0], *found[1]) if c.name != theirs]
    draw_rows = harness.interleave(draws, settings.repeats, settings.seconds)
    write_rows = harness.interleave(writes, settings.repeats, settings.seconds)

    def ratios(rows: Sequence[harness.Row]) -> list[harness.Row]:
        return [r for pair in dict.fromkeys(pairs) if (r := harness.ratio(rows, *pair))]

    report = reporter.finish(
        draws={"unit": "draws/s", "rows": draw_rows, "ratios": ratios(draw_rows)},
        writes={"unit": "vector steps/s", "rows": write_rows, "ratios": ratios(write_rows)},
        memory=memory,
    )
    for table in figures(report):
        table.show()
    chart.save_beside(settings.json, rate_chart.draw(report, panels(report)), report)
    return report


Candidates = list[harness.Candidate | harness.Skipped]


def candidates(settings: Settings, transitions: int, device: torch.device) -> tuple[Candidates, Candidates, list[Any]]:
    """Those that draw, those that write, and the memory that they take."""
    ours = Ours(settings, transitions, device)
    modes = settings.modes or (MODES if device.type == "cuda" else MODES[:2])
    draws: Candidates = []
    for mode in modes:
        name = f"fastsac {mode}, {transitions:,}"
        run = repeated(ours.draw) if mode == "eager" else ours.drawing(mode)
        draws.append(harness.Candidate(name, in_chunks(run, device)))
    name = f"fastsac, {transitions:,}"
    writes: Candidates = [harness.Candidate(name, in_chunks(ours.writing(Stream(settings, device)), device))]
    memory = [{"name": name, "bytes_per_transition": ours.bytes_per_transition}]
    if settings.peers == "none":
        return draws, writes, memory
    name = f"torchrl, {transitions:,}"
    try:
        theirs = Torchrl(settings, transitions, device)
    except ImportError as error:
        skipped = harness.Skipped(name, f"not run: {error}")
        return [*draws, skipped], [*writes, skipped], memory
    step = theirs.step(Stream(settings, device))
    draws.append(harness.Candidate(name, in_chunks(repeated(theirs.draw), device)))
    writes.append(harness.Candidate(name, in_chunks(repeated(lambda: theirs.write(step)), device)))
    memory.append({"name": name, "bytes_per_transition": theirs.bytes_per_transition})
    return draws, writes, memory


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


def panels(report: harness.Report) -> list[rate_chart.Panel]:
    """Draws, writes and bytes, for the chart."""

    def alike(value: float) -> dict[str, float]:
        return dict.fromkeys(("median", "min", "max"), value)

    memory = [{"name": row["name"], **alike(row["bytes_per_transition"])} for row in report["memory"]]
    rates = [rate_chart.Panel(report[part]["unit"], report[part]["rows"]) for part in ("draws", "writes")]
    return [*rates, rate_chart.Panel("bytes per transition", memory)]


def figures(report: harness.Report) -> list[harness.Figures]:
    """Draws, writes with their ratios, and bytes per transition."""
    tables = []
    for part in ("draws", "writes"):
        about = f"replay, {part} of {report['settings']['batch_size' if part == 'draws' else 'num_envs']}"
        tables += harness.rate_figures({"bench": about, **report[part]})
    rows = [[row["name"], f"{row['bytes_per_transition']:.1f}"] for row in report["memory"]]
    return [*tables, harness.Figures("replay: memory", ["", "bytes per transition"], rows)]


if __name__ == "__main__":
    main()
