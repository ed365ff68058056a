"""Looking: sources, pieces, takes."""

from __future__ import annotations

from typing import Any

import click

from studio.commands.options import JSON, opened
from studio.console import columns, emit


@click.command()
@click.argument("name", required=False)
@JSON
def sources(name: str | None, as_json: bool) -> None:
    """List sources, or the channels, controls and references of one."""
    from studio.catalogue import source_card, source_list

    if name:
        card = source_card(name)
        emit(card.data if as_json else card.text, as_json)
    else:
        rows = source_list()
        emit(rows if as_json else columns(rows, ["name", "about"]), as_json)


@click.command()
@click.argument("name", required=False)
@click.option("--toml", is_flag=True, help="Print the piece as a file for editing.")
@JSON
def pieces(name: str | None, toml: bool, as_json: bool) -> None:
    """List pieces, or show one; --toml prints it for editing."""
    from pieces.piece import find_piece
    from studio.catalogue import piece_card, piece_list, piece_toml

    if not name:
        if toml:
            raise click.UsageError("--toml needs the name of a piece: descant pieces NAME --toml")
        rows = piece_list()
        emit(rows if as_json else columns(rows, ["name", "title", "seconds"]), as_json)
    elif toml:
        click.echo(piece_toml(name), nl=False)
    else:
        card = piece_card(find_piece(name)[0])
        emit(card.data if as_json else card.text, as_json)


@click.command()
@JSON
def keymap(as_json: bool) -> None:
    """Print the studio's keys as a file to change; where it belongs is said on stderr."""
    from studio.config import configuration
    from studio.keymap import ACTIONS, keymap_toml, read_keymap

    path = configuration() / "keymap.toml"
    used, line = read_keymap(path)
    if as_json:
        emit([{"id": a.id, "where": a.where, "keys": used.signs(a.id), "help": a.help} for a in ACTIONS], as_json)
    else:
        click.echo(keymap_toml(), nl=False)
        click.echo(line or f"put what you change into {path}", err=True)


@click.command()
@click.argument("name", required=False)
@JSON
def instruments(name: str | None, as_json: bool) -> None:
    """List instruments and effects, or the parameters of one."""
    from studio.catalogue import instrument_card, instrument_list

    if name:
        card = instrument_card(name)
        emit(card.data if as_json else card.text, as_json)
    else:
        rows = instrument_list()
        emit(rows if as_json else columns(rows, ["name", "kind", "about"]), as_json)


@click.command()
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True)
@click.option("--offset", type=click.IntRange(0, 1_000_000_000), default=0)
@click.option("--status", type=click.Choice(["running", "done", "interrupted", "failed"]))
@click.option("--piece", help="Only takes of this piece.")
@click.option(
    "--search", "text", default="", metavar="WORDS", help="Words in title, notes, tags or piece; part of the id."
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only takes with this tag (may be repeated).")
@click.option("--rating", type=click.IntRange(0, 5), help="Only takes with so many stars at least.")
@click.option("--kept", "retention", flag_value="kept", help="Only kept takes.")
@click.option("--scratch", "retention", flag_value="scratch", help="Only scratch takes.")
@click.option("--all", "everything", is_flag=True, help="Also branches of visitors, tries of wishes, takes of studies.")
@JSON
@click.pass_context
def takes(context: click.Context, /, everything: bool, as_json: bool, **wanted: Any) -> None:
    """List takes, newest first."""
    from studio.catalogue import take_list

    with opened(context, create=False) as archive:
        rows = take_list(archive, own=not everything, **wanted)
        any_take = bool(rows) or archive.count() > 0
    if as_json:
        emit(rows, True)
    elif rows:
        shown = ["id", "piece", "seed", "status", "duration_s", "created"]
        more = ("aside", "title", "rating", "tags")
        shown += [name for name in more if any(row[name] not in ("", None, ()) for row in rows)]
        emit(columns([row | {"tags": " ".join(row["tags"])} for row in rows], shown), False)
    elif any_take:
        emit("no such takes: descant takes --all lists all", False)
    else:
        emit("no takes yet: descant compose digits --seed 1", False)


@click.command()
@click.argument("take")
@JSON
@click.pass_context
def show(context: click.Context, take: str, as_json: bool) -> None:
    """Show a take: what it is, its files, its lineage, who attended it."""
    from studio.catalogue import take_card

    with opened(context, create=False) as archive:
        card = take_card(archive, take)
    emit(card.data if as_json else card.text, as_json)
