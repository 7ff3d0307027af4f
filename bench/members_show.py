"""The tables and the chart of a report of `bench.members`.

`python -m bench.members_show FILE` shows a report again and draws its chart anew.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from bench import chart, harness
from bench.gpu_show import finish, new_figure, notes, number, powers_of_two, source, with_range
from fastsac.report.style import COLOURS, INK

TABLE_WIDTH = 150  # in characters, where the output is no terminal


def main(argv: Sequence[str] | None = None) -> None:
    for name in sys.argv[1:] if argv is None else argv:
        report = json.loads(Path(name).read_text())
        show(report)
        chart.save_beside(Path(name), draw_chart(report), report)


# Tables -------------------------------------------------------------------------------------------------------------


def show(report: harness.Report) -> None:
    """Print the tables."""
    width = None if sys.stdout.isatty() else TABLE_WIDTH
    for table in figures(report):
        table.show(width)


def figures(report: harness.Report) -> list[harness.Figures]:
    """The updates alone, the processes, their ratios, and the returns side by side."""
    tables = []
    if report["rows"]:
        columns = ["", "updates/s", "min", "max", "member-updates/s", "ms per update", "times one member"]
        columns += ["min", "max", "compiling s", "notes"]
        title = f"updates alone, {what(report)}"
        tables.append(harness.Figures(title, columns, [update_cells(row) for row in report["rows"]]))
    rows = report.get("process_rows", [])
    if rows:
        columns = ["", "wall s", "min", "max", "compiling s", "CPU s", "updates per member", "notes"]
        told = report["settings"]
        title = f"whole processes, {told['env']}, {told['total_steps']:,} steps, {cache(report)}"
        tables.append(harness.Figures(title, columns, [process_cells(row) for row in rows]))
        columns = ["", "seconds", "of medians", "by round: median", "min", "max", "notes"]
        tables.append(harness.Figures("ratios", columns, [ratio_cells(ratio) for ratio in report["process_ratios"]]))
    for count in dict.fromkeys(row["processes"] for row in rows):
        mine = [row for row in rows if row["processes"] == count and "returns" in row]
        columns = ["seed", *(row["name"] for row in mine)]
        tables.append(harness.Figures("returns at the end", columns, return_cells([row["returns"] for row in mine])))
    return tables


def headline(report: harness.Report) -> list[harness.Headline]:
    """Wall times of one process with all members beside those of the others, for the first lines of bench/README.md."""
    medians = {row["name"]: number(row.get("median"), 1) for row in report.get("process_rows", [])}
    together = arrangement(0, "together").lstrip("0")
    return [
        harness.Headline(
            "wall seconds of whole trainings",
            f"{ratio['of']}: {medians[ratio['of']]}",
            f"{ratio['to']}: {medians[ratio['to']]}",
            harness.ratio_text(ratio),
        )
        for ratio in report.get("process_ratios", [])
        if ratio["what"] == "wall" and ratio["of"].endswith(together)
    ]


def update_cells(row: harness.Row) -> list[str]:
    """One number of members."""
    if "error" in row:
        return [row["name"], *[""] * 9, notes(row)]
    cost = row["cost"]
    costs = [cost["by_round"][key] if cost else None for key in ("median", "min", "max")]
    return [
        row["name"],
        *(number(row[key], 1) for key in ("median", "min", "max", "member_updates_per_s")),
        number(1000 / row["median"], 3),
        *(number(value, 2) for value in costs),
        number(row["notes"]["compile_s"], 1),
        verdicts(row),
    ]


def process_cells(row: harness.Row) -> list[str]:
    """One arrangement of processes."""
    if "error" in row:
        return [row["name"], *[""] * 6, notes(row)]
    walls = [number(row[key], 1) for key in ("median", "min", "max")]
    others = [number(row[key]["median"], 1) for key in ("compile_s", "cpu_s")]
    differ = "updates differ" if len(row["grad_steps"]) > 1 else ""
    return [row["name"], *walls, *others, " or ".join(f"{steps:,}" for steps in row["grad_steps"]), differ]


def ratio_cells(ratio: harness.Row) -> list[str]:
    """One pair of arrangements."""
    by_round = [number(ratio["by_round"][key], 2) for key in ("median", "min", "max")]
    name = f"{ratio['of']} / {ratio['to']}"
    return [name, ratio["what"], number(ratio["of_medians"], 2), *by_round, verdicts(ratio)]


def return_cells(returns: Sequence[dict[str, float]]) -> list[list[str]]:
    """A line per seed, then mean and standard deviation over seeds."""
    if not returns:
        return []
    lines = [[seed, *(number(column[seed], 1) for column in returns)] for seed in returns[0]]
    for name, figure in (("mean", statistics.mean), ("standard deviation", statistics.stdev)):
        lines.append([name, *(number(figure(column.values()), 1) for column in returns)])
    return lines


def verdicts(row: harness.Row) -> str:
    """Targets, and whether they are met."""
    return notes({"targets": row["targets"]})


def outcome(run: harness.Row) -> str:
    """What one arrangement came to in one round, for a log."""
    name = f"round {run['round']}, {arrangement(run['processes'], run['arrangement'])}"
    if "error" in run:
        return f"{name}: {notes(run)}"
    compiling = f", of which compiling {run['compile_s']:.1f}" if run["compile_s"] else ""
    mean = statistics.mean(member["eval_return_mean"] for member in run["members"])
    return f"{name}: {run['wall_s']:.1f} s{compiling}; mean return {mean:.1f}"


def arrangement(count: int, key: str) -> str:
    """`4 processes, one after the other`."""
    if key == "together":
        return f"{count} members in one process"
    return f"{count} processes, {'one after the other' if key == 'in turn' else 'at the same time'}"


def what(report: harness.Report) -> str:
    """`Pendulum-v1, hidden layers 64 and 64, batch 256, compiled`."""
    sizes = report["sizes"]
    hidden = " and ".join(map(str, sizes["hidden_dims"]))
    env = report["settings"]["env"].rpartition(":")[2]
    return f"{env}, hidden layers {hidden}, batch {sizes['batch_size']:,}, {report['mode']}"


def cache(report: harness.Report) -> str:
    """How the processes compiled."""
    if report["mode"] == "eager":
        return "eager"
    return {"cold": "each compiles anew", "warm": "compile cache filled before"}[report["settings"]["compile_cache"]]


# Chart --------------------------------------------------------------------------------------------------------------


def draw_chart(report: harness.Report) -> Figure | None:
    """Member-updates per second, and the cost of an update beside that of one member, over members; None without."""
    rows = [row for row in report["rows"] if row.get("cost")]
    if not rows:
        return None
    figure, (left, right) = new_figure(f"Members in one graph: {what(report)}", panels=2)
    x = [row["members"] for row in rows]
    draw_rates(left, x, rows)
    draw_costs(right, x, rows)
    threads = report["settings"]["threads"]
    on = f", {threads} thread{'s' * (threads > 1)}" if report["device"] == "cpu" else ""
    figure.text(0.01, 0.01, source(report) + on, fontsize=7, color="#777777")
    return figure


def draw_rates(axes: Axes, x: Sequence[int], rows: Sequence[harness.Row]) -> None:
    """Updates of all members a second, and what they would be if members were free."""
    rates = [{key: row["members"] * row[key] for key in ("median", "min", "max")} for row in rows]
    one = rates[0]["median"]
    axes.plot(x, [m * one for m in x], color="#777777", linestyle="--", linewidth=1.2, label="if members were free")
    with_range(axes, x, rates, color=COLOURS[0], marker="o", label="measured")
    label_points(axes, x, [rate["median"] for rate in rates], ",.0f")
    powers_of_two(axes, x)
    finish(axes, "members", "member-updates/s", log=True)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left")


def draw_costs(axes: Axes, x: Sequence[int], rows: Sequence[harness.Row]) -> None:
    """Wall time of one update of all members, in updates of one member."""
    axes.plot(x, x, color="#777777", linestyle="--", linewidth=1.2, label="one after the other")
    costs = [row["cost"]["by_round"] for row in rows]
    with_range(axes, x, costs, color=COLOURS[1], marker="o", label="measured")
    label_points(axes, x, [cost["median"] for cost in costs], ".2f")
    aims = [(row["members"], aim["bound"]) for row in rows for aim in row["targets"]]
    if aims:
        ms, bounds = zip(*aims, strict=True)
        axes.plot(ms, bounds, "*", markersize=11, color=INK, linestyle="none", label="target: at most")
    powers_of_two(axes, x)
    finish(axes, "members", "wall time per update, that of one member = 1", log=True)
    axes.yaxis.set_major_locator(LogLocator(base=2))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left")


def label_points(axes: Axes, x: Sequence[int], y: Sequence[float], form: str) -> None:
    """Each figure, below its point on the right, where the dashed line is not."""
    for at, value in zip(x, y, strict=True):
        axes.annotate(format(value, form), (at, value), (5, -4), textcoords="offset points", va="top", fontsize=8,
                      color=INK)  # fmt: skip
    axes.margins(x=0.1)


if __name__ == "__main__":
    main()
