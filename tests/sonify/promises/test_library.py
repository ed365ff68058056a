"""Every piece of the library as it is shipped: what its file promises, judged on its sound.

Pieces that measure are played whole. Of music, which promises its level and its cleanness alone, it is the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from pieces.piece import find_piece, library
from tests.sonify.promises.library import performed
from tests.sonify.promises.takes import Take, assert_again, assert_clean, assert_measures

pytestmark = pytest.mark.slow

PURPOSES = {name: find_piece(name)[0].score.get("purpose", "measure") for name in sorted(library())}
#: Seconds that are played of music; of `strata` more, for its groups follow a part that begins after 42.
BEGINNING = {"strata": 45.0}


@pytest.fixture(scope="module", params=PURPOSES)
def shipped(request: pytest.FixtureRequest) -> Iterator[Take]:
    """A piece, played once."""
    seconds = None if PURPOSES[request.param] == "measure" else BEGINNING.get(request.param, 20.0)
    with TemporaryDirectory(prefix="descant-") as folder:
        yield performed(request.param, Path(folder), seconds)


def test_a_piece_is_clean(shipped: Take, clicks: Any) -> None:
    assert shipped.master.ceiling <= -1
    assert_clean(shipped)
    assert not len(clicks(shipped.mix, shipped.rate)), clicks(shipped.mix, shipped.rate)
    assert np.abs(shipped.mix[0]).max() < 1e-4
    assert np.abs(shipped.mix[-shipped.rate // 100 :]).max() < 1e-3


def test_a_piece_is_the_same_again(shipped: Take, tmp_path: Path) -> None:
    assert_again(shipped, tmp_path)


def test_a_piece_measures_if_it_says_so(shipped: Take) -> None:
    """Each pitched voice with a channel on its pitch, drone or struck, where it was heard."""
    found = {measured.voice.name: measured for measured in shipped.measured()}
    assert bool(found) == (shipped.resolved.score.purpose == "measure")
    for measured in found.values():
        if shipped.desk.voices[measured.voice.name].onsets or not measured.struck:
            assert len(measured.readings) > 1
            assert_measures(measured)


def test_pieces_that_measure_are_among_them() -> None:
    assert {name for name, purpose in PURPOSES.items() if purpose == "measure"} >= {
        "cubics-code",
        "cubics-paper",
        "cubics-robust",
        "knots",
    }
