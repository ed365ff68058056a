"""The ways in which a server can be asked to choose: how a prompt goes there, and what is taken of the answer.

An answer is data. Only an option that was offered is taken of it, with a probability where the server gives one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from studio.audience.clips import Clip, pictures, wav
from studio.audience.prompting import LETTERS, request
from studio.audience.servers import MOST
from studio.audience.visitor import Sense

if TYPE_CHECKING:
    from openai import AsyncOpenAI

#: How a model is told what an answer is, and at the end of what it was told, what follows for its own ears and eyes.
ANSWER = 'Answer with one JSON object and nothing else: {"choice": "X"}, where X is the letter of one option.'
ITSELF = "\n\nWhat was listened to, itself, in its order:"
#: Shares of the options may miss 1 by so much; chat probabilities must be of the options for so much of the whole.
_AWAY, _HELD = 0.05, 0.5


class Nothing(Exception):
    """What came is no answer; it says what it is instead, in the server's own words, which are not plain yet."""


@dataclass(frozen=True)
class Prompt:
    """What is asked.

    Attributes
    ----------
    state : str
        What the model was told; with clips, `ITSELF` at its end.
    asks : str
        The question.
    shown : tuple of tuple of str
        The options, in each order in which they are to be shown.
    clips : tuple of Clip
        What it is to hear and see itself.
    senses : frozenset of {"sound", "pictures"}
        What of them is sent.
    most : int
        Tokens of an answer.
    """

    state: str
    asks: str
    shown: tuple[tuple[str, ...], ...]
    clips: tuple[Clip, ...] = ()
    senses: frozenset[Sense] = frozenset()
    most: int = 1024


class _Part(BaseModel):
    """Of what a server sends, what is looked at; all else is left alone."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Usage(_Part):
    """Tokens, as the server counts them."""

    tokens_in: int = Field(ge=0, le=10**9, validation_alias=AliasChoices("input_tokens", "prompt_tokens"))
    tokens_out: int = Field(0, ge=0, le=10**9, validation_alias=AliasChoices("output_tokens", "completion_tokens"))


class Reply(_Part):
    """An answer, before anything is taken of it."""

    model: str = ""
    usage: Usage | None = None


_Kind = TypeVar("_Kind", bound=Reply)


class Way(Protocol):
    """One way of asking.

    Attributes
    ----------
    name : str
    senses : frozenset of {"sound", "pictures"}
        What can be sent on it.
    at_once : bool
        All orders of the options are asked in one request; else each in its own.
    """

    name: str
    senses: frozenset[Sense]
    at_once: bool

    async def send(self, client: AsyncOpenAI, model: str, prompt: Prompt) -> bytes:
        """The body of the answer, whatever it is."""
        ...

    def read(self, body: bytes) -> Reply:
        """The answer.

        Raises
        ------
        Nothing
            If it is none.
        """
        ...

    def shares(self, reply: Any, prompt: Prompt) -> tuple[Mapping[str, float], ...]:
        """Probabilities of the options, for each order in which they were shown.

        Raises
        ------
        Nothing
            If an answer is no option, or a refusal.
        """
        ...


class _Share(_Part):
    value: str | bool
    probability: float


class _Answer(_Part):
    type: str
    choice: str | bool | None = None
    probabilities: Mapping[str, float] | tuple[_Share, ...] = ()


class _Decided(Reply):
    answers: tuple[_Answer, ...]


class Decisions:
    """OpenAI's decisions: a probability for every option."""

    name = "decisions"
    senses: frozenset[Sense] = frozenset({"pictures"})
    at_once = True

    async def send(self, client: AsyncOpenAI, model: str, prompt: Prompt) -> bytes:
        """All orders as questions of one request."""
        questions = [
            {"type": "choice", "name": str(i), "instructions": prompt.asks, "choices": [{"value": o} for o in options]}
            for i, options in enumerate(prompt.shown)
        ]
        told: Any = prompt.state
        if prompt.senses:
            parts = [{"type": "input_text", "text": prompt.state}]
            for clip in prompt.clips:
                parts += [{"type": "input_text", "text": clip.where}] if clip.where else []
                parts += [{"type": "input_image", "image_url": url} for url in pictures(clip.artefact)]
            told = [{"role": "user", "content": parts}]
        answer = await client.decisions.with_raw_response.create(model=model, input=told, questions=questions)  # type: ignore[arg-type]
        return bytes(answer.content)

    def read(self, body: bytes) -> Reply:
        """Answers in the order of the questions."""
        return _read(_Decided, body)

    def shares(self, reply: _Decided, prompt: Prompt) -> tuple[Mapping[str, float], ...]:
        """As the server gives them."""
        if len(reply.answers) != len(prompt.shown):
            raise Nothing(f"{len(reply.answers)} answers to {len(prompt.shown)} questions")
        return tuple(_given(answer, options) for answer, options in zip(reply.answers, prompt.shown, strict=True))


class _One(Reply):
    answers: Mapping[str, _Answer]


class SystemOne:
    """Typed decisions as ``transformers serve`` answers them: a probability for every option."""

    name = "systemone"
    senses: frozenset[Sense] = frozenset()
    at_once = True

    async def send(self, client: AsyncOpenAI, model: str, prompt: Prompt) -> bytes:
        """All orders as questions of one request."""
        import httpx2

        body = {"model": model, **request(prompt.state, prompt.asks, prompt.shown)}
        answer = await client.post("/systemone", body=body, cast_to=httpx2.Response)
        return answer.content

    def read(self, body: bytes) -> Reply:
        """Answers by the names of the questions."""
        return _read(_One, body)

    def shares(self, reply: _One, prompt: Prompt) -> tuple[Mapping[str, float], ...]:
        """As the server gives them."""
        if missing := [i for i in range(len(prompt.shown)) if str(i) not in reply.answers]:
            raise Nothing(f"no answer to question {missing[0]}")
        return tuple(_given(reply.answers[str(i)], options) for i, options in enumerate(prompt.shown))


def _given(answer: _Answer, options: Sequence[str]) -> Mapping[str, float]:
    """The shares that a server gives, if they are shares of these options."""
    if answer.type != "choice":
        raise Nothing("it refused" if answer.type == "refusal" else f"an answer of type '{answer.type}'")
    given = answer.probabilities
    found = dict(given) if isinstance(given, Mapping) else {str(one.value): one.probability for one in given}
    if other := [one for one in (*found, answer.choice) if one not in options]:
        raise Nothing(f"'{other[0]}' was no option")
    total = sum(found.values())
    if min(found.values(), default=-1) < 0 or abs(total - 1) > _AWAY:
        raise Nothing(f"probabilities that sum to {total:g}")
    return {option: found.get(option, 0.0) / total for option in options}


class _Token(_Part):
    token: str
    logprob: float = Field(le=1e-3)


class _Said(_Token):
    top_logprobs: tuple[_Token, ...] = ()


class _Logprobs(_Part):
    content: tuple[_Said, ...] | None = None


class _Message(_Part):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Completion(Reply):
    choices: tuple[_Choice, ...] = Field(min_length=1)


class _Chosen(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    choice: str


class Chat:
    """Chat completions: JSON by a schema, with probabilities where the server gives those of its tokens.

    Parameters
    ----------
    form : {"full", "schema", "bare"}
        What a server must know: a schema and probabilities of tokens; a schema; neither.

    Notes
    -----
    The probability of an option is that of its letter where the answer has one, among the likeliest 20 tokens there.
    """

    name = "chat"
    senses: frozenset[Sense] = frozenset({"sound", "pictures"})
    at_once = False

    def __init__(self, form: Literal["full", "schema", "bare"] = "full") -> None:
        self.form = form

    async def send(self, client: AsyncOpenAI, model: str, prompt: Prompt) -> bytes:
        """One order."""
        letters = labels(prompt.shown[0])
        listed = "\n".join(f"{label}. {option}" for label, option in letters.items())
        asked = f"{prompt.asks}\n{listed}\n{ANSWER}"
        body: dict[str, Any] = {"max_tokens": prompt.most}
        if self.form != "bare":
            body = {"max_completion_tokens": prompt.most, "response_format": _schema(tuple(letters))}
        if self.form == "full":
            body |= {"logprobs": True, "top_logprobs": 20}
        messages: Any = [{"role": "user", "content": _content(prompt, asked)}]
        answer = await client.chat.completions.with_raw_response.create(model=model, messages=messages, **body)
        return bytes(answer.content)

    def read(self, body: bytes) -> Reply:
        """A completion."""
        return _read(_Completion, body)

    def shares(self, reply: _Completion, prompt: Prompt) -> tuple[Mapping[str, float], ...]:
        """Of the one order: by its tokens, or certain."""
        choice, letters = reply.choices[0], labels(prompt.shown[0])
        said = choice.message.content or ""
        if choice.message.refusal:
            raise Nothing(f"it refused: {choice.message.refusal}")
        if not said.strip():
            cut = choice.finish_reason == "length"
            raise Nothing(f"nothing within {prompt.most} tokens (answer_tokens)" if cut else "an empty answer")
        try:
            chosen = _Chosen.model_validate_json(_object(said)).choice
        except ValidationError:
            raise Nothing(f"no JSON of the form asked for: '{said[:1000]}'") from None
        if chosen not in letters and chosen not in letters.values():
            raise Nothing(f"'{chosen[:1000]}' was no option")
        option = letters.get(chosen, chosen)
        found = _by_tokens(choice, chosen, letters) if chosen in letters else {}
        return ({one: found.get(one, 0.0) if found else float(one == option) for one in letters.values()},)


#: In the order in which they are tried.
WAYS: tuple[Way, ...] = (Decisions(), SystemOne(), Chat("full"), Chat("schema"), Chat("bare"))


def labels(options: Sequence[str]) -> Mapping[str, str]:
    """What options are called in an answer: themselves if they are of one character, else by letters in their order."""
    if all(len(option) == 1 for option in options):
        return {option: option for option in options}
    return dict(zip(LETTERS, options, strict=False))


def _object(said: str) -> str:
    """The JSON object that a text is, after its thoughts and out of its fence if it has any."""
    text = said.rpartition("</think>")[2].strip()
    fenced = re.fullmatch(r"```(?:json)?\s*(\{.*\})\s*```", text, re.DOTALL)
    return fenced[1] if fenced else text


def _by_tokens(choice: _Choice, chosen: str, letters: Mapping[str, str]) -> dict[str, float]:
    """Probabilities of the options, of the last token that is the chosen letter; empty where they cannot be seen."""
    said = (choice.logprobs.content if choice.logprobs else None) or ()
    at = next((token for token in reversed(said) if _bare(token.token) == chosen), None)
    found: dict[str, float] = {}
    for token in at.top_logprobs if at else ():
        if (label := _bare(token.token)) in letters:
            found[letters[label]] = found.get(letters[label], 0.0) + math.exp(token.logprob)
    total = sum(found.values())
    return {option: share / total for option, share in found.items()} if total >= _HELD else {}


def _bare(token: str) -> str:
    return token.strip(' \n\t":{}')


def _schema(letters: Sequence[str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": list(letters)}},
        "required": ["choice"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": schema}}


def _content(prompt: Prompt, asked: str) -> Any:
    """Text alone, or for one that hears or sees, text around sounds and pictures."""
    if not prompt.senses:
        return f"{prompt.state}\n\n{asked}"
    parts: list[dict[str, Any]] = [{"type": "text", "text": prompt.state}]
    for clip in prompt.clips:
        parts += [{"type": "text", "text": clip.where}] if clip.where else []
        if "sound" in prompt.senses:
            parts.append({"type": "input_audio", "input_audio": {"data": wav(clip.artefact), "format": "wav"}})
        if "pictures" in prompt.senses:
            parts += [{"type": "image_url", "image_url": {"url": url}} for url in pictures(clip.artefact)]
    return [*parts, {"type": "text", "text": asked}]


def _read(kind: type[_Kind], body: bytes) -> _Kind:
    if len(body) >= MOST:
        raise Nothing(f"more than {MOST // 1000} kB")
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        escaped = body[:1000].decode("utf-8", "replace")
        shown = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), escaped)
        raise Nothing(f"no answer of the form asked for: '{shown}'" if body.strip() else "an empty answer") from None
