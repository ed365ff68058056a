"""A film: pictures and sound in one MP4 (H.264 and AAC), in step.

Encoding is PyAV's (FFmpeg). H.264 is written by libx264; a build without it writes MPEG-4 part 2. Hardware encoders are
passed over, for what they write depends on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError

Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]

#: Video encoders in order of preference, with their options (constant quality, visually transparent for drawings).
ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "17", "preset": "veryfast", "tune": "animation"},
    "mpeg4": {"flags": "+qscale", "global_quality": "236"},  # quantiser 2, in units of 1/118
}
#: Samples in an AAC packet, and its bit rate.
PACKET, BIT_RATE = 1024, 256_000


class FilmError(DescantError):
    """A film that cannot be written."""


def film(
    pictures: Iterable[Pixels],
    fps: float,
    audio: Samples | Path | str,
    sample_rate: int | None,
    path: Path | str,
) -> None:
    """Write an MP4 as long as its sound, picture k seen from ``k / fps`` seconds on.

    Pictures are encoded as they come. The last is held where they end before the sound; what comes after the sound is
    not asked for. The encoder's delay (1024 samples) is cut by the file's edit list, so sample 0 sounds at time 0.

    Parameters
    ----------
    pictures : iterable of ndarray
        RGB, uint8 ``[h, w, 3]``, all of one size, both sides even (4:2:0 halves the colour's resolution).
    fps : float
        Pictures a second, above 0.
    audio : ndarray or path
        Sound, float32 ``[n, 2]`` in -1..1, or a WAV file of one or two channels, which is read in pieces.
    sample_rate : int or None
        Of an array, in Hz; a file knows its own.
    path : path
        The file to write; it is replaced when it is complete.

    Raises
    ------
    FilmError
        On pictures or sound of a wrong kind, a build without encoders, or a file that cannot be written (full disk).
    """
    from av.error import FFmpegError

    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _Sound(audio, sample_rate) as sound:
            _write(part, iter(pictures), Fraction(fps).limit_denominator(1001), sound)
        part.replace(path)
    except (FFmpegError, OSError) as error:
        raise FilmError(f"{path}: the film cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


class _Sound:
    """Stereo float32 blocks of `PACKET` samples, from an array or a WAV file."""

    def __init__(self, audio: Samples | Path | str, sample_rate: int | None) -> None:
        self._file: Any = None
        if isinstance(audio, np.ndarray):
            if audio.ndim != 2 or audio.shape[1] != 2 or audio.dtype != np.float32 or not sample_rate:
                raise FilmError(
                    f"sound is {audio.dtype} {list(audio.shape)} at {sample_rate} Hz; allowed is float32 [n, 2]"
                )
            self._array, self.rate, self.samples = audio, sample_rate, len(audio)
        else:
            import soundfile

            try:
                self._file = soundfile.SoundFile(audio)
            except soundfile.LibsndfileError as error:
                raise FilmError(f"{audio}: the sound cannot be read: {error.error_string}") from error
            if self._file.channels > 2:
                raise FilmError(f"{audio}: {self._file.channels} channels; allowed are one or two")
            self.rate, self.samples = self._file.samplerate, self._file.frames
        if self.samples == 0:
            raise FilmError("the sound is empty: a film is as long as its sound")

    def __enter__(self) -> _Sound:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def blocks(self) -> Iterator[Samples]:
        """``[PACKET, 2]`` at a time; the last may be shorter."""
        for first in range(0, self.samples, PACKET):
            if self._file is None:
                yield self._array[first : first + PACKET]
            else:
                block = self._file.read(PACKET, dtype="float32", always_2d=True)
                yield np.repeat(block, 2, axis=1) if block.shape[1] == 1 else block


def encoder() -> str:
    """The video encoder that there is; `FilmError` if there is none."""
    import av

    for name in ENCODERS:
        if name in av.codecs_available:
            return name
    raise FilmError(f"this build of PyAV has none of the video encoders {list(ENCODERS)}: install av from PyPI")


def _write(part: Path, pictures: Iterator[Pixels], fps: Fraction, sound: _Sound) -> None:
    """Encode both streams side by side, so that neither has to wait in memory for the other."""
    import av

    first = next(pictures, None)
    if first is None:
        raise FilmError("no pictures: a film needs at least one")
    height, width = first.shape[:2]
    if width % 2 or height % 2:
        raise FilmError(f"pictures are {width} x {height}; a film needs an even width and height")
    # Rounded down, for a picture that outlasts the sound would lengthen the film; players hold the last one.
    count = max(int(sound.samples * fps / sound.rate), 1)
    with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = _video_stream(container, fps, width, height)
        speech = container.add_stream("aac", rate=sound.rate, layout="stereo", bit_rate=BIT_RATE)
        frames = _video_frames(chain([first], pictures), count, (height, width))
        shown = 0
        for k, block in enumerate(sound.blocks()):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = sound.rate, k * PACKET, Fraction(1, sound.rate)
            while shown < count and shown / fps <= Fraction(k * PACKET, sound.rate):
                container.mux(video.encode(next(frames)))
                shown += 1
            container.mux(speech.encode(frame))
        for rest in frames:
            container.mux(video.encode(rest))
        container.mux(video.encode(None))
        container.mux(speech.encode(None))


def _video_stream(container: Any, fps: Fraction, width: int, height: int) -> Any:
    name = encoder()
    stream = container.add_stream(name, rate=fps, options=ENCODERS[name])
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / fps
    # BT.709, studio range: without the tags players guess by size, and small films change colour.
    context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
    return stream


def _video_frames(pictures: Iterator[Pixels], count: int, size: tuple[int, int]) -> Iterator[Any]:
    """`count` frames in the encoder's format, the last picture held."""
    import av
    from av.video.reformatter import ColorRange, Colorspace

    frame: Any = None
    for k in range(count):
        picture = next(pictures, None)
        if picture is not None:
            if picture.dtype != np.uint8 or picture.shape != (*size, 3):
                raise FilmError(f"picture {k} is {picture.dtype} {list(picture.shape)}; the first was {[*size, 3]}")
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = rgb.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        frame.pts = k
        yield frame
