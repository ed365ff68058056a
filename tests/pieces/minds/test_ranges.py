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
from pieces.minds.identity import identity
from pieces.minds.mind import HOUSE, Mind, MindError
from pieces.minds.ranges import FILE, TRIED, Ranges, first_lost, keep, kept_in, known, measure, scorer, scores
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


def ranges(weights: str, eye: str = "eye", part: str = "unet", precision: str = "float32", **lost: float) -> Ranges:
    return Ranges(weights, eye, precision, part, "a cat", 1.0, lost or {"noise": 0.25, "down": 0.5, "up": 4.0})


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
    before = fingerprint(house.modules)
    decoder, words = ({k: measure(house, eye, k, part) for k in ("noise", "up")} for part in ("vae", "text_encoder"))
    for kind, one in [*decoder.items(), *words.items()]:
        assert set(one.lost) == {kind}, "what was not asked for is not measured"
        assert one.of == (before, identity(house, eye)["eye"], "vae" if one is decoder[kind] else "text_encoder")
        assert one.precision == "float32"
        assert one.untouched > 0.5
    assert fingerprint(house.modules) == before
    assert decoder["noise"].lost["noise"] < words["noise"].lost["noise"]
    assert decoder["up"].lost["up"] < words["up"].lost["up"] == TRIED["up"]
    assert decoder["noise"].most("noise") == pytest.approx(min(1.5 * decoder["noise"].lost["noise"], 1.0))
    assert words["up"].most("up") == TRIED["up"], "no further than was tried"


@pytest.mark.usefixtures("few")
def test_what_keeps_scores_is_asked_in_their_place(house: Mind, eye: Eye) -> None:
    """As often as is said at most, and for damages that follow from its answers alone."""
    asked: list[list[float]] = []
    for lost_at in (0.3, 0.3, 9.0):
        asked.append([])

        def score(damage: float, lost_at: float = lost_at) -> float:
            asked[-1].append(damage)
            return float(damage < lost_at)

        found = measure(house, eye, "noise", score=score)
        assert found.lost["noise"] == (0.375 if lost_at == 0.3 else 1.0)
        assert found.untouched == 1.0
    assert asked[0] == asked[1] == [0.0, 0.25, 0.5, 0.375]
    assert asked[2] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert max(map(len, asked)) <= scores() == 6


@pytest.mark.usefixtures("few")
def test_where_memory_holds_one_picture_it_is_said_and_the_score_is_that_of_all(house: Mind, eye: Eye) -> None:
    """At half the damage that loses it, the two pictures score differently: one alone would give another mean."""
    import torch

    def spent(unet: torch.nn.Module, given: tuple[torch.Tensor, ...], named: dict[str, torch.Tensor]) -> None:
        if len(given[0] if given else named["sample"]) > 2:  # one picture has two guidance halves
            raise torch.OutOfMemoryError("CUDA out of memory")

    before, damage = fingerprint(house.modules), 0.3125
    free = scorer(house, eye, "noise")(damage)
    mind = replace(house, said=[])
    hook = mind.pipeline.unet.register_forward_pre_hook(spent, with_kwargs=True)
    try:
        found = scorer(mind, eye, "noise")(damage)
        with pytest.MonkeyPatch.context() as one:
            one.setattr(module, "PICTURES", 1)
            alone = scorer(mind, eye, "noise")(damage)
    finally:
        hook.remove()
    assert mind.said == ["out of memory with 2 pictures at once: 1 from now on"]
    assert found == pytest.approx(free, abs=1e-4)
    assert abs(alone - free) > 1e-2, "the measure can fail"
    assert fingerprint(house.modules) == before


@pytest.mark.usefixtures("few")
def test_a_part_that_is_not_there_is_named(house: Mind, eye: Eye) -> None:
    with pytest.raises(MindError, match=r"no part 'text_encoder_2'; parts are text_encoder, unet, vae"):
        measure(house, eye, "noise", "text_encoder_2")


def test_those_of_the_shipped_mind_are_its_own(house: Mind, eye: Eye, tmp_path: Path) -> None:
    found = known(house, eye, tmp_path)
    assert found is not None
    assert found.precision == "float32"
    assert found.untouched > 0.9
    decoder = known(house, eye, tmp_path, "vae")
    assert decoder is not None
    assert known(house, replace(eye, nothing="a blank picture"), tmp_path) is None, "another CLIP sees otherwise"
    assert decoder.lost["noise"] < found.lost["noise"]
    for kept in kept_in(HOUSE / FILE):
        assert kept.prompt.split()[1] in OBJECTS
        assert all(0 < kept.lost[kind] <= most for kind, most in TRIED.items())


def test_one_file_holds_every_part_precision_and_clip(house: Mind, eye: Eye, tmp_path: Path) -> None:
    mind = replace(house, folder=tmp_path / "mind")
    who = identity(mind, eye)
    ours = (who["weights"], who["eye"])
    assert known(mind, eye, tmp_path) is None
    assert keep(ranges(*ours), mind, tmp_path / "data").parent == tmp_path / "data", "it has no folder of its own"
    assert known(mind, eye, tmp_path / "data") == ranges(*ours)
    assert known(mind, eye, tmp_path) is None
    (tmp_path / "mind").mkdir()
    others = (ranges(ours[0], "another"), ranges("others", precision="bfloat16"))
    for one in (ranges(*ours), ranges(*ours, "vae"), *others):
        assert keep(one, mind, tmp_path / "data") == tmp_path / "mind" / FILE
    assert known(mind, eye, tmp_path) == ranges(*ours)
    assert known(mind, eye, tmp_path, "vae") == ranges(*ours, "vae")
    assert known(mind, eye, tmp_path, "text_encoder") is None
    keep(ranges(*ours, noise=0.125), mind, tmp_path)
    assert known(mind, eye, tmp_path) == ranges(*ours, noise=0.125, down=0.5, up=4.0), "that which is new gives way"
    kept = kept_in(tmp_path / "mind" / FILE)
    assert len(kept) == 4
    assert all(one in kept for one in others)
    assert [p.name for p in (tmp_path / "mind").iterdir()] == [FILE]


def test_it_grows_by_surgeries_wherever_they_were_kept(house: Mind, eye: Eye, tmp_path: Path) -> None:
    """Of a mind that is installed for all, what is shipped lies in its folder, and what was measured does not."""
    mind = replace(house, folder=tmp_path / "mind")
    who = identity(mind, eye)
    ours = (who["weights"], who["eye"])
    for kind, damage in {"noise": 0.25, "up": 2.0}.items():
        aside = keep(ranges(*ours, **{kind: damage}), mind, tmp_path / "data")
    assert [one.lost for one in kept_in(aside)] == [{"noise": 0.25, "up": 2.0}]
    (tmp_path / "mind").mkdir()
    keep(ranges(*ours, noise=0.5, down=0.75), mind, tmp_path / "data")
    keep(ranges(*ours, "vae", up=3.0), mind, tmp_path / "data")
    assert known(mind, eye, tmp_path / "data") == ranges(*ours, noise=0.5, down=0.75, up=2.0)
    assert known(mind, eye, tmp_path / "none") == ranges(*ours, noise=0.5, down=0.75)


@pytest.mark.parametrize("text", ["", "[", "{}", "[1]", '[{"weights": "a"}]', '{"weights": "a", "lost": {"noise": 1}}'])
def test_a_file_that_holds_anything_else_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    assert kept_in(tmp_path / FILE) == []
    assert kept_in(tmp_path / "none") == []
    (tmp_path / FILE).write_text(json.dumps([ranges("a").__dict__]))
    assert kept_in(tmp_path / FILE) == [ranges("a")]
