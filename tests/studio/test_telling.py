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
