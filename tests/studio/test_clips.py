"""Models with ears and eyes: what they listened to goes to them itself, whole, and with where it is from."""

from __future__ import annotations

import base64
import io
import json
import re
import wave
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from studio.audience.clips import Clips, pictures, wav
from studio.audience.visitor import Question
from studio.experiment.presenting import Work, told
from tests.serving import (
    ASKS,
    CHAT,
    DECISIONS,
    FINE,
    Answer,
    Asked,
    choices_of,
    completion,
    nothing_kept,  # noqa: F401
    refused,
    standin,
    status,
    visitor,
    wants,
)
from tests.studio.test_game import RATE, music

CLIP = music([440.0, 660.0], ((200, 0, 0), (0, 0, 200)))


def parts_of(asked: Asked, kind: str) -> list[Any]:
    content = asked.body["messages"][-1]["content"]
    return [part[kind] for part in content if part["type"] == kind] if isinstance(content, list) else []


def perceives(each: Mapping[str, int] = {"image_url": 16, "input_audio": 20}, spells: bool = False) -> Answer:
    """A server that takes some tokens for a sound or a picture; or one that takes them for text."""

    def answer(to: BaseHTTPRequestHandler, asked: Asked) -> None:
        taken = sum(count * len(parts_of(asked, kind)) for kind, count in each.items())
        text = json.dumps(asked.body["messages"]) if spells else ""
        body = completion('{"choice": "A"}')
        status(200, body | {"usage": {"prompt_tokens": 50 + taken + len(text) // 4, "completion_tokens": 7}})(to, asked)

    return answer


@pytest.mark.parametrize("sense", ["pictures", "sound"])
def test_what_is_dropped_or_spelled_is_not_taken(sense):
    with standin({CHAT: perceives({})}) as at:
        found = visitor(at.url, senses=sense)
        line, asked = refused(found), len(at.asked)
        assert f"takes no {sense}: a prompt has 50 tokens with and 50 without" in line
        assert refused(found) == line
        assert len(at.asked) == asked, "it is tested once"
    with standin({CHAT: perceives({"image_url": 2, "input_audio": 2})}) as at:
        assert re.search(f"takes no {sense}: a prompt has 5[28] tokens with", refused(visitor(at.url, senses=sense)))
    with standin({CHAT: perceives({}, spells=True)}) as at:
        assert f"takes no {sense}, it spells them" in refused(visitor(at.url, senses=sense))

    def objects(to: BaseHTTPRequestHandler, asked: Asked) -> None:
        sent = parts_of(asked, "image_url") + parts_of(asked, "input_audio")
        (status(400, {"detail": "no such part"}) if sent else FINE)(to, asked)

    with standin({CHAT: objects}) as at:
        assert f"takes no {sense}: 400 no such part" in refused(visitor(at.url, senses=sense))


def test_a_model_with_ears_and_eyes_gets_the_clip_itself():
    with standin({CHAT: perceives()}) as at:
        found = visitor(at.url, senses="sound, pictures", repeats=1)
        assert found.senses == {"sound", "pictures"}
        found.decide(ASKS)
        before = len(at.asked)
        assert not parts_of(at.asked[-1], "image_url"), "nothing was listened to yet"
        found.observe("0: red, 1: blue", [CLIP])
        found.decide(ASKS)
        assert len(at.asked) == before + 1, "it is tested once"
        sounds, seen = parts_of(at.asked[-1], "input_audio"), parts_of(at.asked[-1], "image_url")
        whole = json.dumps(at.asked[-1].body)
    assert [one["format"] for one in sounds] == ["wav"]
    with wave.open(io.BytesIO(base64.b64decode(sounds[0]["data"]))) as file:
        assert (file.getframerate(), file.getnchannels()) == (RATE, 2)
        heard = np.frombuffer(file.readframes(10**6), "<i2").reshape(-1, 2) / 32767
    assert np.abs(heard - CLIP.audio).max() < 1e-4
    images = [Image.open(io.BytesIO(base64.b64decode(one["url"].partition(",")[2]))) for one in seen]
    assert [image.getpixel((0, 0)) for image in images] == [(200, 0, 0), (0, 0, 200)]
    assert not any(image.info for image in images), "no title, no comment"
    assert not re.search(r"file_?name|title|alt", whole)


def test_a_model_without_them_gets_words_alone():
    with standin({CHAT: wants("go")}) as at:
        found = visitor(at.url)
        found.observe("0: red", [CLIP])
        found.decide(ASKS)
        assert isinstance(at.asked[-1].body["messages"][-1]["content"], str)


def test_only_the_last_clips_are_sent_again():
    with standin({CHAT: perceives()}) as at:
        found = visitor(at.url, senses="sound", clips=2, repeats=1)
        for level in (0.1, 0.2, 0.3):
            found.observe("0: a tone", [music([440.0 * (1 + level)])])
        found.decide(ASKS)
        sent = [one["data"] for one in parts_of(at.asked[-1], "input_audio")]
    assert sent == [wav(music([440.0 * (1 + level)])) for level in (0.2, 0.3)]


def test_of_works_that_are_compared_all_is_sent_and_said_whose_it_is():
    """Whatever may be sent in a game; and where it is too much, nothing is decided."""
    works = {"sile": music([440.0] * 8), "bado": music([660.0] * 8)}
    expected: list[tuple[str, str]] = []
    with standin({CHAT: perceives()}) as at:
        found = visitor(at.url, senses="sound", clips=1, held=4, repeats=1)
        for number, (name, artefact) in enumerate(works.items()):
            for seen in told(name, number, Work(artefact), "prose"):
                found.observe(seen.text, () if seen.clip is None else (seen.clip,))
                if seen.clip and seen.first is not None:
                    expected.append((f"Work {name}, moments {seen.first} to {seen.first + 3}:", wav(seen.clip)))
        found.decide(Question("prefer", "Which?", ("sile", "bado")))
        content = at.asked[-1].body["messages"][-1]["content"]
        found.decide(ASKS)
        assert len(parts_of(at.asked[-1], "input_audio")) == 1, "in a game the last"
        found.observe("Work more: 1 moments.\n0: x", [CLIP])
        before = len(at.asked)
        assert refused(found, Question("same", "Which?", ("sile", "bado"))).startswith(
            "the works are 5 clips, and 4 are"
        )
        assert len(at.asked) == before
        found.begin("Again.", 1)
        found.decide(Question("prefer", "Which?", ("sile", "bado")))
        assert not parts_of(at.asked[-1], "input_audio"), "another visit"
    kinds = [part["type"] for part in content]
    assert kinds == ["text", *["text", "input_audio"] * 4, "text"]
    pairs = zip(content[1:-1:2], content[2:-1:2], strict=True)
    assert [(one["text"], other["input_audio"]["data"]) for one, other in pairs] == expected


def test_where_a_clip_is_from_is_said_in_a_game_too():
    clips = Clips(4, 4)
    clips.observe("Room sile: 8 moments of 0.5 s, the next is 4.", ())
    clips.observe("one 4: a\none 5: b\ntwo 4: c\ntwo 5: d", (CLIP, CLIP))
    clips.observe("what nobody can place", (CLIP,))
    kept = [clip.where for clip in clips.of(ASKS)]
    assert kept == ["Room sile, one moments 4 to 5:", "Room sile, two moments 4 to 5:", "Room sile:"]


def test_large_pictures_are_sent_smaller():
    wide = np.zeros((8, 600, 1200, 3), np.uint8)
    clip = type(CLIP)(CLIP.audio[: RATE // 2], RATE, wide, 16.0)
    [url] = pictures(clip)
    assert Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size == (512, 256)


def test_decisions_get_the_pictures_themselves_too():
    """Sent as the client's own types have it, and answered in them: else the stand-in would be no stand-in."""
    from openai.types import Decision as Answered
    from openai.types.decision_input_image_param import DecisionInputImageParam

    def answer(to: BaseHTTPRequestHandler, asked: Asked) -> None:
        [message] = asked.body["input"]
        images = [part for part in message["content"] if part["type"] == "input_image"]
        TypeAdapter(list[DecisionInputImageParam]).validate_python(images)
        body = choices_of(asked, {"look": 1, "go": 2, "leave": 1})
        body["usage"]["input_tokens"] += 16 * len(images)
        Answered.model_validate(body)
        status(200, body)(to, asked)

    with standin({DECISIONS: answer, CHAT: perceives()}) as at:
        found = visitor(at.url, senses="pictures")
        found.observe("0: red, 1: blue", [CLIP])
        made = found.decide(ASKS)
        _, where, *images = at.asked[-1].body["input"][0]["content"]
        sent = [part["image_url"] for part in images]
        assert where == {"type": "input_text", "text": "moments 0 to 0:"}
        assert at.paths() == [DECISIONS] * 4
    assert sent == pictures(CLIP)
    assert made.probabilities == pytest.approx((0.25, 0.5, 0.25))
