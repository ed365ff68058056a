"""A camera in the studio: what it sees is shown, filmed by media time for take after take, and kept with each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from pieces.errors import DescantError
from studio.camera import Camera
from studio.messages import Ended, Made, Opened
from studio.pictures.video import Latest


class Kept(Protocol):
    """A session, as one gives it what was filmed."""

    def attach(self, role: str, path: Path) -> None: ...


class Filming:
    """Films a part's picture while it is performed.

    Parameters
    ----------
    part : str
        A video.
    session : Kept
    notice : callable
        Told in one line what could not be kept.
    camera : callable
        Makes the camera, given its first file.

    Attributes
    ----------
    window : Path
        Where the latest picture is found, for who draws it (`studio.pictures.video.Latest`).

    Raises
    ------
    CameraError
        If there is no camera, or no picture comes.
    """

    def __init__(
        self, part: str, session: Kept, notice: Callable[[str], None], camera: Callable[[Path], Camera] = Camera
    ) -> None:
        self._part, self._session, self._notice = part, session, notice
        self._folder = TemporaryDirectory(prefix="descant-camera-")
        self._count = 0
        try:
            self._camera = camera(self._next())
        except DescantError:
            self._folder.cleanup()
            raise
        self.window = Path(self._folder.name) / f"{part}{Latest.SUFFIX}"
        self._latest = Latest(self.window, self._camera.look())
        self._lock = threading.Lock()
        self._closed = False

    def hear(self, report: object) -> None:
        """What the session reports, in the performer's thread. What fails ends the filming, and nothing else."""
        if not isinstance(report, Opened | Made | Ended):
            return  # it may be told by who holds the session, whom `attach` would wait for
        try:
            with self._lock:
                filmed = None if self._closed else self._film(report)
            if filmed is not None:
                self._session.attach(f"input:{self._part}.video", filmed)
        except Exception as error:
            with self._lock:
                self._closed = True
            self._notice(f"the camera's pictures are not kept from here on: {' '.join(str(error).split())}")

    def _film(self, report: Opened | Made | Ended) -> Path | None:
        """Take a report in; gives a film that is done."""
        if isinstance(report, Made):
            if report.part == self._part:
                for seconds in report.block.arrays.get("media_time", ())[-1:]:
                    if (shown := self._camera.film(float(seconds))) is not None:
                        self._latest.show(shown)
            return None
        path, filmed = self._camera.path, isinstance(report, Ended) and self._camera.filmed
        self._camera.cut(self._next())
        return path if filmed else None

    def __enter__(self) -> Filming:
        return self

    def __exit__(self, *exception: object) -> None:
        """Let go of the camera, after the session was closed."""
        with self._lock:
            self._closed = True
            self._camera.close()
            self._folder.cleanup()

    def _next(self) -> Path:
        self._count += 1
        return Path(self._folder.name) / f"{self._count}.mp4"
