"""The tables and the chart of a report of `bench.profile`.

`python -m bench.profile_show FILE` shows a report again and draws its chart anew, beside it.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from bench import chart, harness
from bench.gpu_show import new_figure, source
from fastsac.report.style import COLOURS, INK

GROUPS = ("environment", "acting", "learner", "storing", "host", "log points", "rest")
"""What the time is divided into; `rest` is what no wrapped method took: the loop's own lines."""


def main(argv: Sequence[str] | None = None) -> None:
    for name in sys.argv[1:] if argv is None else argv:
        report = json.loads(Path(name).read_text())
        for table in figures(report):
            table.show()
        chart.save_beside(Path(name), draw_chart(report), report)


def figures(report: harness.Report) -> list[harness.Figures]:
    """The groups of all profiles side by side, then for each the spans and the operators."""
    rows = report["rows"]
    columns = ["us per environment step", *(x for row in rows for x in (f"{row['num_envs']} envs", "share"))]
    lines = [
        [group, *(x for row in rows for x in (f"{row['groups'][group]['us']:.1f}", percent(row["groups"][group])))]
        for group in GROUPS
    ]
    for name, key in (("together", "env_steps_per_s"), ("env steps/s without timing", "env_steps_per_s_bare")):
        walls = [
            f"{1e6 / row[key]['median']:.1f}" if name == "together" else f"{row[key]['median']:,.0f}" for row in rows
        ]
        lines.append([name, *(x for wall in walls for x in (wall, ""))])
    tables = [harness.Figures(f"profile: {report['settings']['env']}, {rows[0]['mode']}", columns, lines)]
    for row in rows:
        columns = ["", "us per env step", "min", "max", "share", "calls per vector step", "a call, median us"]
        lines = [
            [
                s["name"],
                *(f"{s[k]:.2f}" for k in ("median", "min", "max")),
                percent(s),
                f"{s['calls_per_vec_step']:.3g}",
                f"{s['call_us']:.1f}" if s["call_us"] is not None else "",
            ]
            for s in sorted(row["spans"], key=lambda s: GROUPS.index(s["name"].partition(":")[0]))
        ]
        tables.append(harness.Figures(f"{row['name']}: spans", columns, lines))
        columns = ["", "us per env step", "calls per update"]
        lines = [[o["name"], f"{o['us']:.1f}", f"{o['per_update']:.3g}"] for o in row["operators"]]
        tables.append(harness.Figures(f"{row['name']}: what took longest in the trace", columns, lines))
    return tables


def percent(value: harness.Row) -> str:
    """The share, as text."""
    return f"{100 * value['share']:.1f}%"


def draw_chart(report: harness.Report) -> Figure:
    """A bar per profile, divided into groups."""
    rows = report["rows"]
    figure, axes = new_figure(f"Where a second of training goes: {report['settings']['env']}")
    left = [0.0] * len(rows)
    for group, colour in zip(GROUPS, (*COLOURS, "#777777", "#BBBBBB"), strict=False):
        width = [1000 * row["groups"][group]["share"] for row in rows]
        bars = axes.barh(range(len(rows)), width, left=left, color=colour, label=group, height=0.6)
        texts = [f"{w:.0f}" if w >= 40 else "" for w in width]
        axes.bar_label(bars, texts, label_type="center", fontsize=8.5, color="white")
        left = [a + b for a, b in zip(left, width, strict=True)]
    names = [f"{r['num_envs']} env{'s' * (r['num_envs'] > 1)}\n{r['step_us']['median']:,.0f} us a step" for r in rows]
    axes.set_yticks(range(len(rows)), names, color=INK)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds of each second", color=INK)
    axes.set_xlim(0, 1000)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    figure.set_layout_engine("constrained", rect=(0.01, 0.14, 0.98, 0.84))  # room for the legend
    figure.legend(
        loc="lower center", bbox_to_anchor=(0.5, 0.04), ncols=len(GROUPS), frameon=False, fontsize=8.5, labelcolor=INK
    )
    figure.text(0.01, 0.005, source(report), fontsize=7, color="#777777")
    return figure


if __name__ == "__main__":
    main()
