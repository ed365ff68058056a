"""Opening a language model: it says who it is, and what is none, or brings code, is refused in a line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.audience import hf
from studio.audience.hf import LanguageModel
from studio.audience.identity import identity
from studio.audience.visitor import AudienceError, Question, Visitor, invite
from tests.tiny_models import tiny

FOUR = Question("", "What do you do?", ("look", "listen", "wait", "leave"), 12.0, 3)


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    hf.hush()


@pytest.fixture(scope="module")
def folders(scratch: Path) -> dict[str, Path]:
    return {"qwen2": tiny(scratch / "qwen2", "qwen2"), "gpt2": tiny(scratch / "gpt2", "gpt2")}


def visitor(folder: Path) -> Visitor:
    return invite(f"hf:{folder}", folder)


def test_it_says_who_it_is(folders):
    made = visitor(folders["qwen2"])
    assert isinstance(made, Visitor)
    about = made.about()
    assert about["model"] == "qwen2"
    assert about["architecture"] == "Qwen2ForCausalLM"
    assert about["parameters"] == 138_688
    assert (about["dtype"], about["device"], about["rotations"]) == ("float32", "cpu", "all")
    assert json.loads(json.dumps(about)) == about
    assert str(folders["qwen2"].parent) not in json.dumps(about)
    assert about["prompt"] != visitor(folders["gpt2"]).about()["prompt"], "it has another template"
    assert len(str(about["prompt"])) == 64


def test_other_weights_are_another_revision(folders, tmp_path):
    copy = shutil.copytree(folders["qwen2"], tmp_path / "copy")
    other = tiny(tmp_path / "other", "qwen2", seed=1)
    revisions = [visitor(folder).about()["revision"] for folder in (folders["qwen2"], copy, other)]
    assert revisions[0] == revisions[1] != revisions[2]
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", str(revision)) for revision in revisions)
    assert [identity(f"hf:{folder}") for folder in (folders["qwen2"], copy, other)] == revisions


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def more(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b" ")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (more("model.safetensors"), False),
        (more("config.json"), False),
        (more("tokenizer.json"), False),
        (more("chat_template.jinja"), False),
        (without("chat_template.jinja"), False),
        (lambda folder: (folder / "chat_template.jinja").rename(folder / "other.jinja"), False),
        (lambda folder: (folder / "README.md").write_text("Another day."), True),
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b"not read"), True),
    ],
)
def test_a_folder_is_known_by_whatever_it_answers_from(folders, tmp_path, change, same):
    """Names and contents, and not where it is, nor what is not read."""
    folder = shutil.copytree(folders["qwen2"], tmp_path / "elsewhere")
    assert identity(f"hf:{folder}") == identity(f"hf:{folders['qwen2']}")
    change(folder)
    assert (identity(f"hf:{folder}") == identity(f"hf:{folders['qwen2']}")) is same


def test_visitors_are_known_without_loading_anything(folders, tmp_path):
    (tmp_path / "script").write_text("look\n")
    script = identity(f"scripted:{tmp_path / 'script'}")
    (tmp_path / "script").write_text("leave\n")
    assert script != identity(f"scripted:{tmp_path / 'script'}")
    assert identity("openai:org/model:tag@main@https://models.example.org/v1") == "model:org/model:tag@main"
    assert identity("openai:model") == "model:model"
    assert [identity(name) for name in ("listener", "random", "human")] == [""] * 3
    with pytest.raises(AudienceError, match=r"hf:owner/none: neither a folder nor a model.*hf download NAME"):
        identity("hf:owner/none")
    with pytest.raises(AudienceError, match=r"hf:/not/there: neither"):
        identity("hf:/not/there")
    with pytest.raises(AudienceError, match="script2 cannot be read: No such file"):
        identity(f"scripted:{tmp_path / 'script2'}")
    with pytest.raises(AudienceError, match="zero is no file"):
        identity("scripted:/dev/zero")
    words = f"from studio.audience.identity import identity; identity('hf:{folders['gpt2']}')\ntry: identity('hf:a/b')"
    loaded = "import sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{words}\nexcept Exception: {loaded}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_model_of_the_hub_is_taken_from_the_cache_and_known_by_its_commit(folders, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "models--owner--name"
    shutil.copytree(folders["gpt2"], home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    about = LanguageModel("owner/name", tmp_path).about()
    assert (about["model"], about["revision"]) == ("owner/name", f"commit:{commit}")
    assert identity("hf:owner/name") == f"commit:{commit}"
    (home / "snapshots" / commit / "model.safetensors").unlink()  # half of it was fetched, once
    with pytest.raises(AudienceError, match=r"hf:owner/name: "):
        LanguageModel("owner/name", tmp_path)
    with pytest.raises(AudienceError, match="hf:owner/other: language model 'owner/other' cannot be fetched") as caught:
        LanguageModel("owner/other", tmp_path)
    assert "\n" not in str(caught.value)


# --- bad input


def changed(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return change


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def lacking(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def without_letters(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"look": 0, "listen": 1, "?": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?").save_pretrained(folder)


def halved(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "encoder-decoder": (changed(model_type="t5", architectures=["T5ForConditionalGeneration"]), "T5.* is no causal"),
    "looks ahead": (changed(model_type="bert", architectures=["BertLMHeadModel"]), "BertLMHeadModel is no causal"),
    "no head": (changed(architectures=["Qwen2ForSequenceClassification"]), "is no causal language model"),
    "own code": (
        changed(model_type="own", architectures=["Own"], auto_map={"AutoModelForCausalLM": "evil.Own"}),
        "Own is no causal language model",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json cannot be read"),
    "torn config": (lambda folder: (folder / "config.json").write_text("[1"), "config.json cannot be read"),
    "no settings": (lambda folder: (folder / "config.json").write_text("[]"), "config.json cannot be read"),
    "pickle": (pickled, r"no model\.safetensors: weights are read from safetensors alone"),
    "a shard missing": (halved, r"no model-2\.safetensors: weights are read from safetensors alone"),
    "kind no name": (changed(model_type=["qwen2"], architectures=7), "config.json cannot be read"),
    "torn weights": (cut, "to open it failed"),
    "weights missing": (lacking, r"its weights are not whole: 1 are missing, as model\.layers\.1\.mlp"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), r"no tokenizer: it needs one of"),
    "torn tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{"), "to open it failed"),
    "no letters": (without_letters, "no single token for each of A to Z"),
    "other size": (changed(hidden_size=32), "hf:"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_causal_language_model_is_refused_in_a_line(folders, tmp_path, wrong):
    change, line = WRONG[wrong]
    folder = shutil.copytree(folders["qwen2"], tmp_path / "model")
    change(folder)
    with pytest.raises(AudienceError, match=line) as caught:
        LanguageModel(str(folder), tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("hf:")


@pytest.mark.parametrize(
    ("argument", "options", "line"),
    [
        ("", {}, "hf: which model"),
        ("/nowhere/model", {}, "hf:/nowhere/model: there is no such folder"),
        ("x", {"rotations": -1}, "hf: rotations -1: allowed is a whole number from 0"),
        ("x", {"rotations": "two"}, "hf: rotations 'two'"),
        ("x", {"rotations": 2.5}, r"hf: rotations 2\.5"),
        ("x", {"correction": float("nan")}, "hf: correction nan: allowed is a number from 0 to 1"),
        ("x", {"greedy": "yes"}, "hf: greedy 'yes': allowed is true or false"),
        ("x", {"context": 3}, "from 64 on"),
        ("x", {"device": 0}, "hf: device 0"),
        ("x", {"dtype": None}, "hf: dtype None"),
    ],
)
def test_what_cannot_be_invited_is_refused_in_a_line(tmp_path, argument, options, line):
    with pytest.raises(AudienceError, match=line):
        LanguageModel(argument, tmp_path, **options)


@pytest.mark.parametrize("options", [{"device": "toaster"}, {"dtype": "float7"}])
def test_no_such_device_or_numbers(folders, tmp_path, options):
    with pytest.raises(AudienceError, match="to open it failed"):
        LanguageModel(str(folders["qwen2"]), tmp_path, **options)


def test_code_in_a_folder_is_not_run(folders, tmp_path):
    folder, ran = shutil.copytree(folders["gpt2"], tmp_path / "model"), tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    names = ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer")
    changed(auto_map=dict.fromkeys(names, "evil.Own"))(folder)
    words = json.loads((folder / "tokenizer_config.json").read_text())
    words["auto_map"] = {"AutoTokenizer": ["evil.Own", "evil.Own"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    try:
        visitor(folder).decide(FOUR)
    finally:
        assert not ran.exists()
