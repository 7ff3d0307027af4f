"""What does an update of each recipe cost: updates a second, arithmetic, parameters, and seconds to compile?

Every preset has its own networks and batch, on random numbers of HalfCheetah's sizes.  A round makes as many updates as
its seconds allow, in turns of the actor: one that learns at every fourth update is counted as often.
"""

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from bench.lib import children, harness, kernels, program, record
from bench.lib.tables import Figures, extent, number, problem
from bench.peers.common import Sizes
from fastsac.config.presets import PRESETS
from fastsac.config.settings import Config
from fastsac.learning.gradient_step import gradient_step_
from fastsac.learning.learner import Learner
from fastsac.nn.vectors import num_params
from fastsac.runtime.launch import Mode


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 3
    """Timed rounds; each runs every recipe once.  At least 1."""

    presets: tuple[str, ...] = ("gym-mujoco", "simba", "flashsac-cpu-sim", "flashsac", "fastsac")
    """Recipes, a row each; gym-mujoco is plain SAC."""
    batch_size: int | None = None
    """Transitions per update; default that of each preset."""
    obs_dim: int = 17
    """Length of the observation."""
    action_dim: int = 6
    """Length of the action."""
    transitions: int = 100_000
    """Transitions in the replay that batches are drawn from.  At least the largest batch."""
    eager: bool = False
    """Do not compile, to see in seconds that all of it runs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.among("presets", self.presets, list(PRESETS))
        harness.at_least_1(self, "batch_size", "obs_dim", "action_dim")
        if self.transitions < (most := max((self.batch_of(preset) for preset in self.presets), default=0)):
            raise ValueError(f"transitions must be at least the largest batch ({most}), got {self.transitions}.")

    def batch_of(self, preset: str) -> int:
        """Transitions per update of a recipe."""
        return self.batch_size or Config(env="random numbers", preset=preset).batch_size

    def sizes(self, preset: str, device: torch.device) -> Sizes:
        """Those of an update of a recipe; the widths are the preset's own."""
        return Sizes(
            hidden_dims=Config(env="random numbers", preset=preset).hidden_dims,
            batch_size=self.batch_of(preset),
            obs_dim=self.obs_dim,
            action_dim=self.action_dim,
            transitions=self.transitions,
            device=str(device),
        )


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device, reporter = record.start(Settings, "recipes", __doc__, argv)
    mode: Mode = "eager" if settings.eager else program.compiled_mode(device)
    with tempfile.TemporaryDirectory() as caches:  # nothing has been compiled before
        specs = [spec_of(settings, preset, mode, device, Path(caches) / preset) for preset in settings.presets]
        with children.started(specs, settings.threads) as candidates:
            rows = harness.interleave(candidates, settings.repeats, settings.seconds)
    for row, preset in zip(rows, settings.presets, strict=True):
        row |= cost(settings.sizes(preset, device), preset)
    report = reporter.finish(unit="updates/s", mode=mode, rows=rows)
    if device.type == "cuda" and not settings.eager:  # last, because nothing should be timed after profiling
        for row, preset in zip(rows, settings.presets, strict=True):
            row |= profile(settings.sizes(preset, device), preset, device)
        report = reporter.finish(unit="updates/s", mode=mode, rows=rows)
    return reporter.show(report, figures(report))


def spec_of(settings: Settings, preset: str, mode: Mode, device: torch.device, cache: Path) -> children.Spec:
    """The process of a recipe."""
    return children.Spec(
        name=preset,
        adapter="own",
        what="updates",
        sizes=vars(settings.sizes(preset, device)),
        options={"mode": mode, "networks": {"preset": preset}},
        python=children.THIS,
        cache=cache,
    )


def cost(sizes: Sizes, preset: str) -> harness.Row:
    """Batch, parameters as stored, and GFLOP of an update's matrix products, without doing any of them."""
    on_cpu = sizes.device == "cpu"  # the update has another form elsewhere
    with FakeTensorMode() if on_cpu else contextlib.nullcontext():
        learner = program.make_empty(sizes, "eager", torch.device("cpu" if on_cpu else "meta"), preset=preset).learner
        flop = flop_per_update(learner)
    networks = learner.algorithm.networks.values()
    parameters = sum(num_params(network.encoder.shapes | network.body.shapes) for network in networks)
    return {"batch_size": sizes.batch_size, "parameters": parameters, "gflop": flop / 1e9}


def flop_per_update(learner: Learner) -> float:
    """Floating-point operations of the matrix products of an update, the mean over a turn of the actor."""
    views = pytree.tree_map(lambda tensor: tensor[0], learner.buffers)
    delay = learner.algorithm.actor_delay
    with FlopCounterMode(display=False) as counter:
        for k in range(delay):
            gradient_step_(learner.algorithm, learner.config, views, k == 0)
    return float(counter.get_total_flops()) / delay


def profile(sizes: Sizes, preset: str, device: torch.device) -> harness.Row:
    """The kernels of one launch of a recipe."""
    torch.compiler.reset()
    learner = program.make_learner(sizes, "captured", device, preset=preset)
    learner.warm_up()
    updates = max(learner.config.updates_per_graph, learner.algorithm.actor_delay)
    learner.launch([updates])
    program.wait_for(learner)
    return {"kernels": kernels.profile(learner, updates)}


# Table --------------------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[Figures]:
    """A row for each recipe."""
    about = report["settings"]
    rows = []
    for row in report["rows"]:
        rate, gflop = row.get("median"), row["gflop"]
        compile_s = row.get("notes", {}).get("compile_s") or None
        rows.append([
            row["name"], f"{row['batch_size']:,}", f"{row['parameters']:,}", number(gflop), extent(row),
            number(rate and rate * gflop), number(compile_s),
            number(row.get("kernels", {}).get("nodes_per_update"), 1), problem(row),
        ])  # fmt: skip
    title = f"obs {about['obs_dim']}, action {about['action_dim']}, {report['mode']}"
    columns = ["batch", "parameters", "GFLOP", "updates/s", "GFLOP/s", "seconds to compile", "graph nodes", "notes"]
    return [Figures(title, columns, rows, "Recipes")]


if __name__ == "__main__":
    main()
