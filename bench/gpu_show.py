"""The table and the charts of a report of `bench.gpu`.

`python -m bench.gpu_show FILE` shows a report again and draws its charts anew.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bench import harness
from fastsac.report.style import COLOURS, FAINT, INK, short_number

TABLE_WIDTH = 190  # in characters, where the output is no terminal
MARKERS = ("o", "s", "^", "D")
LINES = ("-", "--", ":", "-.")


def main(argv: Sequence[str] | None = None) -> None:
    for name in sys.argv[1:] if argv is None else argv:
        report = json.loads(Path(name).read_text())
        show(report)
        draw_all(report, Path(name))


# Table --------------------------------------------------------------------------------------------------------------


def show(report: harness.Report) -> None:
    """Print the table."""
    width = None if sys.stdout.isatty() else TABLE_WIDTH
    for table in figures(report):
        table.show(width)


def figures(report: harness.Report) -> list[harness.Figures]:
    """One line per job."""
    columns = ["", "median", "min", "max", "unit", "GPU us", "floor us", "nodes", "host %", "MiB", "notes"]
    title = "gpu: GPU time, floor and graph nodes are per update of all members; host time is a share of GPU time"
    return [harness.Figures(title, columns, [cells(row) for row in report["rows"]])]


def headline(report: harness.Report) -> list[harness.Headline]:
    """The headline's updates, for the first lines of bench/README.md."""
    rows = [row for row in measured(report) if row["section"] == "headline"]
    return [harness.Headline(row["unit"], f"{row['name']}: {number(row['median'])}") for row in rows]


def cells(row: harness.Row) -> list[str]:
    """One line of the table."""
    share, memory = row.get("host_share"), row.get("peak_allocated_bytes")
    return [
        f"{row['section']}: {row['name']}",
        *(number(row.get(key)) for key in ("median", "min", "max")),
        row.get("unit", ""),
        number(row.get("gpu_us_per_update"), 1),
        number(row.get("floor_us_per_update"), 1),
        number(row.get("nodes_per_update"), 1),
        number(None if share is None else 100 * share, 1),
        number(None if memory is None else memory / 2**20),
        notes(row),
    ]


def number(value: float | None, digits: int = 0) -> str:
    """`12,345`, or nothing."""
    return "" if value is None else f"{value:,.{digits}f}"


def notes(row: harness.Row) -> str:
    """What else a line should say."""
    for key in ("skipped", "error"):
        if key in row:
            return f"{key}: {row[key].splitlines()[0][:150]}"
    parts = []
    if row.get("members", 1) > 1:
        parts.append(f"{row['member_updates_per_s']:,.0f} member-updates/s")
    if "ratio" in row:
        ms = {name: row[f"{name}_ms_per_vec_step"]["median"] for name in ("wall", "env", "learner")}
        parts.append("ms per vector step: wall {wall:.2f}, env {env:.2f}, learner {learner:.2f}".format(**ms))
        parts.append(f"ratio {row['ratio']['median']:.2f}")
    if "busy_us" in row:
        parts.append(f"{row['span_us']:.1f} us per update, of which kernels {row['busy_us']:.1f}")
    for t in row.get("targets", []):
        aim = f" (aim {t['aim']:,})" if t["aim"] else ""
        verdict = {True: "met", False: "missed", None: "not measured"}[t["met"]]
        parts.append(f"{t['figure']} {t['sign']} {t['bound']:,}{aim}: {verdict}")
    return "; ".join(parts)


def outcome(row: harness.Row) -> str:
    """The figure, or why there is none, for a log."""
    parts = [f"{row['median']:,.0f} {row['unit']}"] if "median" in row else []
    return "; ".join(p for p in (*parts, notes(row)) if p)


# Charts -------------------------------------------------------------------------------------------------------------


def draw_all(report: harness.Report, path: Path) -> list[Path]:
    """Write every chart that there are figures for, beside `path` and with its stem; one that fails is reported."""
    written = []
    for name, draw in CHARTS.items():
        try:
            figure = draw(measured(report))
            if figure is None:
                continue
            out = path.with_name(f"{path.stem}-{name}.png")
            figure.text(0.01, 0.01, source(report), fontsize=7, color="#777777")
            figure.savefig(out, dpi=150)
        except Exception:  # the figures are in the report, and can be drawn again
            traceback.print_exc()
            continue
        print(out)
        written.append(out)
    return written


def measured(report: harness.Report) -> list[harness.Row]:
    """Rows with figures."""
    return [row for row in report["rows"] if "median" in row]


def source(report: harness.Report) -> str:
    """On what it was measured, in one line."""
    gpu, commit = report["machine"]["gpu"], report.get("commit")
    device = gpu["name"] if gpu and report["settings"]["device"] != "cpu" else report["machine"]["cpu"]
    code = f"fastsac {commit[:7]}" if commit else f"fastsac {report['versions'].get('fastsac', '')}"
    return f"{device}, {report['machine']['cores']} CPU cores, torch {report['versions']['torch']}, {code}"


def updates_chart(rows: Sequence[harness.Row]) -> Figure | None:
    """Updates per second against updates per launch, at the headline's batch, members and precision."""
    first = next((row for row in rows if row["section"] == "headline"), None)
    if first is None:
        return None
    keys = ("batch_size", "members", "precision")
    same = [r for r in rows if r["section"] in ("headline", "launch") and all(r[k] == first[k] for k in keys)]
    same.sort(key=lambda row: row["per_launch"])
    figure, axes = new_figure(f"Updates alone: batch {first['batch_size']:,}, {members(first['members'])}, "
                              f"{precision(first['precision'])}")  # fmt: skip
    x = [row["per_launch"] for row in same]
    with_range(axes, x, same, color=COLOURS[0], marker="o", label="measured")
    floor_us = first["floor_us_per_update"]
    bounds = {"floor of latency, arithmetic and memory": 1e6 / floor_us} if floor_us else {}
    bounds |= {
        f"{name} {t[key]:,}": t[key]
        for t in first["targets"]
        if t["figure"] == "updates/s"
        for name, key in (("target", "bound"), ("aim", "aim"))
    }
    top = max(row["max"] for row in same)
    for (label, value), line in zip(bounds.items(), LINES[1:], strict=False):
        if value < 3 * top:
            axes.axhline(value, color="#777777", linestyle=line, linewidth=1.2, label=label)
            top = max(top, value)
    powers_of_two(axes, x)
    finish(axes, "updates per launch (one CUDA graph)", "updates/s", 1.12 * top)
    return figure


def members_chart(rows: Sequence[harness.Row]) -> Figure | None:
    """Member-updates per second against members, one line per batch and precision."""
    rows = [row for row in rows if row["section"] in ("headline", "sweep")]
    if len({row["members"] for row in rows}) < 2:
        return None
    figure, axes = new_figure(f"Updates of all members together, {rows[0]['per_launch']} per launch")
    batches = sorted({row["batch_size"] for row in rows})
    precisions = [p for p in ("high", "bf16", "highest") if any(row["precision"] == p for row in rows)]
    for i, batch in enumerate(batches):
        for j, kind in enumerate(precisions):
            line = [row for row in rows if (row["batch_size"], row["precision"]) == (batch, kind)]
            line.sort(key=lambda row: row["members"])
            if line:
                x, y = [row["members"] for row in line], [row["member_updates_per_s"] for row in line]
                label = f"batch {batch:,}, {precision(kind)}"
                axes.plot(x, y, color=COLOURS[i], linestyle=LINES[j], marker=MARKERS[j], markersize=5, label=label)
    for row in rows:
        for t in row["targets"]:
            if t["figure"] == "member-updates/s":
                axes.plot([row["members"]], [t["bound"]], "*", markersize=11, color=INK, linestyle="none",
                          label=f"target {t['bound']:,}")  # fmt: skip
    powers_of_two(axes, [row["members"] for row in rows])
    finish(axes, "members", "member-updates/s", log=True)
    axes.get_legend().remove()  # long: beside the panel
    figure.legend(loc="outside right center", frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def end_to_end_chart(rows: Sequence[harness.Row]) -> Figure | None:
    """Wall time per vector step beside that of its parts alone, by updates per environment step."""
    rows = [row for row in rows if row["section"] == "end-to-end"]
    if not rows:
        return None
    first = rows[0]
    figure, axes = new_figure(f"End to end: {first['env']}, {first['num_envs']:,} environments")
    parts = (("wall", "training"), ("env", "environments alone"), ("learner", "updates alone"))
    for i, (key, label) in enumerate(parts):
        times = [row[f"{key}_ms_per_vec_step"] for row in rows]
        x, y = [at + (i - 1) * 0.27 for at in range(len(rows))], [t["median"] for t in times]
        error = [[t["median"] - t["min"] for t in times], [t["max"] - t["median"] for t in times]]
        style = {"ecolor": "#555555", "elinewidth": 1, "capsize": 2}
        bars = axes.bar(x, y, 0.25, color=COLOURS[i], label=label, yerr=error, error_kw=style)
        axes.bar_label(bars, [f"{v:.3g}" for v in y], padding=3, fontsize=8, color=INK)
    axes.set_xticks(range(len(rows)), [f"{r['utd_ratio']:g}\nratio {r['ratio']['median']:.2f}" for r in rows])
    top = max(row[f"{key}_ms_per_vec_step"]["max"] for row in rows for key, _ in parts)
    xlabel = "updates per environment step; below: ratio of training to the slower of its parts"
    finish(axes, xlabel, "ms per vector step", 1.12 * top)
    return figure


def envs_chart(rows: Sequence[harness.Row]) -> Figure | None:
    """Steps per second of the environments alone, against their number and against threads."""
    rows = [row for row in rows if row["section"] == "envs"]
    if not rows:
        return None
    figure, axes = new_figure("Environments alone, random actions", panels=2)
    for panel, key, fixed in ((axes[0], "num_envs", "env_threads"), (axes[1], "env_threads", "num_envs")):
        held = rows[0][fixed]
        for i, env in enumerate(dict.fromkeys(row["env"] for row in rows)):
            line = sorted((r for r in rows if r["env"] == env and r[fixed] == held), key=lambda row: row[key])
            with_range(panel, [row[key] for row in line], line, color=COLOURS[i], marker=MARKERS[i % 4], label=env)
        powers_of_two(panel, [row[key] for row in rows if row[fixed] == held])
    finish(axes[0], f"environments ({rows[0]['env_threads']} threads)", "environment steps/s")
    finish(axes[1], f"threads ({rows[0]['num_envs']:,} environments)", "environment steps/s")
    return figure


CHARTS: dict[str, Callable[[Sequence[harness.Row]], Figure | None]] = {
    "updates": updates_chart,
    "members": members_chart,
    "end-to-end": end_to_end_chart,
    "envs": envs_chart,
}


def new_figure(title: str, panels: int = 1) -> tuple[Figure, Any]:
    """An empty figure with a title, and its panel or panels."""
    figure = Figure(figsize=(7.5 if panels == 1 else 11, 4.6))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", rect=(0.01, 0.05, 0.98, 0.93))
    figure.suptitle(title, fontsize=12, fontweight="bold", color=INK)
    return figure, figure.subplots(1, panels)


def with_range(axes: Axes, x: Sequence[float], rows: Sequence[harness.Row], **style: Any) -> None:
    """A line through the medians, with bars from min to max."""
    y = [row["median"] for row in rows]
    error = [[row["median"] - row["min"] for row in rows], [row["max"] - row["median"] for row in rows]]
    axes.errorbar(x, y, error, capsize=2, elinewidth=1, markersize=5, **style)


def powers_of_two(axes: Axes, values: Iterable[float]) -> None:
    """A logarithmic x axis with a tick at each value that was measured."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(values))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def finish(axes: Axes, x_name: str, y_name: str, top: float | None = None, log: bool = False) -> None:
    """Names, legend, light grid, and a y axis from 0 or a logarithmic one."""
    axes.set_xlabel(x_name, color=INK)
    axes.set_ylabel(y_name, color=INK)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if log else MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    axes.legend(frameon=True, framealpha=0.9, edgecolor="white", fontsize=8.5, labelcolor=INK)


def members(count: int) -> str:
    """`1 member`, `8 members`."""
    return f"{count} member{'s' * (count > 1)}"


def precision(name: str) -> str:
    """The precision of matrix products, in words."""
    return {"highest": "float32", "high": "TF32", "bf16": "bf16"}[name]


if __name__ == "__main__":
    main()
