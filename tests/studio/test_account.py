"""What people are told of a visit is what happened in it, and where."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.audience.account import BARS, WIDTH, Reader, curves, drawn
from studio.audience.attending import Visit, attend
from studio.audience.game import HELP
from studio.audience.rooms import Room, Rules
from studio.audience.simple import ScriptedVisitor
from studio.audience.visitor import MomentRow, Report
from studio.words.artefact import Artefact
from studio.words.registers import slots

RATE, HEARD = 24_000, "go 0|listen on|listen 12|leave|leave"


def artefact() -> Artefact:
    """Eight seconds: two seconds of a low tone, and a high one from then on."""
    t = np.arange(8 * RATE) / RATE
    tone = 0.2 * np.sin(2 * np.pi * np.where(t < 2, 220, 880) * t).astype(np.float32)
    return Artefact(np.stack([tone, tone], axis=1), RATE, np.zeros((128, 8, 8, 3), np.uint8), 16.0)


TONES = artefact()


class Measuring(ScriptedVisitor):
    """Follows a script, and was surprised as it is said."""

    rows: tuple[MomentRow, ...] = ()

    def report(self) -> Report:
        return Report(progress=0.1, moments=self.rows)


def visit(commands: str, rows: tuple[MomentRow, ...] = (), register: str = "tokens") -> Visit:
    visitor = Measuring(tuple(commands.split("|")))
    visitor.rows = rows
    return attend([Room(TONES)], visitor, 1, Rules(register=register))  # type: ignore[arg-type]


def told(seen: Visit, register: str) -> str:
    gallery = SimpleNamespace(artefact=lambda take: TONES)
    reader = Reader(gallery, ["take"], register)  # type: ignore[arg-type]
    return "\n".join(reader.told(turn) for turn in seen.transcript.turns)


def test_tokens_are_told_in_words_and_then_what_is_other_than_before() -> None:
    text = told(visit("go 0|listen on|listen 3|leave|leave"), "tokens")
    lines = [line for line in text.splitlines() if " s  " in line]
    words = slots(TONES)
    assert [line.split()[0] for line in lines] == ["0.0", "0.5", "1.0", "1.5", "1.5", "2.0", "2.5", "3.0"]
    assert lines[0].split("  ")[-1] == ", ".join(f"{name} {slot.word}" for name, slot in words[0].items())
    assert lines[4].endswith("s  as before"), "the same moment again"
    assert f"pitch {words[4]['pitch'].word}" in lines[5], "the tone rises, and that is told"
    assert "pitch" not in lines[6]
    assert max(map(len, text.split())) < 40, "no letters that nobody can read"
    assert HELP not in text
    assert "> listen on" in text


@pytest.mark.parametrize("register", ["prose", "numbers"])
def test_what_can_be_read_is_shown_as_it_was_told(register: str) -> None:
    seen = visit(HEARD, register=register)
    text = told(seen, register)
    assert all(turn.observation in text for turn in seen.transcript.turns[1:])


def test_a_curve_has_its_peak_where_the_surprise_was_and_nothing_where_nothing_was_heard() -> None:
    starts = [0.0, 0.5, 1.0, 1.5, 6.0, 6.5, 7.0, 7.5]
    rows = tuple(MomentRow(start=at, surprise=9.0 if at == 6.5 else 1.0, progress=-0.1) for at in starts)
    surprise, learned, axis = curves(visit(HEARD, rows), 0, 8.0)
    curve = surprise.split("|")[1]
    assert len(curve) == 16
    assert [i for i, bar in enumerate(curve) if bar == BARS[-1]] == [13]
    assert curve[4:12].isspace(), "from 2 to 6 s nothing was heard"
    assert surprise.endswith("most at 6.5 s (9.00), 0.0 s (1.00), 0.5 s (1.00) nats a token")
    assert learned.endswith("| nothing")
    assert axis.split() == ["0.0", "s", "8.0", "s", "of", "8.0", "s"]
    heard, _ = curves(visit(HEARD), 0, 8.0)
    assert heard == f"heard    |{BARS[-1] * 4}{' ' * 8}{BARS[-1] * 4}|"
    assert curves(visit("leave"), 0, 8.0) == ["nothing of it was listened to"]


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(-10, 10)), min_size=1, max_size=60), st.integers(0, 9))
def test_a_curve_is_as_long_as_what_was_heard_and_shows_the_most_highest(pairs, before) -> None:
    values = [(0.5 * at, value) for at, value in pairs]
    begin, end = min(at for at, _ in values) - 0.5 * before, max(at for at, _ in values) + 0.5
    curve = drawn(values, begin, end)
    assert len(curve) == min(WIDTH, round(2 * (end - begin)))
    assert set(curve) <= set(BARS) | {" "}
    assert curve[-1] != " "
    if before and len(curve) < WIDTH:
        assert curve[:before].isspace()
