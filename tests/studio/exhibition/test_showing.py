"""A programme of real takes played by the real engine, in silence and in real time: what sounds, in which order."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import tomlkit

from db.archive import Archive
from db.work import ShowingRecord
from sonify.engine.commands import Record
from studio.exhibition.journal import Journal
from studio.exhibition.opening import exhibition
from studio.exhibition.programme import parse_programme
from studio.exhibition.showing import Exhibition, resumed
from studio.exhibition.turns import gain
from tests.studio.exhibition.hall import TAIL, TONES, level, programme, recorded, tone, until


@contextmanager
def playing(path: Path, home: Path, heard: Path | None = None, **how: Any) -> Iterator[tuple[Exhibition, Journal]]:
    """A programme that plays in a thread; what sounds is written to a file."""
    with exhibition(path, str(home / "archive.db"), backend="silent", **{"pictures": False, **how}) as (
        showing,
        journal,
    ):
        if heard is not None:
            until(lambda: showing._house.sound.state() is not None)
            showing._house.sound.send(Record(heard))
        thread = Thread(target=showing.run)
        thread.start()
        try:
            yield showing, journal
        finally:
            showing.stop()
            thread.join(10)
            assert not thread.is_alive()


def shown(home: Path) -> list[ShowingRecord]:
    with Archive.open(home / "archive.db") as archive:
        return archive.showings.list()[::-1]


def test_order_crossfade_loudness_and_a_missing_take(takes, home, tmp_path):
    path = programme(
        tmp_path / "p.toml",
        [{"take": takes["low"]}, {"take": "ffff"}, {"take": takes["high"][:-1]}],
        loudness=-26.0,
    )
    with playing(path, home, tmp_path / "heard.wav") as (showing, journal):
        until(showing.over.is_set, 60)
    samples = recorded(tmp_path / "heard.wav")
    low, high = (level(samples, pitch) for pitch, _ in TONES.values())
    sounds = [np.flatnonzero(levels > 0.01) / 10 for levels in (low, high)]
    assert sounds[0][0] < sounds[1][0] < sounds[0][-1] < sounds[1][-1]  # they overlap, in this order
    assert sounds[0][-1] - sounds[1][0] == pytest.approx(1.4, abs=0.6)
    assert sounds[1][-1] - sounds[0][0] == pytest.approx(sum(s + TAIL for _, s in TONES.values()) - 1.5, abs=1.2)
    # In the crossfade both are softer than alone, and one goes as the other comes.
    middle = round((sounds[1][0] + sounds[0][-1]) * 5)
    for levels in (low, high):
        assert 0.2 < levels[middle] / np.median(levels[levels > 0.01]) < 0.97
    assert low[middle - 3] > low[middle] > low[middle + 3]
    assert high[middle - 3] < high[middle] < high[middle + 3]
    # Both were rendered at -20 LUFS and play at -26: half the amplitude.
    with Archive.open(home / "archive.db") as archive:
        mix = next(m.path for m in archive.media(takes["low"]) if m.role == "mix")
    assert np.median(low[low > 0.01]) / np.median(level(recorded(mix), TONES["low"][0])) == pytest.approx(0.5, abs=0.03)
    # The missing one is said, in the log and in the archive.
    said = [line for line in journal.lines if "skipped" in line]
    assert len(said) == 1
    assert "item 2, take ffff" in said[0]
    assert said[0] in journal.path.read_text()
    assert sorted((s.item, s.outcome) for s in shown(home)) == [(0, "done"), (1, "skipped"), (2, "done")]


def test_pictures_of_two_takes_melt_into_each_other(takes, home, tmp_path):
    path = programme(tmp_path / "p.toml", [{"take": takes["low"]}, {"take": takes["high"]}], crossfade=2.5)
    with playing(path, home, pictures=True) as (showing, _):
        both = []

        def pictures() -> list[Any]:
            return [turn.picture for turn, _ in showing._leaving] + ([showing._now.picture] if showing._now else [])

        def melted() -> bool:
            parts, began, now = pictures(), time.monotonic(), showing._now
            whole = showing.draw(80, 48)
            after = pictures()
            if whole is not None and now is not None and len(parts) == len(after) == 2:
                first, second = parts
                unchanged = first is after[0] and second is after[1]  # else nobody knows which were mixed
                if (
                    unchanged
                    and first is not None
                    and second is not None
                    and first.shape == second.shape == whole.shape
                ):
                    weights = now.weight(began), now.weight(time.monotonic())
                    both.append((weights, *(p.astype(float) for p in (whole, first, second))))
            return bool(showing.item == 1 and both and not showing._leaving)

        until(melted, 60)
        ends: list[Any] = []

        def held() -> bool:
            picture, seen = pictures()[-1], showing.draw(80, 48)
            if seen is not None and picture is pictures()[-1]:  # else it is of a newer picture
                ends[:] = seen, picture
            return bool(ends)

        until(held, 10)
    # What is seen lies between the two pictures, as near to the second one as time has passed, and is that at the end.
    told_apart = [(weights, w, a, b) for weights, w, a, b in both if np.abs(a - b).max() > 60]
    assert len(told_apart) > 5
    for (least, most), whole, first, second in told_apart:
        share = float(((whole - first) * (second - first)).sum() / ((second - first) ** 2).sum())
        assert least - 0.03 < share < most + 0.03
    assert told_apart[0][0][0] < 0.5
    alone, own = ends
    assert (alone == own).all()
    assert np.abs(alone - told_apart[-1][2]).mean() > 1


def test_a_loop_begins_again(takes, home, tmp_path):
    path = programme(tmp_path / "p.toml", [{"take": takes["low"]}], loop=True)
    with playing(path, home) as (_, journal):
        until(lambda: sum("item 1" in line for line in journal.lines) == 2, 30)


def test_a_damaged_sound_is_made_again_and_unreadable_frames_are_skipped(takes, home, tmp_path):
    with Archive.open(home / "archive.db") as archive:
        mix = next(m.path for m in archive.media(takes["low"]) if m.role == "mix")
        whole = mix.read_bytes()
        mix.chmod(0o644)
        mix.write_bytes(whole[: len(whole) // 2])
    path = programme(tmp_path / "p.toml", [{"take": takes["low"]}])
    with playing(path, home) as (showing, journal):
        until(lambda: showing.position is not None, 90)
        assert any("made again" in line for line in journal.lines)
        assert mix.stat().st_size == len(whole)
    mix.unlink()
    with closing(sqlite3.connect(home / "archive.db")) as database, database:
        database.execute("UPDATE blocks SET payload = x'00' WHERE take_id = ?", (takes["low"],))
    with playing(path, home) as (showing, journal):
        until(showing.over.is_set, 90)
        assert "none of its 1 items can be shown" in showing.failure
        assert any("skipped" in line for line in journal.lines)


def test_it_goes_on_where_it_was_stopped_and_fresh_begins_anew(takes, home, tmp_path):
    path = programme(tmp_path / "p.toml", [{"take": takes["low"]}, {"take": takes["high"]}])
    with playing(path, home) as (showing, _):
        until(lambda: showing.item == 1 and (showing.position or 0) > 1.5, 60)
        showing.stop()
        until(showing.over.is_set)
    last = shown(home)[-1]
    assert (last.item, last.outcome) == (1, "stopped")
    assert last.position > 1.5
    with playing(path, home) as (showing, journal):
        until(lambda: showing.position is not None)
        assert showing.item == 1
        assert 0 <= (showing.position or 0) - last.position < 1.0
        assert "goes on with item 2" in journal.lines[1]
    with playing(path, home, fresh=True) as (showing, _):
        until(lambda: showing.position is not None)
        assert showing.item == 0
        assert (showing.position or 9) < 1.0


@pytest.mark.parametrize("kind", ["take", "piece"])
def test_panic_silences_all_items_until_the_sound_is_wanted_back(takes, home, tmp_path, kind):
    """Time goes on meanwhile, and the sound comes back where it would have been."""
    for name in TONES:
        (tmp_path / f"{name}.toml").write_text(tomlkit.dumps(tone(name)))
    items = [{"take": takes[name]} if kind == "take" else {"piece": f"{name}.toml"} for name in TONES]
    path = programme(tmp_path / "p.toml", items, crossfade=0.2)
    with playing(path, home, tmp_path / "heard.wav") as (showing, journal):
        sound = showing._house.sound

        def loud() -> bool:
            state = sound.state()
            return state is not None and max(state.peak) > 0.01

        until(loud)
        until(lambda: (showing.position or 0) > 1.0)
        showing.panic()
        until(lambda: not loud(), 1.0)
        before = showing.position or 0
        showing.panic()  # again: no key pressed in haste brings the sound back
        until(lambda: (showing.position or 0) > before + 0.5)
        showing.sound_again()
        until(loud, 3.0)
        assert showing.item == 0
        at = time.monotonic()
        until(lambda: time.monotonic() > at + 0.7)
        showing.panic()
        until(lambda: showing.item == 1, 20)
        until(lambda: (showing.position or 0) > 1.0)
        assert not loud()
        showing.sound_again()
        until(loud, 3.0)
        until(showing.over.is_set, 20)
        assert sum(line.startswith("panic") for line in journal.lines) == 2
    low, high = (level(recorded(tmp_path / "heard.wav"), pitch) > 0.01 for pitch, _ in TONES.values())
    heard, gaps = np.flatnonzero(low | high) / 10, []
    for a, b in pairwise(heard):
        if b - a > 0.25:
            gaps.append(b - a)
    assert len(gaps) == 2
    assert 0.4 < gaps[0] < 2.0
    assert gaps[1] > 2.0


def test_the_sound_comes_back_where_it_was_when_the_engine_is_killed(takes, home, tmp_path):
    path = programme(tmp_path / "p.toml", [{"take": takes["high"]}])
    with playing(path, home) as (showing, journal):
        sound: Any = showing._house.sound

        def loud() -> bool:
            state = sound.state()
            return state is not None and state.age < 0.1 and max(state.peak) > 0.01

        until(loud)
        until(lambda: (showing.position or 0) > 1.0)
        first, at, before = sound.pid, time.monotonic(), showing.position or 0
        os.kill(first, signal.SIGKILL)
        until(lambda: sound.pid not in (None, first) and loud(), 10)
        assert abs((showing.position or 0) - before - (time.monotonic() - at)) < 3.0
        assert any("the sound engine ended" in line for line in journal.lines)


@pytest.mark.parametrize(
    ("last", "place"),
    [
        (None, (0, 0.0)),
        ({"item": 1, "label": "b, seed 0", "position": 7.0}, (1, 7.0)),
        ({"item": 1, "label": "b, seed 0", "position": 7.0, "outcome": "stopped"}, (1, 7.0)),
        ({"item": 1, "label": "b, seed 0", "position": 7.0, "outcome": "done"}, (2, 0.0)),
        ({"item": 3, "label": "b, seed 0", "position": 7.0, "outcome": "done"}, (0, 0.0)),
        ({"item": 2, "label": "b, seed 0", "position": 7.0}, (1, 7.0)),  # the programme was changed
        ({"item": 1, "label": "gone", "position": 7.0}, (0, 0.0)),
    ],
)
def test_where_a_programme_goes_on(last, place):
    items = [{"piece": "a"}, {"piece": "b"}, {"piece": "c"}, {"piece": "b"}]
    given = parse_programme({"descant": 1, "title": "x", "items": items}, "x")
    skipped = ShowingRecord(programme="p", item=2, label="c, seed 0", outcome="skipped", id="1")
    found = resumed([skipped, ShowingRecord(programme="p", id="2", **last)] if last else [], given)
    assert found[:2] == place


def test_a_programme_whose_last_items_are_missing_is_over_and_begins_again():
    given = parse_programme({"descant": 1, "title": "x", "items": [{"piece": "a"}, {"piece": "b"}]}, "x")
    done = ShowingRecord(programme="p", item=0, label="a, seed 0", outcome="done", id="1")
    assert resumed([done], given)[:2] == (1, 0.0)
    skipped = ShowingRecord(programme="p", item=1, label="b, seed 0", outcome="skipped", id="2")
    assert resumed([skipped, done], given)[:2] == (0, 0.0)


def test_no_item_is_lifted_above_what_its_peaks_allow():
    said: list[str] = []
    assert gain(-20, -26, -12.0, said.append, "it") == 6
    assert not said
    assert gain(-14, -26, -9.0, said.append, "it") == 8  # 12 dB are wanted, the ceiling is -1 dBTP
    assert "4.0 dB softer" in said[0]
    assert gain(-30, -16, -1.0) == -14
    assert gain(None, -16, -1.0) == 0
    assert gain(-20, None, None) == 0


def test_a_log_that_cannot_be_written_is_said_once(tmp_path):
    (tmp_path / "file").write_text("")
    echoed: list[str] = []
    journal = Journal(tmp_path / "file" / "x.log", echoed.append)
    journal.say("one\ntwo")
    journal.say("three")
    assert echoed[0] == "one two"
    assert sum("cannot be written" in line for line in echoed) == 1


def test_an_item_that_cannot_be_closed_does_not_keep_the_screen_open(takes, home, tmp_path):
    path = programme(tmp_path / "p.toml", [{"take": takes["low"]}])

    def stuck() -> None:
        raise OSError("its file is gone")

    with playing(path, home) as (showing, journal):
        until(lambda: showing._now is not None)
        showing._now.close = stuck
        showing.stop()
        until(showing.over.is_set, 10)
    assert any("OSError: its file is gone" in line for line in journal.lines)
    assert [s.outcome for s in shown(home)] == ["stopped"]
