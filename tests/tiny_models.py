"""Tiny causal language models of the real classes, with tokenizers of their own, made where a test needs them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

#: What their words are made of.
TEXTS = (
    "You are in a gallery. Attend what you like, for as long as you like, and leave when you like.",
    "What do you do? look listen wait leave go sleep say press attend rewind compare predict touch wish rate fork",
    "The hall. Rooms: 0 1 2 3. Budget 120.0, a moment costs 1. Answer with the letter of the option that fits best",
    "sound: pitch A4, glide level, level medium, timbre dark, surface smooth, onsets 0, notes 1, side middle; picture: "
    "hue none, light half, motion none, place middle-centre; course: change nothing, return none",
    '{"choice": "listen", "rating": 7, "why": "the pattern changes"}',
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] if m['content'] is string else m['content']|map(attribute='text')|join('') }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Two usual shapes; one whose memory slides, and one that is recurrent.
Kind = Literal["qwen2", "gpt2", "mistral", "mamba"]


def pairs(texts: Sequence[str] = TEXTS, vocabulary: int = 600) -> Any:
    """Byte-level BPE learned from some texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        list(texts),
        trainers.BpeTrainer(
            vocab_size=vocabulary, initial_alphabet=alphabet, special_tokens=[*SPECIAL], show_progress=False
        ),
    )
    return bpe


def tokenizer(texts: Sequence[str] = TEXTS, vocabulary: int = 600, chat: bool = True) -> Any:
    """Such a one of transformers; with a chat template, or as GPT-2 without one."""
    from transformers import PreTrainedTokenizerFast

    bpe = pairs(texts, vocabulary)
    if not chat:
        return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=SPECIAL[0], eos_token=SPECIAL[0])
    words = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=SPECIAL[2], pad_token=SPECIAL[0])
    words.chat_template = CHAT
    return words


def network(kind: Kind, words: Any, seed: int = 0, width: int = 64, layers: int = 2, window: int = 1024) -> Any:
    """A random model of a real class, for some tokenizer."""
    import torch
    import transformers as of

    tokens: dict[str, Any] = {"eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    tokens |= {"vocab_size": len(words), "bos_token_id": words.bos_token_id}
    usual = {"hidden_size": width, "num_hidden_layers": layers, **tokens}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 2 * width}
    heads |= {"max_position_embeddings": window, **usual}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "gpt2":
            config = of.GPT2Config(n_embd=width, n_layer=layers, n_head=4, n_positions=window, **tokens)
            model: Any = of.GPT2LMHeadModel(config)
        elif kind == "mistral":
            model = of.MistralForCausalLM(of.MistralConfig(sliding_window=16, **heads))
        elif kind == "mamba":
            model = of.MambaForCausalLM(of.MambaConfig(state_size=4, **usual))
        else:
            model = of.Qwen2ForCausalLM(of.Qwen2Config(**heads))
    model.generation_config = of.GenerationConfig(
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id, do_sample=False, max_new_tokens=32
    )
    return model.eval()


def tiny(folder: Path, kind: Kind = "qwen2", texts: Sequence[str] = TEXTS, **more: Any) -> Path:
    """Such a model with its tokenizer, saved as a folder with safetensors; returned is the folder."""
    words = tokenizer(texts, chat=kind != "gpt2")
    saved(folder, network(kind, words, **more), words)
    return folder


def quick(folder: Path, width: int = 64, layers: int = 2, window: int = 4096) -> Path:
    """A random Qwen2 as a folder, written without torch and transformers, which take seconds to load."""
    from safetensors.numpy import save_file

    bpe, rng = pairs(), np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (bpe.get_vocab_size(), width),
        "lm_head.weight": (bpe.get_vocab_size(), width),
    }
    for layer in range(layers):
        parts = {"self_attn.q_proj.bias": (width,), "self_attn.k_proj.bias": (width // 2,)}
        parts |= {"self_attn.v_proj.bias": (width // 2,), "self_attn.q_proj.weight": (width, width)}
        parts |= {f"self_attn.{name}_proj.weight": (width // 2, width) for name in "kv"}
        parts |= {"self_attn.o_proj.weight": (width, width), "mlp.down_proj.weight": (width, 2 * width)}
        parts |= {f"mlp.{name}_proj.weight": (2 * width, width) for name in ("gate", "up")}
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in parts.items()}
    tensors = {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = [f"model.layers.{i}.{name}_layernorm" for i in range(layers) for name in ("input", "post_attention")]
    tensors |= {f"{name}.weight": np.ones(width, np.float32) for name in (*norms, "model.norm")}
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    bpe.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHAT)
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": bpe.get_vocab_size()}
    config |= {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers, "dtype": "float32"}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": window}
    words = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[2], "pad_token": SPECIAL[0]}
    for name, content in (("config", config), ("tokenizer_config", words)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def saved(folder: Path, model: Any, words: Any) -> Path:
    """A model and its tokenizer, in a folder."""
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
