"""Denoising live: the picture forms while it plays, is scrubbed back and forth, and branches from a step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from db.archive import Archive
from pieces.signals import Frames
from studio.messages import Ended, Opened, Position
from studio.pictures.draw import picture
from studio.replay import verify
from studio.session import Session
from tests.studio.test_session import Said

pytestmark = pytest.mark.slow

#: A beat is a fifth of a second, and a step.
PIECE = """title = "Live"
[metre]
tempo = 300
[parts.mind]
source = "denoising"
per_beat = 1
ticks = 200
controls = {{ steps = 200, draws = 2, guidance = 2.0 }}
inputs = {{ mind = "{mind}" }}
[picture]
view = "denoising"
[score]
purpose = "music"
[score.voices.wind]
instrument = "noise"
lanes = {{ bandwidth = {{ channel = "spread", range = [0.1, 4.0] }} }}
"""


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def session(home: Path, said: Said, tiny_sd1: Path, tmp_path: Path) -> Iterator[Session]:
    """A studio that plays, and has come to the tenth step."""
    path = tmp_path / "live.toml"
    path.write_text(PIECE.format(mind=tiny_sd1))
    made = Session(said, backend=None)
    made.open(str(path))
    said.wait(Opened, seconds=60)
    made.play()
    said.wait(Position, lambda p: p.mode == "live" and p.ticks.get("mind", 0) >= 10, seconds=60)
    yield made
    made.close()


def test_it_is_scrubbed_and_branches_from_a_step(session: Session, said: Said, home: Path) -> None:
    for beat in (7.0, 2.0, 5.0):  # back and forth
        at = len(said.all)
        session.seek(beat)
        found = said.wait(Position, lambda p, b=beat: abs(p.beat - b) < 0.9 and p.mode != "live", since=at)
        assert found.ticks["mind"] == pytest.approx(beat, abs=1)
    at = len(said.all)
    session.branch(6.0)
    said.wait(Opened, since=at, seconds=60)
    session.set("mind", "guidance", 12.0)
    said.wait(Position, lambda p: p.mode == "live" and p.beat >= 12, since=said.at, seconds=60)
    at = len(said.all)
    session.stop()
    said.wait(Ended, since=at)
    session.close()
    with Archive.open(home / "archive.db", create=False) as archive:
        branch, trunk = (archive.take(t.id) for t in archive.takes())
        ((parent, tick, relation),) = branch.parents
        assert (parent, tick, relation) == (trunk.id, 6, "branch")
        one, other = (_frames(archive, take.id) for take in (trunk, branch))
        np.testing.assert_array_equal(one.arrays["latents"][:6], other.arrays["latents"][:6])
        common = min(one.ticks, other.ticks)
        assert common > 8
        assert np.abs(one.arrays["latents"][common - 1] - other.arrays["latents"][common - 1]).max() > 1e-4
        assert verify(archive, branch.id).identical
    seen = [picture("denoising", one, tick, 320, 180) for tick in (1, 5, 1)]
    np.testing.assert_array_equal(seen[0], seen[2])
    assert np.abs(seen[0].astype(int) - seen[1]).max() > 20, "the picture forms"


def _frames(archive: Archive, take: str) -> Frames:
    return archive.frames(take, ["latents", "x0_picture", "noise_level", "step_size", "spread"])
