"""MP4 files that browsers and phones play: H.264, yuv420p, written frame by frame.

Needs PyAV, whose wheel holds FFmpeg: pip install "fastsac[video]".
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fastsac.film.frames import Picture, fit

NEEDED = 'pip install "fastsac[video]"'
OPTIONS = {"crf": "23", "preset": "veryfast"}  # of x264: quality, and how much time it takes for size
THUMBNAIL = 160  # pixels of the longer side
MOST_THUMBNAILS = 100


def check_encoder() -> None:
    """Raise a ValueError, with the remedy, where films cannot be written."""
    if find_spec("av") is None:
        raise ValueError(f"films need PyAV, which is not installed. Run {NEEDED}.")


class FilmError(OSError):
    """A film cannot be written; the message says which and why."""


class Film:
    """An MP4 file; a context manager.  It is there once it is closed, with all frames until then, if there were any.

    Args:
        path: of the file, which is replaced; its folder is made.
        frames_per_s: how many frames a second has.
        keeps_part: whether it is there too when an error ends the context.

    Raises:
        FilmError: it cannot be written; so do the methods.
    """

    def __init__(self, path: Path, frames_per_s: float, keeps_part: bool = False) -> None:
        import av

        self.path, self.num_frames, self._keeps_part = path, 0, keeps_part
        self._partial = path.with_name(f"{path.name}.tmp")
        self._rate = Fraction(frames_per_s).limit_denominator(1_000)
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: Any = av.open(str(self._partial), "w", format="mp4", options={"movflags": "faststart"})
        self._stream: Any = None

    def show(self, picture: Picture) -> None:
        """Add a frame, [H, W, 3]; one of another size than the first is scaled to it."""
        from av import VideoFrame

        frame = VideoFrame.from_ndarray(fit(picture), format="rgb24")
        with self._writing():
            if self._stream is None:
                self._stream = self._file.add_stream("libx264", rate=self._rate, options=OPTIONS)
                self._stream.width, self._stream.height, self._stream.pix_fmt = frame.width, frame.height, "yuv420p"
            self._file.mux(self._stream.encode(frame.reformat(self._stream.width, self._stream.height, "yuv420p")))
        self.num_frames += 1

    def close(self) -> None:
        """Put the file in its place."""
        self._close(is_kept=True)

    def _close(self, is_kept: bool) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            with self._writing():
                if self._stream is not None:
                    file.mux(self._stream.encode(None))
                file.close()
                if self.num_frames and is_kept:
                    os.replace(self._partial, self.path)
        finally:
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FilmError(f"cannot write {self.path}: {error.strerror or error}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._close(is_kept=error is None or self._keeps_part)


def thumbnails(path: Path) -> tuple[bytes, tuple[int, int]]:
    """A film as a small animated GIF that leaves out frames, for where no film can be shown; and its width and height.

    It takes as long as the film.
    """
    import av
    from PIL import Image

    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        stride = -(-max(1, stream.frames) // MOST_THUMBNAILS)
        images: list[Image.Image] = []
        for number, frame in enumerate(film.decode(stream)):
            if number % stride == 0:
                image = Image.fromarray(frame.to_ndarray(format="rgb24"))
                image.thumbnail((THUMBNAIL, THUMBNAIL))
                images.append(image)
        each_ms = 1000 * stride / float(stream.average_rate or 1)
    first, *rest = images
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=rest, duration=each_ms, loop=0)
    return out.getvalue(), first.size
