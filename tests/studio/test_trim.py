"""Trimming and fading: the samples of a stretch, and a stretch as a take of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from db.archive import Archive
from pieces.arrange import layout, recorded_form
from pieces.errors import DescantError
from pieces.piece import Piece, find_piece, parse_piece
from pieces.signals import FrameBlock, Frames, gather
from studio.compose import compose, conduct
from studio.plan import plan
from studio.rendering import heard, recorded, scored
from studio.replay import verify
from studio.trim import cut_frames, cut_piece, excerpt, fade, write_stretch

RATE = 48_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with Archive.open(tmp_path_factory.mktemp("trim") / "archive.db") as opened:
        yield opened


def sectioned() -> Piece:
    """Two sections of two bars, the second of which slows down and swells, over four seconds or so."""
    piece, _ = find_piece("cubics")
    lanes = {"pitch": {"channel": "loss", "range": ["A3", "A5"], "shape": "symlog"}}
    raw = piece.model_dump(exclude_none=True) | {
        "metre": {"tempo": 240.0, "beats": 4},
        "knobs": [],
        "master": {"tail": 0.5},
        "score": {"purpose": "music", "voices": {"tone": {"instrument": "glide", "lanes": lanes}}},
        "sections": [
            {"name": "one", "bars": 2},
            {"name": "two", "bars": 2, "tempo": [240.0, 120.0], "gains": {"tone": [-20.0, 0.0]}},
        ],
    }
    return parse_piece(raw, "sectioned")


@pytest.fixture(scope="module")
def take_id(archive: Archive) -> str:
    return compose(archive, plan("sectioned", sectioned(), Path.cwd()), 3)


def pitches(archive: Archive, take_id: str) -> tuple[np.ndarray, np.ndarray]:
    """What the tone's pitch and its gain are, over the control's time (1 kHz)."""
    take = archive.take(take_id)
    desk = scored(archive, take, recorded(archive, take, {p: ["loss"] for p in take.parts}))[0]
    (voice,) = desk.voices.values()
    return np.asarray(voice.lanes["pitch"]), np.asarray(voice.amplitude)


def test_a_stretch_is_the_samples_of_the_sound_bit_for_bit(tmp_path):
    sound = np.random.default_rng(0).normal(0, 0.1, (2 * RATE, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    write_stretch(tmp_path / "a.wav", tmp_path / "b.wav", 0.5, 1.25)
    found, rate = soundfile.read(tmp_path / "b.wav", dtype="float32")
    assert rate == RATE
    np.testing.assert_array_equal(found, sound[RATE // 2 : RATE * 5 // 4])


def test_a_fade_is_half_a_cosine_and_leaves_the_middle_alone(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones((2 * RATE, 2), dtype=np.float32), RATE, subtype="FLOAT")
    write_stretch(tmp_path / "a.wav", tmp_path / "b.wav", 0.0, 2.0, (0.5, 0.25))
    found = soundfile.read(tmp_path / "b.wav")[0][:, 0]
    assert found[0] == 0
    assert found[-1] == 0
    assert found[RATE // 4] == pytest.approx(0.5, abs=1e-4)
    assert found[RATE // 8] == pytest.approx(0.5 - 0.5 * np.cos(np.pi / 4), abs=1e-4)
    assert (found[RATE // 2 : -RATE // 4] == 1).all()
    assert np.abs(np.diff(found)).max() < 2e-4  # nowhere a step: that is what a fade is for


def test_a_flac_has_24_bits(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full((RATE, 2), 0.3, dtype=np.float32), RATE, subtype="FLOAT")
    write_stretch(tmp_path / "a.wav", tmp_path / "b.flac", 0.1, 0.2)
    assert soundfile.info(tmp_path / "b.flac").subtype == "PCM_24"
    assert soundfile.read(tmp_path / "b.flac")[0] == pytest.approx(0.3, abs=2**-23)


@pytest.mark.parametrize(
    ("stretch", "fades", "said"),
    [
        ((1.5, 1.0), (0, 0), "rising"),
        ((0.0, 3.0), (0, 0), "within 0 to 2 s"),
        ((0.5, 1.0), (0.4, 0.2), "longer than 0.5 s"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, stretch, fades, said):
    soundfile.write(tmp_path / "a.wav", np.zeros((2 * RATE, 2)), RATE)
    with pytest.raises(DescantError, match=said):
        write_stretch(tmp_path / "a.wav", tmp_path / "b.wav", *stretch, fades)
    assert not (tmp_path / "b.wav").exists()


def test_fades_that_touch_are_whole():
    gains = fade(np.arange(100), 100, 50, 50)
    assert gains.max() > 0.99
    assert gains[0] == gains[-1] == 0


def test_an_excerpt_has_the_ticks_of_its_stretch_and_names_its_parent(archive, take_id):
    whole = archive.frames(take_id)
    made = archive.take(excerpt(archive, take_id, 1.0, 3.0, title="the middle"))
    assert (made.origin, made.status, made.retention, made.title) == ("captured", "done", "kept", "the middle")
    assert made.parents == ((take_id, 50, "trim"),)
    assert made.duration_s == pytest.approx(2.0, abs=1e-6)
    np.testing.assert_array_equal(archive.frames(made.id).arrays["loss"], whole.arrays["loss"][50:150])


def test_an_excerpt_sounds_as_the_take_does_there(archive, take_id):
    """Pitch and gain over a tempo that changes and a gain that swells, the domain of the pitch being data."""
    made = excerpt(archive, take_id, 1.0, 3.0)
    pitch, gain = pitches(archive, take_id)
    pitch_there, gain_there = pitches(archive, made)
    cents = 1200 * np.log2(pitch_there[20:1990] / pitch[1020:2990])  # the first 10 ms glide
    assert np.abs(cents).max() < 1
    db = 20 * np.log10(gain_there[100:1900] / gain[1100:2900])
    assert np.abs(db).max() < 0.3
    # The control: a stretch that is not that one sounds otherwise.
    assert np.abs(1200 * np.log2(pitch_there[20:1990] / pitch[520:2490])).max() > 20


def test_the_events_of_a_stretch_come_with_it(archive, take_id):
    whole = [(e.tick, e.kind) for e in archive.events(take_id)]
    inside = [(tick - 25, kind) for tick, kind in whole if 25 <= tick < 125]
    made = excerpt(archive, take_id, 0.5, 2.5)
    assert inside
    assert [(e.tick, e.kind) for e in archive.events(made)] == inside


def test_an_excerpt_can_be_verified_trimmed_again_and_its_parent_stays_as_it_was(archive, take_id):
    before = heard(archive, archive.take(take_id)).read_bytes()
    made = excerpt(archive, take_id, 1.0, 3.0, fades=(0.5, 0.5))
    assert verify(archive, made).identical
    again = archive.take(excerpt(archive, made, 0.5, 1.5))
    np.testing.assert_array_equal(
        archive.frames(again.id).arrays["loss"], archive.frames(take_id).arrays["loss"][75:125]
    )
    assert heard(archive, archive.take(take_id)).read_bytes() == before
    assert verify(archive, take_id).identical


def test_an_excerpt_fades_in_and_out(archive, take_id):
    plain = soundfile.read(heard(archive, archive.take(excerpt(archive, take_id, 0.5, 1.5))))[0]
    faded = soundfile.read(heard(archive, archive.take(excerpt(archive, take_id, 0.5, 1.5, fades=(0.4, 0.4)))))[0]

    def level(sound: np.ndarray, at: float) -> float:
        part = sound[round((at - 0.02) * RATE) : round((at + 0.02) * RATE)]
        return float(20 * np.log10(np.sqrt(np.square(part).mean())))

    middle = level(faded, 0.5) - level(plain, 0.5)  # both are brought to the same loudness
    # A section's gain turns within its first 50 ms, the rest is a straight line in dB.
    for at, expected in ((0.1, -51.4), (0.2, -34.3), (0.3, -17.1), (0.7, -8.6), (0.8, -25.7), (0.9, -42.9)):
        assert level(faded, at) - level(plain, at) - middle == pytest.approx(expected, abs=3), at


def test_a_time_warp_is_taken_as_a_whole_or_not_at_all(archive):
    raw = sectioned().model_dump(exclude_none=True)
    raw["sections"] = [
        {"name": "one", "bars": 1},
        {"name": "back", "bars": 1, "warp": {"cubics": {"kind": "retrograde"}}},
    ]
    take = compose(archive, plan("back", parse_piece(raw, "back"), Path.cwd()), 3)
    with pytest.raises(DescantError, match="'back' bends the time of cubics"):
        excerpt(archive, take, 0.5, 1.5, fades=(0.0, 0.2))
    with pytest.raises(DescantError, match=r"repeats what lies before|nothing of cubics was performed before"):
        excerpt(archive, take, 0.5, 2.0)
    early = archive.take(excerpt(archive, take, 0.0, 1.5))
    assert early.duration_s == pytest.approx(1.5)
    made = excerpt(archive, take, 0.0, 2.0)
    np.testing.assert_array_equal(archive.frames(made).arrays["loss"], archive.frames(take).arrays["loss"])


def test_nothing_is_recorded_where_the_stretch_is_not_in_the_take(archive, take_id):
    before = archive.count()
    for stretch in ((3.0, 2.0), (-1.0, 2.0), (900.0, 901.0)):
        with pytest.raises(DescantError, match="allowed is a rising one"):
            excerpt(archive, take_id, *stretch)
    assert archive.count() == before


@pytest.fixture(scope="module")
def weather() -> tuple[Piece, dict[str, Frames]]:
    """A piece of the library in three parts at rates of their own and eight sections, performed."""
    planned = plan("weather", *find_piece("weather"))
    blocks: dict[str, list[FrameBlock]] = {part: [] for part in planned.players}
    for part, block in conduct(planned.piece, planned.players, 1):
        blocks[part].append(block)
    return planned.piece, {part: gather(found, planned.piece.rate(part)) for part, found in blocks.items()}


@pytest.mark.parametrize(("start", "end"), [(0.0, 20.0), (26.07, 164.4), (73.95, 182.19), (126.4, 127.1)])
def test_every_part_of_a_cut_piece_is_where_it_was(weather, start, end):
    piece, frames = weather
    form = recorded_form(piece, frames)
    cutting = cut_piece(piece, form, start, end, (0.3, 0.3))
    stretch = {p: cut_frames(frames[p], *ticks) for p, ticks in cutting.ticks.items()}
    made = recorded_form(cutting.piece, stretch)
    assert made.spans[-1].seconds[1] == pytest.approx(end - start, abs=1e-6)
    heard = 0
    for part, found in stretch.items():
        was, now = layout(piece, form, part, frames[part]), layout(cutting.piece, made, part, found)
        for seconds in np.linspace(0.01, end - start - 0.01, 100):
            if any(a <= start + seconds < b - 1e-3 for a, b in was.active):
                heard += 1
                assert abs(was.tick(start + seconds) - cutting.ticks[part][0] - now.tick(seconds)) <= 1.0
    assert heard > 50
