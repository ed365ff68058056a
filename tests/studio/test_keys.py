"""API keys: each for one host, none ever seen."""

from __future__ import annotations

import keyring
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyring.backend import KeyringBackend
from pydantic import SecretStr

from studio.audience.keys import HIDDEN, OPENAI, PART, SERVICE, hidden, key_for, variable
from studio.audience.visitor import AudienceError
from tests.serving import PLANTED, nothing_kept  # noqa: F401

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@given(HOSTS, HOSTS)
def test_no_two_hosts_share_a_variable(one, other):
    assert (variable(one) == variable(other)) == (one == other)
    assert variable(one).replace("_", "").isalnum()


def test_hosts_that_would_share_one_without_care():
    assert len({variable(host) for host in ("a.b", "a-b", "ab", "a--b", "a.b.c", "a-b.c", "a.b-c")}) == 7
    for host in ("a_b", "::1", "-a", "a-.b", "a..b", "", "A"):
        with pytest.raises(AudienceError, match="no environment variable"):
            variable(host)


def test_the_key_of_openai_is_for_openai_alone(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", PLANTED)
    found = key_for(OPENAI)
    assert found is not None
    assert found.get_secret_value() == PLANTED
    for host in ("127.0.0.1", "localhost", "api.openai.com.example.org", "openai.com", "api-openai.com", "::1", "a_b"):
        assert key_for(host) is None


def test_a_host_gets_the_key_that_is_kept_for_it(monkeypatch):
    monkeypatch.setenv(variable("models.example.org"), f" {PLANTED}\n")
    found = key_for("models.example.org")
    assert found is not None
    assert found.get_secret_value() == PLANTED
    assert PLANTED not in f"{found} {found!r}"
    assert key_for("models-example.org") is None
    assert key_for(OPENAI) is None


def test_a_keyring_is_asked_where_the_environment_has_none(monkeypatch):
    class Kept(KeyringBackend):
        priority = 1

        def get_password(self, service, username):
            return PLANTED if (service, username) == (SERVICE, "::1") else None

        set_password = delete_password = None

    keyring.set_keyring(Kept())
    found = key_for("::1")
    assert found is not None
    assert found.get_secret_value() == PLANTED
    assert key_for("127.0.0.1") is None


def test_a_machine_without_a_keyring_has_no_key():
    assert key_for("127.0.0.1") is None


@pytest.mark.parametrize("key", ["sk-two words-0123456789", "sk-0123456789\nX-Evil: 1", "sk-0123456789€"])
def test_what_cannot_be_sent_is_refused_unseen(monkeypatch, key):
    monkeypatch.setenv(variable("127.0.0.1"), key)
    with pytest.raises(AudienceError, match=r"the key for 127\.0\.0\.1 holds white space") as told:
        key_for("127.0.0.1")
    assert "0123456789" not in str(told.value)


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=PART, max_size=60),
    st.text(max_size=40),
    st.text(max_size=40),
    st.data(),
)
def test_no_stretch_of_a_key_comes_through(secret, before, after, data):
    start = data.draw(st.integers(0, len(secret) - PART))
    end = data.draw(st.integers(start + PART, len(secret)))
    shown = data.draw(st.sampled_from([secret, secret.upper(), secret[start:end]]))
    found = hidden(before + shown + after, SecretStr(secret)).lower().replace(HIDDEN, "\0")
    low = secret.lower()
    assert not any(low[i : i + PART] in found for i in range(len(low) - PART + 1))


@given(st.text(max_size=80))
def test_text_without_the_key_is_left_alone(text):
    assert hidden(text, None) == text
    assert hidden(text, SecretStr("\x7f" * 9)) == text or "\x7f" in text


def test_a_short_key_is_hidden_too():
    assert hidden("the word is pass.", SecretStr("pass")) == f"the word is {HIDDEN}."
