"""A camera: what it shows at each tick of a performance is filmed, so that the take can be drawn again."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

from pieces.errors import DescantError
from studio.pictures.canvas import Pixels

#: Where a camera is looked for, and how it is spoken to (FFmpeg's name of Video4Linux).
DEVICE, KIND = "/dev/video0", "v4l2"
#: Media times are kept in units of this (s); seconds until the first picture must have come.
_UNIT, _PATIENCE = Fraction(1, 1000), 5.0


class CameraError(DescantError):
    """No camera, or none that can be filmed."""


class Camera:
    """Keeps a camera's latest picture in a thread, and writes it into an MP4 whenever it is asked to.

    The file's times are media times: the picture that was seen at a media time of the performance is found there.

    Parameters
    ----------
    path : Path
        The file.
    device, kind : str
        What FFmpeg opens.

    Raises
    ------
    CameraError
        If there is no camera, or no picture comes.
    """

    def __init__(self, path: Path, device: str = DEVICE, kind: str = KIND) -> None:
        import av
        from av.error import FFmpegError

        self.path = path
        #: Pictures that were written, and the place of the last.
        self.filmed, self._place = 0, -1
        try:
            self._input: Any = av.open(device, format=kind)
        except (FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CameraError(
                f"--video camera: no camera at {device}: {reason}; give a video file, or 'moving' for the built-in one"
            ) from error
        self._output: Any = None
        self._stream: Any = None
        self._latest: Any = None
        self._came, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look, name="camera", daemon=True)
        self._thread.start()
        if not self._came.wait(_PATIENCE) or self._latest is None:
            self.close()
            raise CameraError(f"--video camera: {device} gives no picture: see that nothing else uses it")

    def look(self) -> Pixels:
        """The latest picture."""
        shown: Pixels = self._latest.to_ndarray(format="rgb24")
        return shown

    def cut(self, path: Path) -> None:
        """End the film; what is filmed from now on is another one, whose media times begin anew."""
        self._finish()
        self.path, self.filmed, self._place = path, 0, -1

    def film(self, seconds: float) -> Pixels | None:
        """Write the latest picture as that of a media time, and return it; None where that is not after the last."""
        place, latest = int(seconds / _UNIT + 1e-6), self._latest
        if place <= self._place:
            return None
        if self._output is None:
            self._open(latest)
        frame = latest.reformat(width=self._stream.width, height=self._stream.height, format="yuv420p")
        frame.pts, frame.time_base = place, _UNIT
        self._output.mux(self._stream.encode(frame))
        self._place = place
        self.filmed += 1
        shown: Pixels = latest.to_ndarray(format="rgb24")
        return shown

    def close(self) -> None:
        """Let go of the camera, and finish the file."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            self._input.close()
        self._finish()

    def _finish(self) -> None:
        if self._output is not None:
            self._output.mux(self._stream.encode(None))
            self._output.close()
            self._output = None

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _open(self, first: Any) -> None:
        import av

        from studio.export import encoder

        self._output = av.open(str(self.path), "w", format="mp4")
        name = encoder()
        options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "18"} if name == "libx264" else {}
        self._stream = self._output.add_stream(name, rate=25, options=options)
        self._stream.width, self._stream.height = first.width // 2 * 2, first.height // 2 * 2
        self._stream.pix_fmt, self._stream.codec_context.time_base = "yuv420p", _UNIT

    def _look(self) -> None:
        """The camera's pictures as they come; when it is gone the last one stays."""
        from av.error import FFmpegError

        try:
            for frame in self._input.decode(video=0):
                self._latest = frame
                self._came.set()
                if self._ended.is_set():
                    return
        except (FFmpegError, OSError, IndexError):
            pass
        self._came.set()
