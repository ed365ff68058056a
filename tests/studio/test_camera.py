"""A camera: what was seen is filmed by media time and kept with the take. (FFmpeg's test picture is the camera.)"""

from __future__ import annotations

import time
from pathlib import Path

import av
import numpy as np
import pytest

from db.archive import Archive
from pieces.piece import parse_piece
from pieces.signals import Frames
from sonify.incoming import Inbox
from studio.camera import Camera, CameraError
from studio.compose import compose
from studio.live import Hall
from studio.pictures.canvas import GROUND
from studio.pictures.draw import picture
from studio.pictures.video import Film, Landscape
from studio.plan import plan
from studio.prompt import finest
from studio.rendering import staged

#: A new picture thirty times a second, in its own time.
PICTURE = "testsrc2=size=322x240:rate=30,realtime"


def camera(folder: Path, picture: str = PICTURE) -> Camera:
    return Camera(folder / "camera.mp4", picture, "lavfi")


def pictures(count: int = 90) -> np.ndarray:
    """What the camera shows, from its beginning on, ``[count, 240, 322, 3]``."""
    with av.open(PICTURE.partition(",")[0], format="lavfi") as container:
        frames = container.decode(video=0)
        return np.stack([next(frames).to_ndarray(format="rgb24") for _ in range(count)])


def test_the_picture_of_a_media_time_is_found_again(tmp_path):
    with camera(tmp_path) as eye:
        seen = []
        for k in range(10):
            seen.append(eye.film(0.2 * k))
            assert eye.film(0.1 * k) is None, "not after the last one"
            time.sleep(0.15)  # the camera goes on
    assert eye.filmed == 10
    film = Film(tmp_path / "camera.mp4")
    for k, shown in enumerate(seen):
        for within in (0.0, 0.1):
            again = film.picture(0.2 * k + within if k < 9 else 0.2 * k, 322, 240).astype(int)
            others = [np.abs(again - other).mean() for j, other in enumerate(seen) if j != k]
            assert np.abs(again - shown).mean() < min(others)


def test_a_take_shows_what_its_camera_saw(tmp_path):
    piece = parse_piece(
        {
            "title": "T",
            "parts": {
                "fit": {"source": "cubics", "rate": 50, "ticks": 75},
                "video": {"source": "video", "rate": 25, "ticks": 38},
            },
            "score": {"voices": {"a": {"instrument": "glide", "part": "fit", "lanes": {"pitch": 220}}}},
            "picture": {"view": "curve", "part": "fit", "ground": {"video": "video"}},
        },
        "T",
    )
    planned = plan("T", piece, tmp_path)
    hall = Hall(planned, Inbox(), grain=finest(piece))
    with Archive.open(tmp_path / "archive.db") as archive, camera(tmp_path) as hall.camera:
        take_id = compose(archive, planned, 1, stage=hall)
        hall.camera.close()
        take = archive.take(take_id)
        without = staged(archive, take, piece)[1].draw(1.0, 322, 240)
        archive.add_media(take_id, "input:video.video", tmp_path / "camera.mp4")
        _, scene = staged(archive, take, piece)
        shown = [scene.draw(s, 322, 240) for s in (0.3, 0.8, 1.3)]
    known = pictures()
    places = []
    frames = archive_frames(tmp_path, take_id)
    for seconds, seen in zip((0.3, 0.8, 1.3), shown, strict=True):
        free = (picture("curve", frames, seconds * 50, 322, 240) <= np.array(GROUND)).all(axis=2)
        apart = np.abs(known[:, free].astype(np.int16) - seen[free]).mean(axis=(1, 2))
        places.append(int(apart.argmin()))
        assert apart.min() < 0.6 * np.median(apart)
    assert np.all(np.diff(places) > 4), places
    assert (without == Landscape().picture(1.0, 322, 240)).mean() > 0.5, "without what it filmed it is the built-in one"


def archive_frames(folder: Path, take_id: str) -> Frames:
    with Archive.open(folder / "archive.db") as archive:
        return archive.frames(take_id, part="fit")


def test_no_camera_is_one_line(tmp_path, error):
    with pytest.raises(CameraError, match="no camera at /dev/nothing: No such file"):
        Camera(tmp_path / "x.mp4", "/dev/nothing", "v4l2")
    if not Path("/dev/video0").exists():
        said = error("perform", "--video", "camera")
        assert "no camera at /dev/video0" in said
        assert "'moving' for the built-in one" in said
