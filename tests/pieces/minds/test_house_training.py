"""The house mind's training: killed and resumed it ends with the same weights; its losses mean what they say."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from pieces.errors import DescantError
from pieces.minds.concepts import open_eye
from pieces.minds.house import networks
from pieces.minds.house.drawings import album, caption, described, dressings, imagine, vocabulary
from pieces.minds.house.train import Training, gate_prompts
from pieces.minds.house.training import (
    NOTHING,
    Recipe,
    TrainingError,
    _share,
    as_pictures,
    as_tensor,
    clip_loss,
    spoiled,
    velocity_loss,
)
from pieces.minds.mind import open_mind

#: All four stages in a few seconds.
SMALL = Recipe(
    drawings=64,
    vae_steps=40,
    vae_batch=2,
    clip_steps=20,
    clip_batch=32,
    unet_steps=40,
    unet_batch=1,
    eye_steps=20,
    rate=2e-3,
)
#: A process that trains as `SMALL`, with a checkpoint after every look.
CODE = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from pieces.minds.house.train import Training
from pieces.minds.house.training import Recipe
progress = lambda stage, done, of, loss: print(stage, done, flush=True)
Training(Path(sys.argv[1]), Recipe(**{recipe}), "cpu", progress, every=0.0).go()
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Training:
    """A training that nobody stopped."""
    began = time.monotonic()
    training = Training(tmp_path_factory.mktemp("whole"), SMALL, "cpu", lambda *told: None)
    assert training.go()
    training.took = time.monotonic() - began
    return training


def weights(training: Training) -> dict[str, bytes]:
    return {
        f"{name} {key}": tensor.numpy().tobytes()
        for name, stage in training.stages.items()
        for key, tensor in stage.nets.state_dict().items()
    }


def test_killed_and_resumed_it_ends_with_the_same_weights(trained, tmp_path):
    code = CODE.format(recipe=json.dumps(SMALL.__dict__))
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line == "unet 20\n":  # its checkpoint may be whole, or not be there yet
            time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    told = []
    again = Training(tmp_path, SMALL, "cpu", lambda stage, done, of, loss: told.append((stage, done)))
    assert again.go()
    assert ("vae", 40) not in told, "what was done is not done again"
    assert ("unet", 40) in told
    assert told[-1] == ("eye", 20)
    assert weights(again) == weights(trained)


def test_the_facts_are_those_of_the_training_and_not_of_who_looks(trained, tmp_path):
    """Time by the clock is no less than that of one thread, nor more than there was; threads are those that trained."""
    for stage in trained.stages.values():
        assert 0.9 * stage.seconds <= stage.wall
    assert 0.1 * trained.took < sum(s.wall for s in trained.stages.values()) <= trained.took
    shutil.copytree(trained.folder, tmp_path, dirs_exist_ok=True)
    again = Training(tmp_path, SMALL, "cpu", lambda *told: None)
    assert again.go()
    torch.set_num_threads(2)
    assert again.facts() == trained.facts()
    torch.set_num_threads(1)
    assert again.facts()["threads"] == [1]
    assert "gpu" not in again.facts()
    state = torch.load(tmp_path / "eye.pt", weights_only=True)
    torch.save({**state, "threads": [4]}, tmp_path / "eye.pt")
    longer = Training(tmp_path, replace(SMALL, eye_steps=40), "cpu", lambda *told: None)
    assert longer.go()
    assert longer.facts()["threads"] == [1, 4]
    assert longer.stages["eye"].wall > again.stages["eye"].wall


def test_what_a_checkpoint_does_not_say_is_not_made_up(trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("*.pt"):
        state = torch.load(path, weights_only=True)
        torch.save({key: value for key, value in state.items() if key not in ("wall", "threads")}, path)
    old = Training(tmp_path, SMALL, "cpu", lambda *told: None)
    assert old.go()
    assert set(old.facts()["wall_seconds"].values()) == {None}
    assert old.facts()["threads"] is None
    assert old.facts()["cpu_seconds"] == trained.facts()["cpu_seconds"]


def test_a_wish_to_stop_is_granted_at_a_checkpoint(trained, tmp_path):
    training = Training(tmp_path, SMALL, "cpu", lambda *told: None, stop=lambda: True)
    assert not training.go()
    assert not Training(tmp_path, SMALL, "cpu", lambda *told: None, stop=lambda: True).go()
    state = torch.load(tmp_path / "vae.pt", weights_only=True)
    assert state["step"] == 40, "20 steps each time"


def test_the_mind_is_a_standard_folder(trained, tmp_path):
    from diffusers import StableDiffusionPipeline

    trained.export(tmp_path / "mind")
    files = [p for p in (tmp_path / "mind").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 25 * 2**20
    assert {p.suffix for p in files} <= {".json", ".safetensors", ".txt", ".md"}
    eye, shipped = (open_eye(open_mind(name, device="cpu")) for name in (str(tmp_path / "mind"), "house"))
    assert eye.nothing == shipped.nothing == NOTHING
    assert eye.open("a dog") == shipped.open("a dog") == dressings("a dog")
    assert (eye.mean == shipped.mean).all()
    assert (eye.deviation == shipped.deviation).all()
    trained_with = as_tensor(np.zeros((1, 1, 1, 3), np.uint8))
    assert (-eye.mean / eye.deviation == trained_with.numpy().ravel()).all(), "pictures are what they were in training"
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "mind", dtype=torch.float32)
    assert type(pipeline.unet).__name__ == "UNet2DConditionModel"
    shown = pipeline("a cat in a party hat", num_inference_steps=2, output_type="np").images
    assert shown.shape == (1, 64, 64, 3)
    assert np.isfinite(shown).all()


def test_what_is_no_mind_is_not_written_over(trained, tmp_path):
    (tmp_path / "takes").mkdir()
    (tmp_path / "takes" / "song.wav").write_bytes(b"a song")
    with pytest.raises(TrainingError, match="takes holds something else"):
        trained.export(tmp_path / "takes")
    with pytest.raises(TrainingError, match="is a file"):
        trained.export(tmp_path / "takes" / "song.wav")
    assert (tmp_path / "takes" / "song.wav").read_bytes() == b"a song"
    for _ in range(2):  # a mind gives way
        trained.export(tmp_path / "mind")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mind", "takes"]


def test_a_folder_of_another_training_is_refused_and_so_is_a_broken_checkpoint(trained, tmp_path):
    def with_recipe(**more):
        return Training(trained.folder, Recipe(**{**SMALL.__dict__, **more}), "cpu", lambda *told: None)

    with pytest.raises(TrainingError, match=r"seed = 1, not 2"):
        with_recipe(seed=2)
    with_recipe(unet_steps=60)  # longer is no other training
    with_recipe()
    (tmp_path / "vae.pt").write_bytes(b"half a checkpoint")
    broken = Training(tmp_path, SMALL, "cpu", lambda *told: None)
    with pytest.raises(DescantError, match=r"vae\.pt is no checkpoint"):
        broken.go()


def test_numbers_are_as_they_were_for_everybody_else(trained):
    """Training leaves out the smallest of numbers, which are slow; nobody else's are left out."""
    assert np.float32(1e-40) * np.float32(0.5) > 0


def test_the_vae_learns_to_draw_again(trained):
    losses = trained.stages["vae"].losses
    assert losses[-1] < 0.95 * losses[0]


def test_every_word_is_one_token_and_every_caption_fits(trained):
    for word in vocabulary():
        assert len(trained.tokenizer(word).input_ids) == 3, word
    captions, _ = described(500, 3)
    assert max(len(trained.tokenizer(c).input_ids) for c in captions) < networks.TOKENS
    assert networks.tokens(trained.tokenizer, captions[:7]).shape == (7, networks.TOKENS)


def test_the_step_size_rises_stays_and_falls():
    shares = [_share(step, 1000) for step in range(1000)]
    assert shares[0] == pytest.approx(0.01)
    assert shares[100:600] == [1.0] * 500
    assert (np.diff(shares[600:]) < 0).all()
    assert shares[-1] == pytest.approx(0.02, abs=0.001)


def test_velocity_is_what_a_perfect_mind_would_say():
    """A mind that knows both the drawing and the noise has no loss; one that says the noise has."""
    rng = torch.Generator().manual_seed(1)
    z, noise = (torch.randn(6, 4, 16, 16, generator=rng) for _ in range(2))
    t = torch.tensor([0, 10, 300, 700, 990, 999])
    cumulative = networks.make_scheduler().alphas_cumprod
    assert float(cumulative[-1]) == pytest.approx(0.0, abs=1e-7), "the last level is noise alone"
    a = cumulative[t].view(-1, 1, 1, 1)

    def mind(answer):
        return lambda noisy, level, said: type("Out", (), {"sample": answer(noisy)})

    encoder = lambda input_ids: type("Out", (), {"last_hidden_state": None})  # noqa: E731
    # From v and what is noisy the drawing follows: x0 = sqrt(a) noisy - sqrt(1 - a) v (Salimans & Ho 2022, appendix D).
    perfect = mind(lambda noisy: (a.sqrt() * noisy - z) / (1 - a).sqrt())
    assert float(velocity_loss(perfect, encoder, z, None, t, noise, cumulative)) == pytest.approx(0, abs=1e-3)
    epsilon = mind(lambda noisy: noise)
    assert float(velocity_loss(epsilon, encoder, z, None, t, noise, cumulative)) > 0.5


def test_equal_captions_are_all_right_answers():
    """Four drawings, two captions: the best there is has the loss of a coin, and mixed up pairs have more."""

    class Sure(torch.nn.Module):
        def __init__(self, images):
            super().__init__()
            self.logit_scale = torch.tensor(math.log(50.0))
            self.images = images

        def forward(self, input_ids, pixel_values):
            return type("Out", (), {"text_embeds": torch.eye(2)[input_ids[:, 0]], "image_embeds": self.images})

    ids = torch.tensor([[0], [1], [0], [1]])
    right, wrong = torch.eye(2)[[0, 1, 0, 1]], torch.eye(2)[[1, 0, 1, 0]]
    assert float(clip_loss(Sure(right), ids, None)) == pytest.approx(math.log(2), abs=1e-4)
    assert float(clip_loss(Sure(wrong), ids, None)) > 10


def test_spoiled_drawings_show_nothing_of_what_they_were():
    rng = np.random.default_rng(0)
    pictures = as_tensor(album(64, 5).pictures)
    noise = torch.from_numpy(rng.standard_normal(tuple(pictures.shape), dtype=np.float32))
    gone = spoiled(pictures, noise, rng)
    assert gone.shape == pictures.shape
    assert float(gone.abs().max()) <= 1
    alike = torch.nn.functional.cosine_similarity(
        (gone - gone.mean((2, 3), keepdim=True)).flatten(1), (pictures - pictures.mean((2, 3), keepdim=True)).flatten(1)
    )
    assert float(alike.abs().max()) < 0.6
    assert float(alike.abs().mean()) < 0.15


def test_pictures_and_tensors_are_each_other():
    pictures = album(3, 9).pictures
    assert (as_pictures(as_tensor(pictures)) == pictures).all()
    assert (as_pictures(torch.full((1, 3, 2, 2), math.nan)) == 0).all()


def test_prompts_of_the_gate_say_all_that_is_asked_for_and_half_of_those_who_can_wear_a_hat_do():
    asked = gate_prompts(200, 4)
    assert all(prompt == caption(drawing) for prompt, drawing in asked)
    hats = [("party hat" in d.wears, d.thing) for _, d in asked]
    wearers = [hat for hat, thing in hats if thing not in ("plane", "house", "tree")]
    assert 0.35 < np.mean(wearers) < 0.65
    assert not any(hat for hat, thing in hats if thing in ("plane", "house", "tree"))
    assert asked == gate_prompts(200, 4)
    assert asked != gate_prompts(200, 5)
    assert imagine(np.random.default_rng(1)) == imagine(np.random.default_rng(1))
