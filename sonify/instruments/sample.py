"""Recordings: read from a file, and a piece of one at another pitch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from sonify.instruments.base import Sample

#: Longest recording, in seconds.
LONGEST = 600.0
#: Least length that a piece is transposed in, so that its pitch is within 0.2 cents; how far a band-limited
#: interpolation reaches.
_LEAST, _REACH = 4800, 64


class SampleError(DescantError):
    """A sound file that cannot be played."""


def read_sample(path: Path) -> Sample:
    """A sound file (WAV, FLAC, AIFF, OGG, MP3) as a mono sample, its channels averaged.

    Raises
    ------
    SampleError
        If the file is missing, no sound file, empty, longer than 10 minutes, or holds values that are not finite.
    """
    import soundfile

    if not path.is_file():
        raise SampleError(f"{path}: there is no such sound file: give the path of a WAV, FLAC, AIFF, OGG or MP3")
    try:
        with soundfile.SoundFile(path) as file:
            rate, frames = file.samplerate, file.frames
            if frames > LONGEST * rate:
                raise SampleError(
                    f"{path}: {frames / rate:.0f} s long: a sample may have up to {LONGEST:g} s: cut out what you need"
                )
            samples = file.read(dtype="float64", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, OSError) as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise SampleError(f"{path}: cannot be read as sound: {reason}: give a WAV, FLAC, AIFF, OGG or MP3") from None
    if not len(samples):
        raise SampleError(f"{path}: 0 samples: a sample needs at least 1: record something, or choose another file")
    if not np.isfinite(samples).all():
        raise SampleError(f"{path}: holds values that are not finite: only finite ones can be played: export it again")
    return Sample(samples, rate)


def excerpt(sample: Sample, start: float, ratio: float, length: int, sample_rate: int) -> NDArray[np.float64]:
    """A piece of a sample, transposed by resampling: band-limited, so that nothing aliases however high it goes.

    Parameters
    ----------
    sample : Sample
    start : float
        Seconds into the sample.
    ratio : float
        Of frequencies, and of the speed at which the sample passes.
    length : int
        Of the result, in samples at `sample_rate`; before and after the sample there is silence.
    """
    from scipy.fft import next_fast_len
    from scipy.signal import resample

    step = ratio * sample.rate / sample_rate
    margin = int(np.ceil(_REACH / min(step, 1.0)))
    least = max(length + 2 * margin, _LEAST)
    # The longer one of both lengths is rounded.
    if step > 1:
        made = next_fast_len(least, real=True)
        heard = round(made * step)
    else:
        heard = next_fast_len(int(least * step) + 1, real=True)
        made = round(heard / step)
    first = round(start * sample.rate) - round(margin * step)
    piece = np.zeros(heard)
    inside = sample.samples[max(first, 0) : max(first + heard, 0)]
    piece[max(-first, 0) :][: len(inside)] = inside
    return np.asarray(piece if made == heard else resample(piece, made))[margin : margin + length]
