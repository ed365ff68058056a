"""Audiences: attending takes, and steering what comes next."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from studio.commands.options import JSON, QUIET, SEED, Finite, opened
from studio.console import Bar, emit

if TYPE_CHECKING:
    from collections.abc import Callable

    from studio.audience.playing import Turn
    from studio.audience.rooms import Rules
    from studio.audience.visitor import Visitor


#: What visitors are given by whoever calls them in Python.
_OURS = ("argument", "cache", "name", "habits", "memory", "hear", "say")


def _audience(command: Callable[..., None]) -> Callable[..., None]:
    """Options of whoever invites."""
    options = (
        click.option(
            "--audience",
            default="listener",
            show_default=True,
            metavar="WHO",
            help="listener, hf:FOLDER_OR_NAME, openai:MODEL@URL, human, scripted:FILE, random.",
        ),
        click.option("--with", "options", multiple=True, metavar="NAME=VALUE", help="An option of that visitor."),
        click.option("--remember", metavar="NAME", help="The listener of this name: it remembers earlier visits."),
        click.option("--words", type=click.Choice(["prose", "numbers", "tokens"]), help="Default: the visitor's own."),
        click.option(
            "--wording",
            default="plain",
            show_default=True,
            help="How it is spoken to: plain, guest, letter, formal, short.",
        ),
        click.option("--budget", type=Finite(1, 100_000), help="Moments that it can listen to; predictions earn more."),
        click.option("--moves", type=click.IntRange(1, 100_000), help="Commands, after which the visit ends."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("takes", nargs=-1, required=True, metavar="TAKE...")
@_audience
@SEED
@QUIET
@JSON
@click.pass_context
def attend(
    context: click.Context, /, takes: tuple[str, ...], seed: int, quiet: bool, as_json: bool, **given: Any
) -> None:
    """Let an audience attend takes, each a room of a game in words. It is told no name and no title."""
    from studio.audience.gallery import Gallery
    from studio.audience.loop import attended
    from studio.catalogue import visit_lines

    with opened(context, create=False) as archive:
        ids = [archive.take(take).id for take in takes]
        visitor = _invited(given)
        told = _silent if quiet or as_json or visitor.name == "human" else _told
        visit = attended(archive, Gallery(archive), ids, visitor, seed, _rules(visitor, given), told)
    _keep(visitor)
    if as_json:
        emit(visit.transcript.model_dump(mode="json"), True)
    else:
        click.echo("\n".join(line.strip() for line in visit_lines(visit)))


def _told(turn: Turn) -> None:
    """A turn as it happens."""
    click.echo(f"> {turn.command}\n{turn.observation}" if turn.command else turn.observation)


def _silent(turn: Turn) -> None:
    """Nobody looks."""


@click.command()
@click.argument("piece")
@_audience
@click.option("--steerer", default="gp", show_default=True, help="Who proposes: gp, random, none, yoked, wish, human.")
@click.option("--yoked-to", metavar="TAKE", help="With yoked: the last take of the run whose ratings it goes by.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=3, show_default=True)
@SEED
@QUIET
@JSON
@click.pass_context
def steer(
    context: click.Context,
    /,
    piece: str,
    steerer: str,
    yoked_to: str | None,
    rounds: int,
    seed: int,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Close the loop: take, artefact, visit, proposal, next take."""
    from pieces.piece import find_piece
    from studio.audience.loop import Steered, ratings_of
    from studio.audience.loop import steer as run
    from studio.catalogue import round_text

    found, base = find_piece(piece)
    done = []
    with opened(context) as archive, Bar(quiet or as_json) as bar:
        visitor = _invited(given)
        rules = _rules(visitor, given)
        yoked = ratings_of(archive, yoked_to) if yoked_to else ()
        steered = Steered(piece, found, base, steerer, seed, rules, yoked, f"the run to take {yoked_to}", _typed)
        for step in run(archive, steered, visitor, rounds, bar):
            done.append(step)
            if not as_json:
                bar.close()
                click.echo(round_text(step))
    _keep(visitor)
    if as_json:
        emit([step.to_json() for step in done], True)


def _invited(given: dict[str, Any]) -> Visitor:
    """Whoever is asked for, with their options."""
    from studio.audience.visitor import invite
    from studio.config import home

    options = dict(_option(text) for text in given["options"])
    if name := given["remember"]:
        if not re.fullmatch(r"[\w-]{1,64}", name):
            raise click.UsageError(f"--remember {name!r}: allowed are letters, digits, - and _")
        options["memory"] = home() / "memories" / f"{name}.safetensors"
    return invite(given["audience"], home() / "cache", **options)


def _option(text: str) -> tuple[str, Any]:
    """``name=value``; what reads as JSON is taken as that: numbers, true, lists."""
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise click.UsageError(f"--with {text!r}: write NAME=VALUE")
    if name in _OURS:
        raise click.UsageError(f"--with {name}: that is not for visitors to be given")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


def _rules(visitor: Visitor, given: dict[str, Any]) -> Rules:
    """The rules of a visit."""
    from studio.audience.rooms import Rules
    from studio.audience.wording import WORDINGS

    if given["wording"] not in WORDINGS:
        raise click.UsageError(f"--wording {given['wording']!r}: allowed are {', '.join(WORDINGS)}")
    said = {name: given[name] for name in ("budget", "moves") if given[name] is not None}
    words = given["words"] or visitor.register
    return replace(Rules(), register=words, wording=WORDINGS[given["wording"]], **said)


def _keep(visitor: Visitor) -> None:
    """Let a visitor that remembers beyond this process write down what it knows."""
    from studio.audience.listener import Listener

    if isinstance(visitor, Listener):
        visitor.keep()


def _typed(text: str) -> str | None:
    """A line of whoever sits at the terminal; None where there is no more."""
    click.echo(text, err=True)
    try:
        return input("> ")
    except (EOFError, KeyboardInterrupt):
        return None
