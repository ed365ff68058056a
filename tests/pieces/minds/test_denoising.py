"""Pictures out of noise: phenomena of the house mind, branches, replays, and what is no picture."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.stats import spearmanr

from pieces.minds.denoising import Denoising
from pieces.minds.mind import MindError
from pieces.minds.tracing import detail
from pieces.piece import find_piece
from pieces.signals import FrameBlock, Frames, SignalsHash, Value, gather
from pieces.source import SourceError, check_controls, find_source
from sonify.ears import hear
from sonify.score import parse_score
from studio import memory
from studio.memory import Memory
from studio.performance import Performance
from studio.pictures.denoising import DENOISING
from tests import sounding

#: Prompts and seeds of the phenomena.
DRAWN = [("a cat in a party hat", 1), ("a cat in a party hat", 2), ("a dog", 3), ("a plane", 4)]
#: Two pictures of four steps.
TWO: dict[str, Value] = {"steps": 4, "rest": 2, "draws": 2, "pictures": 2}


def source(
    seed: int = 1, inputs: Mapping[str, str] | None = None, **values: Value
) -> tuple[Denoising, dict[str, Value]]:
    controls = check_controls(Denoising, values)
    return Denoising(seed, controls, inputs), controls


def run(seed: int = 1, inputs: Mapping[str, str] | None = None, **values: Value) -> FrameBlock:
    made, controls = source(seed, inputs, **values)
    return made.step(controls, (), 1000)


def same(one: FrameBlock, other: FrameBlock) -> bool:
    names = [c.name for c in Denoising.channels if c.reproducible]
    return one.events == other.events and all(one.arrays[n].tobytes() == other.arrays[n].tobytes() for n in names)


def cut(block: FrameBlock, first: int) -> FrameBlock:
    events = tuple(e for e in block.events if e.tick >= first)
    return FrameBlock(first, {n: a[first - block.first_tick :] for n, a in block.arrays.items()}, events)


@pytest.fixture(scope="module")
def trajectories() -> dict[tuple[str, int], FrameBlock]:
    """Twenty steps to each picture."""
    return {(p, s): run(s, {"prompt": p}, steps=20, rest=0, draws=3) for p, s in DRAWN}


@pytest.fixture(scope="module")
def tiny(tiny_sd1) -> dict[str, str]:
    """Inputs: a small mind, for what is the same with all of them."""
    return {"mind": str(tiny_sd1)}


@pytest.fixture(scope="module")
def two(tiny) -> FrameBlock:
    """Two pictures of the small mind."""
    return run(5, tiny, **TWO)


def test_where_memory_runs_out_fewer_draws_are_made_at_once_and_that_is_told(tiny):
    """A UNet that bears two pictures, in both halves of guidance: the same frames to rounding, and a notice."""
    import torch

    whole = run(5, tiny, steps=3, rest=1, draws=5)
    made, controls = source(5, tiny, steps=3, rest=1, draws=5)
    made.prepare(controls)

    def little(module, given):
        if len(given[0]) > 4:
            raise torch.OutOfMemoryError("out of memory")

    made._mind.pipeline.unet.register_forward_pre_hook(little)
    spared = made.step(controls, (), 1000)
    for name in (c.name for c in Denoising.channels if c.reproducible and c.dtype != "uint8"):
        np.testing.assert_allclose(spared.arrays[name], whole.arrays[name], atol=1e-4, err_msg=name)
    lines = [e.data["line"] for e in spared.events if e.kind == "notice"]
    assert lines == ["out of memory with 5 pictures at once: 2 from now on"]
    assert not [e for e in whole.events if e.kind == "notice"]


def test_a_mind_that_does_not_fit_at_all_is_a_line(tiny):
    import torch

    made, controls = source(5, tiny, steps=3, draws=0)
    made.prepare(controls)

    def none(module, given):
        raise torch.OutOfMemoryError("out of memory")

    made._mind.pipeline.unet.register_forward_pre_hook(none)
    with pytest.raises(MindError, match="needs more memory than there is for one picture"):
        made.step(controls, (), 1)


def test_the_spread_is_the_minds_own(trajectories, tmp_path):
    """That it falls follows from the noise that is put back, whoever predicts; how small it is, from what is known."""
    from pieces.minds.mind import HOUSE

    shutil.copytree(HOUSE, tmp_path / "lost")
    path = tmp_path / "lost" / "unet" / "diffusion_pytorch_model.safetensors"
    rng, weights = np.random.default_rng(0), load_file(path)
    save_file({n: rng.permutation(w.ravel()).reshape(w.shape) for n, w in weights.items()}, path)
    prompt, seed = DRAWN[0]
    lost = run(seed, {"prompt": prompt, "mind": str(tmp_path / "lost")}, steps=20, rest=0, draws=3)
    assert (trajectories[prompt, seed].arrays["spread"] < 0.6 * lost.arrays["spread"]).all()


def test_the_spread_falls_along_the_trajectory(trajectories):
    for drawn, block in trajectories.items():
        spread = block.arrays["spread"]
        assert spearmanr(spread, np.arange(20))[0] < -0.8, drawn
        assert spread[:7].mean() > 1.3 * spread[-7:].mean(), drawn
        shuffled = np.random.default_rng(0).permutation(spread)
        assert spearmanr(shuffled, np.arange(20))[0] > -0.6, "the measure can fail"


@pytest.mark.parametrize(("prompt", "seed"), [("a cat in a party hat", 1), ("a dog", 2), ("", 3)])
def test_one_big_step_is_blurrier_than_twenty(prompt, seed):
    """Without guidance, which would exaggerate what the prompt adds to the mean of all pictures."""
    leap, walk = (run(seed, {"prompt": prompt}, steps=n, guidance=1.0, rest=0, draws=0) for n in (1, 20))
    assert (leap.ticks, walk.ticks) == (1, 20)
    np.testing.assert_array_equal(leap.arrays["x0"][0], walk.arrays["x0"][0])
    assert walk.arrays["detail"][-1] > 1.15 * leap.arrays["detail"][-1]


def test_detail_is_what_is_fine_in_a_picture():
    fine = np.indices((32, 32)).sum(axis=0) % 2 * 200.0
    broad = 100 + 100 * np.sin(np.arange(32) * 2 * np.pi / 32)[None].repeat(32, axis=0)
    flat = np.full((32, 32), 90.0)
    found = [detail(np.repeat(x[..., None], 3, axis=2).astype(np.uint8)) for x in (fine, broad, flat)]
    assert found[0] == pytest.approx(100, abs=1), "half of what lies between its two levels"
    assert found[1] < 1
    assert found[2] == pytest.approx(0, abs=1e-9)


def test_noise_becomes_a_picture(trajectories):
    for block in trajectories.values():
        a = block.arrays
        assert a["noise_level"][0] == pytest.approx(1.0, abs=1e-3)
        assert (np.diff(a["noise_level"]) < 1e-6).all()
        assert a["latents"][0].std() == pytest.approx(1.0, abs=0.15)
        np.testing.assert_array_equal(a["latents"][-1], a["x0"][-1])
        assert a["step_size"].sum() == 1000
        assert [e.kind for e in block.events] == ["mind", "picture", "finished"]
        np.testing.assert_allclose(a["mean_2"], a["latents"][:, 2].mean(axis=(1, 2)), atol=1e-5)
        np.testing.assert_allclose(a["deviation_1"], a["latents"][:, 1].std(axis=(1, 2)), atol=1e-5)
        moved = np.sqrt(np.mean((a["x0"][1:] - a["x0"][:-1]) ** 2, axis=(1, 2, 3)))
        np.testing.assert_allclose(a["change"][1:], moved, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 3, 7, 20, 33])
def test_steps_are_as_many_as_were_asked_for(steps, tiny):
    made, controls = source(1, tiny, steps=steps, rest=0, draws=0)
    block = made.step(controls, (), steps + 1)
    assert block.ticks == steps
    assert block.arrays["step_size"].sum() == 1000


def test_deterministic_sampling_repeats_itself_bit_for_bit_in_any_process():
    code = """
from pieces.minds.denoising import Denoising
from pieces.signals import SignalsHash
from pieces.source import check_controls
controls = check_controls(Denoising, {"steps": 3, "rest": 1})
found = SignalsHash(Denoising.channels)
found.update(Denoising(5, controls).step(controls, (), 2))
print(found.hexdigest())
"""
    found = SignalsHash(Denoising.channels)
    made, controls = source(5, steps=3, rest=1)
    found.update(made.step(controls, (), 1))
    found.update(made.step(controls, (), 1))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == found.hexdigest()


def test_ancestral_sampling_follows_its_seed_and_leaves_the_deterministic_way():
    def latents(seed: int, sampler: str, eta: float = 1.0) -> NDArray[np.float32]:
        return run(seed, steps=6, rest=0, draws=0, sampler=sampler, eta=eta).arrays["latents"]

    once = latents(1, "ancestral")
    np.testing.assert_array_equal(once, latents(1, "ancestral"))
    assert np.abs(once[-1] - latents(2, "ancestral")[-1]).max() > 0.1
    straight = latents(1, "ddim")
    assert np.abs(once[-1] - straight[-1]).max() > 0.1
    np.testing.assert_array_equal(straight, latents(1, "ancestral", eta=0.0))


def test_draws_of_the_spread_change_nothing_else():
    many, none = (run(1, steps=4, rest=0, draws=n, sampler="ancestral") for n in (5, 0))
    np.testing.assert_array_equal(many.arrays["latents"], none.arrays["latents"])
    assert many.arrays["spread"].all()
    assert not none.arrays["spread"].any()


@settings(max_examples=4)
@given(cuts=st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_blocks_may_be_cut_anywhere(two, tiny, cuts):
    made, controls = source(5, tiny, **TWO)
    blocks = [made.step(controls, (), n) for n in (*cuts, 100)]
    whole = gather(blocks, 1.0)
    assert same(FrameBlock(0, whole.arrays, whole.events), two)
    assert blocks[-1].ticks < 100


def test_a_branch_from_any_step_goes_on_bit_for_bit_and_may_go_elsewhere(two, tiny):
    made, controls = source(5, tiny, **TWO)
    for tick in range(two.ticks):
        other, _ = source(5, tiny, **TWO)
        other.restore(made.snapshot())
        assert same(other.step(controls, (), 1000), cut(two, tick)), tick
        if tick in (1, 3):
            other.restore(made.snapshot())
            elsewhere = other.step(check_controls(Denoising, {**controls, "guidance": 9.0}), (), 1)
            np.testing.assert_array_equal(elsewhere.arrays["noise_level"], two.arrays["noise_level"][tick : tick + 1])
            assert np.abs(elsewhere.arrays["x0"][0] - two.arrays["x0"][tick]).max() > 1e-4
        made.step(controls, (), 1)


def test_the_studio_branches_from_a_state_it_kept_and_gets_the_same(two, tiny, monkeypatch):
    """Scrubbing back and going on: what lies before is recalled, the rest is made from the nearest state."""
    monkeypatch.setattr(memory, "EVERY", 0.0)

    def performed(earlier: Memory | None, tick: int) -> tuple[Frames, Memory]:
        made, controls = source(5, tiny, **TWO)
        performance = Performance(made, controls, 1000)
        performance.memory = Memory(made, earlier, tick)
        performance._clock = _Single()
        return gather(list(performance), 1.0), performance.memory

    first, remembered = performed(None, 0)
    again, recalled = performed(remembered, 3)
    assert recalled.recalls == 3
    for frames in (first, again):
        assert same(FrameBlock(0, frames.arrays, frames.events), two)


class _Single:
    """A clock that lets one tick through at a time, as live ones do."""

    def due(self, tick: int) -> int:
        return 1

    def hold(self) -> None: ...


def test_what_is_no_snapshot_is_refused_in_one_line_and_changes_nothing(two, tiny):
    made, controls = source(5, tiny, **TWO)
    made.step(controls, (), 3)
    state = made.snapshot()
    house, _ = source(draws=0)
    for broken in (b"", b"[]", state[:-4], state.replace(b"resting", b"nesting"), house.snapshot()):
        with pytest.raises(SourceError, match="snapshot of") as raised:
            made.restore(broken)
        assert "\n" not in str(raised.value)
    assert same(made.step(controls, (), 1000), cut(two, 3))


def test_steps_grow_and_shrink_under_way(tiny):
    made, controls = source(1, tiny, steps=10, rest=0, draws=0)
    made.step(controls, (), 2)
    large = made.step(check_controls(Denoising, {**controls, "step_size": 3.0}), (), 1)
    rest = made.step(check_controls(Denoising, {**controls, "step_size": 0.5}), (), 100)
    assert large.arrays["step_size"].tolist() == [300]
    assert rest.arrays["step_size"].tolist() == [50] * 10


def test_pictures_begin_with_noise_of_their_own_or_all_with_the_same():
    own, alike = (run(steps=2, rest=1, draws=0, pictures=2, noise=n) for n in ("own", "same"))
    assert own.ticks == alike.ticks == 6
    assert np.abs(own.arrays["latents"][0] - own.arrays["latents"][3]).max() > 1
    np.testing.assert_array_equal(alike.arrays["latents"][:3], alike.arrays["latents"][3:])


def test_a_finished_picture_rests_as_it_is(two):
    for tick in (4, 5):
        for name in ("latents", "mean_0", "deviation_3"):
            np.testing.assert_array_equal(two.arrays[name][tick], two.arrays[name][3])
        np.testing.assert_array_equal(two.arrays["x0"][tick], two.arrays["latents"][3])
        np.testing.assert_array_equal(two.arrays["x0_picture"][tick], two.arrays["x0_picture"][4])
        assert not two.arrays["spread"][tick]
        assert not two.arrays["noise_level"][tick]


@pytest.fixture(scope="module")
def shattered(house, scratch) -> Path:
    """The house mind with a weight that is no number."""
    folder = scratch / "shattered"
    shutil.copytree(house.folder, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_out.bias"][0] = np.nan
    save_file(tensors, weights, {"format": "pt"})
    return folder


def test_a_picture_that_is_no_number_is_nothing_and_an_event(shattered):
    made, controls = source(inputs={"mind": str(shattered)}, steps=3, rest=1, draws=2)
    frames = gather(list(Performance(made, controls, 100)), 3.0)
    assert [e.tick for e in frames.of_kind("nothing")] == [0]
    assert not frames.arrays["x0_picture"].any()
    assert all(np.isfinite(a).all() for a in frames.arrays.values())
    assert {"latents", "x0", "mean_0"} <= {e.data["channel"] for e in frames.of_kind("diverged")}
    lost, seen = (DENOISING.draw(DENOISING.prepare(f, {}), 1, 320, 180) for f in (frames, _frames(run(steps=3))))
    assert np.quantile(lost.max(axis=2), 0.9) < 40 < np.quantile(seen.max(axis=2), 0.9)
    assert not [e for e in run(steps=3).events if e.kind == "nothing"]


def test_nothing_to_be_seen_is_heard_as_a_low_bell(shattered, scratch):
    piece, _ = find_piece("denoising")
    score = parse_score(piece.score, "denoising")
    score = score.model_copy(update={"voices": {"knell": score.voices["knell"].model_copy(update={"sends": {}})}})
    for inputs, bells in (({"mind": str(shattered)}, 1), ({}, 0)):
        made, controls = source(inputs=inputs, steps=3, rest=6, draws=0)
        frames = gather(list(Performance(made, controls, 100)), 3.0)
        resolved = sounding.resolved(score, made.channels, frames)
        folder = scratch / f"bells{bells}"
        folder.mkdir()
        sound, rate = soundfile.read(sounding.rendered(resolved, frames, piece.master, folder).stems["knell"])
        assert len(hear(sound, rate).onset_times) == bells
        assert (np.abs(sound).max() > 0.01) == bool(bells)


def _frames(block: FrameBlock) -> Frames:
    return gather([block], 3.0)


def test_words_that_the_house_mind_does_not_know_are_said():
    block = run(inputs={"prompt": "a zeppelin in a party hat"}, steps=1, draws=0)
    (line,) = [e.data["line"] for e in block.events if e.kind == "notice"]
    assert "zeppelin" in line
    assert "cat" in line, "its vocabulary"
    assert not [e for e in run(steps=1, draws=0).events if e.kind == "notice"]


def test_minds_that_are_none_are_refused_before_anything_is_played(tmp_path):
    with pytest.raises(MindError, match=r"hosue.*house"):
        source(inputs={"mind": "hosue"})
    with pytest.raises(MindError) as raised:
        source(inputs={"mind": str(tmp_path)})
    assert "\n" not in str(raised.value)


def test_another_minds_channels_are_of_its_size(tiny_xl):
    made, controls = source(inputs={"mind": str(tiny_xl)}, steps=2, rest=1, draws=2)
    block = made.step(controls, (), 10)
    assert block.ticks == 3
    declared = {c.name: c for c in made.channels}
    assert block.arrays["x0_picture"].shape[1:] == declared["x0_picture"].shape == (32, 32, 3)
    assert set(block.arrays) == set(declared)


def test_the_source_is_found_without_loading_torch():
    code = "import sys; from pieces.source import find_source; find_source('denoising'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert find_source("denoising") is Denoising
