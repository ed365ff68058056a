"""Visits to a game: every decision is written down, and a transcript replays to the same observations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.audience.game import Game
from studio.audience.playing import Transcript, Turn, play, retraced
from studio.audience.rooms import Room, Rules, Touch
from studio.audience.simple import RandomVisitor, ScriptedVisitor, scripted
from studio.audience.visitor import AudienceError, Decision, Question, Visitor, certain
from tests.studio.test_game import LOW, STEADY, TURNS, gallery, touched

SCRIPT = ("go 1", "listen on", "predict denser", "listen on", "compare 0", "rate 7", "wish higher", "leave", "sleep")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_transcript_replays_to_the_same_observations(seed):
    found = play(gallery(Rules(moves=40)), RandomVisitor(), seed)
    assert Transcript.model_validate_json(found.model_dump_json()) == found
    assert play(gallery(Rules(moves=40)), RandomVisitor(), seed) == found
    assert not retraced(gallery(Rules(moves=40)), found)


def test_another_gallery_is_noticed_where_it_differs():
    found = play(gallery(), ScriptedVisitor(SCRIPT), 3)
    assert not retraced(gallery(), found)
    other = Game([Room(STEADY, 2, touched), Room(LOW), Room(LOW)])
    heard = {turn.number for turn in found.turns if turn.command.startswith(("listen", "compare"))}
    assert set(retraced(other, found)) >= heard


def test_a_script_is_played_and_ends_by_leaving():
    told: list[Turn] = []
    found = play(gallery(), ScriptedVisitor(SCRIPT), 3, told.append)
    assert found.ended == "left"
    assert tuple(told) == found.turns
    assert [command.split()[0] for command in found.commands] == [*(line.split()[0] for line in SCRIPT), "leave"]
    asked = found.turns[1].decisions
    assert [one.about for one in asked] == ["", "go"]
    assert asked[1].probabilities == (0.0, 1.0, 0.0)
    assert found.turns[3].command == "predict denser=1.000000"


def test_a_script_that_is_not_allowed_breaks_the_visit_off_and_says_so(tmp_path):
    found = play(gallery(), ScriptedVisitor(["go 1", "go 1"]), 0)
    assert len(found.turns) == 2, "what was before is there"
    assert found.ended.startswith("script: 'go 1' is not allowed now; allowed are look, attend")
    (tmp_path / "script").write_text("go 1  # the second room\n\nlisten on\n")
    assert play(gallery(), scripted(str(tmp_path / "script"), tmp_path), 0).commands[1:] == (
        "listen on",
        "leave",
        "leave",
    )
    with pytest.raises(AudienceError, match="give a file of commands"):
        scripted("", tmp_path)


def test_a_prediction_is_the_whole_distribution():
    class Sure(ScriptedVisitor):
        def decide(self, question: Question) -> Decision:
            made = super().decide(question)
            if question.about != "predict":
                return made
            shares = np.full(len(question.options), 0.3 / (len(question.options) - 1))
            shares[question.options.index(made.option)] = 0.7
            return Decision(made.option, tuple(shares.tolist()))

    game = gallery()
    found = play(game, Sure(SCRIPT), 3)
    said = dict(part.split("=") for part in found.turns[3].command.split()[1:])
    assert float(said["denser"]) == pytest.approx(0.7)
    assert sum(map(float, said.values())) == pytest.approx(1, abs=1e-4)
    assert len(game.deeds.nats) == 1


class Witness(ScriptedVisitor):
    """Keeps what it is given to hear and see."""

    def begin(self, instruction, seed):
        super().begin(instruction, seed)
        self.given = []

    def observe(self, text, clips=()):
        self.given.append(tuple(clips))


def test_the_moments_themselves_reach_a_visitor_of_both_branches():
    witness = Witness(("go 0", "listen on", "fork a up", "listen on", "choose two", "wait"))
    game = gallery()
    found = play(game, witness, 3)
    assert game.deeds.waits == 1
    for turn, clips in zip(found.turns, witness.given, strict=True):
        assert bool(clips) == bool(turn.count)
        each = len(STEADY.audio) // 24
        span = slice((turn.first or 0) * each, ((turn.first or 0) + turn.count) * each)
        for clip, artefact in zip(clips, (STEADY, touched((Touch(4, 0, 1),))), strict=False):
            np.testing.assert_array_equal(clip.audio, artefact.audio[span])
    assert [len(clips) for clips in witness.given if clips] == [1, 2]


def test_a_script_predicts_what_it_says():
    game = gallery()
    found = play(game, ScriptedVisitor(("go 1", "listen on", "predict louder=3 nothing=1", "listen on")), 3)
    assert found.turns[3].command == "predict louder=0.750000 nothing=0.250000"
    assert len(game.deeds.nats) == 1


def test_visitors_are_visitors_and_probabilities_are_shares():
    assert isinstance(RandomVisitor(), Visitor)
    assert isinstance(ScriptedVisitor(()), Visitor)
    assert not isinstance(object(), Visitor)
    for wrong in ((), (0.5, 0.6), (-0.1, 1.1), (float("nan"), 1.0)):
        with pytest.raises(AudienceError, match="must be shares of 1"):
            Decision("a", wrong)
    assert certain(("a", "b"), "b").probabilities == (0.0, 1.0)
    assert certain(("yes", "no"), "a word of its own").option == "a word of its own"


def test_random_choices_are_even():
    """Chi-square of the verbs in the hall, which is there again and again: no option is favoured by its place."""
    from scipy.stats import chisquare

    player = RandomVisitor()
    player.begin("", 1)
    counts = np.zeros(6)
    for _ in range(3000):
        counts[player.decide(Question("", "Which?", tuple("abcdef"))).option.encode()[0] - 97] += 1
    assert chisquare(counts).pvalue > 1e-3
    assert chisquare(counts + np.array([300, 0, 0, 0, 0, 0])).pvalue < 1e-3, "the measure can fail"


def test_the_game_is_quick_without_a_model():
    """No clock: work is bounded, since what is said of an artefact is measured once, however often it is heard."""
    game = Game([Room(TURNS)], Rules(budget=10_000, moves=2000))
    found = play(game, ScriptedVisitor(["go 0", *(["listen 0"] * 500)]), 0)
    assert len(found.turns) == 504
    assert len(game._told) == 1
