"""Minds by command: which are here, what they are made of, and how they are said to be opened."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pieces.minds.concepts import DEFAULT
from pieces.minds.mind import HOUSE, PRECISIONS
from pieces.minds.ranges import FILE, kept_in
from studio.cli import descant as program
from studio.commands.mind import mind as group
from studio.console import Bar
from studio.minds import mind_card, mind_list, mind_modules, train_judge
from tests.conftest import Descant, one_line

#: Numbers of modules of the house mind's parts.
MODULES = {"text_encoder": 27, "unet": 184, "vae": 16}


def linked(folder: Path, left_out: str = "", **changed: dict[str, Any]) -> Path:
    """The house mind's folder once more, by links; settings of some files changed, some files left out."""
    for file in HOUSE.rglob("*"):
        name = str(file.relative_to(HOUSE))
        if file.is_dir() or (left_out and file.match(left_out)):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(file)
    for part, settings in changed.items():
        path = folder / ("model_index.json" if part == "index" else f"{part}/config.json")
        text = json.dumps(json.loads(path.read_text()) | settings)
        path.unlink()
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's cache: two minds, and much that is none."""
    cache = tmp_path_factory.mktemp("hub")

    def snapshot(name: str) -> Path:
        there = cache / f"models--{name.replace('/', '--')}"
        (there / "refs").mkdir(parents=True)
        (there / "refs" / "main").write_text("0123456789")
        (there / "blobs").mkdir()
        (there / "snapshots" / "0123456789").mkdir(parents=True)
        return there / "snapshots" / "0123456789"

    linked(snapshot("someone/painter"), unet={"sample_size": [24, 32]})
    linked(snapshot("someone/large-painter"), index={"_class_name": "StableDiffusionXLPipeline"})
    linked(snapshot("someone/settings-alone"), left_out="*.safetensors")
    linked(snapshot("someone/other-kind"), index={"_class_name": "FluxPipeline"})
    linked(snapshot("someone/own-code"), index={"unet": ["unet.my_unet", "Mine"]})
    (snapshot("someone/words") / "config.json").write_text("{}")
    (cache / "models--broken").mkdir()
    return cache


@pytest.fixture
def cached(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("cached")
def test_minds_that_can_be_opened_are_listed_and_nothing_else() -> None:
    rows = {row["name"]: row for row in mind_list()}
    assert next(iter(rows)) == "house"
    assert set(rows) == {"house", "someone/painter", "someone/large-painter"}
    assert {name: row["kind"] for name, row in rows.items()} == {
        "house": "house mind",
        "someone/painter": "SD 1.x",
        "someone/large-painter": "SD XL",
    }
    assert rows["someone/painter"]["latents"] == (4, 24, 32)
    assert rows["someone/painter"]["picture"] == (96, 128)
    assert rows["house"]["picture"] == (64, 64)
    weights = sum(p.stat().st_size for p in HOUSE.rglob("*.safetensors"))
    assert all(row["megabytes"] == pytest.approx(weights / 2**20, abs=0.05) for row in rows.values())


def test_the_list_is_a_table_or_json_and_a_cache_need_not_be_there(descant: Descant, hub: Path, tmp_path: Path) -> None:
    text = descant("mind", "ls", HF_HUB_CACHE=hub).stdout
    assert text.splitlines()[0].split() == ["name", "kind", "megabytes", "picture", "latents"]
    assert text.splitlines()[1].startswith("house ")
    assert "96 x 128" in text
    (row,) = json.loads(descant("mind", "ls", "--json", HF_HUB_CACHE=tmp_path / "none").stdout)
    assert (row["name"], row["latents"]) == ("house", [4, 16, 16])


def test_a_mind_is_told_by_its_parts_its_words_and_what_it_bears() -> None:
    card = mind_card("house")
    parts = card.data["parts"]
    assert {part: sum(one["modules"] for one in layers.values()) for part, layers in parts.items()} == MODULES
    assert parts["unet"]["Conv2d"] == {"modules": 50, "parameters": 5_157_572}
    assert card.data["clip"].startswith("its own")
    assert {"cat", "hat", "purple"} <= set(card.data["words"])
    assert card.data["ranges"] == [r.__dict__ for r in kept_in(HOUSE / FILE)]
    assert "cat" in card.text
    assert "64 x 64" in card.text
    lines = card.text.splitlines()
    longest = max(lines, key=lambda line: line.count("█"))
    assert longest.split()[:2] == ["unet", "Conv2d"]
    assert next(line for line in lines if line.startswith("vae  ") and "Conv2d" in line).count("█") == 1


@pytest.mark.usefixtures("cached")
def test_a_mind_of_the_hub_is_told_without_its_weights_and_without_the_hub(tmp_path: Path) -> None:
    card = mind_card("someone/painter")
    assert card.data["kind"] == "SD 1.x"
    assert card.data["words"] == ()
    assert "knows" not in card.text
    bare = linked(tmp_path / "bare", "*.safetensors", unet={"use_linear_projection": True})
    shutil.rmtree(bare / "clip")
    (bare / FILE).unlink()
    told = mind_card(str(bare))
    assert told.data["kind"] == "SD 2.x"
    assert "its weights are not here" in told.text
    assert told.data["clip"] == f"{DEFAULT}, of the hub"
    assert told.data["ranges"] == []
    moved = told.data["parts"]["unet"]["Linear"]["modules"] - card.data["parts"]["unet"]["Linear"]["modules"]
    assert moved == card.data["parts"]["unet"]["Conv2d"]["modules"] - told.data["parts"]["unet"]["Conv2d"]["modules"]
    assert moved > 0, "linear projections are convolutions no more"


def test_every_module_is_named_in_the_order_of_the_way() -> None:
    rows = mind_modules("house")
    assert len(rows) == sum(MODULES.values())
    assert [row["name"].split(".")[0] for row in rows] == [p for p, count in MODULES.items() for _ in range(count)]
    assert {"name": "unet.conv_in", "layer": "Conv2d", "parameters": 4 * 64 * 9 + 64} in rows


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hose", "no mind 'hose'; did you mean 'house'?"),
        ("someone/paintr", "here is someone/painter"),
        ("someone/settings-alone", ""),
        (".", "is no pipeline: it has no model_index.json"),
    ],
)
def test_what_is_no_mind_is_said_in_one_line(name: str, told: str, runner: Callable[..., Any]) -> None:
    if not told:
        assert runner("mind", "show", name).exit_code == 0, "what is here is told, weights or not"
        return
    done = runner("mind", "show", name)
    assert done.exit_code == 1
    assert told in str(done.exception)
    assert "\n" not in str(done.exception)


def test_the_errors_are_lines_of_the_program(descant: Descant) -> None:
    assert "did you mean 'house'?" in one_line(descant("mind", "show", "huose", code=1))


@pytest.fixture
def runner(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a command in this process."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(program, list(map(str, words)))


def test_how_minds_are_opened_is_said_for_one_command_and_no_other(
    runner: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DESCANT_PRECISION", raising=False)
    monkeypatch.setenv("DESCANT_DEVICE", "cpu")
    before = dict(os.environ)
    said = ("mind", "--precision", "float16", "--device", "auto", "--offload", "--slicing", "show", "--json")
    assert json.loads(runner(*said).stdout)["precision"] == "float16"
    assert dict(os.environ) == before
    assert json.loads(runner("mind", "show", "--json").stdout)["precision"] == "float32"
    assert runner("mind", "--precision", "bfloat16", "show", "hose").exit_code == 1
    assert dict(os.environ) == before, "nor after an error"


def test_every_precision_can_be_asked_for() -> None:
    choices = next(p.type.choices for p in group.params if p.name == "precision")
    assert tuple(choices) == PRECISIONS


def test_a_training_leaves_the_signals_to_whom_they_belong(runner: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"seed": 2}')
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    done = runner("mind", "train", "--work", tmp_path, "--quiet")
    assert "holds a training with seed = 2, not 1" in str(done.exception)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("option", [("--seed", 3), ("--vae-steps", 40), ("--device", "cpu")])
def test_the_judge_is_trained_in_one_way(runner: Callable[..., Any], option: tuple[str, Any]) -> None:
    done = runner("mind", "train", "--judge", *option)
    assert done.exit_code == 2
    assert f"leave out {option[0]}" in done.output


def test_a_judge_is_trained_and_written(tmp_path: Path) -> None:
    path, trust = train_judge(tmp_path / "new" / "folder", Bar(quiet=True), drawings=64, steps=20, batch=16)
    assert path == tmp_path / "new" / "folder" / "judge.safetensors"
    assert 100_000 < path.stat().st_size < 1_000_000
    assert 0 <= trust.objects < 0.95, "so little teaches it not much"
