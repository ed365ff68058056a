"""The promises over random valid scores, and over the scores that nobody writes; and what breaks each of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pieces.arrange import Arrangement
from pieces.piece import Master, default_score, find_piece
from pieces.signals import Event
from pieces.tables import table_of
from pieces.series import Voicing
from sonify.instruments import INSTRUMENTS
from sonify.lanes import lanes
from sonify.resolve import ResolvedScore
from sonify.score import ScoreError, parse_score
from studio.listen import perform
from tests.sonify.promises.scores import DRONES, STRUCK, Chance
from tests.sonify.promises.takes import Measured, Take, assert_again, assert_clean, assert_measures
from tests.sonify.promises.library import performed

#: More of them: DESCANT_EXAMPLES=400 pytest tests/sonify/promises/test_scores.py
EXAMPLES = int(os.environ.get("DESCANT_EXAMPLES", "40"))

Resolve = Callable[..., tuple[ResolvedScore, Arrangement]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scores")


@settings(max_examples=EXAMPLES, derandomize=EXAMPLES == 40, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(number=st.integers(0, 2**64 - 1))
def test_random_scores_keep_every_promise(number: int, folder: Path, resolve_score: Resolve, clicks: Any) -> None:
    example = Chance(number).example()
    take = Take.of(*resolve_score(example.score, example.arrays, example.rate, example.events), Master(**example.master), folder)
    assert_clean(take)
    assert not len(clicks(take.mix, take.rate)), clicks(take.mix, take.rate)
    found = {measured.voice.name: measured for measured in take.measured()}
    assert list(found) == [name for name in example.score["voices"] if name != "hiss"]
    for measured in found.values():
        if measured.pitch.mapping.channel == "r":
            assert measured.followed() >= 0.99
        else:
            assert_measures(measured)
            silenced = measured.voice.gate or measured.struck or measured.pitch.mapping.missing != "hold"
            assert silenced or len(measured.readings) > 1
    if number % 4 == 0:
        assert_again(take, folder)
