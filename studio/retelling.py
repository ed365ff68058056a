"""What a visitor was told, told again from the takes: for whoever reviews a visit.

From it come the sound and the pictures of each turn, and whether the game still gives the same observations.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from studio.files import check_folder

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import TranscriptRecord
    from studio.audience.gallery import Gallery
    from studio.audience.game import Game
    from studio.words.artefact import Artefact


@dataclass(frozen=True)
class Retold:
    """One turn, told again: its text and its reward, and the moments that were told in it."""

    text: str
    reward: float = 0.0
    clips: tuple[Artefact, ...] = ()


@dataclass(frozen=True)
class Moment:
    """What was heard and seen in a turn.

    Attributes
    ----------
    path : Path
        Its sound, a WAV file.
    pictures : ndarray [t, h, w, 3] of uint8
    fps : float
        Pictures a second.
    seconds : float
    """

    path: Path
    pictures: NDArray[np.uint8]
    fps: float
    seconds: float


def retold(archive: Archive, transcript: TranscriptRecord, gallery: Gallery) -> Iterator[Retold | None]:
    """The turns of a transcript, told again in their order.

    None stands where it cannot be told again from the takes alone: the curves of other visitors, in a mirror. What was
    asked after a game is no turn of it, and is not told.

    Raises
    ------
    DescantError
        If a take is not there any more, or nothing says which takes were attended.
    """
    if transcript.experiment_id is None or transcript.trial is None:
        yield from _played(transcript, _game(transcript, gallery))
        return
    from studio.experiment.attendance import Attendance
    from studio.experiment.freezing import design_of
    from studio.experiment.trials import Trial

    record, design = design_of(archive, transcript.experiment_id)
    row = next(row for row in archive.studies.trials(record.id) if row.number == transcript.trial)
    trial = Trial(**row.factors)
    if trial.task in ("visit", "run"):
        yield from _played(transcript, _game(transcript, gallery))
        return
    attendance = Attendance(archive, record.id, design, archive.studies.works(record.id))
    for seen in attendance.told(trial, transcript.words):  # type: ignore[arg-type]
        yield Retold(seen.text, clips=() if seen.clip is None else (seen.clip,))
    if trial.task == "mirror":
        yield None


def _played(transcript: TranscriptRecord, game: Game) -> Iterator[Retold]:
    """A game, by its commands."""
    yield Retold(game.reset(seed=transcript.seed)[0])
    for turn in transcript.turns[1:]:
        if not turn.command:
            return
        text, reward, *_ = game.step(turn.command)
        yield Retold(text, reward, game.clips)


def _game(transcript: TranscriptRecord, gallery: Gallery) -> Game:
    """The game of a visit, by its takes and rules."""
    from studio.audience.game import Game
    from studio.audience.rooms import Rules
    from studio.audience.wording import WORDINGS

    if transcript.wording not in WORDINGS:
        raise DescantError(f"transcript {transcript.id}: its wording {transcript.wording!r} is not known here")
    try:
        rules = Rules(**transcript.setting["rules"], wording=WORDINGS[transcript.wording])
        takes = list(transcript.setting["takes"])
    except (KeyError, TypeError) as error:
        raise DescantError(f"transcript {transcript.id}: it does not say which takes and rules it was about") from error
    return Game([gallery.room(take, transcript.seed) for take in takes], rules)


def retraced(archive: Archive, transcript_id: str, gallery: Gallery | None = None) -> tuple[int, list[int]]:
    """How many turns of a transcript could be told again, and the numbers of those that are not the same."""
    transcript = archive.visiting.transcript(transcript_id)
    again = list(retold(archive, transcript, gallery or _new_gallery(archive)))
    known = [(turn, now) for turn, now in zip(transcript.turns, again, strict=False) if now is not None]
    return len(known), [t.number for t, now in known if (t.observation, t.reward) != (now.text, now.reward)]


def same_code(transcript: TranscriptRecord) -> bool:
    """Whether a visit was told by the code that is here: of other code other words are no sign of chance."""
    from studio.perceive import code

    return transcript.setting.get("code") == code()


def _new_gallery(archive: Archive) -> Gallery:
    from studio.audience.gallery import Gallery

    return Gallery(archive)


def sounded(clips: Sequence[Artefact], path: Path, anew: bool = False) -> Moment:
    """Some moments, one after the other, with their sound in a file; one that is there stays, unless `anew`."""
    import soundfile

    audio = np.concatenate([clip.audio for clip in clips])
    rate = clips[0].sample_rate
    if anew or not path.is_file():
        soundfile.write(path, audio, rate)
    pictures = np.concatenate([clip.pictures for clip in clips])
    return Moment(path, pictures, clips[0].fps, len(audio) / rate)


def saved(archive: Archive, transcript_id: str, folder: Path, turn: int | None = None) -> list[Path]:
    """Write what was heard and seen in the turns of a transcript, or in one of them; returns the files.

    Of each turn ``turn-N.wav``, and ``turn-N.png``: the picture in the middle of each moment, side by side.

    Raises
    ------
    DescantError
        If it cannot be told again, or a file cannot be written.
    """
    from PIL import Image

    from studio.words.artefact import MOMENT_S

    check_folder(folder)
    paths = []
    for number, one in enumerate(retold(archive, archive.visiting.transcript(transcript_id), _new_gallery(archive))):
        if one is None or not one.clips or turn not in (None, number):
            continue
        sound, picture = (folder / f"turn-{number}.{kind}" for kind in ("wav", "png"))
        made = sounded(one.clips, sound, anew=True)
        each = max(1, round(MOMENT_S * made.fps))
        Image.fromarray(np.hstack(list(made.pictures[each // 2 :: each]))).save(picture)
        paths += [sound, picture]
    return paths


# What runs in the worker; it keeps what it has made, so that the next turn of a transcript is there at once.


@lru_cache(maxsize=1)
def _opened(place: str) -> tuple[Archive, Gallery]:
    from db.archive import Archive

    archive = Archive.open(place, create=False)
    return archive, _new_gallery(archive)


@lru_cache(maxsize=4)
def _told(place: str, transcript_id: str, turns: int) -> tuple[tuple[Retold | None, ...], str]:
    """All that could be told again of so many turns, and what ended it, if it was not the end."""
    archive, gallery = _opened(place)
    found: list[Retold | None] = []
    try:
        found.extend(retold(archive, archive.visiting.transcript(transcript_id), gallery))
    except DescantError as error:
        return tuple(found), str(error)
    return tuple(found), ""


def moment_in(place: str, transcript_id: str, number: int, folder: Path) -> Moment | str:
    """The sound and the pictures of a turn; a line where there are none."""
    # A visit may be read while it goes on: then there are more turns the next time.
    told, problem = _told(place, transcript_id, len(_opened(place)[0].visiting.transcript(transcript_id).turns))
    if number >= len(told):
        return problem or "asked after the game: nothing was heard"
    one = told[number]
    if one is None:
        return "what others measured: nothing was heard"
    if not one.clips:
        return "nothing was heard in this turn"
    return sounded(one.clips, folder / f"{transcript_id}-{number}.wav")


def replay_in(place: str, transcript_id: str) -> tuple[int, list[int]] | str:
    """See `retraced`; a line where it cannot be."""
    try:
        return retraced(*(_opened(place)[0], transcript_id, _opened(place)[1]))
    except DescantError as error:
        return str(error)


class Reteller:
    """Tells visits again in a process of its own, one thing after the other; it ends with this one.

    Parameters
    ----------
    place : str
        The archive's path or URL.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._folder = tempfile.TemporaryDirectory(prefix="descant-review-")
        context = multiprocessing.get_context("spawn")
        # A screen has taken sys.stderr, and what multiprocessing starts first wants its file.
        with redirect_stderr(sys.__stderr__):
            self._pool = ProcessPoolExecutor(1, context, initializer=_prepared)
            self._process = self._pool.submit(os.getpid)

    def moment(self, transcript_id: str, number: int) -> Future[Moment | str]:
        """See `moment_in`."""
        return self._pool.submit(moment_in, self._place, transcript_id, number, Path(self._folder.name))

    def replay(self, transcript_id: str) -> Future[tuple[int, list[int]] | str]:
        """See `replay_in`."""
        return self._pool.submit(replay_in, self._place, transcript_id)

    def close(self) -> None:
        """Give up what is being told."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._process.done() and not self._process.cancelled():
            with suppress(Exception):  # it has ended already
                os.kill(self._process.result(), signal.SIGTERM)
        self._folder.cleanup()


def _prepared() -> None:
    """The process: its output goes nowhere, since a line of it would tear the screen; it ends with its parent."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
