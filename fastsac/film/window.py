"""A window that shows frames at their pace, by Tk, which comes with Python."""

import time
from collections.abc import Callable
from typing import Any

from fastsac.film.frames import Picture, fit


class WindowClosed(Exception):
    """Somebody has closed the window."""


class NoWindowError(Exception):
    """There is no display, or no Tk; the message says which."""


class Window:
    """A window for frames of one size.

    Args:
        title: of the window.
        frames_per_s: how fast to show them; slower where they do not come as fast.

    Raises:
        NoWindowError: there is nowhere to open one.
    """

    def __init__(
        self,
        title: str,
        frames_per_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        try:
            import tkinter

            self._root: Any = tkinter.Tk(className="fastsac")
        except ImportError:
            raise NoWindowError("this Python has no Tk (Debian: python3-tk)") from None
        except tkinter.TclError as error:
            raise NoWindowError(str(error)) from None
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self._leave)
        self._make_image: Callable[..., Any] = tkinter.PhotoImage
        self._label: Any = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._frame_s, self._clock, self._sleep = 1 / frames_per_s, clock, sleep
        self._next_at = clock()
        self._is_closed = False

    def show(self, picture: Picture) -> None:
        """Show a frame, [H, W, 3], when its time has come; raises WindowClosed if there is no window any more."""
        image = fit(picture)
        height, width, _ = image.shape
        content = self._make_image(data=b"P6 %d %d 255 " % (width, height) + image.tobytes(), format="PPM")
        self._sleep(max(0.0, self._next_at - self._clock()))
        self._next_at = max(self._next_at, self._clock() - self._frame_s) + self._frame_s
        self._label.configure(image=content)
        self._label.image = content  # Tk keeps no reference of its own
        self._root.update()
        if self._is_closed:
            raise WindowClosed

    def close(self) -> None:
        """Take the window away."""
        if not self._is_closed:
            self._leave()

    def _leave(self) -> None:
        self._is_closed = True
        self._root.destroy()
