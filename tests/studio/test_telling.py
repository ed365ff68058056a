"""What is told follows from artefact and attention, in every register; wordings say the same."""

from __future__ import annotations

import string

import numpy as np
import pytest

from studio.audience.attention import THINGS, Attention
from studio.audience.game import HELP, Game
from studio.audience.rooms import Room, Rules
from studio.audience.telling import Telling
from studio.audience.wording import WORDINGS
from studio.words.registers import REGISTERS, Register, spoken
from studio.words.tokens import FIELDS, PER_MOMENT
from tests.studio.test_game import LOW, STEADY, TURNS


def lengths(register: Register, attention: Attention) -> set[int]:
    """Of what is told of six moments of three works."""
    told = [Telling(a, register).told(i, attention) for a in (STEADY, TURNS, LOW) for i in range(6)]
    return {len(line.split()) if register == "prose" else len(line) for line in told}


@pytest.mark.parametrize("register", REGISTERS)
def test_length_tells_nothing_however_things_are_attended(register: Register) -> None:
    attention = Attention()
    for thing in ("pitch", "colour", "colour"):
        assert len(lengths(register, attention)) == 1
        attention.attend(thing)
    assert len(lengths(register, attention)) == 1


@pytest.mark.parametrize("register", REGISTERS)
def test_unattended_every_register_is_what_is_spoken(register: Register) -> None:
    telling = Telling(TURNS, register)
    assert tuple(telling.told(i, Attention()) for i in range(len(telling))) == spoken(TURNS, register)


def test_of_tokens_what_is_attended_is_whole_and_the_rest_is_told_seldom() -> None:
    attention = Attention()
    (whole,) = {Telling(STEADY, "tokens").told(3, attention)}
    attention.attend("colour")
    once = Telling(STEADY, "tokens").told(3, attention)
    attention.gains = {thing: 6.0 if thing == "colour" else 0.0 for thing in THINGS}
    most = Telling(STEADY, "tokens").told(3, attention)
    assert len(whole) == len(once) == len(most) == PER_MOMENT
    names = [*FIELDS]
    for line, share in ((whole, 1.0), (once, 0.5), (most, 0.0)):
        told = np.array([letter != "-" for letter in line]).reshape(-1, len(names))
        assert told[:, names.index("hue")].all()
        assert told[:, names.index("pitch")].mean() == share


def hues(game: Game) -> list[str]:
    """The hue that is told of moments 0 to 3, and a number that is told of their pitch."""
    lines = game.step("listen 0")[0].splitlines()
    assert [line.split(":")[0] for line in lines] == ["0", "1", "2", "3"]
    return [line.split("hue ")[1].split(",")[0] for line in lines]


def test_in_prose_what_is_not_attended_is_told_less_and_less_and_again_when_it_wears_off() -> None:
    game = Game([Room(LOW)], Rules(budget=1000))
    _, info = game.reset(seed=0)
    game.step(f"go {info['arguments']['go'][0]}")
    assert hues(game) == ["red"] * 4
    assert "pitch A3 057.0" not in game.step("listen 0")[0]
    game.step("attend pitch")
    assert hues(game) == ["red", "-", "red", "-"]
    assert game.step("listen 0")[0].count("pitch A3 057.0") == 4
    for _ in range(3):
        game.step("attend pitch")
    assert hues(game) == ["red", "-", "-", "-"]
    game.step("attend colour")
    assert [hue.split()[0] for hue in hues(game)] == ["red"] * 4
    for _ in range(30):
        told = hues(game)
    assert told == ["red"] * 4


@pytest.mark.parametrize("register", REGISTERS)
def test_moments_are_compared_in_the_register_of_the_visit(register: Register) -> None:
    telling, attention = Telling(TURNS, register), Attention()
    assert telling.compared(12, 16, attention) == "alike"
    found = telling.compared(12, 15, attention)
    assert ("pitch A4 to E5" in found) == (register == "prose")
    assert ("pitch 069.0 to 076.0" in found) == (register == "numbers")
    if register == "tokens":
        sides, (then, now) = found.split(" to "), (telling.told(moment, attention) for moment in (12, 15))
        for side, line in zip(sides, (then, now), strict=True):
            assert side == "".join("-" if a == b else c for a, b, c in zip(then, now, line, strict=True))
        assert len(sides[0].replace("-", "")) >= 8
    attention.gains["pitch"] = 0.0
    assert "pitch" not in telling.compared(12, 15, attention)


def test_clips_are_the_moments_that_were_listened_to_and_nothing_else() -> None:
    game = Game([Room(TURNS)], Rules(stretch=2))
    _, info = game.reset(seed=0)
    game.step(f"go {info['arguments']['go'][0]}")
    assert (game.clips, game.heard) == ((), None)
    game.step("listen 2")
    (clip,) = game.clips
    assert game.heard == (2, 2)
    assert clip.duration == 1.0
    np.testing.assert_array_equal(clip.audio, TURNS.audio[len(TURNS.audio) * 2 // 24 : len(TURNS.audio) * 4 // 24])
    assert len(clip.pictures) == 16
    game.step("look")
    assert game.clips == ()


def test_where_the_sound_outlasts_the_pictures_the_last_one_stays() -> None:
    from dataclasses import replace

    short = replace(TURNS, pictures=TURNS.pictures[:20])
    part = short.part(4, 2)
    assert len(part.pictures) == 16
    assert (part.pictures == TURNS.pictures[19]).all()


#: Words that would tell a visitor what to feel.
TASTE = "beautiful nice good bad ugly enjoy enjoyable boring interesting exciting love hate pleasant wonderful"


@pytest.mark.parametrize("name", WORDINGS)
def test_wordings_have_the_same_places_and_no_taste(name: str) -> None:
    wording = WORDINGS[name]
    assert wording.name == name
    texts = {field: getattr(wording, field) for field in wording.__dataclass_fields__ if field != "name"}
    needed = {"argument": {"verb"}, "same": {"first", "second", "third"}, "rate": {"work"}}
    for field, text in texts.items():
        assert {place for _, place, _, _ in string.Formatter().parse(text) if place} == needed.get(field, set())
    said = {word.strip(".,;:?").lower() for text in (*texts.values(), HELP) for word in text.split()}
    assert not said & {*TASTE.split()}
    assert "0" in wording.rate
    assert "10" in wording.rate


def test_every_command_is_explained_at_the_beginning() -> None:
    game = Game([Room(STEADY)])
    text, _ = game.reset(seed=0)
    assert text.startswith(HELP)
    for verb in game._verbs:
        assert f"{verb}: " in HELP
