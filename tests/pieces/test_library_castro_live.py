"""Castro's performance as it is played from a .mid file: what is heard in the notes, and seen in the film."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import av
import mido
import numpy as np
import pytest
import soundfile
from PIL import Image, ImageFilter

from db.archive import Archive
from pieces.arrange import Arrangement
from pieces.piece import find_piece
from pieces.signals import Frames
from sonify.midi_in import read_midi
from studio.compose import compose
from studio.export import film as write
from studio.pictures.canvas import GROUND
from studio.pictures.draw import picture
from studio.pictures.video import Landscape
from studio.plan import plan
from studio.prompt import FOUR_PARTS, Script, from_part
from studio.rendering import heard, staged
from tests.sonify.conftest import strongest

pytestmark = pytest.mark.slow


def midi(path: Path, notes: list[tuple[float, float, int]], pedals: list[float]) -> Path:
    """A .mid file of notes (from, to, key) and presses of the soft pedal."""
    file, track = mido.MidiFile(ticks_per_beat=480), mido.MidiTrack()
    file.tracks.append(track)
    events = [(s, mido.Message("note_on", note=n, velocity=100)) for s, _, n in notes]
    events += [(e, mido.Message("note_off", note=n)) for _, e, n in notes]
    events += [
        (s + 0.1 * (not v), mido.Message("control_change", control=67, value=v)) for s in pedals for v in (127, 0)
    ]
    before = 0
    for seconds, message in sorted(events, key=lambda e: e[0]):
        at = round(seconds * 960)
        track.append(message.copy(time=at - before))
        before = at
    file.save(path)
    return path


class Played:
    """A take as it was written to a folder."""

    def __init__(self, descant, folder: Path, home: Path, piece: str, mid: Path, *more: str) -> None:
        words = ("compose", piece, "--midi", mid, "--seed", 3, "--out", folder, "--quiet", *more)
        self.take = descant(*words).stdout.split()[0]
        self.folder, self.home = folder, home

    def part(self, part: str) -> Frames:
        with Archive.open(self.home / "archive.db") as archive:
            return archive.frames(self.take, part=part)

    def file(self, end: str) -> Path:
        return next(self.folder.glob(f"*{end}"))


def test_notes_sound_with_overtones_detuned_by_the_loss(descant, home, tmp_path):
    """Beside every overtone in tune stands one that the loss of that moment detunes; the fundamental stays."""
    notes = [(0.5, 0.7, 40), (1.0, 4.0, 69)]
    played = Played(descant, tmp_path / "out", home, FOUR_PARTS, midi(tmp_path / "x.mid", notes, []), "--stems")
    stems = {p.stem.rpartition("-")[2]: soundfile.read(p)[0].sum(axis=1) for p in played.folder.glob("*stem*.wav")}
    keys, loss = played.part("keys"), played.part("cubics").arrays["loss"].astype(float)
    slot = int(np.flatnonzero(keys.arrays["held"][100])[0])
    note = stems[f"cubic_{slot + 1}"]
    silent = [name for name in stems if name.startswith(("cubic_", "knot_")) and name != f"cubic_{slot + 1}"]
    held = slice(round(2.5 * 48000), 4 * 48000)
    assert len(silent) >= 5
    assert all(stems[name][held].std() < 0.05 * note[held].std() for name in silent)
    assert np.abs(note[: round(0.4 * 48000)]).max() < 1e-4, "nothing sounds before it is struck"
    read, true = [], []
    for start in np.arange(1.1, 3.6, 0.1):
        window = note[round(start * 48000) : round((start + 0.4) * 48000)]
        tick = round((start + 0.2) * 50)
        law = 0.02 * np.clip(np.log(loss[tick] / 0.001) / np.log(600), 0, 1)
        f0 = strongest(window, 48000, 400, 480)
        assert f0 == pytest.approx(440, rel=1e-3)
        read.append(peak_above(window, 5 * 440.0) / (5 * 440.0) - 1)
        true.append(law)
    assert max(true) - min(true) > 0.005, "the loss has fallen while the note was held"
    wide = np.array(true) > 0.004  # nearer than that two partials are one peak in 0.4 s
    assert wide.sum() >= 8
    assert np.corrcoef(np.array(read)[wide], np.array(true)[wide])[0, 1] > 0.97
    np.testing.assert_allclose(np.array(read)[wide], np.array(true)[wide], atol=1.2e-3)


def peak_above(window: np.ndarray, frequency: float) -> float:
    """The strongest partial at most three percent above a frequency that has one itself."""
    spectrum = np.abs(np.fft.rfft(window * np.hanning(len(window)), 1 << 19))
    hertz = np.fft.rfftfreq(1 << 19, 1 / 48000)
    width = 2.2 * 48000 / len(window)
    near = (hertz > frequency + width * 0.7) & (hertz < frequency * 1.03)
    return float(hertz[near][spectrum[near].argmax()])


@dataclass
class Film:
    """Parts 3 and 4 as an MP4: its pictures, and what each should be made of."""

    shown: list[np.ndarray]
    frames: dict[str, Frames]
    played: Arrangement

    def below(self, seconds: float) -> np.ndarray:
        """The moving picture of that time, as it is by itself."""
        times = self.frames["video"].arrays["media_time"]
        return Landscape().picture(float(times[int(self.played.layouts["video"].tick(self.at(seconds)))]), *SIZE)

    def at(self, seconds: float) -> float:
        """The time of the picture that is shown then."""
        return round(seconds * FPS) / FPS

    def picture(self, seconds: float) -> np.ndarray:
        return self.shown[round(seconds * FPS)]

    def gradients(self, part: str, seconds: float) -> np.ndarray:
        tick = int(self.played.layouts[part].tick(self.at(seconds)))
        return np.array([self.frames[part].arrays[f"gradient_{p}"][tick] for p in "abc"])

    def offset(self, seconds: float, plane: int) -> int:
        """By how many pixels a colour is moved, judged by the lights on the lowest hills."""
        found = []
        for image in (self.picture(seconds), self.below(seconds)):
            rows = image[310:352, :, plane].astype(float)
            found.append((rows - np.median(rows, axis=1, keepdims=True)).clip(50) - 50)
        lights, place = found
        return int(np.argmax([(np.roll(place, by, axis=1) * lights).sum() for by in range(-100, 101)])) - 100

    def bent(self, seconds: float) -> float:
        """Share of what nothing is drawn over that differs from the picture below."""
        part = self.frames["cubics"]
        drawn = picture("curve", part, self.played.layouts["cubics"].tick(self.at(seconds)), *SIZE)
        free = np.asarray(Image.fromarray((drawn > np.array(GROUND)).any(axis=2)).filter(ImageFilter.MaxFilter(9))) == 0
        differs = np.abs(self.picture(seconds).astype(int) - self.below(seconds)).max(axis=2) > 20
        assert free.mean() > 0.3
        return float(differs[free].mean())


SIZE, FPS = (640, 360), 15


@pytest.fixture(scope="module")
def film(scratch: Path) -> Film:
    """Knots and curves that are found within the time of a test."""
    faster = {"knots.steps_per_tick": 10, "cubics.learning_rate": 0.06}
    piece = from_part(find_piece(FOUR_PARTS)[0], 3).with_controls(faster)
    notes = [(0.5, 3.2, n) for n in (45, 52, 57)] + [(4.0, 4.1, 36)]
    notes += [(4.2 + 0.1 * k, 4.25 + 0.1 * k, 50 + 5 * k) for k in range(5)] + [(5.0, 7.6, 84)]
    mid = midi(scratch / "x.mid", notes, [3.5, 7.8])
    planned = plan("live", piece, scratch)
    with Archive.open(scratch / "archive.db") as archive:
        take_id = compose(archive, planned, 3, stage=Script(planned.piece, read_midi(mid)))
        take = archive.take(take_id)
        played, scene = staged(archive, take, planned.piece)
        write(scene.film(FPS, *SIZE), FPS, heard(archive, take), None, scratch / "film.mp4")
        frames = {part: archive.frames(take_id, part=part) for part in take.parts}
    with av.open(str(scratch / "film.mp4")) as container:
        return Film([f.to_ndarray(format="rgb24") for f in container.decode(video=0)], frames, played)


def test_colours_part_by_the_gradients_and_lie_upon_each_other_where_a_knot_is_found(film):
    apart = 0
    for seconds in np.arange(0.2, 2.0, 0.2):
        expected = 100 * np.clip(film.gradients("knots", seconds), -1, 1)
        np.testing.assert_allclose([film.offset(seconds, plane) for plane in range(3)], expected, atol=2)
        apart += int(np.ptp(expected) > 10)
    assert apart >= 3
    assert film.frames["knots"].of_kind("converged")
    assert [film.offset(3.2, plane) for plane in range(3)] == [0, 0, 0]


def test_notes_blow_bubbles_that_vanish_where_a_curve_is_found(film):
    assert np.abs(film.gradients("cubics", 3.95)).max() > 0.1
    assert film.bent(3.95) < 0.005, "there is a gradient, and no note yet: the pedal is none"
    assert film.bent(4.8) > 0.03
    assert film.frames["cubics"].of_kind("converged")
    assert film.bent(7.5) < 0.25 * film.bent(4.8), "found: bubbles are there, and nothing is displaced"


def test_a_performance_in_real_time_is_a_take_like_any_other(descant, home, tmp_path):
    mid = midi(tmp_path / "x.mid", [(0.3, 0.4, 36), (0.5, 1.0, 60)], [1.3])
    take = descant("perform", 4, "--mid", mid, "--quiet").stdout.strip()
    shown = json.loads(descant("show", take, "--json").stdout)
    assert shown["status"] == "done"
    assert 1.3 < shown["duration_s"] < 2.0
    assert "the same, bit for bit" in descant("replay", take, "--verify").stdout
    with Archive.open(home / "archive.db") as archive:
        notes = [e.data["midi"] for e in archive.frames(take, part="cubics").of_kind("note")]
    assert notes == [36, 36, 60, 60]
