"""Verbs that mark takes, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db.archive import Archive
from tests.db.test_labels import record


@pytest.fixture
def takes(home: Path) -> list[str]:
    home.mkdir(parents=True)
    with Archive.open(home / "archive.db") as archive:
        piece = {"title": "A piece"}
        return [record(archive, i, piece=piece, retention=("scratch", "kept")[i % 2]) for i in range(3)]


def listed(descant, *words: str) -> list[str]:  # type: ignore[no-untyped-def]
    return [take["id"] for take in json.loads(descant("takes", "--json", *words).stdout)]


def test_what_is_written_on_a_take_is_found_and_shown(descant, takes: list[str]) -> None:  # type: ignore[no-untyped-def]
    one, two, three = takes
    descant("rename", one, "Night over Äcker")
    descant("rate", two, 4)
    descant("note", two, "the end is too loud")
    assert descant("tag", "latest", "loud", "blue").stdout.split() == ["blue", "loud"]
    assert descant("tag", three, "--remove", "loud", "new").stdout.split() == ["blue", "new"]
    assert listed(descant, "--search", "äcker") == [one]
    assert listed(descant, "--search", "LOUD") == [two]
    assert listed(descant, "--tag", "blue") == [three]
    assert listed(descant, "--rating", "3") == [two]
    assert listed(descant, "--kept") == [two]
    assert listed(descant, "--scratch") == [three, one]
    assert "no such takes" in descant("takes", "--tag", "nothing").stdout
    table = descant("takes").stdout
    assert "title" in table
    assert "Night over Äcker" in table
    assert "blue new" in table
    card = descant("show", two).stdout
    assert "****" in card
    assert "the end is too loud" in card
    descant("rate", two, "none")
    assert listed(descant, "--rating", "0") == []


def test_what_is_not_kept_can_go(descant, error, takes: list[str]) -> None:  # type: ignore[no-untyped-def]
    one, two, three = takes
    descant("keep", one)
    assert "is kept: descant discard" in error("discard", one)
    assert "is gone" in descant("discard", three).stdout
    descant("discard", two, "--kept")
    assert listed(descant) == [one]
    assert "0 problems" in descant("archive", "check").stdout or "clean" in descant("archive", "check").stdout


def test_wrong_words_are_one_line(error, takes: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert "allowed is one word" in error("tag", takes[0], "two words")
    assert "no take 'zzz'" in error("rename", "zzz", "x")
    assert "'6' is not one of" in error("rate", takes[0], "6", code=2)
