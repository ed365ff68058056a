"""The ride through the weights: heights, cliffs, ends, checkpoints."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from pieces.piece import check_piece, find_piece
from pieces.signals import FrameBlock, Value
from pieces.source import SourceError, check_controls
from pieces.training.digits import CHANCE, Digits
from pieces.training.digits_net import CheckpointError, make_network, torch
from pieces.weights.landscape import LEARNED, Landscape, cliffs, filter_normalised


def ride(seed: int = 1, inputs: dict[str, str] | None = None, **values: Value) -> FrameBlock:
    given = check_controls(Landscape, values)
    return Landscape(seed, given, inputs).step(given, (), 100_000)


@cache
def training_ride() -> FrameBlock:
    return ride(seed=1, reach=1.5, points=240)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A snapshot of `digits`, which is a checkpoint too."""
    given = check_controls(Digits, {"learning_rate": 0.1})
    source = Digits(7, given)
    source.step(given, (), 150)
    path = tmp_path_factory.mktemp("checkpoints") / "trained.safetensors"
    path.write_bytes(source.snapshot())
    return str(path)


def test_training_falls_from_chance_into_the_valley_and_out_again() -> None:
    arrays = training_ride().arrays
    position, loss = arrays["position"], arrays["loss"]
    at = {t: int(np.abs(position - t).argmin()) for t in (0.0, 1.0)}
    assert loss[at[0.0]] == pytest.approx(CHANCE, abs=0.5)
    assert arrays["accuracy"][at[1.0]] > 0.9
    assert 0.7 < position[loss.argmin()] < 1.6
    assert loss[-1] > 5 * loss.min()
    np.testing.assert_allclose((position[0], position[-1]), (-1.5, 2.5), atol=1e-5)


def test_slope_and_curvature_are_the_derivatives_of_the_height() -> None:
    arrays = {n: a.astype(float) for n, a in training_ride().arrays.items()}
    position, loss = arrays["position"], arrays["loss"]
    change = np.gradient(loss, position)
    np.testing.assert_allclose(arrays["slope"], np.abs(change), atol=1e-3)
    np.testing.assert_allclose(arrays["steepness"], np.abs(np.gradient(np.log(loss), position)), atol=1e-3)
    rising = np.cumsum(arrays["curvature"][1:-1]) * (position[1] - position[0])
    assert np.corrcoef(rising, change[1:-1])[0, 1] > 0.999


def test_cliffs_are_on_both_sides_of_the_valley() -> None:
    block = training_ride()
    valley = int(block.arrays["loss"].argmin())
    found = [(e.tick < valley, e.data["direction"]) for e in block.events if e.kind == "cliff"]
    assert found == [(True, "down"), (False, "up")]
    for event in block.events:
        if event.kind == "cliff":
            steepness = block.arrays["steepness"]
            assert steepness[event.tick] == steepness[event.tick - 5 : event.tick + 6].max()
            assert steepness[event.tick] == pytest.approx(event.data["steepness"])
            assert steepness[event.tick] >= 1.25 * steepness.mean()


def test_digits_are_learned_and_forgotten_where_their_loss_crosses_ln_2() -> None:
    block = training_ride()
    losses = block.arrays["class_loss"]
    for event in block.events:
        if event.kind in ("learned", "forgotten"):
            before, after = losses[event.tick - 1 : event.tick + 1, event.data["digit"]]
            assert (after < LEARNED <= before) if event.kind == "learned" else (before < LEARNED <= after)
    assert {e.data["digit"] for e in block.events if e.kind == "learned"} == set(range(10))


def test_mean_of_the_classes_is_the_loss() -> None:
    arrays = training_ride().arrays
    assert np.all(arrays["class_loss"].min(axis=1) <= arrays["loss"])
    assert np.all(arrays["loss"] <= arrays["class_loss"].max(axis=1))


def test_cliffs_of_known_landscapes() -> None:
    t = np.linspace(0, 1, 500)
    assert len(cliffs(np.full(500, 3.0))) == 0, "an even slope has none"
    walls = 1 + 9 * np.exp(-(((t - 0.3) / 0.02) ** 2)) + 9 * np.exp(-(((t - 0.8) / 0.02) ** 2))
    np.testing.assert_allclose(t[cliffs(walls)], [0.3, 0.8], atol=0.002)
    broken = np.where(t > 0.9, np.nan, walls)
    np.testing.assert_allclose(t[cliffs(broken)], [0.3, 0.8], atol=0.002)
    assert len(cliffs(np.full(10, np.nan))) == 0


@settings(max_examples=20)
@given(seed=st.integers(0, 2**40), scale=st.floats(0.01, 100))
def test_random_directions_have_the_norms_of_the_filters(seed: int, scale: float) -> None:
    weights = make_network(torch.Generator().manual_seed(seed)).state_dict()
    weights = {name: scale * w for name, w in weights.items()}
    direction = filter_normalised(weights, torch.Generator().manual_seed(seed + 1))
    for name, w in weights.items():
        if w.dim() > 1:
            rows, drawn = w.flatten(1), direction[name].flatten(1)
            np.testing.assert_allclose(drawn.norm(dim=1), rows.norm(dim=1), rtol=1e-4)
            assert abs(float((rows * drawn).sum() / rows.norm() ** 2)) < 0.6
        else:
            assert not direction[name].any()


def test_random_path_climbs_out_of_the_minimum(checkpoint: str) -> None:
    block = ride(seed=3, inputs={"checkpoint": checkpoint}, path="random", reach=1.0, points=91)
    position, loss = block.arrays["position"], block.arrays["loss"]
    assert abs(position[loss.argmin()]) < 0.2
    assert loss[0] > 3 * loss.min()
    assert loss[-1] > 3 * loss.min()
    other = ride(seed=4, inputs={"checkpoint": checkpoint}, path="random", reach=1.0, points=91)
    assert other.arrays["loss"][30] == pytest.approx(loss[30], rel=1e-4), "t = 0 is the checkpoint"
    assert other.arrays["loss"][-1] != pytest.approx(loss[-1], rel=1e-4)


def test_loss_at_a_checkpoint_is_the_held_out_loss_of_its_training(checkpoint: str, tmp_path: Path) -> None:
    given = check_controls(Digits, {"learning_rate": 0.1})
    source = Digits(8, given)
    trained = source.step(given, (), 50)
    end = tmp_path / "end.safetensors"
    end.write_bytes(source.snapshot())
    block = ride(inputs={"start": checkpoint, "end": str(end)}, path="checkpoints", reach=0.0, points=16)
    assert block.arrays["loss"][-1] == pytest.approx(trained.arrays["held_out_loss"][-1], rel=1e-5)
    assert block.arrays["loss"].max() > 2 * block.arrays["loss"][-1], "two trainings lie in different valleys"


@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, 64), min_size=1, max_size=6))
def test_blocks_may_be_cut_anywhere_and_the_source_ends_with_the_line(checkpoint: str, cuts: list[int]) -> None:
    given = check_controls(Landscape, {"points": 40, "reach": 0.5})
    source = Landscape(1, given, {"checkpoint": checkpoint})
    blocks = [source.step(given, (), n) for n in (*cuts, 64)]
    whole = Landscape(1, given, {"checkpoint": checkpoint}).step(given, (), 40)
    for name, array in whole.arrays.items():
        assert np.concatenate([b.arrays[name] for b in blocks]).tobytes() == array.tobytes()
    assert tuple(e for b in blocks for e in b.events) == whole.events
    assert blocks[-1].ticks < 64


def test_snapshot_is_a_place_on_the_line(checkpoint: str) -> None:
    given = check_controls(Landscape, {"points": 40, "reach": 0.5})
    source = Landscape(1, given, {"checkpoint": checkpoint})
    source.step(given, (), 13)
    state = source.snapshot()
    onwards = source.step(given, (), 9)
    other = Landscape(1, given, {"checkpoint": checkpoint})
    other.restore(state)
    again = other.step(given, (), 9)
    assert again.first_tick == onwards.first_tick == 13
    assert all(again.arrays[n].tobytes() == a.tobytes() for n, a in onwards.arrays.items())
    wrong = [state.replace(b'"tick": 13', b'"tick": ' + t) for t in (b"-1", b"41", b"1e999", b"1.5", b"null")]
    for broken in (b"", b"[]", b'{"tick": null}', *wrong):
        with pytest.raises(SourceError, match="not a snapshot of landscape"):
            other.restore(broken)
    assert b'"tick": 22' in other.snapshot()


def test_a_snapshot_knows_its_inputs_by_their_content(checkpoint: str, tmp_path: Path) -> None:
    given = check_controls(Landscape, {"points": 40, "reach": 0.5})
    state = Landscape(1, given, {"checkpoint": checkpoint}).snapshot()
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(Path(checkpoint).read_bytes())
    Landscape(1, given, {"checkpoint": str(copy)}).restore(state)
    copy.write_bytes(b"another")
    with pytest.raises(SourceError, match="another line"):
        Landscape(1, given, {"checkpoint": str(copy)}).restore(state)
    copy.unlink()
    with pytest.raises(SourceError, match="input 'checkpoint' cannot be read"):
        Landscape(1, given, {"checkpoint": str(copy)}).restore(state)


def test_a_snapshot_of_another_line_is_refused_and_changes_nothing(checkpoint: str) -> None:
    given = check_controls(Landscape, {"points": 40, "reach": 0.5})
    source = Landscape(1, given, {"checkpoint": checkpoint})
    source.step(given, (), 13)
    others = [
        Landscape(2, given, {"checkpoint": checkpoint}),
        Landscape(1, check_controls(Landscape, {"points": 40, "reach": 0.6}), {"checkpoint": checkpoint}),
        Landscape(1, given),
    ]
    for other in others:
        with pytest.raises(SourceError, match="another line"):
            other.restore(source.snapshot())
        assert b'"tick": 0' in other.snapshot()


def test_what_is_no_checkpoint_is_refused_in_one_line(checkpoint: str, tmp_path: Path) -> None:
    weights = {n: a for n, a in load_file(checkpoint).items() if n.startswith(("conv", "hidden", "output"))}
    cases = {
        "torn": (None, "cannot be read"),
        "short": ({n: a for n, a in weights.items() if n != "conv2.bias"}, "no tensor 'conv2.bias'"),
        "wide": ({**weights, "hidden.bias": np.zeros(64, np.float32)}, r"\[64\]; the digits network has \[32\]"),
        "nan": ({**weights, "output.bias": np.full(10, np.nan, np.float32)}, "output.bias is not finite"),
    }
    for name, (tensors, message) in cases.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(b"nonsense") if tensors is None else save_file(tensors, path)
        with pytest.raises(CheckpointError, match=message) as raised:
            ride(inputs={"checkpoint": str(path)}, points=16)
        assert "\n" not in str(raised.value)
    with pytest.raises(CheckpointError, match="cannot be read"):
        ride(inputs={"checkpoint": str(tmp_path / "missing.safetensors")}, points=16)


def test_inputs_fit_the_path(checkpoint: str) -> None:
    with pytest.raises(SourceError, match="'start' is missing"):
        ride(path="checkpoints")
    with pytest.raises(SourceError, match="'end' is missing"):
        ride(path="checkpoints", inputs={"start": checkpoint})
    with pytest.raises(SourceError, match="'start' is of no use"):
        ride(path="training", inputs={"start": checkpoint})


def test_default_piece_holds_together_and_its_knobs_turn() -> None:
    piece, base = find_piece("landscape")
    assert check_piece(piece, "landscape", base)["ride"] is Landscape
    part = piece.parts["ride"]
    assert part.controls["points"] == part.ticks
    for knob in piece.knobs:
        for u in (0.0, 0.5, 1.0):
            check_piece(piece.with_values({knob.path: knob.value(u)}), "landscape", base)
