"""Films: decoded again, picture and sound are where they were put."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from studio.export import ENCODERS, FilmError, film

RATE = 48000


def silence(seconds: float) -> np.ndarray:
    return np.zeros((round(seconds * RATE), 2), np.float32)


def flashes(at: int, total: int | None = None, size: tuple[int, int] = (48, 64)) -> Iterator[np.ndarray]:
    """Dark pictures with one amber one."""
    for k in itertools.count() if total is None else range(total):
        yield np.broadcast_to(np.uint8((255, 179, 64) if k == at else (7, 8, 13)), (*size, 3))


def decoded(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Times of the pictures (s), their mean colours ``[t, 3]``, the sound ``[2, n]``, the container's duration (s)."""
    with av.open(str(path)) as container:
        duration = container.duration / av.time_base
        shown = [(f.time, f.to_ndarray(format="rgb24").mean(axis=(0, 1))) for f in container.decode(video=0)]
    with av.open(str(path)) as container:
        heard = [(f.pts, f.to_ndarray()) for f in container.decode(audio=0)]
    assert heard[0][0] == 0
    return (
        np.array([t for t, _ in shown]),
        np.array([c for _, c in shown]),
        np.concatenate([a for _, a in heard], axis=1),
        duration,
    )


@pytest.mark.parametrize(("fps", "flash"), [(25.0, 35), (30.0, 1), (24000 / 1001, 50)])
def test_flash_and_click_are_in_step(tmp_path: Path, fps: float, flash: int) -> None:
    sound = silence(3.217)
    at = round(flash / fps * RATE)
    sound[at : at + 24] = 0.9
    film(flashes(flash), fps, sound, RATE, tmp_path / "f.mp4")
    times, colours, heard, duration = decoded(tmp_path / "f.mp4")
    seen = times[colours[:, 0].argmax()]
    click = np.abs(heard[0]).argmax() / RATE
    assert seen == pytest.approx(flash / fps, abs=1e-3)
    assert click == pytest.approx(at / RATE, abs=1e-3)
    assert abs(seen - click) < 1 / fps
    assert duration == pytest.approx(3.217, abs=2e-3)
    assert 0 <= 3.217 - len(times) / fps < 1 / fps + 1e-6


def test_colours_come_back(tmp_path: Path) -> None:
    film(flashes(3), 10, silence(1), RATE, tmp_path / "f.mp4")
    _, colours, _, _ = decoded(tmp_path / "f.mp4")
    np.testing.assert_allclose(colours[3], (255, 179, 64), atol=6)
    np.testing.assert_allclose(colours[8], (7, 8, 13), atol=3)


def test_a_build_without_x264_writes_mpeg4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ENCODERS, "libx264")
    film(flashes(7), 24000 / 1001, silence(1), RATE, tmp_path / "f.mp4")
    times, colours, _, _ = decoded(tmp_path / "f.mp4")
    assert times[colours[:, 0].argmax()] == pytest.approx(7 * 1001 / 24000, abs=1e-3)
    np.testing.assert_allclose(colours[7], (255, 179, 64), atol=12)
    monkeypatch.delitem(ENCODERS, "mpeg4")
    with pytest.raises(FilmError, match="none of the video encoders"):
        film(flashes(7), 25, silence(1), RATE, tmp_path / "g.mp4")


def test_last_picture_is_held_and_a_mono_file_is_heard_on_both_sides(tmp_path: Path) -> None:
    wav = tmp_path / "s.wav"
    soundfile.write(wav, (0.5 * np.sin(np.arange(2 * 44100) / 10)).astype(np.float32), 44100)
    film(flashes(4, total=5), 10, wav, None, tmp_path / "f.mp4")
    times, colours, heard, duration = decoded(tmp_path / "f.mp4")
    assert len(times) == 20
    assert (colours[4:, 0] > 240).all()
    assert duration == pytest.approx(2, abs=2e-3)
    sent = 0.5 * np.sin(np.arange(2 * 44100) / 10)
    for side in heard:
        assert np.corrcoef(side[: len(sent)], sent)[0, 1] > 0.99


def test_pictures_are_taken_as_they_are_needed(tmp_path: Path) -> None:
    taken = itertools.count()

    def endless() -> Iterator[np.ndarray]:
        while True:
            next(taken)
            yield np.zeros((16, 16, 3), np.uint8)

    film(endless(), 20, silence(1), RATE, tmp_path / "f.mp4")
    assert next(taken) == 20


@pytest.mark.parametrize(
    ("pictures", "sound", "message"),
    [
        ([np.zeros((15, 16, 3), np.uint8)], silence(1), "16 x 15; a film needs an even width and height"),
        ([], silence(1), "at least one"),
        ([np.zeros((16, 16, 3), np.uint8)], silence(0), "sound is empty"),
        ([np.zeros((16, 16, 3), np.uint8)], np.zeros(100), r"sound is float64 \[100\]"),
        ([np.zeros((16, 16, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)], silence(1), "picture 1 is uint8"),
    ],
)
def test_wrong_material_leaves_no_file(tmp_path: Path, pictures: list, sound: np.ndarray, message: str) -> None:
    with pytest.raises(FilmError, match=message):
        film(pictures, 10, sound, RATE, tmp_path / "f.mp4")
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_and_missing_sound(tmp_path: Path) -> None:
    with pytest.raises(FilmError, match="cannot be written: No such file"):
        film(flashes(1), 10, silence(1), RATE, tmp_path / "nowhere" / "f.mp4")
    with pytest.raises(FilmError, match="sound cannot be read"):
        film(flashes(1), 10, tmp_path / "none.wav", None, tmp_path / "f.mp4")


FULL = """
import resource, signal, sys
import numpy as np
from studio.export import ENCODERS, FilmError, film
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
rng = np.random.default_rng(0)
noise = (rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(1000))
try:
    film(noise, 25, np.zeros((240_000, 2), np.float32), 48000, sys.argv[1])
except FilmError as error:
    print(error)
"""


def test_a_file_that_may_not_grow_is_one_line_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "f.mp4"
    path.write_bytes(b"the film of yesterday")
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path}: the film cannot be written: ")
    assert done.stdout.count("\n") == 1
    assert path.read_bytes() == b"the film of yesterday"
    assert [p.name for p in tmp_path.iterdir()] == ["f.mp4"]
