"""The moments that a person heard last, kept to be seen, played and saved: without a name or a title."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studio.audience.text import plain
from studio.audience.visitor import AudienceError
from studio.words.artefact import MOMENT_S, Artefact

#: How a moment is called where it is told.
_MOMENT = re.compile(r"^((?:one |two )?\d{1,9}): ", re.MULTILINE)


@dataclass(frozen=True)
class Kept:
    """Clips with what their moments are called.

    Attributes
    ----------
    clips : sequence of Artefact
        One; of a fork two.
    moments : tuple of str
        As they were told, ``"4"`` or ``"one 4"``, as many of each clip.
    """

    clips: Sequence[Artefact]
    moments: tuple[str, ...]

    @classmethod
    def of(cls, text: str, clips: Sequence[Artefact]) -> Kept:
        """Clips that come with a text."""
        told = tuple(_MOMENT.findall(text))
        if not told or len(told) % len(clips):
            told = tuple(str(i) for i in range(len(clips) * max(1, round(clips[0].duration / MOMENT_S))))
        return cls(tuple(clips), told)

    def _by_clip(self) -> Iterator[tuple[Artefact, tuple[str, ...]]]:
        each = len(self.moments) // len(self.clips)
        for i, clip in enumerate(self.clips):
            yield clip, self.moments[i * each : (i + 1) * each]

    def pictures(self, moment: str = "") -> list[Mapping[str, NDArray[np.uint8]]]:
        """The picture in the middle of each moment, or of that one, by what the moment is called; clip by clip."""
        found: list[Mapping[str, NDArray[np.uint8]]] = []
        for clip, moments in self._by_clip():
            at = [min(int((i + 0.5) * MOMENT_S * clip.fps), len(clip.pictures) - 1) for i in range(len(moments))]
            shown = {m: clip.pictures[i] for m, i in zip(moments, at, strict=True) if moment in ("", m)}
            found += [shown] if shown else []
        return found

    def save(self, name: str) -> list[Path]:
        """Write sound (WAV, 24 bits) and pictures (PNG) beside each other.

        Parameters
        ----------
        name : str
            What the files' names begin with; empty: ``heard-1``, or the next number that is free.

        Raises
        ------
        AudienceError
            If there are such files already, or they cannot be written.
        """
        import soundfile
        from PIL import Image

        try:
            stem = Path(name.removesuffix(".wav")).expanduser() if name else _free()
            wavs = [stem.with_name(f"{stem.name}{_behind(m, len(self.clips))}.wav") for _, m in self._by_clip()]
            shown = {moment: picture for clip in self.pictures() for moment, picture in clip.items()}
            pngs = [stem.with_name(f"{stem.name}-{moment.replace(' ', '-')}.png") for moment in shown]
            for path in (*wavs, *pngs):
                if path.exists():
                    raise AudienceError(f"save: {plain(str(path), 80)} is there already: give another name")
            for path, clip in zip(wavs, self.clips, strict=True):
                soundfile.write(path, clip.audio, clip.sample_rate, subtype="PCM_24")
            for path, picture in zip(pngs, shown.values(), strict=True):
                Image.fromarray(picture).save(path)
        except (OSError, ValueError, RuntimeError, soundfile.LibsndfileError) as error:
            raise AudienceError(f"save {plain(name, 80)!r}: it cannot be written ({plain(str(error), 120)})") from error
        return [*wavs, *pngs]


def _free() -> Path:
    return next(Path(f"heard-{i}") for i in count(1) if not any(Path().glob(f"heard-{i}[.-]*")))


def _behind(moments: Sequence[str], clips: int) -> str:
    """What tells the sound of one branch from that of the other."""
    return f"-{moments[0].split()[0]}" if clips > 1 else ""


def played(clip: Artefact) -> None:
    """Play a clip to its end.

    Raises
    ------
    PlayerError
        If there is no device.
    """
    import soundfile

    from sonify.player import play

    with tempfile.TemporaryDirectory(prefix="descant-") as folder:
        path = Path(folder) / "moment.wav"
        soundfile.write(path, clip.audio, clip.sample_rate, subtype="FLOAT")
        play(path, "portaudio", lambda played, duration: None)
