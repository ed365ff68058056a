"""The pieces of minds: every knob reaches what plays, and the judges of their frames can tell right from wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from pieces.arrange import arrange
from pieces.minds.coast import Coast
from pieces.minds.interconcept import Interconcept
from pieces.piece import Knob, Piece, find_piece
from pieces.signals import Array, Channel, Event, FrameBlock, Frames, Value, gather
from pieces.source import Source, check_controls
from sonify.desk import Desk
from sonify.lanes import lanes
from sonify.resolve import resolve, take_stats
from sonify.score import parse_score
from studio.compose import conduct
from studio.plan import plan
from tests.pieces.minds.lively import still, strays

pytestmark = pytest.mark.slow

PIECES = ("denoising", "alien", "alien-keyboard", "interconcept")
KNOBS = [(name, knob) for name in PIECES for knob in find_piece(name)[0].knobs]
#: Ticks after which a part without an end of its own is over.
END = 300

Seen = list[Mapping[str, Value]]


def witness(source: type[Source], seen: Seen) -> type[Source]:
    """A source that draws nothing: it notes the controls of each tick, and its numbers are random, always the same."""

    class Witness(source):  # type: ignore[misc, valid-type]
        tick = 0

        def prepare(self, controls: Mapping[str, Value]) -> None:
            pass

        def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
            first, self.tick = self.tick, min(self.tick + n, END)
            seen.extend(dict(controls) for _ in range(first, self.tick))
            arrays = {c.name: rows(c)[first : self.tick] for c in self.channels}
            happened = (Event(t, k) for t in range(first, self.tick) for k in self.emits if not t % 16 and k != "ended")
            return FrameBlock(first, arrays, tuple(happened))

    return Witness


def rows(channel: Channel) -> Array:
    """Numbers from all over a channel's range; arrays, which no voice hears, are empty."""
    if channel.shape:
        return np.zeros((END, *channel.shape), channel.dtype)
    return np.random.default_rng(sum(channel.name.encode())).uniform(*channel.range, END).astype(channel.dtype)


def performed(piece: Piece, name: str) -> tuple[Seen, Desk]:
    """The controls that the source of a piece sees at each tick, and everything that the voices do."""
    seen: Seen = []
    planned = plan(name, piece, find_piece(name)[1])
    ((part, player),) = planned.players.items()
    acting = {part: replace(player, source=witness(player.source, seen))}
    frames = {part: gather([block for _, block in conduct(planned.piece, acting, 1)], piece.rate(part))}
    stats = take_stats(planned.score, {part: {c.name: c for c in player.source.channels}}, frames)
    return seen, lanes(resolve(planned.score, stats, [part]), arrange(planned.piece, frames, 1), 1.0)


def reaches(piece: Piece, name: str, path: str, ends: tuple[float, float]) -> bool:
    """Whether the source is told otherwise, or the voices do otherwise, at the other end of a knob."""
    (seen, desk), (others, other) = (performed(piece.with_values({path: end}), name) for end in ends)
    return seen != others or not alike(asdict(desk), asdict(other))


def alike(one: Any, other: Any) -> bool:
    try:
        np.testing.assert_equal(one, other)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(("name", "knob"), KNOBS, ids=[f"{n}:{k.path}" for n, k in KNOBS])
def test_a_knob_reaches_the_source_or_the_voices_whatever_the_sections_say(name: str, knob: Knob) -> None:
    assert reaches(find_piece(name)[0], name, knob.path, knob.range)


@pytest.mark.parametrize(
    ("path", "ends"),
    [("parts.mind.controls.guidance", (1.0, 8.0)), ("score.voices.words.gain_db", (-20.0, -3.0))],
    ids=["a control that every section sets", "a voice that no section lets sound"],
)
def test_what_turns_nothing_reaches_nobody(path: str, ends: tuple[float, float]) -> None:
    piece = find_piece("denoising")[0]
    silent = [{**s.model_dump(), "voices": ["bells"]} for s in piece.sections]
    assert not reaches(piece.with_values({"sections": silent}), "denoising", path, ends)


def test_the_flight_leaves_the_island_three_times_and_comes_ashore_three_times() -> None:
    """As its note says, over a coarse chart of the plane that it charts finely."""
    piece = find_piece("interconcept")[0]
    seen, _ = performed(piece, "interconcept")
    heading, reach = (np.array([tick[name] for tick in seen], float) for name in ("heading", "reach"))
    way = reach[:, None] * np.stack([np.cos(np.radians(heading)), np.sin(np.radians(heading))], axis=1)
    part = piece.parts["flight"]
    source = Interconcept(0, check_controls(Interconcept, {**part.controls, "depth": 0, "steps": 5}), part.inputs)
    block = source.step({**seen[0]}, (), 1)
    chart = block.arrays["chart"][0].astype(float)
    coast = Coast(float(part.controls["radius"]), chart, np.ones(chart.shape, dtype=bool))
    assert coast.around() is not None, "the coast is closed"
    land = coast.distance(way) > 0
    assert land[0]
    assert land[-1]
    assert np.flatnonzero(np.diff(land)).size == 6


def test_what_strays_and_what_is_still_is_told() -> None:
    level = {"channel": "a", "domain": [0, 1], "range": [-20, 0]}
    score = parse_score({"purpose": "music", "voices": {"v": {"instrument": "pad", "lanes": {"level": level}}}}, "t")
    channels = (Channel("a", ""), Channel("b", ""), Channel("late", "", reproducible=False))

    def frames(a: list[float], b: list[float]) -> Frames:
        return gather([FrameBlock(0, {"a": np.array(a), "b": np.array(b), "late": np.full(len(a), 9.0)})], 1.0)

    good = frames([0.0, 0.5, 1.0], [0.0, 0.0, 1.0])
    assert not strays(channels, good)
    assert not still(score, channels, good)
    assert strays(channels, frames([0.1, 0.2, 0.3], [0.0, 20.0, np.nan])) == {"b": pytest.approx(2 / 3)}
    assert still(score, channels, frames([13.6, 20.4, 17.0], [0.0, 1.0, 0.0])) == {"v.level"}, "beyond its domain"
