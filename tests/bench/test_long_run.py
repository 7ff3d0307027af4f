"""bench.long_run: drift is of parts after the warm-up, rates are between rows, and the figures are told."""

import os

import pytest

from bench import long_run
from bench.lib import harness
from tests.support.figures import y_of

SAMPLES = [{"wall_s": 10.0 * i, "rss_mib": 500.0 + i, "files": 5, "threads": 4} for i in range(40)]


def make_report() -> harness.Report:
    rates = [(10.0 * i, 1000.0) for i in range(40)]
    series = {name: [(s["wall_s"], s[name]) for s in SAMPLES] for name in ("rss_mib", "files", "threads")}
    rows = [{"name": n, **long_run.drift(v, 180.0)} for n, v in {**series, "steps_per_s": rates}.items()]
    machine = {"cpu": "A CPU", "cores": 4, "gpu": None}
    told = {"duration": "400s", "warm_up": "180s", "every": 1000}
    about = {"machine": machine, "versions": {"torch": "2.13.0"}, "commit": None, "settings": told}
    checkpoints = {
        "costs": {"loop_s": harness.summary([0.003]), "thread_cpu_s": harness.summary([0.016])},
        "share": harness.summary([0.0019]), "checkpoint_bytes": 2**20,
    }  # fmt: skip
    return {**about, "soak": {"rows": rows, "samples": SAMPLES, "rates": rates}, "checkpoints": checkpoints}


def test_drift_compares_equal_parts_of_the_time_after_the_warm_up() -> None:
    row = long_run.drift([(float(t), 2.0 if t < 100 else 3.0) for t in range(200)], warm_up_s=50.0)
    assert (row["parts"], row["change"], row["count"]) == ([2.0, 2.0, 3.0, 3.0, 3.0], 0.5, 150)
    with pytest.raises(ValueError, match="nothing was seen after the warm-up"):
        long_run.drift([(1.0, 1.0)], warm_up_s=50.0)


def test_rates_are_between_log_points() -> None:
    assert long_run.between([(1.0, 100), (3.0, 500)]) == [(3.0, 200.0)]
    assert long_run.seconds_at([(1.0, 100), (3.0, 500)], 200) == 3.0


def test_tables_and_chart() -> None:
    report = make_report()
    checkpoint, soak = long_run.figures(report)
    assert checkpoint.rows == [["HalfCheetah-v5, every 1,000 steps", "1.0", "3.0", "16.0", "0.19%"]]
    assert soak.rows[0] == ["MiB resident", "520.0", "524.5", "528.5", "532.5", "537.0", "+3.27%"]
    (figure,) = long_run.draw(report).values()
    assert [axes.get_ylabel() for axes in figure.axes] == ["MiB resident", "open files", "threads", "env steps/s"]
    assert y_of(figure.axes[0].lines[0]) == [s["rss_mib"] for s in SAMPLES]


def test_a_process_is_looked_at_from_outside() -> None:
    found = long_run.look(os.getpid())
    assert set(found) == {"rss_mib", "threads", "files"}
    assert min(found.values()) > 0


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="warm_up must be shorter than the duration"):
        long_run.Settings(duration="1m", warm_up="1m")
    with pytest.raises(ValueError, match="every must be at least 1000, got 10"):
        long_run.Settings(every=10)
