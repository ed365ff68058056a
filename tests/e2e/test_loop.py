"""The smallest honest loop, whole: what is rendered is perceived, what is answered steers, and nothing else does."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from db.archive import Archive
from pieces.piece import find_piece
from studio.audience.attending import attend
from studio.audience.learner import INTERESTING
from studio.audience.rooms import Room
from studio.audience.visitor import invite
from studio.compose import compose
from studio.perceive import artefact
from studio.plan import plan
from studio.words.artefact import Artefact
from studio.words.registers import REGISTERS, spoken
from studio.words.tokens import tokens

#: A melody that is always the same; `SECRET` and the hidden channel differ, and neither is sounded nor drawn.
SOURCE = """
import numpy as np
from pieces.signals import Channel, FrameBlock
from pieces.source import Source


class Melody(Source):
    name = "SECRET"
    about = "SECRET melody"
    channels = (Channel("heard", "SECRET", range=(0, 12)), Channel("SECRET", "not heard", range=(0, 1000)))

    def __init__(self, seed, controls, inputs=None):
        super().__init__(seed, controls, inputs)
        self.tick = 0

    def step(self, controls, events, n):
        t = np.arange(self.tick, self.tick + n)
        self.tick += n
        rows = {"heard": t * 7 % 12, "SECRET": t * NUMBER}
        return FrameBlock(int(t[0]), {name: row.astype("float32") for name, row in rows.items()})
"""

PIECE = """
descant = 1
title = "SECRET"
about = "SECRET"
[parts.melody]
source = "SECRET.py"
rate = 8
ticks = 64
[score.voices.SECRET_VOICE]
instrument = "glide"
lanes = { pitch = { channel = "heard", range = ["C4", "C5"] } }
[picture]
view = "curve"
"""


def perceived(archive: Archive, folder: Path, secret: str, number: int) -> tuple[Artefact, str]:
    folder.mkdir()
    (folder / f"{secret}.py").write_text(SOURCE.replace("SECRET", secret).replace("NUMBER", str(number)))
    text = PIECE.replace("SECRET_VOICE", f"{secret}_voice").replace("SECRET", secret)
    text = text.replace('view = "curve"', 'view = "plots"\noptions = { channels = ["heard"] }')
    (folder / "piece.toml").write_text(text)
    piece, base = find_piece(str(folder / "piece.toml"))
    take_id = compose(archive, plan(secret, piece, base), 1)
    assert secret in archive.frames(take_id).arrays
    return artefact(archive, take_id), archive.take(take_id).signals_hash or ""


def test_different_frames_and_labels_with_the_same_artefact_are_the_same_to_an_audience(tmp_path):
    with Archive.open(tmp_path / "archive.db") as archive:
        one, first = perceived(archive, tmp_path / "a", "joyful", 1)
        two, second = perceived(archive, tmp_path / "b", "dreadful", 3)
    assert first != second, "the takes differ"
    np.testing.assert_array_equal(one.audio, two.audio)
    np.testing.assert_array_equal(one.pictures, two.pictures)
    for register in REGISTERS:
        assert spoken(one, register) == spoken(two, register)
    np.testing.assert_array_equal(tokens(one), tokens(two))
    assert not any(word in " ".join(spoken(one)).lower() for word in ("joyful", "dreadful"))


@pytest.mark.slow
def test_three_rounds_are_in_the_archive_with_parents_words_answers_and_proposals(descant, home, tmp_path):
    text = descant("pieces", "cubics", "--toml").stdout
    (tmp_path / "short.toml").write_text(text.replace("ticks = 3000", "ticks = 600"))
    said = json.loads(
        descant("steer", "short.toml", "--audience", "listener", "--rounds", 3, "--seed", 4, "--json").stdout
    )
    assert [r["round"] for r in said] == [1, 2, 3]
    with Archive.open(home / "archive.db") as archive:
        takes = [archive.take(r["take"]) for r in said]
        assert [tuple(p.take_id for p in t.parents) for t in takes] == [(), (takes[0].id,), (takes[1].id,)]
        proposals = {p.id: p for p in archive.proposals()}
        assert len(proposals) == 3
        for k, take in enumerate(takes):
            assert take.status == "done"
            (visit,) = archive.visits(take.id)
            assert visit.words
            assert visit.rating is None, "progress is never stored as liking"
            assert visit.progress == pytest.approx(said[k]["progress"])
            assert visit.value == pytest.approx(np.clip(visit.progress, 0, 1))
            assert len(visit.rows) > 10
            # The visit can be attended again from the take alone, and gives the same answer.
            again = attend([Room(artefact(archive, take.id))], invite("listener", home / "cache"), 4)
            assert again.transcript.report.progress == pytest.approx(visit.progress, abs=1e-9)
            kept = archive.visiting.transcript(visit.transcript_id)
            assert [turn.command for turn in kept.turns] == [turn.command for turn in again.transcript.turns]
        for earlier, take in pairwise(takes):
            proposal = proposals[take.proposal_id or ""]
            assert earlier.id in proposal.parents
            assert proposal.reason
            piece = find_piece(str(tmp_path / "short.toml"))[0].with_values(proposal.changes)
            assert take.piece_hash == piece.hash, "what was proposed is what was performed"
        heard = artefact(archive, takes[0].id)
        blind = attend([Room(Artefact.silent(heard.duration))], invite("listener", home / "cache"), 4)
    nothing = blind.transcript.report
    assert nothing.progress is not None
    assert abs(nothing.progress) < INTERESTING / 3
    surprise = [
        np.mean([row.surprise for row in moments]) for moments in (again.transcript.report.moments, nothing.moments)
    ]
    assert surprise[0] > 10 * surprise[1], "it does hear the takes"
    assert nothing.verdict == "bored"
