"""The display: which one is chosen, when it prints, what it prints, and that it gives the terminal back."""

import io
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from fastsac.config.settings import Config
from fastsac.report import displays, progress
from fastsac.report.displays import LiveDisplay, PlainDisplay, make_display
from fastsac.report.panel import PANEL_WIDTH, shares_text
from fastsac.report.progress import Progress

CONFIG = Config(env="Pendulum-v1")
ROW = {
    "env_steps": 5_000, "grad_steps": 4_500, "wall_s": 10.0, "env_steps_per_s": 500.0, "grad_steps_per_s": 500.0,
    "episode_return": -1234.5, "alpha": 0.25, "entropy": -0.5, "critic_loss": 0.125, "q_mean": -31.4,
    "eval_return": math.nan,
}  # fmt: skip
TIMES = {"env_wait_s": 0.7, "device_wait_s": 1.2, "host_s": 0.1}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def plain(clock: Clock) -> PlainDisplay:
    return PlainDisplay(Progress(CONFIG, 20_000), io.StringIO(), clock)


@pytest.fixture
def live(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveDisplay]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    display = LiveDisplay(Progress(CONFIG, 20_000), Terminal(), clock)
    yield display
    display.close()


def written(display: LiveDisplay | PlainDisplay) -> str:
    assert isinstance(display._stream, io.StringIO)
    return display._stream.getvalue()


def lines(display: PlainDisplay) -> list[str]:
    return written(display).splitlines()


def drawn(live: LiveDisplay) -> list[str]:
    """The panel as plain text."""
    with live._console.capture() as capture:
        live._console.print(live._render())
    return Text.from_ansi(capture.get()).plain.splitlines()


@pytest.mark.parametrize(
    ("stream", "environ", "expected"),
    [
        (Terminal(), {"TERM": "xterm"}, LiveDisplay),
        (Terminal(), {"TERM": "xterm", "CI": "false"}, LiveDisplay),
        (Terminal(), {"TERM": "xterm", "CI": "true"}, PlainDisplay),
        (Terminal(), {"TERM": "dumb"}, PlainDisplay),
        (Terminal(), {}, PlainDisplay),
        (io.StringIO(), {"TERM": "xterm"}, PlainDisplay),
    ],
)
def test_choice(stream: io.StringIO, environ: dict[str, str], expected: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TERM", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    display = make_display(CONFIG, 20_000, stream=stream)
    display.close()
    assert type(display) is expected


def test_plain_prints_first_and_last_and_one_in_two_seconds(plain: PlainDisplay, clock: Clock) -> None:
    for i in range(7):
        plain.update({**ROW, "env_steps": 1_000 * i})
        clock.now += 0.9
    plain.close()
    plain.close()
    steps = [line.split()[0] for line in lines(plain)[1:]]
    assert steps == ["0", "3,000", "6,000"]


def test_plain_line(plain: PlainDisplay) -> None:
    plain.update(ROW)
    # 15,000 steps to go at 500 a second are 30 s.
    assert lines(plain) == [
        "Pendulum-v1, seed 1",
        "     5,000 steps ( 25%)      500 env steps/s      500 updates/s  return    -1,234"
        "  alpha   0.250  entropy  -0.500  left 0:30",
    ]


def test_plain_line_says_where_the_time_went(plain: PlainDisplay) -> None:
    plain.update({**ROW, **TIMES})
    assert lines(plain)[-1].endswith("  entropy  -0.500  env 35% learning 60%  left 0:30")


def test_left_out_figures_keep_their_value(plain: PlainDisplay, clock: Clock) -> None:
    plain.update(ROW)
    clock.now += 10
    plain.update({"env_steps": 10_000})
    assert "alpha   0.250" in lines(plain)[-1]
    assert lines(plain)[-1].endswith("left 0:20")


def test_plain_stage_and_table(plain: PlainDisplay, clock: Clock) -> None:
    with plain.stage("compiling the update"):
        clock.now += 12.34
    plain.table({"env steps": "20,000", "wall seconds": "41.2"})
    assert lines(plain)[1:] == [
        "compiling the update ...",
        "compiling the update: 12.3 s",
        "env steps     20,000",
        "wall seconds  41.2",
    ]


def test_plain_has_no_control_characters(plain: PlainDisplay, clock: Clock) -> None:
    plain.info("device cpu [2 threads]")
    with plain.stage("compiling"):
        clock.now += 1
    plain.update(ROW)
    plain.table({"env steps": "20,000"})
    text = "".join(lines(plain))
    assert text.isprintable()
    assert "[2 threads]" in text


def test_a_long_plain_stage_is_told_once(plain: PlainDisplay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displays, "PLAIN_ASIDE_AFTER_S", 0.01)
    with plain.stage("compiling"):
        time.sleep(0.1)
    assert lines(plain).count("compiling ...") == 1


def test_failed_stage_leaves_no_result(plain: PlainDisplay) -> None:
    with pytest.raises(KeyboardInterrupt), plain.stage("compiling"):
        raise KeyboardInterrupt
    assert lines(plain)[-1] == "compiling ..."


def test_live_panel(live: LiveDisplay, clock: Clock) -> None:
    live.update({**ROW, "eval_return": -150.25})
    text = drawn(live)
    assert max(map(len, text)) <= 80
    assert text[1].startswith("Pendulum-v1, seed 1")
    assert text[1].rstrip().endswith("5,000 / 20,000 env steps")
    assert "25%" in text[2]
    assert "0:30 left" in text[2]
    clock.now += 5
    joined = " ".join(" ".join(drawn(live)).split())
    for part in (
        "env steps/s 500", "updates/s 500", "elapsed 0:15", "episode return -1,234", "evaluation -150.2",
        "mean Q -31.4", "alpha 0.250", "entropy -0.500", "critic loss 0.125",
    ):  # fmt: skip
        assert part in joined
    assert "time:" not in joined
    live.update(TIMES)
    assert "time: environments 35%, acting and learning 60%, rest 5%" in drawn(live)


@pytest.mark.parametrize("columns", [100, 80, 60, 40])
def test_nothing_is_cut_at_any_width(live: LiveDisplay, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    live._console = Console(file=live._stream, force_terminal=True)
    row = {**ROW, **TIMES, "env_steps": 1_234_567, "episode_return": -1.2345e-7, "env_steps_per_s": 1_234_567.0}
    live._progress.total_steps = 1_500_000
    live.update(row)
    text = drawn(live)
    assert max(map(len, text)) <= min(columns, PANEL_WIDTH)
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(text)
    joined = " ".join(" ".join(text).split())
    for part in (
        "Pendulum-v1, seed 1", "1,234,567 / 1,500,000 env steps", "82%", "env steps/s 1,234,567", "updates/s 500",
        "episode return -1.23e-07", "evaluation -", "mean Q -31.4", "entropy -0.500", "critic loss 0.125",
        "learning 60%",
    ):  # fmt: skip
        assert part in joined


SCRIPT = """
import sys, time
from fastsac.config.settings import Config
from fastsac.report.displays import make_display
display = make_display(Config(env="Pendulum-v1"), 20_000)
display.update({row})
time.sleep(60)
"""


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
@pytest.mark.parametrize("columns", [60, 40])
def test_on_a_real_terminal(tmp_path: Path, columns: int) -> None:
    script = tmp_path / "show.py"
    script.write_text(SCRIPT.replace("{row}", repr({**ROW, **TIMES, "eval_return": -150.2})))
    tmux = ["tmux", "-u", "-f", "/dev/null", "-S", str(tmp_path / "socket")]
    program = ["env", "CI=", "PYTHONUTF8=1", f"PYTHONPATH={Path(__file__).parents[2]}", sys.executable, str(script)]
    subprocess.run([*tmux, "new-session", "-d", "-x", str(columns), "-y", "20", *program], check=True)
    try:
        text, deadline = "", time.monotonic() + 30
        while "critic loss" not in " ".join(text.split()) and time.monotonic() < deadline:
            time.sleep(0.1)
            text = subprocess.run([*tmux, "capture-pane", "-p"], check=True, capture_output=True, text=True).stdout
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    joined = " ".join(text.split())
    for part in (
        "Pendulum-v1, seed 1 5,", " / 20,000 env steps", "env steps/s 500", "updates/s 500", "episode return -1,234",
        "evaluation -150.2", "mean Q -31.4", "alpha 0.250", "entropy -0.500", "critic loss 0.125", "rest 5%",
    ):  # fmt: skip
        assert part in joined


def shown(live: LiveDisplay) -> tuple[str, str]:
    """Steps and the time that is left."""
    head, bar = drawn(live)[1:3]
    return head.split()[3], bar.split("%")[1].strip().removesuffix(" left")


def test_steps_and_the_time_left_are_those_of_the_last_update(live: LiveDisplay, clock: Clock) -> None:
    live.update(ROW)
    assert shown(live) == ("5,000", "0:30")
    clock.now += 3
    assert shown(live) == ("5,000", "0:30")
    live.update({"env_steps": 5_100, "eval_return": -150.0})  # an evaluation between log points
    assert shown(live)[0] == "5,100"
    live.update({**ROW, "env_steps": 5_502, "env_steps_per_s": 125.0, "grad_steps_per_s": 125.0})
    assert shown(live) == ("5,502", "1:56")
    live.update({**ROW, "env_steps": 20_003})
    assert shown(live) == ("20,003", "0:00")
    live.close()  # nothing is left to wait for
    assert shown(live) == ("20,003", "")


def test_time_left_does_not_believe_random_actions(live: LiveDisplay) -> None:
    # They end at 500 steps; the row of the change holds 100 of them and 400 steps with an update each.
    live.update({**ROW, "env_steps": 100, "env_steps_per_s": 10_000.0, "grad_steps_per_s": 0.0})
    assert shown(live) == ("100", "")
    live.update({**ROW, "env_steps": 500, "env_steps_per_s": 10_000.0, "grad_steps_per_s": 0.0})
    assert shown(live) == ("500", "")
    live.update({**ROW, "env_steps": 1_000, "env_steps_per_s": 5_000.0, "grad_steps_per_s": 100.0})
    assert shown(live) == ("1,000", "")  # ten updates tell nothing
    live.update({**ROW, "env_steps": 1_500, "env_steps_per_s": 250.0, "grad_steps_per_s": 200.0})
    assert shown(live) == ("1,500", "1:32")  # 18,500 steps at 200 a second
    live.update({"env_steps": 2_000, "eval_return": -150.0})
    assert shown(live) == ("2,000", "1:30")


@pytest.mark.parametrize(
    ("env", "grad", "utd_ratio", "expected"),
    [
        (200.0, 200.0, 1.0, 200.0), (200.0, 50.0, 0.25, 200.0), (1000.0, 800.0, 2.0, 400.0),
        (8000.0, 0.0, 1.0, math.nan), (math.nan, math.nan, 1.0, math.nan), (0.0, 0.0, 1.0, math.nan),
    ],
)  # fmt: skip
def test_learning_pace(env: float, grad: float, utd_ratio: float, expected: float) -> None:
    row = {"env_steps_per_s": env, "grad_steps_per_s": grad}
    assert progress.learning_pace(row, utd_ratio) == pytest.approx(expected, nan_ok=True)


def test_aside_shows_its_seconds_and_leaves_no_line(live: LiveDisplay, clock: Clock) -> None:
    live.update(ROW)
    with live.aside("evaluating"):
        clock.now += 7
        assert "evaluating 7 s" in " ".join(drawn(live))
        live.update({"env_steps": 5_300, "eval_return": -150.0})
        clock.now += 1
        assert shown(live)[0] == "5,300"
    clock.now += 1
    text = " ".join(" ".join(drawn(live)).split())
    assert "evaluating" not in text
    assert "elapsed 0:19" in text  # the evaluation's row brings no time: it goes on all the same
    assert "evaluating:" not in written(live)


def history(live: LiveDisplay) -> list[str]:
    """The table of the last evaluations, with single spaces."""
    text = [" ".join(line.split()) for line in drawn(live)]
    start = next(i for i, line in enumerate(text) if line.startswith("evaluated at"))
    return text[start : next((i for i in range(start, len(text)) if not text[i]), None)]


def test_returns_of_several_members_are_shown(live: LiveDisplay, plain: PlainDisplay) -> None:
    for display in (live, plain):
        display.update({**ROW, "eval_return": -120.0}, [-100.0, -110.0, -140.0, -130.0])
    names, figures = history(live)
    assert names == "evaluated at mean of 4 interquartile mean lowest highest"
    assert figures == "5,000 -120.0 -120.0 -140.0 -100.0"
    assert lines(plain)[-1] == "     5,000 steps: evaluated  return -120.0 (iqm -120.0, -140.0 to -100.0)"


def test_brackets_are_explained_where_there_are_members() -> None:
    several = PlainDisplay(Progress(CONFIG.replace(seeds=3), 20_000), io.StringIO())
    legend = "evaluations: the mean over members, and in brackets their interquartile mean, lowest to highest"
    assert lines(several) == ["Pendulum-v1, seeds 1 to 3", legend]


def test_the_last_five_evaluations_are_shown(live: LiveDisplay) -> None:
    for i in range(1, 8):
        live.update({"env_steps": 1_000 * i, "eval_return": -100.0 * i, "eval_std": 10.0 * i}, [-100.0 * i])
    names, *rows = history(live)
    assert names == "evaluated at return std"
    assert (rows[0], rows[-1], len(rows)) == ("3,000 -300.0 30.0", "7,000 -700.0 70.0", 5)


def test_success_is_shown_where_it_is_known(live: LiveDisplay, plain: PlainDisplay) -> None:
    assert "success" not in " ".join(drawn(live))
    for display in (live, plain):
        display.update({**ROW, "success_rate": 0.25})
        display.update({"eval_return": -100.0, "eval_success_rate": 0.5}, [-100.0])
    joined = " ".join(" ".join(drawn(live)).split())
    assert "success rate 25%" in joined
    assert history(live) == ["evaluated at return std success", "5,000 -100.0 - 50%"]
    assert "return    -1,234  success  25%  alpha" in lines(plain)[-2]
    assert lines(plain)[-1] == "     5,000 steps: evaluated  return -100.0 +- -  success 50%"
    live.update({"success_rate": math.nan})  # of a row in which no episode ended
    assert "success rate" in " ".join(drawn(live))


def test_counters_are_the_loops_own(live: LiveDisplay, plain: PlainDisplay) -> None:
    """They move between log points, and say what goes on while there are no updates."""
    for display in (live, plain):
        display.follow(lambda: counters)
    counters = (16, 0)
    assert f"collecting 16 of {CONFIG.learning_starts} random steps" in drawn(live)
    assert shown(live)[0] == "16"
    counters = (1_008, 0)
    assert "first updates ..." in drawn(live)
    plain.update({**ROW, "grad_steps_per_s": math.nan})
    assert "     1,008 steps (  5%)      500 env steps/s  first updates ...  return    -1,234" in lines(plain)[-1]
    counters = (1_024, 16)
    assert not {"first updates ...", "1,008"} & set(drawn(live))
    assert shown(live)[0] == "1,024"


def test_before_updates_the_last_member_counts_and_steps_may_be_the_policys() -> None:
    config = Config(env="Pendulum-v1", preset="none", random_steps=100, sweep=("learning_starts=500,2000",))
    run = Progress(config, 20_000)
    run.counters = lambda: (800, 0)
    assert run.phase == "collecting 800 of 2,000 steps before the first update"


def test_a_gpu_is_waited_for(clock: Clock) -> None:
    run = Progress(CONFIG, 20_000, "cuda")
    run.update({**ROW, **TIMES})
    assert shares_text(run, 78) == "time: waiting for environments 35%, for the GPU 60%, rest 5%"
    assert shares_text(run, 40) == "time: env 35%, GPU 60%, rest 5%"
    display = PlainDisplay(run, io.StringIO(), clock)
    display.update(TIMES)
    assert "env 35% GPU 60%" in lines(display)[-1]


def test_plain_has_no_two_lines_of_one_step(plain: PlainDisplay, clock: Clock) -> None:
    """But one of the figures and one of the evaluation after them, however short the time between."""
    for steps in (10_000, 10_500, 20_000):
        plain.update({**ROW, "env_steps": steps})
        plain.update({"env_steps": steps, "eval_return": steps / 10, "eval_std": 2.5}, [steps / 10])
        clock.now += 0.5
    plain.close()
    assert [line.split()[0] for line in lines(plain)[1:]] == [n for n in ("10,000", "10,500", "20,000") for _ in "ab"]
    assert lines(plain)[-1] == "    20,000 steps: evaluated  return 2,000 +- 2.500"


def test_plain_aside_says_something_only_if_it_takes_long(plain: PlainDisplay, monkeypatch: pytest.MonkeyPatch) -> None:
    with plain.aside("evaluating"):
        pass
    assert len(lines(plain)) == 1
    monkeypatch.setattr(displays, "PLAIN_ASIDE_AFTER_S", 0.01)
    with plain.aside("evaluating"):
        deadline = time.monotonic() + 30
        while len(lines(plain)) == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert lines(plain)[1:] == ["evaluating ..."]


def test_an_aside_within_another_gives_way_to_it(live: LiveDisplay) -> None:
    with live.aside("writing the last checkpoint"):
        with live.aside("writing a checkpoint"):
            assert "writing a checkpoint" in " ".join(drawn(live))
        assert "writing the last checkpoint" in " ".join(drawn(live))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((0.7, 1.2, 0.1), (35, 60, 5)), ((1.0, 1.0, 1.0), (33, 33, 34)), ((0.0, 4.0, 0.0), (0, 100, 0)),
        ((0.0, 0.0, 0.0), None), ((math.nan, 1.0, 1.0), None),
    ],
)  # fmt: skip
def test_time_shares(seconds: tuple[float, float, float], expected: tuple[int, int, int] | None) -> None:
    run = Progress(CONFIG, 20_000)
    run.update({"env_wait_s": 1.0})
    assert run.time_shares is None
    run.update(dict(zip(TIMES, seconds, strict=True)))
    assert run.time_shares == expected


def test_live_stage_shows_its_seconds(live: LiveDisplay, clock: Clock) -> None:
    with live.stage("compiling the update"):
        clock.now += 7
        assert "compiling the update 7 s" in " ".join(drawn(live))
    assert "compiling the update: 7.0 s" in written(live)


def test_live_gives_the_terminal_back(live: LiveDisplay) -> None:
    def interrupted() -> None:
        try:
            live.update(ROW)
            with live.stage("evaluating"):
                raise KeyboardInterrupt
        finally:
            live.close()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    live.close()
    live.info("after")
    text = written(live)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor shows
    assert text.endswith("after\n")


def test_live_table_closes(live: LiveDisplay) -> None:
    live.update(ROW)
    live.table({"env steps": "20,000"})
    assert not live._live.is_started
    assert "20,000" in written(live).rsplit("\x1b[?25h", 1)[1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "-"), (0.0, "0"), (0.0123456, "0.0123"), (0.5, "0.500"), (-153.24, "-153.2"),
        (12345.6, "12,346"), (1.2345e7, "1.23e+07"), (-1.5e-6, "-1.5e-06"),
    ],
)  # fmt: skip
def test_number(value: float, expected: str) -> None:
    assert progress.number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(math.nan, "-"), (math.inf, "-"), (0, "0:00"), (59.6, "1:00"), (725, "12:05"), (11220, "3:07:00"),
     (184020, "2 d 03:07")],
)  # fmt: skip
def test_duration(seconds: float, expected: str) -> None:
    assert progress.duration(seconds) == expected
