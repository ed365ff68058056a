"""Moving pictures: a moment of media time is one picture, whoever asks for it and in whatever order."""

from __future__ import annotations

import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from db.archive import Archive
from pieces.piece import parse_piece
from studio.compose import compose
from studio.pictures.video import Film, Landscape, open_video
from studio.pictures.view import PictureError
from studio.plan import plan
from studio.rendering import staged


def filmed(path: Path, frames: int = 60, fps: int = 30, size: tuple[int, int] = (48, 96), gop: int = 12) -> Path:
    """Frame k is grey, of brightness 20 + 3 k, but for its left half, which is dark."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "0", "g": str(gop), "bf": "2"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv444p"
        for k in range(frames):
            image = np.full((*size, 3), 3 * k + 20, np.uint8)
            image[:, : size[1] // 2] = 0
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def number(picture: np.ndarray) -> int:
    """Which frame it is."""
    return round((float(picture[:, -4:].mean()) - 20) / 3)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    return Film(filmed(tmp_path_factory.mktemp("film") / "f.mp4"))


def test_a_moment_shows_the_frame_that_is_on_screen_then(film):
    assert film.duration == pytest.approx(2.0, abs=0.01)
    assert [number(film.picture((k + 0.5) / 30, 96, 48)) for k in range(60)] == list(range(60))


def test_moments_in_any_order_show_the_same(film):
    for seconds in np.random.default_rng(3).uniform(0, 2, 60):
        assert number(film.picture(seconds, 96, 48)) == int(seconds * 30 + 1e-9), seconds


def test_it_goes_round_in_both_directions(film):
    assert [number(film.picture(s, 96, 48)) for s in (2.05, 4.55, -0.05, 0.0, 2.0)] == [1, 16, 58, 0, 0]


@pytest.mark.parametrize("size", [(96, 48), (200, 40), (31, 77), (640, 360)])
def test_it_fills_the_picture_whole(film, size):
    width, height = size
    shown = film.picture(1.0, width, height)
    assert shown.shape == (height, width, 3)
    assert shown.dtype == np.uint8
    assert shown[:, : width // 2 - 8 * width // 96 - 1].max() <= 6
    assert shown[:, width // 2 + 8 * width // 96 + 1 :].min() >= 60
    assert shown[:, -1].min() >= 60, "no bars"


def test_what_is_no_video_is_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(PictureError, match="the video cannot be read"):
        Film(tmp_path / "notes.txt")
    with pytest.raises(PictureError, match="the video cannot be read"):
        Film(tmp_path / "nothing.mp4")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(PictureError, match="no video in it"):
        Film(tmp_path / "sound.wav")


def test_a_torn_file_shows_what_there_is(tmp_path):
    whole = filmed(tmp_path / "f.mkv")
    torn = tmp_path / "torn.mkv"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    found = Film(torn)
    assert number(found.picture(0.51, 96, 48)) == 15
    late = number(found.picture(1.9, 96, 48))
    assert 16 <= late < 57, "the last whole frame is held"


def test_the_built_in_picture_moves_has_all_colours_and_comes_round():
    made = open_video(None)
    assert isinstance(made, Landscape)
    pictures = [made.picture(s, 160, 90) for s in (0.0, 1.0, 20.0)]
    for one, other in ((0, 1), (1, 2)):
        assert (pictures[one] != pictures[other]).any(axis=2).mean() > 0.05
    for plane in range(3):
        assert pictures[0][..., plane].astype(float).std() > 15, "every plane shows where it is"
    np.testing.assert_array_equal(made.picture(60.0, 160, 90), pictures[0])
    np.testing.assert_array_equal(made.picture(-40.0, 160, 90), pictures[2])
    steps = [made.picture(k / 24, 160, 90).astype(int) for k in range(48)]
    assert max(np.abs(b - a).mean() for a, b in itertools.pairwise(steps)) < 6, "it moves without jumps"
    seam = np.abs(made.picture(59.999, 160, 90).astype(int) - pictures[0]).mean()
    assert seam < 0.5
    for width, height in ((8, 8), (1000, 9), (9, 700)):
        assert made.picture(5.0, width, height).shape == (height, width, 3)


def test_the_built_in_picture_is_the_same_in_every_process():
    code = (
        "import hashlib; from studio.pictures.video import Landscape;"
        "print(hashlib.sha256(Landscape().picture(12.3, 128, 72).tobytes()).hexdigest())"
    )
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(found) == 1
    assert len(found.pop().strip()) == 64


def test_a_take_keeps_its_video_and_shows_it_when_the_file_is_gone(tmp_path):
    path = filmed(tmp_path / "f.mp4")
    piece = parse_piece(
        {
            "title": "T",
            "parts": {
                "fit": {"source": "cubics", "rate": 50, "ticks": 100},
                "video": {"source": "video", "rate": 25, "ticks": 50, "inputs": {"video": "f.mp4"}},
            },
            "score": {"voices": {"a": {"instrument": "glide", "part": "fit", "lanes": {"pitch": 220}}}},
            "picture": {"view": "curve", "part": "fit", "ground": {"video": "video"}},
        },
        "T",
    )
    with Archive.open(tmp_path / "archive.db") as archive:
        take_id = compose(archive, plan("T", piece, tmp_path), 1)
        path.unlink()
        take = archive.take(take_id)
        assert take.inputs["video.video"]["sha256"]
        _, scene = staged(archive, take, piece)
        for seconds in (0.0, 0.45, 1.35, 1.95):
            media = int(seconds * 25 + 1e-6) * 0.04
            brightness = float(np.median(scene.draw(seconds, 96, 48)[:, 60:, 2]))
            assert (brightness - 20) / 3 == pytest.approx(int(media * 30 + 1e-6), abs=1)
