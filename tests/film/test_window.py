"""The window: on a display of its own where there is a program for that."""

import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest

from fastsac.film.window import NoWindowError, Window, WindowClosed
from tests.support.fake_clock import FakeClock

PICTURE = np.zeros((480, 480, 3), np.uint8)


def test_without_a_display_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(NoWindowError, match=r"display|python3-tk"):
        Window("title", 30)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if shutil.which("Xvfb") is None or find_spec("tkinter") is None:
        pytest.skip("needs Xvfb and Tk")
    server = subprocess.Popen(["Xvfb", "-displayfd", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    name = f":{server.stdout.readline().strip()}"
    monkeypatch.setenv("DISPLAY", name)
    yield name
    server.kill()
    server.communicate()


def test_frames_are_shown_at_their_pace_until_somebody_closes_it(display: str) -> None:
    clock, slept = FakeClock(), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds

    window = Window("title", 10, clock.monotonic, sleep)
    for late in (0.0, 0.0, 0.25, 0.0):
        clock.now += late
        window.show(PICTURE)
    assert slept == pytest.approx([0, 0.1, 0, 0.0], abs=1e-9)
    window._root.after(0, window._leave)
    with pytest.raises(WindowClosed):
        window.show(PICTURE)
    window.close()
