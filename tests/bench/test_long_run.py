"""bench.long_run: drift is of parts after the warm-up, rates are between rows, and the figures are told."""

from pathlib import Path

import pytest

from bench import long_run
from bench.lib import harness
from tests.support.figures import y_of

SAMPLES = [{"wall_s": 10.0 * i, "rss_mib": 500.0 + i, "files": 5, "threads": 4, "cpu_s": 1.0} for i in range(40)]


def make_report() -> harness.Report:
    rates = [(10.0 * i, 1000.0) for i in range(40)]
    series = {name: [(s["wall_s"], s[name]) for s in SAMPLES] for name in ("rss_mib", "files", "threads")}
    rows = [{"name": n, **long_run.drift(v, 180.0)} for n, v in {**series, "steps_per_s": rates}.items()]
    told = {"soak_env": "Pendulum-v1", "duration": "400s", "warm_up": "180s", "env": "Ant-v5", "every": 1000}
    machine = {"cpu": "A CPU", "cores": 4, "gpu": None}
    about = {"machine": machine, "versions": {"torch": "2.13.0"}, "commit": None, "settings": told}
    pairs = {
        "rows": [{"name": "with checkpoints", **harness.summary([90.0])}],
        "overhead": harness.summary([0.1]), "share": harness.summary([0.0019]), "checkpoint_bytes": 2**20,
        "costs": {"loop_s": harness.summary([0.003]), "thread_cpu_s": harness.summary([0.016])},
    }  # fmt: skip
    return {**about, "soak": {"rows": rows, "limit": 0.02, "samples": SAMPLES, "rates": rates}, "checkpoints": pairs}


def test_drift_compares_equal_parts_of_the_time_after_the_warm_up() -> None:
    row = long_run.drift([(float(t), 2.0 if t < 100 else 3.0) for t in range(200)], warm_up_s=50.0)
    assert (row["parts"], row["change"], row["count"]) == ([2.0, 2.0, 3.0, 3.0, 3.0], 0.5, 150)
    with pytest.raises(SystemExit, match="nothing was seen after the warm-up"):
        long_run.drift([(1.0, 1.0)], warm_up_s=50.0)


def test_rates_are_between_rows_with_a_newer_time(tmp_path: Path) -> None:
    table = tmp_path / "metrics.csv"
    table.write_text("member,wall_s,env_steps\n0,1.0,100\n1,1.0,100\n0,3.0,500\n1,3.0,500\n0,,600\n")
    assert long_run.read_rates(table) == [(3.0, 200.0)]
    assert long_run.seconds_at([(100, 1.0), (500, 3.0)], 200) == 3.0


def test_tables_and_chart() -> None:
    report = make_report()
    soak, checkpoints = long_run.figures(report)
    assert soak.rows[0] == ["MiB resident", "520.0", "524.5", "528.5", "532.5", "537.0", "+3.27%", "no"]
    assert soak.rows[1][-2:] == ["+0.00%", "yes"]
    assert checkpoints.title == "checkpoints: Ant-v5, env steps/s; 1.0 MiB at the end"
    assert checkpoints.rows[-1] == ["slower, every 1,000 steps: by these costs", *["+0.19%"] * 3]
    (figure,) = long_run.draw(report).values()
    assert [axes.get_ylabel() for axes in figure.axes] == ["env steps/s", "MiB resident", "open files, threads"]
    assert y_of(figure.axes[1].lines[0]) == [s["rss_mib"] for s in SAMPLES]


def test_a_process_is_watched_to_its_end(tmp_path: Path) -> None:
    samples, status, last = long_run.watch(["sleep", "0.3"], tmp_path / "log", every=0.1)
    assert (status, last) == (0, "no message")
    assert samples[0]["threads"] == 1
    assert samples[0]["rss_mib"] > 0


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="warm_up must be shorter than the duration"):
        long_run.Settings(duration="1m", warm_up="1m")
    with pytest.raises(ValueError, match="every must be at least 1000, got 10"):
        long_run.Settings(every=10)
