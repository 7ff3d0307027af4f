"""Films that can be played anywhere, whatever ended them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from fastsac.film import film as films
from fastsac.film.film import MOST_THUMBNAILS, Film, check_encoder, thumbnails
from tests.support.films import watch


def picture(grey: int, size: tuple[int, int] = (30, 41)) -> np.ndarray:
    frame = np.full((*size, 3), grey, np.uint8)
    frame[: size[0] // 3, : size[1] // 2] = 255, 0, 0
    return frame


def test_what_goes_in_comes_out_upright_and_in_its_colours(tmp_path: Path) -> None:
    with Film(tmp_path / "new" / "a.mp4", 125 / 3) as film:
        for grey in (0, 100, 200):
            film.show(picture(grey))
    seen = watch(tmp_path / "new" / "a.mp4")
    assert (seen.codec, seen.pixels) == ("h264", "yuv420p")
    assert seen.frames_per_s == pytest.approx(125 / 3)
    assert [frame.shape for frame in seen.pictures] == [(330, 452, 3)] * 3
    for frame, grey in zip(seen.pictures, (0, 100, 200), strict=True):
        corners = [frame[9, 9], frame[9, -9], frame[-9, 9], frame[-9, -9]]
        for corner, colour in zip(corners, [(255, 0, 0), (grey,) * 3, (grey,) * 3, (grey,) * 3], strict=True):
            assert np.abs(corner.astype(int) - colour).max() < 12
    assert film.num_frames == 3
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.mp4"]


def test_a_film_starts_before_all_of_it_has_arrived(tmp_path: Path) -> None:
    """A browser needs the table of contents first."""
    with Film(tmp_path / "a.mp4", 30) as film:
        film.show(picture(0))
    content = (tmp_path / "a.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("keeps_part", [True, False])
def test_what_was_filmed_before_an_error_is_kept_where_that_is_asked_for(tmp_path: Path, keeps_part: bool) -> None:
    def film_two() -> None:
        with Film(tmp_path / "a.mp4", 30, keeps_part) as film:
            film.show(picture(0))
            film.show(picture(50))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film_two()
    if keeps_part:
        assert watch(tmp_path / "a.mp4").greys == [0, 50]
    else:
        assert not list(tmp_path.iterdir())


def test_a_film_without_frames_is_none_and_an_old_one_stays(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"old")
    with Film(tmp_path / "a.mp4", 30):
        pass
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_pictures_that_change_their_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    with Film(tmp_path / "a.mp4", 30) as film:
        film.show(picture(0, (480, 480)))
        film.show(picture(0, (600, 700)))
    assert [frame.shape for frame in watch(tmp_path / "a.mp4").pictures] == [(480, 480, 3)] * 2


def test_where_it_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Film(tmp_path / "file" / "a.mp4", 30)


def test_thumbnails_show_the_whole_film_in_few_pictures(tmp_path: Path) -> None:
    count = MOST_THUMBNAILS + 50
    with Film(tmp_path / "a.mp4", 50) as film:
        for number in range(count):
            film.show(picture(number))
    content, size = thumbnails(tmp_path / "a.mp4")
    gif = Image.open(io.BytesIO(content))
    assert (gif.format, gif.size, size) == ("GIF", (160, 117), (160, 117))
    assert len([*ImageSequence.Iterator(gif)]) == count // 2
    assert gif.info["duration"] == 40  # every second of 50 in a second


def test_without_an_encoder_there_is_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    check_encoder()
    monkeypatch.setattr(films, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'films need PyAV, which is not installed. Run pip install "fastsac\[vid'):
        check_encoder()
