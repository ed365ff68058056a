"""Knots: phases learned in 500 to 3,200 steps; chords pose them."""

from __future__ import annotations

import numpy as np
import pytest

from pieces.signals import Event, gather
from pieces.source import check_controls
from pieces.training.knots import TURN, Knots


def chord(tick: int, *notes: int) -> list[Event]:
    return [Event(tick, "note", {"midi": n, "velocity": 0.6}, given=True) for n in notes]


def test_converges_within_the_published_steps() -> None:
    """Below 1e-6 within 500 to 3,200 steps for nearly all of 40 knots; nothing is left of the difference."""
    controls = check_controls(Knots, {"targets": 40, "rest": 0, "steps_per_tick": 5})
    block = Knots(7, controls).step(controls, (), 30_000)
    ends = [e for e in block.events if e.kind == "converged"]
    steps = np.array([e.data["steps"] for e in ends])
    assert len(ends) == 40
    assert np.mean((steps >= 480) & (steps <= 3200)) >= 0.95
    ticks = [e.tick for e in ends]
    assert np.all(block.arrays["loss"][ticks] < 1e-6)
    assert np.all(block.arrays["distance"][ticks] < 0.01)
    apart = np.stack([block.arrays[p][ticks] - block.arrays[f"target_{p}"][ticks] for p in "abc"])
    np.testing.assert_allclose(np.cos(apart), 1, atol=1e-4)


def test_loss_is_half_the_mean_squared_distance_of_the_two_knots() -> None:
    """The batch's loss is, on average, that of the whole curve drawn from the frames alone."""
    controls = check_controls(Knots, {"learning_rate": 1e-4, "steps_per_tick": 1})
    frames = gather([Knots(2, controls).step(controls, (), 400)], 50.0).arrays
    t = np.linspace(0, TURN, 1000, endpoint=False)
    total = 0.0
    for axis, phase in zip("xyz", "abc", strict=True):
        n = frames[f"n{axis}"][0]
        total += np.mean((np.cos(n * t + frames[phase][0]) - np.cos(n * t + frames[f"target_{phase}"][0])) ** 2) / 2
    assert frames["loss"].mean() == pytest.approx(total, rel=0.05)


def test_frequencies() -> None:
    found = set()
    for lowest in (0, 1):
        controls = check_controls(Knots, {"lowest": lowest, "targets": 300, "rest": 0, "steps_per_tick": 1, "gap": 0})
        source = Knots(3, controls)
        drawn = [source.step(controls, [Event(i, "new_target")], 1).arrays for i in range(200)]
        values = {float(d[n][0]) for d in drawn for n in ("nx", "ny", "nz")}
        assert values == set(map(float, range(lowest, 9)))
        found |= values
    assert len(found) == 9


def test_chords_pose_at_most_one_knot_in_two_seconds() -> None:
    controls = check_controls(Knots, {})
    source = Knots(1, controls)
    posed, tick = [], 0
    for _ in range(16):
        block = source.step(controls, chord(tick, 45, 52, 59), 25)
        posed += [e.tick for e in block.events if e.kind == "new_target"]
        tick = block.end_tick
    assert posed == [0, 100, 200, 300], "2 s at the piece's 50 ticks a second"


def test_right_hand_poses_nothing() -> None:
    controls = check_controls(Knots, {})
    source = Knots(1, controls)
    source.step(controls, chord(0, 40), 150)
    block = source.step(controls, chord(150, 60, 72), 10)
    assert not block.events
    assert np.all(block.arrays["note"] == 72)
