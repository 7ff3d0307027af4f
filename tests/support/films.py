"""What a film holds."""

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray


class Seen(NamedTuple):
    codec: str
    pixels: str
    frames_per_s: float
    pictures: list[NDArray[np.uint8]]  # [H, W, 3]

    @property
    def greys(self) -> list[int]:
        """The lower right of each picture, to the nearest 10."""
        return [round(float(picture[-40:-20, -40:-20].mean()) / 10) * 10 for picture in self.pictures]


def watch(path: Path) -> Seen:
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        pictures = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in film.decode(stream)]
        context = stream.codec_context
        return Seen(context.name, str(context.pix_fmt), float(stream.average_rate or 0), pictures)
