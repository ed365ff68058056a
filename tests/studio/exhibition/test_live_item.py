"""Pieces performed live in an exhibition: heard, as loud as the rest, crossfaded, resumed, and their faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tomlkit

from db.archive import Archive
from pieces.signals import Frames
from studio.pictures.canvas import Pixels
from studio.pictures.draw import prepare
from tests.studio.exhibition.hall import TONES, level, programme, recorded, tone, until
from tests.studio.exhibition.test_showing import playing, shown

BROKEN = """
import numpy as np
from pieces.signals import Channel, FrameBlock
from pieces.source import Source

class Broken(Source):
    name = "broken"
    about = "Fails after a second."
    channels = (Channel("x", "nothing"),)

    def step(self, controls, events, n):
        self.tick = getattr(self, "tick", 0) + n
        if self.tick > 20:
            raise RuntimeError("the lamp is out")
        return FrameBlock(self.tick - n, {"x": np.zeros(n, dtype="float32")})
"""


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """A folder with the tones as pieces."""
    for name in TONES:
        (tmp_path / f"{name}.toml").write_text(tomlkit.dumps(tone(name)))
    return tmp_path


def test_live_pieces_sound_as_loud_as_their_takes_and_crossfade(takes, home, pieces):
    items = [{"take": takes["low"]}, {"piece": "high.toml", "seed": 1}, {"piece": "low.toml", "longest": 4}]
    path = programme(pieces / "p.toml", items, loudness=-22.0)
    with playing(path, home, pieces / "heard.wav") as (showing, journal):
        until(showing.over.is_set, 90)
    samples = recorded(pieces / "heard.wav")
    low, high = (level(samples, pitch) for pitch, _ in TONES.values())
    times = np.arange(len(low)) / 10
    ends = times[high > 0.01]
    first, live = low[(low > 0.01) & (times < ends[0])], low[(low > 0.01) & (times > ends[-1])]
    assert 20 * abs(np.log10(np.median(live) / np.median(first))) < 1.0
    assert 20 * abs(np.log10(np.median(high[high > 0.01]) / np.median(first))) < 6  # another pitch, another weighting
    # Both crossfades overlap: while the high tone begins, and while it ends, the low one is heard.
    assert low[np.searchsorted(times, ends[0] + 0.4)] > 0.01
    assert low[np.searchsorted(times, ends[-1] - 0.2)] > 0.01
    assert [(s.item, s.outcome) for s in shown(home)] == [(0, "done"), (1, "done"), (2, "done")]
    assert not any("nobody knows" in line for line in journal.lines)


def test_its_pictures_are_of_the_frames_as_they_come(takes, home, pieces):
    path = programme(pieces / "p.toml", [{"piece": "high.toml"}])
    with playing(path, home, pictures=True) as (showing, journal):
        seen, places = [], []

        def moved() -> bool:
            picture, position = showing.draw(80, 48), showing.position or 0.0
            if position > 1.0 and picture is not None and (not seen or (picture != seen[-1]).any()):
                seen.append(picture)  # by then they have come out of the dark
                places.append(position)
            return len(seen) >= 5 and position > 3.0

        until(moved, 60)
        assert not any("picture" in line for line in journal.lines)
    drawn = drawn_offline(home)
    distances = np.array([[np.abs(picture.astype(int) - other).mean() for other in drawn] for picture in seen])
    ticks = distances.argmin(axis=1)
    assert distances.min(axis=1).max() < 0.75  # a picture may be of a time between two ticks
    assert (np.diff(ticks) >= 0).all()
    assert ticks == pytest.approx(20 * np.array(places), abs=20)  # a second, where others want the machine


def drawn_offline(home: Path) -> list[Pixels]:
    """Pictures of the newest take at each tick, of what had been recorded by then."""
    with Archive.open(home / "archive.db") as archive:
        take = archive.take(archive.takes()[0].id)
        frames = archive.frames(take.id)
    view, found = take.piece["picture"]["view"], []
    for end in range(1, frames.ticks + 1):
        so_far = Frames({name: rows[:end] for name, rows in frames.arrays.items()}, (), frames.rate, end)
        found.append(prepare(view, so_far, {}).draw(end - 1, 80, 48))
    return found


def test_a_live_piece_goes_on_where_it_was(takes, home, pieces):
    path = programme(pieces / "p.toml", [{"piece": "high.toml"}])
    with playing(path, home) as (showing, _):
        until(lambda: (showing.position or 0) > 2.0, 60)
    last = shown(home)[-1]
    assert last.outcome == "stopped"
    with playing(path, home) as (showing, _):
        until(lambda: showing.position is not None, 60)
        assert abs((showing.position or 0) - last.position) < 1.0


def test_a_live_piece_may_be_made_of_a_take(takes, home, pieces):
    score = {"purpose": "music", "voices": {"tone": {"instrument": "glide", "lanes": {"pitch": 500.0}}}}
    part = {"source": "recording", "rate": 20.0, "ticks": 60, "inputs": {"take": takes["low"]}}
    again = {"title": "Again", "parts": {"old": part}, "score": score}
    (pieces / "again.toml").write_text(tomlkit.dumps(again))
    path = programme(pieces / "p.toml", [{"piece": "again.toml"}])
    with playing(path, home, pieces / "heard.wav") as (showing, _):
        until(showing.over.is_set, 60)
    assert level(recorded(pieces / "heard.wav"), 500.0).max() > 0.01
    assert shown(home)[-1].outcome == "done"


def test_a_source_that_fails_is_logged_and_the_next_item_follows(takes, home, pieces):
    (pieces / "broken.py").write_text(BROKEN)
    path = programme(pieces / "p.toml", [{"piece": "broken.py"}, {"piece": "none.toml"}, {"take": takes["high"]}])
    with playing(path, home) as (showing, journal):
        until(lambda: showing.item == 2 and showing.position is not None, 90)
        failed = [line for line in journal.lines if "the lamp is out" in line]
        assert len(failed) == 1
        assert "item 1, broken.py" in failed[0]
        assert any("item 2, none.toml" in line and "skipped" in line for line in journal.lines)
    outcomes = {s.item: s for s in shown(home)}
    assert outcomes[0].outcome == "failed"
    assert "the lamp is out" in outcomes[0].reason
