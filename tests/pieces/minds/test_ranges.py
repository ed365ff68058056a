"""What a mind bears: measured for a part, of nothing presumed, and kept beside what was measured before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pieces.minds import ranges as module
from pieces.minds.concepts import Eye, open_eye
from pieces.minds.house.drawings import OBJECTS
from pieces.minds.mind import HOUSE, Mind, MindError
from pieces.minds.ranges import FILE, TRIED, Ranges, first_lost, keep, kept_in, known, measure
from pieces.minds.surgery import fingerprint

CELLS, HALVINGS = 8, 3


@pytest.fixture(scope="module")
def eye(house: Mind) -> Eye:
    return open_eye(house)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures of six steps, in coarse cells: enough to bracket where the concept is lost."""
    for name, value in {"PICTURES": 2, "STEPS": 6, "CELLS": 4, "HALVINGS": 1}.items():
        monkeypatch.setattr(module, name, value)


def ranges(weights: str, part: str = "unet", precision: str = "float32", noise: float = 0.25) -> Ranges:
    return Ranges(weights, precision, part, "a cat", 1.0, {"noise": noise, "down": 0.5, "up": 4.0})


@given(st.floats(0, 1), st.floats(0.1, 8))
def test_where_something_is_lost_for_good_it_is_found(at: float, most: float) -> None:
    width = most / CELLS / 2**HALVINGS
    found = first_lost(lambda damage: damage > at * most, most, CELLS, HALVINGS)
    assert at * most <= found + 1e-9
    assert found == most or found - width <= at * most + 1e-9


@given(st.sets(st.integers(1, CELLS * 2**HALVINGS)))
def test_what_is_lost_and_there_again_was_first_lost_where_it_is_said(lost: set[int]) -> None:
    """Any pattern at all: at the damage that is found it is lost, just below it is not, nor at the end of any cell."""
    fine, looked = 2**HALVINGS, []

    def is_lost(damage: float) -> bool:
        looked.append(round(damage * CELLS * fine))
        return looked[-1] in lost

    found = round(first_lost(is_lost, 1.0, CELLS, HALVINGS) * CELLS * fine)
    ends = [end for end in range(fine, CELLS * fine + 1, fine) if end in lost]
    if not ends:
        assert found == CELLS * fine
        return
    assert found in lost
    assert found - 1 not in lost
    assert ends[0] - fine < found <= ends[0]
    assert len(looked) == ends[0] // fine + HALVINGS, "nothing above the first cell is drawn"


def test_a_concept_that_comes_back_is_not_taken_for_one_that_stays() -> None:
    """Bisection over all of it would have looked at the middle first, where the concept is there again."""
    found = first_lost(lambda damage: 0.2 < damage < 0.45 or damage > 0.9, 1.0, CELLS, HALVINGS)
    assert found == pytest.approx(0.2, abs=1 / 64)


@pytest.mark.usefixtures("few")
def test_they_are_measured_of_a_part_and_leave_the_mind_as_it_is(house: Mind, eye: Eye) -> None:
    """The decoder bears less than the text encoder, which no amount of scaling up makes forget its cat."""
    told: list[tuple[int, int]] = []
    before = fingerprint(house.modules)
    decoder = measure(house, eye, lambda done, of: told.append((done, of)), part="vae")
    words = measure(house, eye, part="text_encoder")
    assert fingerprint(house.modules) == before == decoder.weights == words.weights
    assert told[-1] == (16, 16)
    assert (decoder.part, words.part) == ("vae", "text_encoder")
    assert decoder.precision == "float32"
    assert min(decoder.untouched, words.untouched) > 0.5
    assert decoder.lost["noise"] < words.lost["noise"]
    assert decoder.lost["up"] < words.lost["up"] == TRIED["up"]
    assert decoder.most("down") == pytest.approx(min(1.5 * decoder.lost["down"], 1.0))
    assert words.most("up") == TRIED["up"], "no further than was tried"
    assert words.most("knockout") == 0


@pytest.mark.usefixtures("few")
def test_a_part_that_is_not_there_is_named(house: Mind, eye: Eye) -> None:
    with pytest.raises(MindError, match=r"no part 'text_encoder_2'; parts are text_encoder, unet, vae"):
        measure(house, eye, part="text_encoder_2")


def test_those_of_the_shipped_mind_are_its_own(house: Mind, tmp_path: Path) -> None:
    found = known(house, tmp_path)
    assert found is not None
    assert found.precision == "float32"
    assert found.untouched > 0.9
    decoder = known(house, tmp_path, "vae")
    assert decoder is not None
    assert decoder.lost["noise"] < found.lost["noise"]
    for kept in kept_in(HOUSE / FILE):
        assert kept.prompt.split()[1] in OBJECTS
        assert all(0 < kept.lost[kind] <= most for kind, most in TRIED.items())


def test_one_file_holds_every_part_and_precision(house: Mind, tmp_path: Path) -> None:
    mind = replace(house, folder=tmp_path / "mind")
    weights = fingerprint(mind.modules)
    assert known(mind, tmp_path) is None
    assert keep(ranges(weights), mind, tmp_path / "data").parent == tmp_path / "data", "it has no folder of its own"
    assert known(mind, tmp_path / "data") == ranges(weights)
    assert known(mind, tmp_path) is None
    (tmp_path / "mind").mkdir()
    for one in (ranges(weights), ranges(weights, "vae"), ranges("others", precision="bfloat16")):
        assert keep(one, mind, tmp_path / "data") == tmp_path / "mind" / FILE
    assert known(mind, tmp_path) == ranges(weights)
    assert known(mind, tmp_path, "vae") == ranges(weights, "vae")
    assert known(mind, tmp_path, "text_encoder") is None
    keep(ranges(weights, noise=0.125), mind, tmp_path)
    assert [r.precision for r in kept_in(tmp_path / "mind" / FILE)] == ["float32", "bfloat16", "float32"]
    assert known(mind, tmp_path) == ranges(weights, noise=0.125), "measured again: the old gives way"
    assert [p.name for p in (tmp_path / "mind").iterdir()] == [FILE]


@pytest.mark.parametrize("text", ["", "[", "{}", "[1]", '[{"weights": "a"}]', '{"weights": "a", "lost": {"noise": 1}}'])
def test_a_file_that_holds_anything_else_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    assert kept_in(tmp_path / FILE) == []
    assert kept_in(tmp_path / "none") == []
    (tmp_path / FILE).write_text(json.dumps([ranges("a").__dict__]))
    assert kept_in(tmp_path / FILE) == [ranges("a")]
