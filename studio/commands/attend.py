"""Audiences: attending takes, and steering what comes next."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from studio.commands.options import JSON, QUIET, SEED, Finite, opened
from studio.console import Bar, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from db.archive import Archive
    from studio.audience.attending import Visit
    from studio.audience.playing import Turn
    from studio.audience.rooms import Rules
    from studio.audience.visitor import Visitor
    from studio.rendering import Progress


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
@click.option("--mirror", is_flag=True, help="Afterwards: which curve of surprise, among those of others, is its own?")
@SEED
@QUIET
@JSON
@click.pass_context
def attend(
    context: click.Context, /, takes: tuple[str, ...], mirror: bool, seed: int, quiet: bool, as_json: bool, **given: Any
) -> None:
    """Let an audience attend takes, each a room of a game in words. It is told no name and no title."""
    from studio.audience.account import Reader, account
    from studio.audience.gallery import Gallery
    from studio.audience.loop import attended

    with opened(context, create=False) as archive, Bar(quiet or as_json) as bar:
        bar("open", 0, 0)
        ids = [archive.take(take).id for take in takes]
        visitor = _invited(given)
        rules, gallery = _rules(visitor, given), Gallery(archive, bar)
        reader, person = Reader(gallery, ids, rules.register), visitor.name == "human"

        def told(turn: Turn) -> None:
            bar.close()
            if not (quiet or as_json or person):
                click.echo(reader.told(turn))
                bar("attend", 0, 0)

        def then(visit: Visit) -> Visit:
            bar.close()
            return _mirrored(archive, visit, visitor, ids, seed, rules) if mirror else visit

        for take in ids:
            gallery.room(take, seed)
        bar.close()
        if not person:
            bar("attend", 0, 0)
        try:
            visit = attended(archive, gallery, ids, visitor, seed, rules, told, then=then)
        except KeyboardInterrupt as stopped:
            raise _stopped(stopped) from None
        _keep(visitor)
        bar.close()
        if as_json:
            emit(visit.transcript.model_dump(mode="json") | {"id": visit.id, "takes": ids}, True)
        else:
            click.echo(account(archive, gallery, ids, visit))


def _mirrored(archive: Archive, visit: Visit, visitor: Visitor, takes: Sequence[str], seed: int, rules: Rules) -> Visit:
    """A visit with what was chosen in the mirror; where there is none to be looked into, that is said."""
    from studio.audience.gallery import attended
    from studio.audience.mirrored import mirrored
    from studio.audience.rooms import GameError

    try:
        return mirrored(visit, visitor, list(attended(archive, takes).values()), seed, rules)
    except GameError as error:
        click.echo(f"note: {error}", err=True)
        return visit


def _stopped(error: KeyboardInterrupt) -> BaseException:
    """What is said of a visit that was stopped: where what was before is."""
    from studio.audience.visitor import AudienceError

    if not error.args:
        return error
    return AudienceError(f"stopped; what was before is kept: descant experiment review {error.args[0]}")


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
    from studio.audience.account import steered
    from studio.audience.loop import Steered, ratings_of
    from studio.audience.loop import steer as run
    from studio.catalogue import round_text

    found, base = find_piece(piece)
    done = []
    with opened(context) as archive, Bar(quiet or as_json) as bar:
        visitor = _invited(given)
        rules = _rules(visitor, given)
        yoked = ratings_of(archive, yoked_to) if yoked_to else ()
        if steerer == "wish" and visitor.name == "listener":
            click.echo("note: the listener wishes nothing, so every round is the piece as it is: take gp", err=True)
        quieted = _until_asked(bar, visitor)
        what = Steered(
            piece, found, base, steerer, seed, rules, yoked, f"the run to take {yoked_to}", partial(_typed, bar)
        )
        try:
            for step in run(archive, what, visitor, rounds, quieted):
                done.append(step)
                if not as_json:
                    bar.close()
                    click.echo(round_text(step))
        except KeyboardInterrupt as stopped:
            raise _stopped(stopped) from None
    _keep(visitor)
    if as_json:
        emit([step.to_json() for step in done], True)
    else:
        click.echo(steered(done, piece))


def _until_asked(bar: Bar, visitor: Visitor) -> Progress:
    """Progress that leaves the screen to a person who attends."""
    if visitor.name != "human":
        return bar

    def shown(stage: str, done: float, total: float) -> None:
        bar.close()
        if stage != "attend":
            bar(stage, done, total)

    return shown


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
    from studio.audience.visitor import OURS

    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise click.UsageError(f"--with {text!r}: write NAME=VALUE")
    if name in OURS:
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
    if visitor.name == "listener" and words != visitor.register:
        raise click.UsageError(f"--words {words}: the listener reads {visitor.register} alone: leave --words out")
    return replace(Rules(), register=words, wording=WORDINGS[given["wording"]], **said)


def _keep(visitor: Visitor) -> None:
    """Let a visitor that remembers beyond this process write down what it knows."""
    from studio.audience.listener import Listener

    if isinstance(visitor, Listener):
        visitor.keep()


def _typed(bar: Bar, text: str) -> str | None:
    """A line of whoever sits at the terminal; None where there is no more."""
    bar.close()
    click.echo(text, err=True)
    try:
        return input("> ")
    except (EOFError, KeyboardInterrupt):
        return None
