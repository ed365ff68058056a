"""The computer keyboard as a piano, in a terminal that tells no releases and in one that does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.piano import CHORD, HOLD, INTERRUPT, LOWER, REPEAT, TAP, UPPER, Piano, decode, note_of

NOTE = {"midi": 48, "velocity": 0.7}


def notes(events: list) -> list[tuple[int, bool]]:
    assert all(kind == "note" for kind, _ in events)
    return [(data["midi"], data["velocity"] > 0) for _, data in events]


def play(piano: Piano, *moments: tuple[float, str], until: float = 10.0) -> list[tuple[float, int, bool]]:
    """Press keys at their times, looking after notes every 10 ms: time, note, whether it begins."""
    found, at = [], 0.0
    waiting = list(moments)
    while at < until:
        while waiting and waiting[0][0] <= at + 1e-9:
            found += [(at, *n) for n in notes(piano.key(waiting.pop(0)[1], at))]
        found += [(at, *n) for n in notes(piano.due(at))]
        at = round(at + 0.01, 2)
    return found


def held(key: str, start: float, end: float, delay: float = 0.5, every: float = 0.03) -> list[tuple[float, str]]:
    """A key that is held, as a terminal tells it."""
    times, at = [start], start + delay
    while at < end:
        times.append(at)
        at += every
    return [(t, key) for t in times]


def test_two_rows_of_a_piano():
    assert [note_of(k) for k in "zsxdcvgbhnjm,"] == list(range(36, 49))
    assert [note_of(k) for k in "q2w3er5t6y7ui"] == list(range(48, 61))
    assert note_of("Z") == 36
    assert note_of("z", 60) == 60
    assert [note_of(k) for k in ("a", "f", "1", "", "qq", " ", "é")] == [None] * 7
    assert note_of("p", 116) is None, "beyond MIDI"
    assert len(set(LOWER) & set(UPPER)) == 0


def test_a_key_that_is_tapped_lasts_a_set_time():
    assert play(Piano(), (0.0, "q")) == [(0.0, 48, True), (pytest.approx(HOLD), 48, False)]


@pytest.mark.parametrize("delay", [0.2, 0.5, 0.66])
def test_a_key_that_is_held_lasts_until_its_repeats_end(delay):
    (began, *_), (ended, *_), *rest = play(Piano(), *held("q", 1.0, 4.0, delay))
    assert began == 1.0
    assert not rest
    assert 4.0 - 0.03 < ended <= 4.0 + REPEAT + 0.02


def test_of_a_chord_that_is_held_only_one_key_repeats_and_all_sound():
    moments = [(0.0, "z"), (0.03, "c"), *held("b", 0.06, 3.0)]
    found = play(Piano(), *moments)
    assert [n for _, n, begins in found if begins] == [36, 40, 43]
    assert all(t > 2.9 for t, _, begins in found if not begins)
    melody = play(Piano(), (0.0, "z"), *held("b", CHORD * 3, 3.0))
    assert [t for t, n, begins in melody if n == 36 and not begins] == [pytest.approx(HOLD)], (
        "one that came before ends"
    )


def test_the_pedal_holds_a_chord_under_a_melody():
    piano = Piano()
    piano.key("z", 0.0)
    piano.key("space", 0.1)
    assert piano.due(5.0) == []
    assert notes(piano.key("q", 5.0)) == [(48, True)]
    assert notes(piano.key("z", 6.0)) == [(36, False), (36, True)], "a key that the pedal holds strikes again"
    assert notes(piano.key(" ", 5.0 + HOLD)) == [(48, False)], "what is still pressed stays"
    assert notes(piano.due(6.0 + HOLD)) == [(36, False)]


def test_fast_taps_strike_again_and_repeats_do_not():
    strikes = [t for t, _, begins in play(Piano(), *[(k * (TAP - 0.03), "q") for k in range(8)]) if begins]
    assert len(strikes) == 8
    assert len([1 for *_, begins in play(Piano(), *held("q", 0.0, 3.0, 0.25, 0.033)) if begins]) == 1


def test_two_keys_of_one_note_sound_once_and_end_once():
    found = play(Piano(), (0.0, ","), (0.02, "q"))
    assert [n for _, n, begins in found if not begins] == [48]


def test_where_releases_are_told_notes_last_as_long_as_keys():
    piano = Piano()
    piano.exact = True
    assert notes(piano.key("q", 0.0)) == [(48, True)]
    assert piano.due(100.0) == []
    assert piano.key("q", 0.5, "repeat") == []
    assert notes(piano.key("w", 1.0)) == [(50, True)]
    assert notes(piano.key("q", 100.0, "release")) == [(48, False)]
    assert piano.key("q", 100.1, "release") == []
    assert notes(piano.key("q", 100.2)) == [(48, True)]
    piano.key(" ", 101.0)
    assert piano.key("w", 102.0, "release") == []
    assert notes(piano.key(" ", 103.0)) == [(50, False)]


def test_what_the_other_keys_do():
    piano = Piano()
    assert piano.key("tab", 0.0) == [("soft", {"value": 1.0}), ("soft", {"value": 0.0})]
    assert piano.key("enter", 0.0) == piano.key("\t", 0.0)
    assert piano.key("]", 0.0) == piano.key("=", 0.0) == []
    assert piano.key("q", 0.0) == [("note", {"midi": 60, "velocity": pytest.approx(0.8)})]
    for key in "[[[[[" + "-" * 20:
        piano.key(key, 1.0)
    assert piano.key("z", 1.0) == [("note", {"midi": 0, "velocity": pytest.approx(0.1)})]
    assert notes(piano.key("backspace", 1.0)) == [(60, False), (0, False)]
    assert piano.key("F5", 1.0) == []


@settings(max_examples=60)
@given(
    keys=st.lists(
        st.tuples(
            st.sampled_from([*"zsxq2w", " ", "[", "]", "backspace"]),
            st.floats(0, 0.4),
            st.sampled_from(["press", "repeat", "release"]),
        ),
        max_size=40,
    )
)
def test_every_note_that_begins_ends_once(keys):
    piano, now, sounding = Piano(), 0.0, []
    for key, after, kind in keys:
        now += after
        for midi, begins in notes([*piano.due(now), *piano.key(key, now, kind)]):
            if begins:
                sounding.append(midi)
            else:
                assert midi in sounding
                sounding = [n for n in sounding if n != midi]
    for midi, begins in notes(piano.silence()):
        assert not begins
        sounding = [n for n in sounding if n != midi]
    assert not sounding


def test_what_a_plain_terminal_sends():
    assert decode(b"zq\t ") == ([("z", "press"), ("q", "press"), ("\t", "press"), (" ", "press")], False, b"")
    assert decode(b"\x1b[A\x1bOPq\x1b[15~")[0] == [("q", "press")], "arrows and function keys are no notes"
    assert decode(b"q\x1b[11") == ([("q", "press")], False, b"\x1b[11")


def test_what_a_terminal_with_the_kitty_protocol_sends():
    sent = b"\x1b[?11u\x1b[?62;c\x1b[122u\x1b[122;1:2u\x1b[122;1:3u\x1b[57441;2u\x1b[9;1:1u\x1b[97:65;2u"
    keys, speaks, rest = decode(sent)
    assert speaks
    assert rest == b""
    assert keys == [("z", "press"), ("z", "repeat"), ("z", "release"), ("\t", "press"), ("a", "press")]
    assert decode(b"\x1b[99;5u")[0] == [(INTERRUPT, "press")]


@settings(max_examples=60)
@given(st.binary(max_size=40), st.integers(0, 40))
def test_whatever_is_sent_is_read_and_however_it_is_cut(data, cut):
    keys, _, rest = decode(data)
    assert rest == b"" or rest.startswith(b"\x1b")
    sequence = b"q\x1b[122;1:3u\x1b[Aw\x1b[9u"
    first, _, left = decode(sequence[:cut])
    second, _, end = decode(left + sequence[cut:])
    assert first + second == decode(sequence)[0]
    assert end == b""
    assert all(kind in ("press", "repeat", "release") for _, kind in keys)
