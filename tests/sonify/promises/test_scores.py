"""The promises over random valid scores and over the scores that nobody writes; and what breaks each of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pieces.arrange import Arrangement
from pieces.piece import Master
from pieces.series import Voicing
from pieces.tables import table_of
from sonify.lanes import lanes
from sonify.resolve import ResolvedScore
from sonify.score import ScoreError, parse_score
from studio.listen import perform
from tests.sonify.promises.library import performed
from tests.sonify.promises.scores import DRONES, Chance
from tests.sonify.promises.takes import (
    Measured,
    Take,
    assert_again,
    assert_clean,
    assert_measures,
    assert_mirrors,
)

#: For more of them: DESCANT_EXAMPLES=400 python -m pytest tests/sonify/promises/test_scores.py
FEW = 40
EXAMPLES = int(os.environ.get("DESCANT_EXAMPLES", FEW))

Resolve = Callable[..., tuple[ResolvedScore, Arrangement]]


@settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES == FEW,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(number=st.integers(0, 2**64 - 1))
def test_random_scores_keep_every_promise(
    number: int, tmp_path_factory: pytest.TempPathFactory, resolve_score: Resolve, clicks: Any
) -> None:
    example, folder = Chance(number).example(), tmp_path_factory.mktemp("random")
    resolved, played = resolve_score(example.score, example.arrays, example.rate, example.events)
    take = Take.of(resolved, played, Master(**example.master), folder)
    assert_clean(take)
    assert not (example.low and len(clicks(take.mix, take.rate))), clicks(take.mix, take.rate)
    found = {measured.voice.name: measured for measured in take.measured()}
    assert list(found) == [name for name in example.score["voices"] if name != "hiss"], "noise has no pitch"
    for measured in found.values():
        if measured.pitch.mapping.channel == "r":
            assert measured.followed() >= 0.99
        elif measured.readings:
            assert_measures(measured)
        else:
            assert measured.voice.voice.gate or measured.struck, "it may never be heard"
    if "mirror" in found:
        assert_mirrors(found["v0"], found["mirror"])
    if number % 4 == 0:
        assert_again(take, folder)


OWN = """
import numpy as np
from pieces.signals import Channel, FrameBlock
from pieces.source import Source

class Own(Source):
    name = "own"
    about = "Steps and a wave."
    channels = (Channel("steps", "up and down"), Channel("wave", "of another length", range=(-5.0, 5.0)))

    def __init__(self, seed, controls, inputs=None):
        super().__init__(seed, controls, inputs)
        self.tick = 0

    def step(self, controls, events, n):
        ticks = np.arange(self.tick, self.tick + n)
        self.tick += n
        steps = (ticks // 10 * 7 % 11).astype(np.float32)
        return FrameBlock(int(ticks[0]), {"steps": steps, "wave": np.sin(ticks // 8).astype(np.float32)})
"""


def test_the_default_score_of_a_source_of_one_s_own(tmp_path: Path, clicks: Any) -> None:
    (tmp_path / "own.py").write_text(OWN)
    take = performed(str(tmp_path / "own.py"), tmp_path, seconds=5.0)
    steps, wave = take.measured()
    for measured in (steps, wave):
        assert_measures(measured)
        assert len(measured.readings) >= 10
        assert len(measured.late()) >= 5
    assert_clean(take)
    assert not len(clicks(take.mix, take.rate))
    assert_again(take, tmp_path)


@pytest.mark.parametrize("instrument", DRONES)
def test_what_is_listened_to(tmp_path: Path, instrument: str, clicks: Any) -> None:
    """Two columns, one with a gap, whatever they are played by."""
    rng = np.random.default_rng(1)
    heights, counts = rng.normal(size=16), rng.permutation(16) + 1.0
    heights[5:7] = np.nan
    voicing = Voicing(instrument=instrument, shape={"counts": "log"}, polarity={"counts": "negative"})
    heard = perform(table_of({"heights": heights, "counts": counts}), voicing, 4.0)
    take = Take.of(heard.resolved, heard.played, heard.master, tmp_path)
    for measured in take.measured():
        assert_measures(measured)
        assert len(measured.readings) >= 14
    assert len(take.measured()) == 2
    assert_clean(take)
    assert not len(clicks(take.mix, take.rate))


STAIRS = np.repeat([0.0, 3.0, 1.0, 6.0, 4.0, 2.0, 5.0, 9.0], 50)


def glide(instrument: str = "glide", lanes: dict[str, Any] | None = None, **pitch: Any) -> dict[str, Any]:
    mapping = {"channel": "x", "range": [110.0, 880.0], "glide_ms": 5.0, **pitch}
    return {"instrument": instrument, "lanes": {"pitch": mapping, **(lanes or {})}}


@pytest.fixture(scope="module")
def stairs(tmp_path_factory: pytest.TempPathFactory, resolve_score: Resolve) -> Take:
    """Eight steps of 0.4 s, and beside them a voice whose level moves too."""
    level = {"channel": "z", "range": [-3.0, 0.0], "glide_ms": 200.0}
    voices = {"v": glide(), "loud": glide(lanes={"level": level})}
    resolved, played = resolve_score({"voices": voices}, {"x": STAIRS, "z": np.repeat(np.arange(8) % 2, 50)}, 125)
    return Take.of(resolved, played, Master(), tmp_path_factory.mktemp("stairs"))


def judged_by(take: Take, resolve_score: Resolve, x: Any = STAIRS, voice: str = "v", **pitch: Any) -> Measured:
    """The sound of a voice, held against what another score would play."""
    resolved, played = resolve_score({"voices": {voice: glide(**pitch)}}, {"x": x}, 125)
    other = replace(take, resolved=resolved, played=played, desk=lanes(resolved, played, take.master.tail))
    return other.measured()[0]


def test_the_stairs_themselves_keep_all_promises(stairs: Take) -> None:
    measured = stairs.measured()[0]
    assert_measures(measured)
    assert len(measured.readings) == 8
    assert len(measured.late()) >= 6
    assert len(measured.loudnesses()) > 20
    assert_clean(stairs)


def test_each_promise_can_be_broken(stairs: Take, resolve_score: Resolve) -> None:
    """The judges fail a sound that is another score's."""
    sharp = judged_by(stairs, resolve_score, range=[110.4, 883.2])
    assert 5 < sharp.out_of_tune() < 8
    assert sharp.decoded() > 0.99, "a few cents are not much"
    assert judged_by(stairs, resolve_score, space="mel").uneven() > 10
    assert judged_by(stairs, resolve_score, shape="symlog").uneven() > 10
    turned = judged_by(stairs, resolve_score, polarity="negative")
    assert turned.disordered() == 8 * 7
    assert turned.decoded() < 0
    with pytest.raises(AssertionError):
        assert_mirrors(turned, turned)
    swapped = STAIRS.copy()
    swapped[50:100] = 2.9
    assert judged_by(stairs, resolve_score, x=swapped).uneven() > 10
    for ticks in (2, -2):
        late = judged_by(stairs, resolve_score, x=np.roll(STAIRS, ticks)).late()
        np.testing.assert_allclose(np.median(late), -ticks / 125, atol=0.002)
    assert np.ptp(judged_by(stairs, resolve_score, voice="loud").loudnesses()) > 1


def test_a_wave_that_is_followed_and_one_that_is_not(tmp_path: Path, resolve_score: Resolve) -> None:
    wave = np.sin(np.linspace(0, 9, 400))
    take = Take.of(*resolve_score({"voices": {"v": glide()}}, {"x": wave}, 125), Master(), tmp_path)
    assert take.measured()[0].followed() >= 0.99
    assert judged_by(take, resolve_score, x=np.sin(np.linspace(0.3, 9.3, 400))).followed() < 0.99


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("pad", {"spread": 50.0}, {}),
    ("formant", {"vibrato": 100.0}, {}),
    ("formant", {"spread": 50.0}, {}),
    ("formant", {"breath": 1.0}, {}),
    ("fm", {"ratio": 1.41, "index": 3.0}, {}),
    ("partials", {"detune": -0.9, "count": 16, "cutoff": 100.0}, {}),
    ("glide", {}, {"tuning": {"cents": [400, 700, 1200], "root_hz": 110}}),
    ("glide", {}, {"every": 1.0}),
]


@pytest.mark.parametrize(("instrument", "others", "pitch"), REFUSED)
def test_what_breaks_a_promise_is_refused(
    tmp_path: Path, resolve_score: Resolve, instrument: str, others: dict[str, Any], pitch: dict[str, Any]
) -> None:
    """Each is one line for a score that measures; played as music it does break what was promised."""
    raw = {"voices": {"v": glide(instrument, others, **pitch)}}
    with pytest.raises(ScoreError, match=r"^my.toml: score\.voices\.v\.lanes\.\S+.*set purpose = 'music'") as error:
        parse_score(raw, "my.toml")
    assert "\n" not in str(error.value)
    data = np.exp(STAIRS / 3)
    resolved, played = resolve_score({**raw, "purpose": "music"}, {"x": data}, 125)
    take = Take.of(resolved, played, Master(), tmp_path)
    assert not take.measured(), "music promises nothing"
    promising = replace(resolved, score=resolved.score.model_copy(update={"purpose": "measure"}))
    (measured,) = replace(take, resolved=promising).measured()
    with pytest.raises(AssertionError):
        assert_measures(measured)


def test_what_would_move_the_pitch_holds_still_where_it_is_measured() -> None:
    for purpose, spread in (("measure", 0.0), ("music", None)):
        voice = parse_score({"purpose": purpose, "voices": {"v": glide("pad")}}, "my.toml").voices["v"]
        assert voice.lanes.get("spread") == spread
    free = {"instrument": "pad", "lanes": {"pitch": "A3", "spread": 30.0}}
    assert parse_score({"voices": {"v": free}}, "my.toml").voices["v"].lanes["spread"] == 30, "nothing is measured"


@pytest.mark.parametrize(("gain", "clipped"), [(8.0, True), (1.3, False), (0.8, False)])
def test_a_level_that_is_wrong_is_noticed(stairs: Take, tmp_path: Path, gain: float, clipped: bool) -> None:
    """Too loud, so that it is cut off or not, and too soft."""
    sound = np.clip(gain * stairs.mix, -1, 1)
    soundfile.write(tmp_path / "mix.wav", sound, stairs.rate, subtype="FLOAT")
    wrong = replace(stairs, rendering=replace(stairs.rendering, mix=tmp_path / "mix.wav"))
    with pytest.raises(AssertionError, match="longest_run" if clipped else "."):
        assert_clean(wrong)


def test_other_samples_are_noticed(stairs: Take, tmp_path: Path) -> None:
    assert_again(stairs, tmp_path)
    wrong = replace(stairs, desk=replace(stairs.desk, voices={"v": stairs.desk.voices["v"]}))
    with pytest.raises(AssertionError):
        assert_again(wrong, tmp_path)
