"""A visitor that is a model on a server which speaks OpenAI's language, near or far.

What it is told goes there as data, what comes back is data too: of an answer nothing is taken but an option that was
offered, and a probability. An answer has one deadline, whatever the server does, and so much may be spent and no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pieces.source import nearest
from studio.audience.clips import Clip, Clips, pictures, probes
from studio.audience.endpoints import ANSWER, ITSELF, WAYS, Nothing, Prompt, Reply, Way
from studio.audience.keys import variable
from studio.audience.prompting import (
    COMPARED,
    Notes,
    Orders,
    asked_hash,
    by_order,
    checked,
    orders,
    prompt_hash,
    weighed,
)
from studio.audience.servers import Line, line, server
from studio.audience.text import plain
from studio.audience.visitor import AudienceError, Decision, Fact, Question, Report, Sense, certain, drawn
from studio.words.artefact import Artefact
from studio.words.registers import Register

if TYPE_CHECKING:
    from openai import APIStatusError

#: What a server answers to a request that it does not know: then the next way is tried.
UNKNOWN = frozenset({400, 404, 405, 422})
#: Tokens by which a prompt rises with a sound of 2 s, or with a picture: at least, and at most; one of the same size
#: that is hard to pack takes at most so many times as many. Else it was dropped, or read as letters.
RISE, MANY, TIMES = 4, 4096, 2.0
#: The least that a share is taken for, since shares are balanced by their logarithms.
_LEAST = 1e-6


class _Unknown(AudienceError):
    """The server does not know this way of asking."""


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Options(BaseModel):
    """How a server is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    timeout: float = Field(60.0, gt=0, le=3600, description="seconds for a whole decision, with all that it takes")
    retries: int = Field(2, ge=0, le=10, description="so often it is asked again where it fails, or answers nothing")
    way: Literal["", "decisions", "systemone", "chat"] = Field("", description="ask in this way alone")
    repeats: int = Field(2, ge=1, le=26, description="orders of the options in which a question is asked")
    answer_tokens: int = Field(1024, ge=16, le=100_000, description="of an answer in words, with its thoughts")
    history: int = Field(24_000, ge=1000, le=10_000_000, description="characters that it is told of what it did so far")
    senses: Annotated[frozenset[Sense], BeforeValidator(_listed)] = Field(
        frozenset(), description="sound, pictures, or both: it gets what it listens to itself"
    )
    clips: int = Field(4, ge=1, le=100, description="in a game, of what it listened to the last that it gets itself")
    held: int = Field(64, ge=1, le=1000, description="clips of works held against each other: it gets all, or refuses")
    max_tokens: int | None = Field(None, ge=1, description="that may be spent, in and out, by all visits of a process")
    max_cost: float | None = Field(None, gt=0, description="that may be spent, in the currency of the prices")
    price_in: float = Field(0.0, ge=0, description="of a million tokens that it is told")
    price_out: float = Field(0.0, ge=0, description="of a million tokens that it answers")
    insecure: bool = Field(False, description="allow http:// to another machine")

    @property
    def priced(self) -> bool:
        """Whether it is known what tokens cost."""
        return bool(self.price_in or self.price_out)

    @model_validator(mode="after")
    def _limited(self) -> Options:
        if self.max_cost is not None and not self.priced:
            raise ValueError("max_cost needs price_in or price_out, per million tokens")
        return self


@dataclass
class _Spent:
    """What was spent."""

    tokens_in: int = 0
    tokens_out: int = 0
    uncounted: int = 0

    def cost(self, options: Options) -> float:
        return (self.tokens_in * options.price_in + self.tokens_out * options.price_out) / 1e6

    def since(self, before: _Spent) -> _Spent:
        names = ("tokens_in", "tokens_out", "uncounted")
        return _Spent(*(getattr(self, name) - getattr(before, name) for name in names))


class Remote:
    """A model on a server as a visitor.

    The server is asked in the first of three ways that it knows: OpenAI's decisions, ``/systemone`` of ``transformers
    serve``, chat completions (`studio.audience.endpoints`). A question is asked in some orders of its options. Where
    the server gives probabilities, they are balanced over the orders as `studio.audience.prompting.weighed` does it,
    else a share is how often an option was chosen; the decision is drawn by them.

    Parameters
    ----------
    argument : str
        ``MODEL@URL``: ``gpt-x@http://127.0.0.1:8000/v1``; without a URL the model is OpenAI's.
    cache : Path
        Not used.
    **options
        `Options`.

    Raises
    ------
    AudienceError
        If there is no such option, or the address is none that may be used.
    """

    register: ClassVar[Register] = "prose"

    def __init__(self, argument: str, cache: Path, **options: Any) -> None:
        self._options = checked_options(options)
        self._server = server(argument, self._options.insecure)
        self.name = f"openai:{plain(argument)}"
        self.senses: frozenset[Sense] = self._options.senses
        self._notes = Notes(lambda text: len(text) + 1, self._options.history)
        self._clips = Clips(self._options.clips, self._options.held)
        self._way: Way | None = None
        self._untaken = ""
        self._spent, self._served = _Spent(), ""
        self.begin("", 0)

    def begin(self, instruction: str, seed: int) -> None:
        """It is told its task; `seed` is of the orders of the options and of the draws."""
        self._rng = np.random.default_rng(seed)
        self._notes.begin(instruction)
        self._clips.begin()
        self._before = replace(self._spent)

    def observe(self, text: str, clips: Sequence[Artefact] = ()) -> None:
        """Note what it is told, and keep what it may hear and see itself."""
        self._notes.tell(text)
        self._clips.observe(text, clips if self.senses else ())

    def decide(self, question: Question) -> Decision:
        """Asked in some orders, drawn by the shares.

        Raises
        ------
        AudienceError
            If the server cannot be reached, does not answer in time, refuses, answers nothing that was offered, takes
            no sound or no pictures, or if no more may be spent.
        """
        began, before = time.perf_counter(), replace(self._spent)
        options = checked(question).options
        if len(options) == 1:
            made = certain(options, options[0], {"way": "none"})
        else:
            start = int(self._rng.integers(len(options)))
            shown = orders(options, self._options.repeats, start)
            rows, facts = asyncio.run(self._asked(question, shown))
            facts |= self._bill(before) | {"latency_s": round(time.perf_counter() - began, 3)}
            given = np.array([[row[option] for option in options] for row in rows])
            shares, balance = _balanced(given)
            if question.about in COMPARED:
                orders_asked = tuple(shown[i % len(shown)] for i in range(len(rows)))
                balance["by_order"] = by_order(orders_asked, options, np.log(np.maximum(given, _LEAST)))
            made = drawn(options, shares, self._rng, {**facts, "rotations": len(rows), "first": start, **balance})
        self._notes.decided(question, made.option)
        return made

    def _bill(self, before: _Spent) -> dict[str, Fact]:
        spent = self._spent.since(before)
        if spent.uncounted:
            return {"uncounted": spent.uncounted}
        tokens = {"tokens_in": spent.tokens_in, "tokens_out": spent.tokens_out}
        priced = {"cost": round(spent.cost(self._options), 9)} if self._options.priced else {}
        return {"tokens": sum(tokens.values()), **tokens, **priced}

    async def _asked(self, question: Question, shown: Orders) -> tuple[list[Mapping[str, float]], dict[str, Fact]]:
        """Shares of the options in each order, and how they came about."""
        state, dropped = self._notes.state(question, self._options.history)
        clips = self._listened(question)
        state += ITSELF if clips else ""
        rest: dict[str, Any] = {"clips": clips, "senses": self.senses, "most": self._options.answer_tokens}
        late = False
        async with line(self._server, self._options.retries) as wire:
            try:
                async with asyncio.timeout(self._options.timeout):
                    way = await self._met(wire)
                    every = self._options.repeats
                    asked = [shown] if way.at_once else [(shown[i % len(shown)],) for i in range(every)]
                    prompts = [Prompt(state, question.asks, some, **rest) for some in asked]
                    first = wire.sent
                    rows = [row for prompt in prompts for row in await self._answer(wire, way, prompt)]
            except TimeoutError:
                late = True
        if late:
            heard = f", the last that came was {wire.heard!r}" if wire.heard else ""
            raise AudienceError(
                f"{self.name}: no answer within {self._options.timeout:g} s{heard}; see whether the server is up, "
                "or allow more time (timeout)"
            )
        facts: dict[str, Fact] = {"way": way.name, "model": self._served, "retries": wire.sent - first - len(prompts)}
        return rows, facts | {"dropped": dropped, "prompt": asked_hash(state, question.asks, shown)}

    def _listened(self, question: Question) -> tuple[Clip, ...]:
        try:
            return self._clips.of(question)
        except AudienceError as error:
            raise AudienceError(f"{self.name}: {error}") from None

    async def _met(self, wire: Line) -> Way:
        """The way in which this server is asked: found once."""
        if self._way:
            return self._way
        if self._untaken:
            raise AudienceError(self._untaken)
        problem = f"{self.name}: senses={', '.join(sorted(self.senses))} cannot be sent in the way {self._options.way}"
        for way in WAYS:
            if not self.senses <= way.senses or self._options.way not in ("", way.name):
                continue
            try:
                await self._probed(wire, way)
            except _Unknown as error:
                problem = str(error)
                continue
            self._way = way
            return way
        self._untaken = problem if self.senses else ""  # tests of a sense cost tokens: they are made once
        raise AudienceError(problem)

    async def _probed(self, wire: Line, way: Way) -> None:
        """A way is known if a small question gets an answer; a sense is, if what is sent is not dropped or spelled."""
        if not self.senses:
            await self._tokens(wire, way)
        clips: tuple[tuple[Clip, ...], ...] = ((), *probes())
        for sense in sorted(self.senses):
            if problem := _not_taken(sense, *[await self._tokens(wire, way, sense, some) for some in clips]):
                raise _Unknown(f"{self.name}: {problem}; leave senses={sense} out")

    async def _tokens(
        self, wire: Line, way: Way, sense: Sense | None = None, clips: tuple[Clip, ...] = ()
    ) -> int | None:
        """Tokens of a small prompt, as the server counts them; of the same words whether there are clips or not."""
        self._afford()
        senses = frozenset({sense}) if sense else frozenset()
        prompt = Prompt(f"A test.{ITSELF if sense else ''}", "Which?", (("first", "second"),), clips, senses, 16)
        try:
            body = await self._send(wire, way, prompt)
        except _Unknown as error:
            said = str(error).removeprefix(f"{self.name}: ")
            raise _Unknown(f"{self.name}: the server takes no {sense}: {said}") if clips else error from None
        try:
            reply = way.read(body)
        except Nothing:  # what it makes of questions shows when it gets one
            return None
        self._count(reply)
        return reply.usage.tokens_in if reply.usage else None

    async def _answer(self, wire: Line, way: Way, prompt: Prompt) -> tuple[Mapping[str, float], ...]:
        """An answer that is one, in some tries."""
        for _ in range(self._options.retries + 1):
            self._afford()
            body = await self._send(wire, way, prompt)
            try:
                reply = way.read(body)
                self._count(reply)
                return way.shares(reply, prompt)
            except Nothing as error:
                problem = self._server.said(str(error))
        raise AudienceError(f"{self.name}: no answer that can be taken, {_tries(self._options.retries + 1)}: {problem}")

    async def _send(self, wire: Line, way: Way, prompt: Prompt) -> bytes:
        from openai import APIConnectionError, APIStatusError

        try:
            return await way.send(wire.client, self._server.model, prompt)
        except APIStatusError as error:
            problem = self._refused(error)
        except APIConnectionError as error:
            said = self._server.said(str(error.__cause__ or error)) or type(error.__cause__).__name__
            problem = AudienceError(f"{self.name}: no connection ({said}); see whether the server is up and the URL")
        raise problem  # here, so that nothing of the request hangs on it: its headers hold the key

    def _refused(self, error: APIStatusError) -> AudienceError:
        """What a server says that does not answer, as one line."""
        body, status = error.body, error.status_code
        told = (body.get("message") or body.get("detail") or body) if isinstance(body, Mapping) else body
        said = f"{status} {self._server.said(str(told or ''))}".strip(" .")
        if status in UNKNOWN:
            hint = "; see MODEL and URL, which mostly ends in /v1" if status == 404 else ""
            return _Unknown(f"{self.name}: {said}{hint}")
        if 300 <= status < 400:
            to = self._server.said(urlsplit(error.response.headers.get("location", "")).hostname or "somewhere")
            return AudienceError(f"{self.name}: it sends us on to {to} ({status}), and is not followed: see the URL")
        if status in (401, 403):
            host = self._server.host
            where = f"keyring set descant {host}" if ":" in host or "_" in host else f"set {variable(host)}"
            has = "refuses the key" if self._server.key else f"wants a key ({where})"
            return AudienceError(f"{self.name}: the server {has}: {said}")
        return AudienceError(f"{self.name}: the server fails, {_tries(self._options.retries + 1)}: {said}")

    def _afford(self) -> None:
        spent, options = self._spent, self._options
        tokens, cost = spent.tokens_in + spent.tokens_out, spent.cost(options)
        if options.max_tokens is not None and tokens >= options.max_tokens:
            raise AudienceError(f"{self.name}: {tokens} tokens are spent; max_tokens is {options.max_tokens}")
        if options.max_cost is not None and cost >= options.max_cost:
            raise AudienceError(f"{self.name}: {cost:g} is spent; max_cost is {options.max_cost:g}")

    def _count(self, reply: Reply) -> None:
        self._served = self._server.said(reply.model) or self._served
        if reply.usage:
            self._spent.tokens_in += reply.usage.tokens_in
            self._spent.tokens_out += reply.usage.tokens_out
            return
        self._spent.uncounted += 1
        if self._options.max_tokens is not None or self._options.max_cost is not None:
            raise AudienceError(
                f"{self.name}: the server counts no tokens, so max_tokens and max_cost cannot be kept: leave them out"
            )

    def report(self) -> Report:
        """What the visit took so far; else it measures nothing of itself."""
        spent, options = self._spent.since(self._before), self._options
        tokens = None if spent.uncounted else spent.tokens_in + spent.tokens_out
        return Report(tokens=tokens, cost=round(spent.cost(options), 9) if options.priced else None)

    def about(self) -> Mapping[str, Fact]:
        """Which model, where and how it is asked; once the server was met, in which way, and as what it is served."""
        asked = {"repeats", "retries", "timeout", "answer_tokens", "history"}
        return {
            "model": self._server.model,
            **({"served": self._served} if self._served else {}),
            **({"way": self._way.name} if self._way else {}),
            "host": urlsplit(self._server.url).netloc,
            "openai": version("openai"),
            "prompt": prompt_hash(ANSWER, ITSELF),
            **({"senses": ", ".join(sorted(self.senses))} if self.senses else {}),
            **self._options.model_dump(include=asked | ({"clips", "held"} if self.senses else set())),
        }


def _tries(count: int) -> str:
    return "in 1 try" if count == 1 else f"in {count} tries"


def _not_taken(sense: Sense, alone: int | None, even: int | None, busy: int | None) -> str:
    """Why a server does not take sounds or pictures, by the tokens of the same prompt without and with; empty: it does.

    Some servers drop what they do not take without a word, others hand it on as text.
    """
    if alone is None or even is None or busy is None:
        return f"it cannot be seen whether the server takes {sense}: it counts no tokens"
    things = len(pictures(probes()[0][0].artefact)) if sense == "pictures" else 1
    plain_one, busy_one = even - alone, busy - alone
    if plain_one < RISE * things:
        return f"the server takes no {sense}: a prompt has {even} tokens with and {alone} without"
    if busy_one > min(TIMES * plain_one, MANY * things):
        rises = f"{plain_one} tokens for a plain one, {busy_one} for a busy one of the same size"
        return f"the server takes no {sense}, it spells them: {rises}"
    return ""


def _balanced(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], dict[str, Fact]]:
    """Shares over all orders, and how they came about.

    ``flips``: in how many orders after the first another option was the likeliest; ``counted``: options were chosen,
    not weighed, and a share is how often.
    """
    found = weighed(np.log(np.maximum(rows, _LEAST)))
    counted = bool((rows.max(axis=1) == 1).any())
    return (rows.mean(axis=0) if counted else found.shares), {"flips": found.flips, "counted": counted}


def checked_options(options: Mapping[str, Any]) -> Options:
    """Options as they are allowed.

    Raises
    ------
    AudienceError
        Naming the option, its value and what is allowed.
    """
    for name in options:
        if name not in Options.model_fields:
            raise AudienceError(f"openai: no option {name!r}{nearest(name, list(Options.model_fields))}")
    try:
        return Options.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        about = f" ({Options.model_fields[name].description})" if name else ""
        given = f"{name} {plain(repr(first['input']), 40)}{about}: " if name else ""
        raise AudienceError(f"openai: {given}{first['msg'].removeprefix('Value error, ')}") from None
