"""The digits network: its signals, its events, and what a source promises."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import safetensors.torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.errors import ControlError
from pieces.piece import check_piece, find_piece
from pieces.signals import FrameBlock, Value
from pieces.source import SourceError, check_controls
from pieces.training.digits import AFTERMATH, CHANCE, LAYERS, Digits, Progress
from pieces.training.digits_net import Evaluation, digits_data, make_network, torch

TIMING = "step_time"


def controls(**values: Value) -> dict[str, Value]:
    return check_controls(Digits, values)


def perform(seed: int, ticks: int, **values: Value) -> FrameBlock:
    given = controls(**values)
    return Digits(seed, given).step(given, (), ticks)


def same(a: FrameBlock, b: FrameBlock) -> bool:
    """Equal bit for bit, the one channel apart that is declared not to be."""
    bits = all(a.arrays[n].tobytes() == b.arrays[n].tobytes() for n in a.arrays if n != TIMING)
    return bits and a.first_tick == b.first_tick and a.events == b.events


def joined(blocks: list[FrameBlock]) -> FrameBlock:
    arrays = {n: np.concatenate([b.arrays[n] for b in blocks]) for n in blocks[0].arrays}
    return FrameBlock(blocks[0].first_tick, arrays, tuple(e for b in blocks for e in b.events))


def kinds(block: FrameBlock) -> set[str]:
    return {e.kind for e in block.events}


def evaluation(loss: float = 0.1, accuracy: float = 0.9, spread: float = 3.0) -> Evaluation:
    return Evaluation(loss, accuracy, torch.zeros(10), torch.zeros(10, 10), spread)


def test_split_is_fixed_and_disjoint() -> None:
    train, held_out = digits_data()
    assert (len(train.classes), len(held_out.classes)) == (1437, 360)
    assert 0.0 <= float(train.pictures.min()) < float(train.pictures.max()) <= 1.0
    seen = {p.numpy().tobytes() for p in train.pictures}
    assert not any(p.numpy().tobytes() in seen for p in held_out.pictures)


def test_channels_are_what_is_emitted() -> None:
    block = perform(1, 3)
    assert set(block.arrays) == {c.name for c in Digits.channels}
    for channel in Digits.channels:
        array = block.arrays[channel.name]
        assert array.shape == (3, *channel.shape)
        assert array.dtype == channel.dtype
    assert [n for n, m in make_network(torch.Generator()).named_children() if list(m.parameters())] == list(LAYERS)


def test_confusion_counts_the_held_out_pictures_and_its_diagonal_is_accuracy() -> None:
    block = perform(2, 40, learning_rate=0.1)
    confusion = block.arrays["confusion"].astype(int)
    assert np.all(confusion.sum(axis=(1, 2)) == 360)
    assert np.all(confusion.sum(axis=2) == np.bincount(digits_data()[1].classes))
    diagonal = np.trace(confusion, axis1=1, axis2=2) / 360
    np.testing.assert_allclose(diagonal, block.arrays["accuracy"], atol=1e-6)


def test_update_is_learning_rate_times_gradient() -> None:
    block = perform(3, 30, learning_rate=0.05)
    for layer in LAYERS:
        before = block.arrays[f"weight_norm_{layer}"][:-1]
        expected = 0.05 * block.arrays[f"grad_norm_{layer}"][1:] / before
        np.testing.assert_allclose(block.arrays[f"update_ratio_{layer}"][1:], expected, rtol=1e-3)


@settings(max_examples=6)
@given(
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
    optimiser=st.sampled_from(["sgd", "momentum", "adam"]),
    rate=st.sampled_from([0.01, 1.0, 1000.0]),
)
def test_blocks_may_be_cut_anywhere(cuts: list[int], seed: int, optimiser: str, rate: float) -> None:
    given = controls(optimiser=optimiser, learning_rate=rate, label_noise=0.1)
    whole = Digits(seed, given).step(given, (), sum(cuts))
    source = Digits(seed, given)
    assert same(whole, joined([source.step(given, (), n) for n in cuts]))


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adam"])
def test_snapshot_branches_bit_for_bit(optimiser: str) -> None:
    given = controls(optimiser=optimiser, learning_rate=0.02)
    source = Digits(5, given)
    source.step(given, (), 17)
    state = source.snapshot()
    onwards = source.step(given, (), 30)
    other = Digits(99, given)
    other.restore(state)
    assert other.snapshot() == state
    assert same(other.step(given, (), 30), onwards)
    source.restore(state)
    assert same(source.step(given, (), 30), onwards)


def test_snapshot_before_the_first_step_and_of_another_kind() -> None:
    given = controls()
    source = Digits(5, given)
    state = source.snapshot()
    assert same(source.step(given, (), 5), perform(5, 5))
    weights = safetensors.torch.save(make_network(torch.Generator()).state_dict())
    later = source.snapshot()
    for broken in (b"", b"nothing of the kind", state[: len(state) // 2], weights, state.replace(b"tick", b"tock")):
        with pytest.raises(SourceError, match="not a snapshot of digits"):
            source.restore(broken)
        assert source.snapshot() == later, "a snapshot that is refused changes nothing"
    header = json.loads(state[8 : 8 + int.from_bytes(state[:8], "little")])
    assert {"conv1.weight", "random"} < set(header), "safetensors, never a pickle"


def test_seeds_differ_and_a_control_change_is_heard_of_at_once() -> None:
    a, b = perform(1, 5), perform(2, 5)
    assert not np.array_equal(a.arrays["loss"], b.arrays["loss"])
    source = Digits(1, controls())
    source.step(controls(), (), 5)
    block = source.step(controls(learning_rate=0.3, optimiser="adam", steps_per_tick=2), (), 5)
    assert block.arrays["learning_rate"] == pytest.approx(0.3)
    assert block.first_tick == 5


def test_controls_refuse_what_is_out_of_range() -> None:
    with pytest.raises(ControlError, match=r"0\.0001 to 1000"):
        controls(learning_rate=0.0)
    with pytest.raises(ControlError, match="sgd, momentum, adam"):
        controls(optimiser="lion")


def test_learns_and_announces_the_milestones_in_order() -> None:
    block = perform(1, 260, learning_rate=0.1)
    reached = [e.data["accuracy"] for e in block.events if e.kind == "milestone"]
    assert reached == [0.5, 0.8, 0.9, 0.95]
    for event in block.events:
        if event.kind == "milestone":
            before = block.arrays["accuracy"][: event.tick]
            assert block.arrays["accuracy"][event.tick] >= event.data["accuracy"] > before.max()
    assert block.arrays["accuracy"][-50:].mean() > 0.93


def test_label_noise_keeps_the_loss_up() -> None:
    pure = perform(1, 100, learning_rate=0.1).arrays["held_out_loss"][-50:].mean()
    assert perform(1, 100, learning_rate=0.1, label_noise=0.6).arrays["held_out_loss"][-50:].mean() > pure + 0.5


def test_at_rate_one_training_collapses_to_chance_and_at_a_tenth_it_does_not() -> None:
    collapsed = [perform(seed, 130, learning_rate=1.0) for seed in (1, 2, 3, 4)]
    assert sum("collapsed" in kinds(b) for b in collapsed) >= 3
    for block in collapsed:
        for event in block.events:
            if event.kind == "collapsed":
                before = slice(event.tick - 15, event.tick + 1)
                np.testing.assert_allclose(block.arrays["held_out_loss"][before], CHANCE, atol=0.5)
                assert block.arrays["accuracy"][before].max() <= 0.15
                assert block.arrays["spread"][before].max() < 0.01
                assert np.median(block.arrays["grad_norm_conv1"][before]) < 0.1 * block.arrays["grad_norm_conv1"][0]
    assert not kinds(perform(1, 150, learning_rate=0.1)) & {"collapsed", "exploded"}
    assert not kinds(perform(1, 100, learning_rate=1e-4)) & {"collapsed", "exploded"}, "slow is not blind"


@pytest.mark.parametrize("rate", [100.0, 1000.0])
def test_far_higher_rates_explode(rate: float) -> None:
    for seed in (1, 2, 3):
        block = perform(seed, 60, learning_rate=rate)
        first = next(e for e in block.events if e.kind == "exploded")
        loss = block.arrays["loss"][first.tick]
        assert not loss <= 100
        assert np.all(block.arrays["loss"][: first.tick] <= 100)


def test_a_loss_that_is_no_number_ends_the_source_cleanly() -> None:
    given = controls()
    source = Digits(1, given)
    source.step(given, (), 2)
    broken = source.snapshot()
    position = broken.index(b'"output.bias"')
    start = (
        int(broken[position:].split(b'"data_offsets":[')[1].split(b",")[0]) + 8 + int.from_bytes(broken[:8], "little")
    )
    source.restore(broken[:start] + np.float32(math.nan).tobytes() + broken[start + 4 :])
    block = source.step(given, (), 100)
    assert block.ticks == AFTERMATH
    assert np.isnan(block.arrays["loss"]).all()
    assert [e.kind for e in block.events] == ["exploded"]
    assert source.step(given, (), 10).ticks == 0


def test_events_are_the_definitions() -> None:
    progress = Progress()
    blind = evaluation(CHANCE + 0.1, 0.1, 0.001)
    seen = [e.kind for _ in range(40) for e in progress.observe(2.4, blind)]
    assert seen == ["collapsed"]
    assert progress.tick == 40
    for almost in (evaluation(CHANCE, 0.1, 1.0), evaluation(40.0, 0.1, 0.0)):
        assert not [e for _ in range(40) for e in Progress().observe(2.3, almost)]
    settled = [e for p in [Progress()] for _ in range(40) for e in p.observe(0.1, evaluation(0.1, 0.4))]
    assert [(e.kind, e.tick) for e in settled] == [("converged", 15)]


def test_default_piece_holds_together_and_its_knobs_turn() -> None:
    piece, base = find_piece("digits")
    assert check_piece(piece, "digits", base)["network"] is Digits
    for knob in piece.knobs:
        for u in (0.0, 0.5, 1.0):
            check_piece(piece.with_values({knob.path: knob.value(u)}), "digits", base)
    part = piece.parts["network"]
    assert 30 <= part.ticks / part.rate <= 45
