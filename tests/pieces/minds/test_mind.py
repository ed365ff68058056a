"""A mind opened: what it draws, and what is said of one that cannot be opened or is asked for what it cannot do."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pieces.minds import places
from pieces.minds.concepts import open_eye
from pieces.minds.mind import (
    HOUSE,
    Mind,
    MindError,
    Settings,
    fast_precision,
    find_mind,
    nothing,
    open_mind,
    shape_of,
    unknown,
)

ROOT = Path(__file__).parents[3]


def said_of(work: Callable[[], object]) -> str:
    """The one line of the error that `work` must meet."""
    with pytest.raises(MindError) as met:
        work()
    line = str(met.value)
    assert "\n" not in line
    assert len(line) < 700
    return line


# The house mind


def test_the_house_mind_draws_what_is_asked_and_the_same_again(house: Mind) -> None:
    assert house.is_house
    assert shape_of(HOUSE) == (house.latent_shape, (64, 64))
    few = Settings(steps=4)
    noise = house.noise([3])
    cat, dog = (house.decode(house.draw(house.meaning([p]), noise, few)) for p in ("a cat", "a dog"))
    assert cat.shape == (1, 64, 64, 3)
    assert np.array_equal(cat, house.decode(house.draw(house.meaning(["a cat"]), house.noise([3]), few)))
    assert np.abs(cat.astype(float) - dog).mean() > 2  # another prompt, another picture
    other = house.decode(house.draw(house.meaning(["a cat"]), house.noise([4]), few))
    assert np.abs(cat.astype(float) - other).mean() > 2  # another noise, too


def test_a_picture_is_the_same_in_any_batch_with_fresh_noise_too(house: Mind) -> None:
    settings, prompts = Settings(steps=3, eta=1.0), ["a cat", "a dog", "a house"]
    meaning, noise = house.meaning(prompts), house.noise([1, 2, 3])
    together = house.draw(meaning, noise, settings, seed=[7, 8, 9])
    for i in range(3):
        rows = slice(i, i + 1)
        alone = house.draw(meaning[rows], noise[rows], settings, seed=7 + i)
        assert float((alone - together[rows]).abs().max()) < 1e-3
    other = house.draw(meaning[:1], noise[:1], settings, seed=8)
    assert float((other - together[:1]).abs().max()) > 0.1  # fresh noise of another seed


def test_a_meaning_in_parts_and_repeated(house: Mind) -> None:
    meaning = house.meaning(["a cat", "a dog"], against="a hat")
    assert len(meaning) == 2
    again = meaning[1:2].repeated(3)
    assert len(again) == 3
    assert all(bool((row == meaning.asked[1]).all()) for row in again.asked)
    assert not bool((meaning.asked[0] == meaning.asked[1]).all())
    assert bool((again.against[2] == house.meaning(["a dog"], against="a hat").against[0]).all())


def test_modules_are_the_layers_that_a_drawing_passes(house: Mind) -> None:
    used: set[int] = set()
    hooks = [m.register_forward_hook(lambda m, *_: used.add(id(m))) for m in house.modules.values()]
    try:
        house.decode(house.draw(house.meaning(["a cat"]), house.noise([0]), Settings(steps=1)))
    finally:
        for hook in hooks:
            hook.remove()
    unused = [name for name, module in house.modules.items() if id(module) not in used]
    assert unused == []
    unet = [name.split(".")[1] for name in house.modules if name.startswith("unet.")]
    way = ["conv_in", "time_embedding", "down_blocks", "mid_block", "up_blocks", "conv_norm_out", "conv_out"]
    assert list(dict.fromkeys(unet)) == way
    assert list(dict.fromkeys(name.split(".")[0] for name in house.modules)) == ["text_encoder", "unet", "vae"]
    assert len(unet) == 184


def test_words_that_the_house_mind_does_not_know_are_said_with_its_vocabulary(house: Mind) -> None:
    assert house.notices("a cat in a party hat") == []
    (line,) = house.notices("a zebra and a cat on a bicycle")
    before, after = line.split("it knows")
    for word in ("zebra", "bicycle"):
        assert word in before
    assert "cat" not in before.split()
    assert all(re.search(rf"\b{word}\b", after) for word in ("cat", "dog", "hat", "house"))
    assert house.unknown_words("a Zebra!") == ("zebra",)


def test_a_prompt_that_is_too_long_is_said_to_be_cut(house: Mind, tiny_sd1: Path) -> None:
    long = " ".join(["a cat in a hat"] * 20)
    (line,) = house.notices(long)
    assert str(house.pipeline.tokenizer.model_max_length) in line
    other = open_mind(str(tiny_sd1), device="cpu")
    assert other.notices("zebra") == []  # who is not the house mind has no list of words
    assert other.vocabulary == ()
    assert len(other.notices(long)) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_shown_as_nothing_and_only_that(house: Mind, value: float) -> None:
    latents = house.draw(house.meaning(["a cat", "a dog", "a hat"]), house.noise([1, 2, 3]), Settings(steps=2))
    whole = house.decode(latents)
    assert not nothing(whole).any()
    latents = latents.clone()
    latents[1, 0, 5, 5] = value
    shown = house.decode(latents)
    assert nothing(shown).tolist() == [False, True, False]
    assert np.array_equal(shown[[0, 2]], whole[[0, 2]])


def test_nothing_that_arises_in_the_decoder_alone_is_seen(house: Mind) -> None:
    """Part of a picture that is no number is nothing of a picture."""

    def spoilt(module: Any, given: Any, out: Any) -> Any:
        out = out.clone()
        out[..., 0, 0] = float("nan")
        return out

    hook = house.modules["vae.decoder.layers.0"].register_forward_hook(spoilt)
    try:
        assert nothing(house.decode(house.noise([1]))).all()
    finally:
        hook.remove()
    assert not nothing(house.decode(house.noise([1]))).any()


def test_bfloat16_draws_nearly_the_same(house: Mind) -> None:
    import torch

    rough = open_mind("house", device="cpu", precision="bfloat16")
    assert rough.dtype is torch.bfloat16
    assert fast_precision("cpu") in ("bfloat16", "float32")
    assert str(open_mind("house", device="cpu", precision="fast").dtype) == f"torch.{fast_precision('cpu')}"
    pictures = [
        m.decode(m.draw(m.meaning(["a cat"]), m.noise([5]), Settings(steps=5))).astype(float) for m in (house, rough)
    ]
    difference = np.abs(pictures[0] - pictures[1])
    assert 0 < difference.mean() < 3  # not the same numbers, nearly the same picture
    other = house.decode(house.draw(house.meaning(["a cat"]), house.noise([6]), Settings(steps=5)))
    assert np.abs(pictures[0] - other).mean() > 10


def test_an_old_configuration_is_mended_without_a_word(tiny_sd2: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_sd2, tmp_path / "old"))
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "steps_offset": 0, "clip_sample": True}))
    with warnings.catch_warnings(action="error"):
        mind = open_mind(str(folder), device="cpu")
    assert mind.pipeline.scheduler.config.steps_offset == 1
    assert mind.pipeline.scheduler.config.clip_sample is False


# Names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hous", ["'hous'", "did you mean 'house'?", "owner/model"]),
        ("mine", ["'mine'", "did you mean 'mind'?"]),
        ("quetzalcoatl", ["'quetzalcoatl'", "house, mind", "diffusers folder"]),
        ("./not/there", ["'./not/there'", "diffusers folder"]),
    ],
)
def test_no_such_mind(name: str, words: list[str], tiny_sd1: Path) -> None:
    line = said_of(lambda: find_mind(name, tiny_sd1.parent))
    assert all(word in line for word in words), line


def test_a_mind_is_found_by_its_folder(tiny_sd1: Path) -> None:
    assert find_mind("mind", tiny_sd1.parent) == tiny_sd1
    assert find_mind(str(tiny_sd1)) == tiny_sd1
    assert find_mind("house") == HOUSE
    assert find_mind("owner/model", tiny_sd1.parent) == "owner/model"
    assert open_mind(str(HOUSE), device="cpu").is_house


@pytest.mark.parametrize("kind", ["json", "other", "custom", "list", "code"])
def test_a_folder_that_is_no_pipeline(tiny_sd1: Path, tmp_path: Path, kind: str) -> None:
    folder = Path(shutil.copytree(tiny_sd1, tmp_path / "mind"))
    file = folder / "model_index.json"
    index: dict[str, Any] = json.loads(file.read_text())
    ran = tmp_path / "ran"
    (folder / "unet" / "mine.py").write_text(f"open({str(ran)!r}, 'w')\nclass UNet: pass\n")
    texts = {
        "json": "{",
        "list": "[]",
        "other": json.dumps({**index, "_class_name": "FluxPipeline"}),
        "custom": json.dumps({**index, "_class_name": ["pipeline", "Mine"]}),
        "code": json.dumps({**index, "unet": ["mine", "UNet"]}),
    }
    file.write_text(texts[kind])
    line = said_of(lambda: open_mind(str(folder)))
    assert str(folder) in line
    assert {"other": "FluxPipeline", "custom": "Mine", "code": "code of its own (mine)"}.get(
        kind, "diffusers folder"
    ) in line
    assert not ran.exists()


def test_a_folder_without_a_pipeline_or_with_one_that_is_broken(tiny_sd1: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no model_index.json" in said_of(lambda: open_mind("empty", base=tmp_path))
    folder = Path(shutil.copytree(tiny_sd1, tmp_path / "mind"))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert str(folder) in said_of(lambda: open_mind(str(folder)))
    weights.unlink()
    assert "unet has no safetensors" in said_of(lambda: open_mind(str(folder)))
    weights.write_bytes(whole)
    open_mind(str(folder))
    (folder / "unet" / "config.json").unlink()
    assert "config.json" in said_of(lambda: open_mind(str(folder)))


@pytest.mark.parametrize("side", [0, -8, 100_000, 7.5, None, "big", True, [8], [8, 0]])
def test_absurd_sizes_in_a_configuration(tiny_sd1: Path, tmp_path: Path, side: object) -> None:
    for part in ("unet", "vae"):
        (tmp_path / part).mkdir()
        config = json.loads((tiny_sd1 / part / "config.json").read_text())
        changed = {**config, "sample_size": side} if part == "unet" else config
        (tmp_path / part / "config.json").write_text(json.dumps(changed))
    assert "allowed are whole numbers, 1 to 1024" in said_of(lambda: shape_of(tmp_path))
    shutil.copyfile(tiny_sd1 / "model_index.json", tmp_path / "model_index.json")
    assert "allowed are whole numbers, 1 to 1024" in said_of(lambda: open_mind(str(tmp_path)))


# What is asked of a mind


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps 0: allowed are 1 to 1000"),
        ({"steps": 1001}, "steps 1001: allowed are 1 to 1000"),
        ({"guidance": float("nan")}, "guidance nan: allowed are 0 to 100"),
        ({"guidance": -1.0}, "guidance -1.0: allowed are 0 to 100"),
        ({"eta": 1.5}, "eta 1.5: allowed are 0 to 1"),
    ],
)
def test_absurd_settings(settings: dict[str, Any], words: str) -> None:
    assert said_of(lambda: Settings(**settings)) == words


sides = st.one_of(st.integers(-10, 300), st.sampled_from([64, 128, 192, 256, 100_000, 2**40]))


@given(height=sides, width=sides)
def test_a_size_is_one_that_can_be_drawn_or_refused_with_those_that_can(house: Mind, height: int, width: int) -> None:
    allowed = [side == 0 or (side % 16 == 0 and 16 <= side <= 256) for side in (height, width)]
    if all(allowed):
        height, width = height or 64, width or 64
        assert shape_of(HOUSE, height, width) == ((4, height // 4, width // 4), (height, width))
    else:
        wrong = height if not allowed[0] else width
        line = said_of(lambda: shape_of(HOUSE, height, width))
        assert line.endswith(f" {wrong}: this mind draws multiples of 16 pixels, 16 to 256")


def test_another_size_is_drawn(house: Mind) -> None:
    shape, _ = shape_of(HOUSE, 48, 96)
    latents = house.draw(house.meaning(["a cat"]), house.noise([0], shape), Settings(steps=1))
    assert house.decode(latents).shape == (1, 48, 96, 3)


def test_a_module_that_does_not_exist_is_said_with_the_nearest(house: Mind) -> None:
    assert list(unknown(["unet.conv_in"], house.modules)) == []
    (line,) = unknown(["unet.conv_inn"], house.modules)
    assert "'unet.conv_inn'" in line
    assert "unet.conv_in," in line
    (line,) = unknown(["§§§§"], house.modules)
    assert next(iter(house.modules)) in line


def test_a_device_or_precision_that_is_not_there(tiny_sd1: Path) -> None:
    import torch

    wrong: Any = "tpu"
    assert "allowed are auto, cpu, cuda" in said_of(lambda: open_mind(str(tiny_sd1), device=wrong))
    wrong = "float8"
    assert "allowed are auto, fast, float32" in said_of(lambda: open_mind(str(tiny_sd1), precision=wrong))
    if not torch.cuda.is_available():
        assert "allowed are auto, cpu" in said_of(lambda: open_mind(str(tiny_sd1), device="cuda"))
        assert "the CPU" in " ".join(open_mind(str(tiny_sd1), offload=True).said)
    assert open_mind(str(tiny_sd1)).said == []


def test_the_environment_says_where_and_how_minds_compute(tiny_sd1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for variable, value in (("DEVICE", "cpu"), ("PRECISION", "bfloat16"), ("OFFLOAD", "1"), ("SLICING", "1")):
        monkeypatch.setenv(f"DESCANT_{variable}", value)
    mind = open_mind(str(tiny_sd1))
    assert mind.dtype is torch.bfloat16
    assert "the CPU" in " ".join(mind.said)  # which has nothing to offload to
    assert mind.pipeline.vae.use_slicing
    assert open_mind(str(tiny_sd1), precision="float32").dtype is torch.float32  # what is asked for goes before
    for variable, value in (("DEVICE", "tpu"), ("PRECISION", "half"), ("OFFLOAD", "yes"), ("SLICING", "yes")):
        with monkeypatch.context() as wrong:
            wrong.setenv(f"DESCANT_{variable}", value)
            line = said_of(lambda: open_mind(str(tiny_sd1)))
            assert line.startswith(f"DESCANT_{variable}={value}: allowed are ")


# Pickles


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[bytes]:
    """A pickle that would leave a file; after the test there must be none."""
    left = tmp_path / "exploded"
    pickled = pickle.dumps(Bomb(left))
    pickle.loads(pickled)
    assert left.exists()  # it does explode
    left.unlink()
    yield pickled
    assert not left.exists()


@pytest.mark.parametrize("suffix", ["ckpt", "bin", "pt", "pth"])
def test_a_pickle_is_refused_and_never_read(tmp_path: Path, bomb: bytes, suffix: str) -> None:
    file = tmp_path / f"model.{suffix}"
    file.write_bytes(bomb)
    line = said_of(lambda: open_mind(str(file)))
    assert "pickle" in line
    assert "can run any code" in line
    folder = tmp_path / "folder"
    folder.mkdir()
    file.rename(folder / file.name)
    assert f"model.{suffix}, a pickle, which can run any code" in said_of(lambda: open_mind(str(folder)))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_pipeline_with_pickled_weights_is_refused(
    tiny_sd1: Path, tmp_path: Path, bomb: bytes, part: str, beside: bool
) -> None:
    folder = Path(shutil.copytree(tiny_sd1, tmp_path / "mind"))
    (safe,) = (folder / part).glob("*.safetensors")
    if not beside:
        safe.unlink()
    name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
    (folder / part / name).write_bytes(bomb)
    line = said_of(lambda: open_mind(str(folder)))
    assert f"{part}/{name}, a pickle" in line
    assert "safetensors" in line


def test_a_pickle_under_another_name_is_not_read(tiny_sd1: Path, tmp_path: Path, bomb: bytes) -> None:
    folder = Path(shutil.copytree(tiny_sd1, tmp_path / "mind"))
    for file in folder.rglob("*.safetensors"):
        file.write_bytes(bomb)
    assert str(folder) in said_of(lambda: open_mind(str(folder)))


# The hub


def asked(tmp_path: Path, code: str, **environment: str) -> str:
    """The line that a process says which asks the hub for a mind, or a CLIP; it has 30 s."""
    program = (
        "from pieces.minds import concepts, places, mind\n"
        f"try: {code}\nexcept mind.MindError as error: print(error)\nelse: raise SystemExit('nothing went wrong')"
    )
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", **environment}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=env, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert "'owner/model' cannot be fetched from the hub" in line
    assert "hf download owner/model --local-dir FOLDER" in line
    return line


def test_a_hub_that_is_switched_off(tmp_path: Path) -> None:
    line = asked(tmp_path, "mind.open_mind('owner/model')", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in line


@pytest.mark.parametrize("clip", ["owner/model", None])
def test_a_clip_that_is_not_there(house: Mind, tmp_path: Path, clip: str | None) -> None:
    """Said at once, and not after many attempts."""
    code = f"concepts.DEFAULT = 'owner/model'; concepts.open_eye(mind.Mind('x', None, places.Path('x')), {clip!r})"
    assert "the CLIP that scores concepts" in asked(tmp_path, code, HF_HUB_OFFLINE="1")
    assert "owner/model of the hub" in said_of(lambda: open_eye(house, "nonsense"))


def test_a_hub_out_of_reach(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    line = asked(tmp_path, "mind.shape_of('owner/model')", HF_ENDPOINT=f"http://127.0.0.1:{port}")
    assert "refused" in line


def test_a_hub_that_never_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        asked(tmp_path, "places.PATIENCE = 0.2; mind.open_mind('owner/model')", HF_ENDPOINT=endpoint)
    assert places.PATIENCE <= 10


def test_what_is_on_the_hub_and_here_is_opened_without_it_and_without_a_word(tiny_sd1: Path, tmp_path: Path) -> None:
    """The hub's folder of an earlier time; a pickle in it is of no matter, since none is asked for."""
    kept = tmp_path / "hub" / "models--owner--model"
    snapshot = kept / "snapshots" / ("0" * 40)
    shutil.copytree(tiny_sd1, snapshot)
    (snapshot / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"never read")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0" * 40)
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}

    def run(code: str) -> subprocess.CompletedProcess[str]:
        program = f"from pieces.minds.mind import open_mind, shape_of\n{code}"
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=env, check=False
        )

    done = run("print(shape_of('owner/model'), open_mind('owner/model', device='cpu').said)")
    assert (done.stdout, done.stderr) == ("((4, 8, 8), (32, 32)) []\n", "")
    (snapshot / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert "no safetensors are found" in run("open_mind('owner/model')").stderr.splitlines()[-1]
