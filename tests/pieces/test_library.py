"""Every piece of the library can be turned at its knobs."""

from __future__ import annotations

import numpy as np
import pytest

from pieces.piece import check_piece, find_piece, library
from sonify.score import parse_score
from studio.audience.steerers import KnobSteerer

KNOBS = [(name, knob) for name in sorted(library()) for knob in find_piece(name)[0].knobs]


@pytest.mark.parametrize(("name", "knob"), KNOBS, ids=[f"{n}:{k.path}" for n, k in KNOBS])
def test_a_knob_turns_a_number_of_the_piece_and_both_ends_hold(name, knob):
    piece, base = find_piece(name)
    node = piece.model_dump(mode="json")
    for key in knob.path.split("."):
        assert key in node, f"{knob.path}: the piece has no {key}"
        node = node[key]
    assert knob.range[0] <= node <= knob.range[1]
    for u in (0.0, 1.0):
        turned = piece.with_values({knob.path: knob.value(u)})
        assert turned.hash != piece.hash or node == knob.value(u)
        parse_score(turned.score, name)
        check_piece(turned, name, base)


@pytest.mark.parametrize("name", sorted(library()))
def test_a_steerer_finds_the_piece_among_its_knobs(name):
    piece, _ = find_piece(name)
    steerer = KnobSteerer(piece, "gp", 0)
    point = steerer.cube.point({})
    assert point.shape == (len(piece.knobs),)
    assert ((point >= 0) & (point <= 1)).all()
    np.testing.assert_allclose(steerer.cube.point(steerer.cube.values(point)), point, atol=1e-9)
