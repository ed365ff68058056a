"""Servers that misbehave cost a line and no more; a key goes to its host alone, and is never seen."""

from __future__ import annotations

import json
import logging
import re
import time
import unicodedata
from http.server import BaseHTTPRequestHandler

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.audience.keys import variable
from studio.audience.playing import play
from studio.audience.servers import MOST, server
from studio.audience.visitor import AudienceError, invite
from tests.serving import (
    ASKS,
    CHAT,
    DECISIONS,
    FINE,
    PLANTED,
    SYSTEMONE,
    Answer,
    Asked,
    Babble,
    completion,
    drip,
    drip_headers,
    echo,
    nothing_kept,  # noqa: F401
    refused,
    reset,
    says,
    silence,
    standin,
    status,
    visitor,
    wants,
)
from tests.studio.test_game import gallery

# Misbehaviour


BAD: dict[str, tuple[Answer, str]] = {
    "no json": (status(200, b"<html>welcome</html>", {"Content-Type": "text/html"}), "no answer of the form asked for"),
    "half": (status(200, b'{"choices": [{"mess'), "no answer of the form asked for"),
    "deep": (status(200, b"[" * 50_000), "no answer of the form asked for"),
    "nobody": (status(200, b""), "an empty answer"),
    "empty": (says(""), "an empty answer"),
    "null": (says(None), "an empty answer"),
    "prose": (says("I would look."), "no JSON of the form asked for: 'I would look.'"),
    "refusal": (says(None, refusal="I cannot attend."), "it refused: I cannot attend."),
    "not offered": (says('{"choice": "rm -rf"}'), "'rm -rf' was no option"),
    "lower": (says('{"choice": "a"}'), "'a' was no option"),
    "two": (says('{"choice": "A"} {"choice": "B"}'), "no JSON"),
    "more": (says('{"choice": "A", "then": "B"}'), "no JSON"),
    "number": (says('{"choice": 1}'), "no JSON"),
    "escapes": (says("\x1b]0;owned\x07\x1b[31m\u202eLook\x9b5m" * 9), "no JSON"),
    "huge count": (status(200, {**completion("A"), "usage": {"prompt_tokens": 10**300}}), "no answer of the form"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_answer_is_asked_again_and_then_is_a_line(kind):
    answer, line = BAD[kind]
    with standin({CHAT: [FINE, answer]}) as at:
        assert line in refused(visitor(at.url, retries=2))
        assert at.paths() == [DECISIONS, SYSTEMONE, CHAT, *[CHAT] * 3]


@pytest.mark.parametrize("kind", ["prose", "refusal", "nobody", "escapes"])
def test_what_was_no_answer_may_become_one(kind):
    with standin({CHAT: [FINE, BAD[kind][0], wants("go")]}) as at:
        made = visitor(at.url, retries=1).decide(ASKS)
    assert (made.option, made.facts["retries"]) == ("go", 1)


@pytest.mark.parametrize("slow", [drip, drip_headers, silence])
def test_slowness_has_one_deadline(slow):
    with standin({CHAT: [FINE, slow]}) as at:
        began = time.monotonic()
        line = refused(visitor(at.url, timeout=0.6, retries=5))
        assert time.monotonic() - began < 5
        assert line.startswith("no answer within 0.6 s")
        assert len(at.asked) == 4, "one request, and no other after it"


@pytest.mark.parametrize("code", [200, 400])
def test_babble_is_cut_off_while_it_comes(code):
    babble = Babble(code)
    with standin({CHAT: [FINE, babble]}) as at:
        line = refused(visitor(at.url))
    assert (f"more than {MOST // 1000} kB" if code == 200 else "400 la la") in line
    assert babble.taken < 20_000_000, "beyond what is read there is only what sockets hold"


@pytest.mark.parametrize(
    "answer", [status(500, b"oh"), status(503, b""), status(429, {}, {"Retry-After-Ms": "40"}), reset]
)
def test_a_passing_fault_passes(answer):
    with standin({CHAT: [FINE, answer, wants("go")]}) as at:
        made = visitor(at.url, retries=1, repeats=1).decide(ASKS)
        assert (made.option, made.facts["retries"]) == ("go", 1)
        assert at.asked[-1].at - at.asked[-2].at > 0.035


def test_a_server_is_waited_for_as_long_as_it_asks():
    with standin({CHAT: [FINE, status(429, {}, {"Retry-After": "1"}), wants("go")]}) as at:
        visitor(at.url, retries=1).decide(ASKS)
        assert at.asked[4].at - at.asked[3].at >= 0.99


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (reset, "no connection"),
        (status(429, {"error": {"message": "Slow down."}}, {"Retry-After": "9999"}), "429 Slow down"),
        (status(401, {"error": {"message": "Who?"}}), "wants a key (set DESCANT_API_KEY_127_0_0_1): 401 Who?"),
        (
            status(404, {"error": {"message": "The model `m` does not exist"}}),
            "404 The model `m` does not exist; see MODEL",
        ),
        (status(500, "\x1b[2Jboo\u202e"), "500 [2Jboo"),
    ],
)
def test_what_stays_broken_is_a_line(answer, line):
    with standin({CHAT: [FINE, answer]}) as at:
        assert line in refused(visitor(at.url, retries=0))


def test_a_server_that_is_down():
    with standin({}) as at:
        url = at.url
    assert refused(visitor(url)).startswith("no connection (")
    with standin({}) as at:
        assert refused(visitor(at.url)) == "404 Not Found; see MODEL and URL, which mostly ends in /v1"


def test_a_visit_that_breaks_off_is_marked_and_kept():
    with standin({CHAT: [FINE, wants("look"), wants("go"), says("no")]}) as at:
        found = play(gallery(), visitor(at.url, repeats=1), 3)
    assert found.commands == ("look",)
    assert "no answer that can be taken" in found.ended


# Keys


@pytest.fixture
def planted(monkeypatch) -> str:
    monkeypatch.setenv(variable("127.0.0.1"), PLANTED)
    return PLANTED


def searched(secret: str, *texts: object) -> None:
    """The key is in none of them, nor with what nobody sees between its letters, nor with how that is spelled."""
    whole = re.sub(r"\\+(u\w{4}|x\w\w)|[^!-~]", "", "\n".join(map(str, texts))).lower()
    assert not any(secret[i : i + 8].lower() in whole for i in range(len(secret) - 7))


def named(to: BaseHTTPRequestHandler, asked: Asked) -> None:
    """The key as the name of the model, and as an answer."""
    secret = asked.headers["authorization"]
    status(200, completion(f'{{"choice": "{secret}"}}') | {"model": f"m {secret}"})(to, asked)


def split(to: BaseHTTPRequestHandler, asked: Asked) -> None:
    """The key with marks that nobody sees between its letters."""
    secret = "\u200b".join(asked.headers["authorization"])
    status(400, {"error": {"message": secret}})(to, asked)


def split_in_words(to: BaseHTTPRequestHandler, asked: Asked) -> None:
    """The same as an answer, which is shown where it is none."""
    says("\u200b".join(asked.headers["authorization"]))(to, asked)


def split_in_a_body(to: BaseHTTPRequestHandler, asked: Asked) -> None:
    """The same in what is no answer, where JSON spells what nobody sees."""
    status(200, {"key": "\u200b".join(asked.headers["authorization"])})(to, asked)


def split_as_an_option(to: BaseHTTPRequestHandler, asked: Asked) -> None:
    """The same as what was chosen."""
    says(json.dumps({"choice": "\x1b".join(asked.headers["authorization"])}))(to, asked)


@pytest.mark.parametrize(
    "answer",
    [
        echo,
        lambda to, asked: echo(to, asked, 401),
        lambda to, asked: echo(to, asked, 400),
        named,
        split,
        split_in_words,
        split_in_a_body,
        split_as_an_option,
        drip,
    ],
)
def test_a_key_is_sent_and_never_seen(planted, caplog, answer):
    for name in (None, "httpx2", "httpcore2", "httpcore2.http11", "httpcore2.connection", "openai", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    with standin({CHAT: [FINE, wants("go"), answer]}) as at:
        found = visitor(at.url, repeats=1, timeout=1.0)
        transcript = play(gallery(), found, 3)
        assert len(transcript.turns) == 1
        assert at.asked[-1].headers["authorization"] == f"Bearer {planted}", "it was sent"
        with pytest.raises(AudienceError) as told:
            found.decide(ASKS)
        assert at.asked[-1].headers["authorization"] == f"Bearer {planted}", "it was sent again"
    error = told.value
    chain = [error, error.__cause__, error.__context__]
    records = [f"{record.getMessage()} {record.args}" for record in caplog.records]
    searched(planted, transcript.model_dump_json(), repr(found), vars(found), found.about(), *records, caplog.text)
    searched(planted, *(f"{one!r} {vars(one) if one else ''}" for one in chain))
    assert not any(hasattr(one, "request") for one in chain)


def test_a_key_that_comes_back_well_formed_is_hidden_too(planted):
    def answer(to: BaseHTTPRequestHandler, asked: Asked) -> None:
        option = json.dumps({"choice": "A"})
        status(200, completion(option) | {"model": f"m-{asked.headers['authorization']}"})(to, asked)

    with standin({CHAT: answer}) as at:
        made = visitor(at.url).decide(ASKS)
    assert made.facts["model"] == "m-Bearer [key]"
    searched(planted, made)


def test_the_key_of_openai_and_what_else_is_in_the_environment_stays_here(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", PLANTED)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", PLANTED)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-123456789")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-123456789")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Own: {PLANTED}\nAuthorization: {PLANTED}")
    with standin({CHAT: FINE}) as at:
        visitor(at.url).decide(ASKS)
        for asked in at.asked:
            assert "authorization" not in asked.headers
            searched(PLANTED, asked)
            assert "123456789" not in str(asked)
    at_home = server("gpt-x")
    assert (at_home.host, at_home.url) == ("api.openai.com", "https://api.openai.com/v1")
    assert at_home.key is not None
    assert at_home.key.get_secret_value() == PLANTED
    searched(PLANTED, at_home, vars(at_home))
    assert server("gpt-x@http://api.openai.com/v1", insecure=True).key is None, "not where it can be read on its way"


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_key_does_not_follow_a_redirection(planted, code):
    with standin({CHAT: FINE}, "localhost") as other:
        to = {"Location": f"{other.url}{CHAT}"}
        with standin({CHAT: [FINE, status(code, b"", to)]}) as at:
            line = refused(visitor(at.url, retries=1))
    assert not other.asked
    assert line == f"it sends us on to localhost ({code}), and is not followed: see the URL"


# Addresses and options


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("", "give MODEL or MODEL@URL"),
        ("@http://127.0.0.1/v1", "give MODEL or MODEL@URL"),
        ("m@127.0.0.1:8000", "give MODEL or MODEL@URL"),
        ("m@ftp://user:pass-0123@127.0.0.1", "give MODEL or MODEL@URL"),
        ("m@http://user:pass-0123@127.0.0.1/v1", "has no name, password"),
        ("m@http://pass-0123@127.0.0.1/v1", "has no name, password"),
        ("m@http://127.0.0.1/v1?key=pass-0123", "has no name, password, query"),
        ("m@http://127.0.0.1/v1#pass-0123", "has no name, password, query"),
        ("m@http://models.example.org/v1", "http:// can be read on its way"),
        ("m@http://127.0.0.1.example.org/v1", "http:// can be read on its way"),
        ("m@http://10.0.0.1/v1", "http:// can be read on its way"),
        ("m\x1b[31m@http://127.0.0.1/v1", "give MODEL or MODEL@URL"),
        ("m@http:///v1", "no such address"),
        ("m@http://127.0.0.1:99999/v1", "no such address"),
        ("m@http://[::1/v1", "no such address"),
        ("m@https://api.openai.сom/v1", "no such address"),
        ("m@http://127.0.0.1/v1\r\nX: 1", "no such address"),
    ],
)
def test_addresses_that_are_none(argument, line, tmp_path):
    with pytest.raises(AudienceError) as told:
        invite(f"openai:{argument}", tmp_path)
    assert line in str(told.value)
    assert "pass-0123" not in str(told.value)
    assert "\n" not in str(told.value)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_argument_is_a_server_or_a_line(model, rest):
    for argument in (f"{model}@http://127.0.0.1{rest}", f"{model}@https://{rest}", model):
        try:
            found, line = server(argument), ""
        except AudienceError as error:
            found, line = None, str(error)
        assert (found is None) == bool(line)
        assert not any(unicodedata.category(c).startswith("C") for c in line)
        if found:
            assert found.model
            assert httpx2.URL(found.url).host == found.host, "what is judged is what is asked"
            assert not httpx2.URL(found.url).userinfo


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_this_machine_needs_no_lock(host):
    found = server(f"org/model:tag@main@http://{host}:8000/v1/")
    assert (found.model, found.url) == ("org/model:tag@main", f"http://{host}:8000/v1")
    assert found.near
    assert not server("m@http://models.example.org/v1", insecure=True).near


def test_the_key_in_the_address_is_refused(planted):
    with pytest.raises(AudienceError, match="stands in the address") as told:
        server(f"m@http://127.0.0.1/{planted}/v1")
    searched(planted, told.value)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"repeat": 2}, "no option 'repeat'"),
        ({"timeout": 0}, "timeout 0 (seconds for a whole decision"),
        ({"retries": "many"}, "retries 'many'"),
        ({"senses": "taste"}, "senses 'taste'"),
        ({"max_cost": 1.0}, "max_cost needs price_in or price_out"),
    ],
)
def test_options_that_are_none(options, line, tmp_path):
    with pytest.raises(AudienceError) as told:
        invite("openai:m@http://127.0.0.1:1/v1", tmp_path, **options)
    assert line in str(told.value)
    assert "\n" not in str(told.value)
