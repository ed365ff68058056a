"""A visitor that is a language model on this machine: any causal one of transformers, by typed decisions.

It is never let write: it is asked for a letter, in several orders of the options, and what counts is the probability of
each (`studio.audience.prompting`). What it reads reaches it as data: in it, special tokens are letters like any other.
"""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from pieces.minds.places import from_hub, hush, one_line
from studio.audience.identity import BESIDE, identity, weights
from studio.audience.learner import one_thread
from studio.audience.prompting import (
    COMPARED,
    LETTERS,
    Notes,
    Orders,
    asked_hash,
    by_order,
    checked,
    orders,
    prompt_hash,
    request,
    weighed,
)
from studio.audience.text import plain
from studio.audience.visitor import AudienceError, Decision, Fact, MomentRow, Question, Report, Sense, drawn
from studio.words.artefact import MOMENT_S, Artefact
from studio.words.registers import Register

#: Files of a model on the hub that are fetched: no code, no pickles.
FILES = [*BESIDE, "model*.safetensors"]
#: Of these a folder needs one: what words are to the model.
WORDS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
#: How a model is spoken to that has no chat template: as a text that it goes on with.
PLAIN = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:\\n' }}{% endif %}"
)
#: Tokens that it reads at once for their surprisal, and the fewest that it must be able to keep in mind.
STRIDE, FEWEST = 256, 64
#: What each of its options may be.
OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "rotations": (lambda given: type(given) is int and given >= 0, "a whole number from 0 (all) on"),
    "correction": (lambda given: type(given) in (int, float) and 0 <= given <= 1, "a number from 0 to 1"),
    "greedy": (lambda given: type(given) is bool, "true or false"),
    "context": (lambda given: type(given) is int and given >= FEWEST, f"a whole number of tokens from {FEWEST} on"),
    "device": (lambda given: type(given) is str, "a name that torch knows: cpu, cuda:0"),
    "dtype": (lambda given: type(given) is str, "auto, or a name that torch knows: float32, bfloat16"),
}
# Of two branches the one that a visitor made is no moment of the take: it is read, and not measured.
_MOMENT = re.compile(r"(?:one )?(\d{1,9}): ")
_HALL = re.compile(r"The hall\. Rooms: ([\w, ]+)\.")
_PLACE = re.compile(r"(?:Room|Mirror|Work) (\w+):")


class LanguageModel:
    """A causal language model as a visitor.

    A decision is drawn from the mean over several orders of the options. Where these are names (`COMPARED`) it is
    corrected by what the model answers to the same question when it was told its task and nothing else; verbs,
    arguments and ratings are not corrected (`studio.audience.prompting.weighed` has the formula). Its surprisal is of
    the moments that it is told and of nothing else that it reads: the cross entropy of a moment's line in nats per
    token, given all that it was told and did before, as far as it fits, as plain text.

    A question costs a pass through what was told, and one through itself for each order; the prior costs the orders
    once more. Where a model's own chat template writes today's date, every day has another prompt.

    Parameters
    ----------
    argument : str
        A folder, or the name of a model on the Hugging Face hub, which is fetched if it is not there: safetensors only,
        no code of its own.
    cache : Path
        Not used: models stay where the hub's own tools keep them.
    rotations : int
        Orders in which a question is asked; 0: all rotations of its options, so that a liking for a place falls out.
    correction : float
        How much of the prior is taken out, 0 to 1, where the options are names (`COMPARED`). A verb means something to
        whoever has heard nothing yet; a name does not.
    greedy : bool
        Take the likeliest option; else an option is drawn by the probabilities.
    context : int
        The most tokens that it keeps in mind; fewer if the model's own window is smaller.
    device, dtype : str
        As torch names them; empty, the graphics card if there is one; ``"auto"``, as the weights are stored.

    Raises
    ------
    AudienceError
        If there is no such model, or none that can answer by letters.
    """

    register: ClassVar[Register] = "prose"
    senses: ClassVar[frozenset[Sense]] = frozenset()

    def __init__(
        self,
        argument: str,
        cache: Path,
        rotations: int = 0,
        correction: float = 1.0,
        greedy: bool = False,
        context: int = 8192,
        device: str = "",
        dtype: str = "auto",
    ) -> None:
        options: dict[str, Any] = {
            "rotations": rotations,
            "correction": correction,
            "greedy": greedy,
            "context": context,
        }
        options |= {"device": device, "dtype": dtype}
        for name, (right, allowed) in OPTIONS.items():
            if not right(options[name]):
                raise AudienceError(f"hf: {name} {options[name]!r}: allowed is {allowed}")
        self.name = f"hf:{argument}"
        self._rotations, self._correction, self._greedy = rotations, correction, greedy
        folder = _folder(argument)
        self._model, self._words, self._letters = _opened(folder, argument, device, dtype)
        own = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        self._window = min(context, own) if isinstance(own, int) and own > 1 else context
        self._about = self._described(argument, folder)
        self._notes = Notes(lambda line: len(self._ids(line + "\n")), self._window)
        self.begin("", 0)

    def begin(self, instruction: str, seed: int) -> None:
        """It is told its task; `seed` is of its draws."""
        self._rng = np.random.default_rng(seed)
        self._notes.begin(instruction)
        bos = self._words.bos_token_id
        self._read = [*([] if bos is None else [bos]), *self._ids(f"{instruction}\n\n")][-self._window :]
        self._bare: dict[tuple[str, Orders], tuple[int, NDArray[np.float64] | None]] = {}
        self._rooms: dict[str, int] = {}
        self._place = 0
        self._rows: list[MomentRow] = []

    def observe(self, text: str, clips: Sequence[Artefact] = ()) -> None:
        """Read what it is told, and measure how surprising each moment is.

        Raises
        ------
        AudienceError
            If the model fails.
        """
        lines = self._notes.tell(text)
        told = [self._ids(line + "\n") for line in lines]
        ids = [token for line in told for token in line]
        moments = [_MOMENT.match(line) for line in lines]
        nats = self._surprisals(ids) if any(moments) else np.zeros(len(ids))
        ends = np.cumsum([len(line) for line in told])
        for line, moment, of_line in zip(lines, moments, np.split(nats, ends[:-1]), strict=False):
            self._enter(line)
            if moment:
                start, surprise = int(moment[1]) * MOMENT_S, float(of_line.mean())
                self._rows.append(MomentRow(start=start, surprise=surprise, room=self._place))
        self._read = [*self._read, *ids][-self._window :]

    def _enter(self, line: str) -> None:
        """Rooms are numbered as the hall names them, else as they are entered."""
        if hall := _HALL.match(line):
            for name in hall[1].split(", "):
                self._rooms.setdefault(name, len(self._rooms))
        if place := _PLACE.match(line):
            self._place = self._rooms.setdefault(place[1], len(self._rooms))

    def _ids(self, text: str) -> list[int]:
        """Tokens of a text that is data: none of them is special."""
        ids: list[int] = self._words(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def _surprisals(self, ids: list[int]) -> NDArray[np.float64]:
        """Cross entropy of each token given those before it, nats."""
        import torch

        found: list[float] = []
        stride = min(STRIDE, self._window // 2)
        for start in range(0, len(ids), stride):
            piece = ids[start : start + stride]
            before = [*self._read, *ids[:start]][-(self._window - len(piece)) :]
            with one_thread(), torch.inference_mode(), _failing(self.name):
                tokens = torch.tensor([before + piece], device=self._model.device)
                logits = self._model(tokens, use_cache=False, logits_to_keep=len(piece) + 1).logits[0, :-1]
                loss = torch.nn.functional.cross_entropy(logits.float(), tokens[0, -len(piece) :], reduction="none")
            found += self._numbers(loss.cpu().numpy()).tolist()
        return np.maximum(found, 0.0)

    def decide(self, question: Question) -> Decision:
        """Asked in several orders, corrected by its prior, drawn.

        Raises
        ------
        AudienceError
            If the question has more than 26 options or does not fit into the model's window, or the model fails.
        """
        began = time.perf_counter()
        shown = orders(checked(question).options, self._rotations)
        length, prior = self._prior(question, shown)
        prompts, state, dropped = self._prompts(question, shown, self._window - length)
        logits = self._logits(prompts, question, shown)
        found = weighed(logits, prior, self._correction)
        facts: dict[str, Fact] = {"rotations": len(shown), "flips": found.flips, "tokens": sum(map(len, prompts))}
        facts |= {"dropped": dropped, "prompt": asked_hash(state, question.asks, shown)}
        if question.about in COMPARED:
            facts["by_order"] = by_order(shown, question.options, logits)
        if prior is not None:
            shares = " ".join(f"{share:.6f}" for share in found.uncorrected)
            facts |= {"correction": self._correction, "uncorrected": shares}
        made = drawn(question.options, found.shares, self._rng, facts | self._surprisal)
        if self._greedy:
            made = replace(made, option=question.options[int(found.shares.argmax())])
        self._notes.decided(question, made.option)
        return replace(made, facts={**made.facts, "latency_s": round(time.perf_counter() - began, 3)})

    @property
    def _surprisal(self) -> dict[str, Fact]:
        return {"surprisal": round(float(np.mean([row.surprise for row in self._rows])), 6)} if self._rows else {}

    def _prior(self, question: Question, shown: Orders) -> tuple[int, NDArray[np.float64] | None]:
        """Tokens of the task and the question alone, and what is answered to them."""
        key = (question.asks, shown)
        if key not in self._bare:
            state, _ = self._notes.state(replace(question, budget=0.0, moves=0), 0)
            prompts = self._prepared(state, question, shown)
            length = max(map(len, prompts))
            if length > self._window:
                raise AudienceError(
                    f"{self.name}: its task and {question.asks!r} take {length} tokens: it reads at most {self._window}"
                )
            wanted = self._correction and question.about in COMPARED
            self._bare[key] = length, self._logits(prompts, question, shown) if wanted else None
        return self._bare[key]

    def _prompts(self, question: Question, shown: Orders, room: int) -> tuple[list[list[int]], str, int]:
        """A prompt for each order, in tokens; what is told in them, and how many tokens of it do not fit."""
        while True:
            state, dropped = self._notes.state(question, room)
            prompts = self._prepared(state, question, shown)
            longest = max(map(len, prompts))
            if longest <= self._window:
                return prompts, state, dropped
            if room <= 0:  # not even what is left fits
                question = replace(question, budget=0.0, moves=0)
            room -= longest - self._window  # tokens of all are not quite the sum of those of its lines

    def _prepared(self, state: str, question: Question, shown: Orders) -> list[list[int]]:
        from transformers.decision import DecisionConfig

        with _failing(self.name):
            prepared = DecisionConfig().prepare_inputs(request(state, question.asks, shown), self._words)
        return [inputs["input_ids"][0].tolist() for inputs, _ in prepared]

    def _logits(self, prompts: list[list[int]], question: Question, shown: Orders) -> NDArray[np.float64]:
        """Logits of the options, an order a row, in the order in which they were given."""
        with one_thread(), _failing(self.name):
            scores = _read_once(self._model, prompts, self._letters[: len(question.options)])
        by_option = [dict(zip(order, score, strict=True)) for order, score in zip(shown, scores, strict=True)]
        return self._numbers(np.array([[row[option] for option in question.options] for row in by_option]))

    def _numbers(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        if not np.isfinite(values).all():
            raise AudienceError(f"{self.name}: its answer is no number (NaN or infinite); its weights may be broken")
        return values.astype(np.float64)

    def report(self) -> Report:
        """Its surprisal, moment by moment; it does not learn, so it has no progress."""
        return Report(moments=tuple(self._rows))

    def about(self) -> Mapping[str, Fact]:
        """Which model."""
        return self._about

    def _described(self, argument: str, folder: Path) -> dict[str, Fact]:
        import transformers
        from transformers.decision.template_utils import DECISION_PROMPT

        model = self._model
        return {
            "model": folder.name if Path(argument).expanduser().is_dir() else argument,
            "revision": identity(f"hf:{argument}"),
            "architecture": type(model).__name__,
            "parameters": int(model.num_parameters()),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(self._model.device),
            "threads": 1,
            "transformers": transformers.__version__,
            "prompt": prompt_hash(DECISION_PROMPT, self._words.get_chat_template()),
            "rotations": self._rotations or "all",
            "correction": self._correction,
            "greedy": self._greedy,
            "window": self._window,
        }


@contextmanager
def _failing(name: str) -> Iterator[None]:
    """Whatever a model's library raises becomes one line."""
    try:
        yield
    except DescantError:
        raise
    except Exception as error:
        raise AudienceError(f"{name} failed: {one_line(error)}") from error


def _folder(argument: str) -> Path:
    """Where the model is: the folder itself, that of the hub's cache, or that which is fetched."""
    if argument != plain(argument, 4096):
        raise AudienceError(f"hf:{plain(argument, 60)!r}: this holds what cannot be shown. Give a folder or a name")
    if not argument:
        raise AudienceError("hf: which model? Give a folder or a name on the hub: hf:Qwen/Qwen2.5-0.5B-Instruct")
    given = Path(argument).expanduser()
    if given.is_dir():
        return given
    if argument.startswith(("/", "~", ".")) or argument.count("/") > 1:
        raise AudienceError(f"hf:{argument}: there is no such folder. Give a folder or a name on the hub")
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(argument, allow_patterns=FILES, local_files_only=True))
        _check(folder, argument)
        return folder
    except Exception:  # not there, or not whole: it is fetched
        pass
    try:
        return from_hub(argument, FILES, "language model")
    except DescantError as error:
        raise AudienceError(f"hf:{argument}: {error}") from error


def _opened(folder: Path, argument: str, device: str, dtype: str) -> tuple[Any, Any, list[int]]:
    """A model that can decide, its tokenizer, and the tokens of the letters by which it is asked."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.decision import label_token_ids

    hush()
    _check(folder, argument)
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _failing(f"hf:{argument}: to open it"):
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
        model, read = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **safe
        )
        model = model.eval().to(place)
    if missing := sorted(read["missing_keys"]):
        raise AudienceError(f"hf:{argument}: its weights are not whole: {len(missing)} are missing, as {missing[0]}")
    try:
        letters = label_token_ids(tokenizer, tuple(LETTERS))
    except ValueError as error:
        raise AudienceError(
            f"hf:{argument}: its vocabulary has no single token for each of A to Z: it cannot be asked by letters"
        ) from error
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN
    return model, tokenizer, letters


def _read_once(model: Any, prompts: list[list[int]], letters: list[int]) -> list[list[float]]:
    """Logits of some letters after each of some prompts; what these have in common is read once.

    Ten orders of the options after 1,600 tokens take a fifth of the time so.
    """
    import torch

    shortest = min(map(len, prompts)) - 1
    common = next((i for i in range(shortest) if len({prompt[i] for prompt in prompts}) > 1), shortest)
    with torch.inference_mode():
        ids = [torch.tensor([prompt], device=model.device) for prompt in prompts]
        read = model(ids[0][:, :common], use_cache=True, logits_to_keep=1) if common else {}
        past = read.get("past_key_values")  # None: it remembers in another way, or has nothing to remember
        found = []
        for one in ids:
            memory: dict[str, Any] = {"use_cache": False}
            if past is not None:
                one, memory = one[:, common:], {"use_cache": True, "past_key_values": copy.deepcopy(past)}
            found.append(model(one, **memory, logits_to_keep=1).logits[0, -1, letters].float().tolist())
    return found


def _check(folder: Path, argument: str) -> None:
    """Refuse a folder that is no causal language model, before anything of it is loaded."""
    from transformers.models.auto import modeling_auto as auto

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, made = str(config.get("model_type")), [str(name) for name in config.get("architectures") or []]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise AudienceError(f"hf:{argument}: no model, its config.json cannot be read: {one_line(error)}") from error
    known = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind, ())
    causal = {known} if isinstance(known, str) else set(known)
    looks_ahead = kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder")
    if looks_ahead or not causal & set(made):
        raise AudienceError(
            f"hf:{argument}: {', '.join(made) or kind} is no causal language model: allowed are those that "
            "transformers opens as AutoModelForCausalLM"
        )
    if absent := [name for name in weights(folder) if not (folder / name).is_file()]:
        raise AudienceError(f"hf:{argument}: no {absent[0]}: weights are read from safetensors alone")
    if not any((folder / name).is_file() for name in WORDS):
        raise AudienceError(f"hf:{argument}: no tokenizer: it needs one of {', '.join(WORDS)}")
