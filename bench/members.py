"""What does a member cost: M agents in one graph beside one agent, and in one process beside M processes?

The first part times updates alone, all numbers of members in turn, each in a process; the second times whole trainings.
"""

import os
import shlex
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.lib import charts, children, harness, processes, program, record, tables
from bench.lib.tables import Figures, extent, number
from fastsac.cli.train import train_config
from fastsac.config.settings import Config
from fastsac.env import make_spec
from fastsac.report.style import COLOURS, INK, frame, new_figure, short_number
from fastsac.runtime.launch import Mode

TRANSITIONS = 100_000  # in the replay of the updates alone


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    json: Path | None = None
    """File to write the report to, with the chart beside it."""
    repeats: int = 3
    """Timed rounds; each runs every number of members, and every arrangement of processes, once.  At least 1."""
    threads: int = 1
    """Threads of torch, for all numbers of members and for each process.  At least 1."""

    env: str = "Pendulum-v1"
    """Environment, whose preset gives all other settings and sizes."""
    args: str = ""
    """Options of `fastsac train` in their place, as one string: `--args="--batch-size 64"`."""
    members: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Members whose updates are timed alone; none leaves that part out."""
    processes: tuple[int, ...] = (4,)
    """Members that are trained in one process, and as many processes; none leaves that part out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.at_least_1(self, "members", "processes")
        for name in ("members", "processes"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must be different, got {values}.")

    def flags(self) -> list[str]:
        """What `fastsac train` is told of what is trained."""
        return ["--env", self.env, *shlex.split(self.args)]


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device, reporter = record.start(Settings, "members", __doc__, argv)
    with harness.one_line("members"):
        config, spec = train_config(settings.flags()), make_spec(settings.env)
    mode: Mode = "eager" if config.compile == "off" else program.compiled_mode(device)
    sizes = {"hidden_dims": config.critic_dims, "batch_size": config.batch_size}
    about = {"mode": mode, "sizes": sizes | {"total_steps": config.total_steps}}
    networks = {name: getattr(config, name) for name in ("actor_hidden_dims", "critic_hidden_dims", "activation")}
    asked = {
        "obs_dim": spec.obs_dim,
        "action_dim": spec.action_dim,
        "transitions": TRANSITIONS,
        "device": str(device),
    }
    specs = [
        children.Spec(
            name=tables.plural(members, "member"),
            adapter="own",
            what="updates",
            sizes=sizes | asked,
            options={"mode": mode, "members": members, "networks": networks},
            python=children.THIS,
        )
        for members in sorted(settings.members)
    ]
    with children.started(specs, settings.threads) as candidates:
        rows = harness.interleave(candidates, settings.repeats, settings.seconds)
    for row, members in zip(rows, sorted(settings.members), strict=True):
        cost = harness.ratio(rows, rows[0]["name"], row["name"])  # of rates: of wall times the other way round
        row |= {"members": members, "cost": cost}
    report = reporter.finish(**about, rows=rows, process_rows=trainings(settings, config, str(device)))
    return reporter.show(report, figures(report), draw(report))


# Whole trainings ----------------------------------------------------------------------------------------------------


def trainings(settings: Settings, config: Config, device: str) -> list[harness.Row]:
    """Wall and processor seconds of so many agents, in one process and in one each, with a filled compile cache."""
    flags = [*settings.flags(), "--device", device, "--cpu-threads", str(settings.threads)]
    flags += ["--eval-every", "0", "--checkpoint-every", "0", "--no-tensorboard"]
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        run = partial(train_all, cache=Path(cache))
        for count in settings.processes:
            alone = [[*flags, "--seed", str(config.seed + i)] for i in range(count)]
            together = [[*flags, "--seeds", str(count)]]
            if config.compile != "off":
                short = ["--total-steps", str(config.learning_starts + 1)]
                run([[*together[0], *short], [*alone[0], *short]], 1)  # fills the cache
            cpu_s: dict[str, list[float]] = {}
            turns = {
                f"{count} members in one process": partial(run, together, 1),
                f"{count} processes, one after the other": partial(run, alone, 1),
                f"{count} processes, at the same time": partial(run, alone, count),
            }
            timed = {name: partial(with_cpu, turn, cpu_s.setdefault(name, [])) for name, turn in turns.items()}
            rows += harness.rounds(timed, settings.repeats)
            for row in tables.measured(rows[-3:]):
                row["cpu_s"] = harness.summary(cpu_s[row["name"]])
    return rows


def train_all(runs: Sequence[Sequence[str]], at_once: int, cache: Path) -> float:
    """Seconds until all these runs have ended, so many of which go on at the same time."""

    def train(flags: Sequence[str]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return processes.train(Path(folder), *flags, cache=cache)

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(train, runs))
    return time.perf_counter() - began


def with_cpu(turn: harness.Turn, cpu_s: list[float]) -> float:
    """What the turn gives; notes the processor seconds of the processes that it started, compilers included."""
    before = os.times()
    seconds = turn()
    after = os.times()
    cpu_s.append(after.children_user - before.children_user + after.children_system - before.children_system)
    return seconds


# Tables and chart ---------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[Figures]:
    """The updates alone, and the trainings."""
    found = []
    if rows := report["rows"]:
        lines = []
        for row in rows:
            whole = number(row["members"] * row["median"] if "median" in row else None)
            cost = extent(row["cost"]["by_round"], 2) if row["cost"] else ""
            lines.append([row["name"], number(row.get("median")), whole, cost, tables.problem(row)])
        columns = ["updates/s", "of all members", "times one member", "notes"]
        found.append(Figures(what(report), columns, lines, "Members"))
    if rows := report["process_rows"]:
        lines = [[row["name"], extent(row, 1), extent(row.get("cpu_s", {}), 1), tables.problem(row)] for row in rows]
        title = f"whole trainings of {report['sizes']['total_steps']:,} steps"
        found.append(Figures(title, ["wall seconds", "processor seconds", "notes"], lines, "Members"))
    return found


def what(report: harness.Report) -> str:
    """`Pendulum-v1, hidden layers 64 and 64, batch 256, compiled`."""
    sizes = report["sizes"]
    hidden = " and ".join(map(str, sizes["hidden_dims"]))
    env = report["settings"]["env"].rpartition(":")[2]
    return f"{env}, hidden layers {hidden}, batch {sizes['batch_size']:,}, {report['mode']}"


def draw(report: harness.Report) -> dict[str, Figure]:
    """What an update costs beside that of one member, over members."""
    rows = [row for row in report["rows"] if row.get("cost")]
    if len(rows) < 2:
        return {}
    figure = new_figure(7.5, 4.8, what(report))
    charts.room_below(figure, 0.25)
    axes = figure.subplots()
    x, costs = [row["members"] for row in rows], [row["cost"]["by_round"] for row in rows]
    for bound, style, name in ((x, "--", "one after the other"), ([1] * len(x), ":", "if members were free")):
        axes.plot(x, bound, color=charts.GREY, linestyle=style, linewidth=1.2, label=name)
    medians = [cost["median"] for cost in costs]
    axes.errorbar(x, medians, charts.ranges(costs), color=COLOURS[0], marker="o", capsize=2, label="measured")
    axes.set_xscale("log")
    axes.set_xticks(x, list(map(str, x)))
    axes.set_xlabel("members", color=INK)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    axes.set_ylabel("wall time of an update, that of one member = 1", color=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    frame(axes)
    axes.legend(frameon=False, labelcolor=INK)
    return {"": charts.sign(figure, report)}


if __name__ == "__main__":
    main()
