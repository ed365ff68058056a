"""The knock-out keyboard: what a held key silences is seen at the tick at which it is struck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pieces.minds.alien import Alien, channels
from pieces.minds.alien_keys import Knockouts
from pieces.signals import Channel, Event, FrameBlock
from pieces.source import SourceError, check_controls
from pieces.stream import StreamWriter

SIZE, SURGERIES = (8, 8), 6
DECLARED = channels((4, 2, 2), SIZE, 8)


def sheet_block() -> FrameBlock:
    """A sheet of six surgeries whose pictures are all different: tick t is of brightness 10 t.

    Invented, so that a picture tells which row it is; over what a mind drew the keyboard is heard in
    ``tests/pieces/test_library_alien.py``.
    """
    ticks = SURGERIES + 1
    arrays = {c.name: np.zeros((ticks, *c.shape), c.dtype) for c in DECLARED}
    arrays["picture"][:] = (10 * np.arange(ticks))[:, None, None, None]
    arrays["distance_pixels"][:] = 0.04 * np.arange(ticks)
    arrays["distance_pixels"][2] = 0.001
    arrays["strongest"][4], arrays["strongest"][5] = 8, 3
    events = tuple(Event(t, "surgery", {"name": f"module {t}" if t else "untouched"}) for t in range(ticks))
    return FrameBlock(0, arrays, events)


def written(path: Path, block: FrameBlock, declared: tuple[Channel, ...] = DECLARED) -> Path:
    with path.open("wb") as file:
        StreamWriter(file, declared, {}).write(block)
    return path


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    return written(tmp_path / "sheet.stream", sheet_block())


def start(stream: Path, seed: int = 0, **controls: Any) -> tuple[Knockouts, dict[str, Any]]:
    complete = check_controls(Knockouts, controls)
    return Knockouts(seed, complete, {"sheet": str(stream)}), complete


def note(midi: int, velocity: float = 0.5) -> Event:
    return Event(0, "note", {"midi": midi, "velocity": velocity}, given=True)


def shown(block: FrameBlock) -> list[int]:
    """Which row of the sheet is seen at each tick."""
    return (block.arrays["picture"][:, 0, 0, 0] // 10).tolist()


def test_a_key_silences_its_module_while_it_is_held(stream: Path) -> None:
    keys, controls = start(stream)
    assert shown(keys.step(controls, [Event(0, "await", given=True)], 2)) == [0, 0]
    block = keys.step(controls, [note(38, 0.8)], 3)
    assert shown(block) == [3, 3, 3]
    assert block.arrays["distance_pixels"].tolist() == pytest.approx([0.12] * 3)
    assert block.arrays["key"].tolist() == [2] * 3
    assert block.arrays["velocity"].tolist() == pytest.approx([0.8] * 3)
    assert [(e.tick, e.kind, e.data["name"]) for e in block.events] == [(2, "struck", "module 3")]
    after = keys.step(controls, [note(38, 0)], 2)
    assert shown(after) == [0, 0]
    assert [(e.tick, e.kind) for e in after.events] == [(5, "healed")]


def test_the_last_key_counts_and_gives_way_to_the_one_before(stream: Path) -> None:
    keys, controls = start(stream)
    assert shown(keys.step(controls, [note(36), note(40)], 1)) == [5]
    assert shown(keys.step(controls, [note(36, 0)], 1)) == [5]
    assert shown(keys.step(controls, [note(37)], 1)) == [2]
    assert shown(keys.step(controls, [note(37, 0)], 1)) == [5]
    assert shown(keys.step(controls, [note(40, 0)], 1)) == [0]


def test_what_becomes_of_the_picture_is_an_event(stream: Path) -> None:
    keys, controls = start(stream)
    verdicts = {}
    for midi in range(36, 42):
        block = keys.step(controls, [note(midi)], 1)
        verdicts[midi - 35] = [e.kind for e in block.events if e.kind != "struck"]
    assert verdicts == {1: [], 2: ["unmoved"], 3: [], 4: ["lost"], 5: ["changed"], 6: []}


def test_notes_without_a_key_are_let_pass(stream: Path) -> None:
    keys, controls = start(stream)
    block = keys.step(controls, [note(35), note(42), note(120)], 1)
    assert shown(block) == [0]
    assert not block.events
    keys, controls = start(stream, lowest=60)
    assert shown(keys.step(controls, [note(60)], 1)) == [1]


def test_fewer_keys_are_spread_over_the_sheet(stream: Path) -> None:
    keys, controls = start(stream, keys=3)
    rows = [shown(keys.step(controls, [note(36 + k)], 1))[0] for k in range(3)]
    assert rows[0] == 1
    assert rows[-1] == SURGERIES


def test_left_alone_it_tries_all_keys_and_ends(stream: Path) -> None:
    keys, controls = start(stream, every=6, rounds=2)
    block = keys.step(controls, (), 10_000)
    assert block.ticks == 6 * SURGERIES * 2
    struck = [e.data["key"] for e in block.events if e.kind == "struck"]
    assert sorted(struck) == sorted([*range(SURGERIES)] * 2)
    assert (np.array(shown(block))[4::6] == 0).all(), "between two keys the mind is whole"
    other, _ = start(stream, seed=1, every=6, rounds=2)
    assert shown(other.step(controls, (), 10_000)) != shown(block)
    again, _ = start(stream, every=6, rounds=2)
    cut = [shown(again.step(controls, (), n)) for n in (5, 1, 40, 10_000)]
    assert [row for part in cut for row in part] == shown(block)


def test_the_first_event_hands_it_over(stream: Path) -> None:
    keys, controls = start(stream, every=6)
    assert shown(keys.step(controls, (), 2)) != [0, 0]
    block = keys.step(controls, [Event(2, "await", given=True)], 20)
    assert shown(block) == [0] * 20
    assert [e.kind for e in block.events] == ["healed"]
    over = keys.step(controls, [Event(22, "end", given=True)], 5)
    assert over.ticks == 0
    assert [e.kind for e in over.events] == ["ended"]


def test_snapshots_go_on(stream: Path) -> None:
    keys, controls = start(stream)
    keys.step(controls, [note(36), note(38)], 1)
    state = keys.snapshot()
    other, _ = start(stream)
    other.restore(state)
    assert shown(other.step(controls, [note(38, 0)], 1)) == [1]
    with pytest.raises(SourceError, match="not a snapshot"):
        other.restore(b'{"source": "knockouts", "held": [[99, 1]], "tick": 0, "played": true, "over": false}')


def test_a_sheet_that_is_none_is_refused_in_a_line(tmp_path: Path) -> None:
    for path in (
        tmp_path / "none",
        written(tmp_path / "other", FrameBlock(0, {"x": np.zeros(3)}), (Channel("x", ""),)),
    ):
        with pytest.raises(SourceError) as refused:
            start(path)
        assert "sheet" in str(refused.value)
        assert "\n" not in str(refused.value)


def test_channels_are_those_of_alien_and_the_keys() -> None:
    names = [c.name for c in Knockouts.channels]
    assert names == [*(c.name for c in Alien.channels), "key", "velocity"]
