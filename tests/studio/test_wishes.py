"""What a visitor wishes is heard in what is proposed, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pieces.errors import DescantError
from pieces.knobs import Choice
from pieces.piece import parse_piece
from studio.audience.game import WISHES as WORDS
from studio.audience.proposal import Answer, Proposal
from studio.audience.steerers import appoint
from studio.audience.wishes import LEAST, WISHES, moved, perceived
from studio.words.artefact import Artefact
from studio.words.moments import NOTICED
from tests.tasting import Studio, small

RATE = 16_000
Trial = Callable[[Mapping[str, Choice]], Artefact]


def sounding(seconds: float = 1.0, hertz: float = 440.0, level: float = 0.1, light: int = 0, hue: int = 0) -> Artefact:
    """A tone, and a picture of one colour."""
    time = np.arange(int(seconds * RATE)) / RATE
    tone = (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
    pictures = np.zeros((16, 8, 8, 3), np.uint8)
    pictures[..., hue] = light
    return Artefact(np.stack([tone, tone], axis=1), RATE, pictures, 16.0)


# On rendered takes.


@pytest.fixture(scope="module")
def tried() -> Iterator[Trial]:
    """Performs the small piece with some changes, each once."""
    kept: dict[str, Artefact] = {}
    piece = small()
    with Studio() as studio:

        def perform(changes: Mapping[str, Choice]) -> Artefact:
            key = str(sorted(changes.items()))
            if key not in kept:
                kept[key] = studio.take(piece, changes)
            return kept[key]

        yield perform


def pitch(artefact: Artefact) -> float:
    return float(12 * np.log2(np.nanmedian(artefact.ears.f0)))


def level(artefact: Artefact) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(artefact.audio**2))))


def colour(artefact: Artefact) -> float:
    return float(np.log2(np.median(artefact.ears.centroid)))


def roughness(artefact: Artefact) -> float:
    return float(np.log2(np.median(artefact.ears.roughness) + 0.01))


def onsets(artefact: Artefact) -> float:
    return float(len(artefact.ears.onset_times))


#: What a wish is about, as another measure than the steerer's has it, and the least by which that must move.
HEARD = {
    "higher": (pitch, 0.3), "lower": (pitch, -0.3), "louder": (level, 1.5), "softer": (level, -1.5),
    "brighter": (colour, 0.2), "less-bright": (colour, -0.2), "rougher": (roughness, 0.2),
    "smoother": (roughness, -0.2), "denser": (onsets, 1), "sparser": (onsets, -1),
}  # fmt: skip


@pytest.mark.parametrize("wish", HEARD)
def test_a_wish_is_heard_in_the_take_that_is_proposed(wish: str, tried: Trial) -> None:
    proposal = appoint("wish", small(), 0, try_=tried).propose([Answer("a", {}, None, (wish,))])
    assert len(proposal.changes) == 1, proposal.reason
    measure, least = HEARD[wish]
    change = measure(tried(proposal.changes)) - measure(tried({}))
    assert change * np.sign(least) >= abs(least), proposal.reason
    assert wish in proposal.reason
    assert next(iter(proposal.changes)) in proposal.reason
    assert proposal.parents == ("a",)
    assert Proposal.model_validate_json(proposal.model_dump_json()) == proposal


@pytest.mark.parametrize("wish", ["lighter", "darker", "recoloured", "faster"])
def test_what_no_change_can_do_is_refused_with_the_reason(wish: str, tried: Trial) -> None:
    """Nothing in the small piece is seen."""
    history = [Answer("a", {"score.voices.tick.steps.pulses": 4}, None, (wish,))]
    proposal = appoint("wish", small(), 0, try_=tried).propose(history)
    assert proposal.changes == history[0].changes
    assert f"The wish '{wish}' is refused" in proposal.reason


# On any performer.


def toy(performed: Trial, wishes: tuple[str, ...], held: Mapping[str, Choice] | None = None) -> Proposal:
    """What is proposed for a piece with two knobs of its own."""
    voices = {"v": {"instrument": "glide", "lanes": {"pitch": 400.0}}}
    knobs = [
        {"path": "score.voices.v.lanes.pitch", "range": [200, 800], "shape": "log"},
        {"path": "master.loudness", "range": [-30, -10]},
    ]
    raw = {"title": "Toy", "parts": {"p": {"source": "cubics", "rate": 10, "ticks": 10}}, "knobs": knobs}
    piece = parse_piece({**raw, "score": {"purpose": "music", "voices": voices}}, "toy")
    steerer = appoint("wish", piece, 0, try_=performed)
    found = steerer.propose([Answer("first"), Answer("last", held or {}, 0.5, wishes)])
    assert found is not None
    return found


def by_loudness(changes: Mapping[str, Choice]) -> Artefact:
    """Its pitch and its level are those of the toy piece."""
    level = 10 ** (float(changes.get("master.loudness", -16.0)) / 20)
    return sounding(hertz=float(changes.get("score.voices.v.lanes.pitch", 400.0)), level=level)


def test_every_wish_of_the_game_is_understood() -> None:
    assert set(WORDS) == set(WISHES)


def test_wishes_go_on_from_the_changes_so_far_until_the_end_of_a_range() -> None:
    held: dict[str, Choice] = {}
    for loudness in (-21.0, -26.0, -30.0):
        held = dict(toy(by_loudness, ("softer",), held).changes)
        assert held == {"master.loudness": loudness}
    proposal = toy(by_loudness, ("softer",), held)
    assert proposal.changes == held
    assert "is refused: of" in proposal.reason
    higher = toy(by_loudness, ("higher",), held)
    assert higher.changes == {"master.loudness": -30.0, "score.voices.v.lanes.pitch": pytest.approx(400 * 4**0.25)}


def test_changes_are_tried_on_top_of_those_so_far() -> None:
    """A tone that the trials could not hear but for what was changed before."""

    def performed(changes: Mapping[str, Choice]) -> Artefact:
        return by_loudness(changes) if changes.get("parts.p.rate") == 20.0 else Artefact.silent(1.0)

    assert "score.voices.v.lanes.pitch" in toy(performed, ("higher",), {"parts.p.rate": 20.0}).changes
    assert "nothing in the take has a pitch" in toy(performed, ("higher",)).reason


def test_the_change_that_moves_most_is_proposed_and_one_that_moves_too_little_is_not() -> None:
    def performed(step: float) -> Trial:
        def take(changes: Mapping[str, Choice]) -> Artefact:
            louder = 6 * step * (float(changes.get("metre.tempo", 60.0)) > 60)
            louder += 3 * step * (float(changes.get("parts.p.rate", 10.0)) < 10)
            return sounding(level=0.01 * 10 ** (louder / 20))

        return take

    found = toy(performed(1.0), ("louder",))
    assert list(found.changes) == ["metre.tempo"]
    assert "(+1.000)" in found.reason
    refused = toy(performed(0.9 * LEAST), ("louder",))
    assert refused.changes == {}
    assert "the most is metre.tempo" in refused.reason


def test_what_was_wished_most_often_counts_and_then_what_was_wished_last() -> None:
    assert toy(by_loudness, ("softer", "higher", "softer")).changes == {"master.loudness": -21.0}
    assert "score.voices.v.lanes.pitch" in toy(by_loudness, ("softer", "higher")).changes


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ((), "Nothing was wished"),
        (("lauder",), "The wish 'lauder' is refused: it is none; did you mean 'louder'"),
        (("begins",), "it is none"),
        (("\x1b[31mlouder\u202e" * 50,), "is refused: it is none"),
        (("recoloured",), "nothing in the take has a hue"),
    ],
)
def test_what_cannot_be_wished_is_refused(wishes: tuple[str, ...], reason: str) -> None:
    held = {"master.loudness": -20.0}
    proposal = toy(by_loudness, wishes, held)
    assert reason in proposal.reason
    assert (proposal.changes, proposal.parents) == (held, ("last",))
    assert proposal.reason.isprintable()


def test_a_trial_that_fails_is_left_out_and_a_piece_that_cannot_be_tried_is_refused() -> None:
    def frail(changes: Mapping[str, Choice]) -> Artefact:
        if "master.loudness" in changes:
            raise DescantError("too much")
        return by_loudness(changes)

    assert "score.voices.v.lanes.pitch" in toy(frail, ("higher",)).changes
    refused = toy(frail, ("softer",))
    assert refused.changes == {}
    assert "is refused: of" in refused.reason
    assert "could not be tried: too much" in toy(frail, ("higher",), {"master.loudness": -20.0}).reason


def test_wishes_for_what_is_seen() -> None:
    def faster(changes: Mapping[str, Choice]) -> float:
        return float(changes.get("parts.p.rate", 10.0)) - 10

    def lit(changes: Mapping[str, Choice]) -> Artefact:
        return sounding(light=int(100 + 10 * faster(changes)))

    def coloured(changes: Mapping[str, Choice]) -> Artefact:
        return sounding(light=100, hue=2 if faster(changes) < 0 else 0)

    assert toy(lit, ("lighter",)).changes["parts.p.rate"] > 10
    assert toy(lit, ("darker",)).changes["parts.p.rate"] < 10
    assert toy(coloured, ("recoloured",)).changes["parts.p.rate"] < 10


def test_what_is_perceived_of_a_tone() -> None:
    one, other = perceived(sounding(hertz=440.0, light=200)), perceived(sounding(hertz=880.0, level=0.2, light=100))
    assert set(one) == set(NOTICED)
    assert moved("higher", one["pitch"], other["pitch"]) == pytest.approx(12, abs=0.1)
    assert moved("louder", one["loudness"], other["loudness"]) == pytest.approx(1, abs=0.2)
    assert moved("darker", one["light"], other["light"]) == pytest.approx(1, abs=0.2)
    nothing = perceived(Artefact.silent(1.0))
    assert np.isnan([nothing[name] for name in ("pitch", "brightness", "roughness", "hue")]).all()
    assert all(np.isnan(value) for value in perceived(Artefact.silent(0.2)).values())


@given(st.sampled_from(sorted(WISHES)), st.floats(-50, 50), st.floats(-50, 50))
def test_opposed_wishes_are_opposed_and_another_hue_is_another(wish: str, before: float, after: float) -> None:
    quantity, way = WISHES[wish]
    against = [other for other, (what, back) in WISHES.items() if what == quantity and back == -way]
    assert moved(against[0], before, after) == (moved(wish, before, after) if not way else -moved(wish, before, after))
    if quantity == "hue":
        assert 0 <= moved(wish, before, after) <= 3
        assert moved(wish, before, before + 6) == pytest.approx(0, abs=1e-9)
