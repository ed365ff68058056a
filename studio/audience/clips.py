"""What a visitor with ears or eyes listened to, itself: kept from the beginning of its visit on, with where it is from.

In a game the last of it is sent, since more would cost more with every move. Where works are held against each other,
all of it is: who hears one of them and reads of the other was not asked which of the two.
"""

from __future__ import annotations

import base64
import io
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.audience.visitor import AudienceError, Question
from studio.words.artefact import MOMENT_S, Artefact

#: Questions in which works are held against each other.
HELD = ("prefer", "same")
#: Pictures are sent with so many pixels on their long side, at most.
_SIZE = 512
_PLACE = re.compile(r"^((?:Room|Work) \w+):", re.MULTILINE)
_MOMENT = re.compile(r"^(one |two |)(\d{1,9}): ", re.MULTILINE)


@dataclass(frozen=True)
class Clip:
    """Some moments, itself.

    Attributes
    ----------
    where : str
        ``"Work sile, moments 0 to 3:"``; empty: nobody said.
    artefact : Artefact
    """

    where: str
    artefact: Artefact


class Clips:
    """What was listened to.

    Parameters
    ----------
    last : int
        Clips that are sent in a game.
    held : int
        The most that are sent where works are held against each other; more are refused.
    """

    def __init__(self, last: int, held: int) -> None:
        self._last, self._held = last, held
        self.begin()

    def begin(self) -> None:
        """A visit begins: nothing was listened to yet."""
        self._kept: deque[Clip] = deque(maxlen=max(self._last, self._held))
        self._count, self._place = 0, ""

    def observe(self, text: str, clips: Sequence[Artefact]) -> None:
        """Keep what was perceived; where it is from stands in what is told of it."""
        if places := _PLACE.findall(text):
            self._place = places[-1]
        moments: dict[str, list[str]] = {}
        for branch, moment in _MOMENT.findall(text):
            moments.setdefault(branch, []).append(moment)
        wheres = [f"{branch}moments {found[0]} to {found[-1]}" for branch, found in moments.items()]
        for number, clip in enumerate(clips):
            parts = [part for part in (self._place, *wheres[number : number + 1]) if part]
            self._kept.append(Clip(f"{', '.join(parts)}:" if parts else "", clip))
        self._count += len(clips)

    def of(self, question: Question) -> tuple[Clip, ...]:
        """What is sent with a question.

        Raises
        ------
        AudienceError
            If works are held against each other, and not all of them can be sent.
        """
        if question.about not in HELD:
            return tuple(self._kept)[-self._last :]
        if self._count > self._held:
            raise AudienceError(
                f"the works are {self._count} clips, and {self._held} are sent at most (held): tell fewer moments, or "
                "allow more"
            )
        return tuple(self._kept)


def wav(clip: Artefact) -> str:
    """The sound of a clip: WAV of 16 bits in base64, without a name or a title."""
    import wave

    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(clip.audio.shape[1])
        file.setsampwidth(2)
        file.setframerate(clip.sample_rate)
        file.writeframes(np.round(np.clip(clip.audio, -1, 1) * 32767).astype("<i2").tobytes())
    return base64.b64encode(out.getvalue()).decode()


def pictures(clip: Artefact) -> list[str]:
    """The first picture of each moment: PNG as data URLs, without a name or a title; motion within it is not sent."""
    from PIL import Image

    starts = np.arange(max(1, round(clip.duration / MOMENT_S))) * MOMENT_S
    urls = []
    for at in np.minimum((starts * clip.fps + 1e-6).astype(int), len(clip.pictures) - 1):
        image, out = Image.fromarray(clip.pictures[at]), io.BytesIO()
        image.thumbnail((_SIZE, _SIZE))
        image.save(out, "PNG")
        urls.append(f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}")
    return urls


def probes() -> tuple[tuple[Clip], tuple[Clip]]:
    """Two clips of one size that say nothing: one that packs well, and one that does not; each as clips of a prompt."""
    rate, size, seconds = 16_000, 128, 2.0
    rng = np.random.default_rng(0)
    even = Artefact.silent(seconds, rate, (size, size), fps=1 / seconds)
    noise = rng.uniform(-0.5, 0.5, even.audio.shape).astype(np.float32)
    squares = rng.integers(0, 256, (1, size // 8, size // 8, 3)).astype(np.uint8)
    busy = Artefact(noise, rate, squares.repeat(8, axis=1).repeat(8, axis=2), even.fps)
    return (Clip("", even),), (Clip("", busy),)
