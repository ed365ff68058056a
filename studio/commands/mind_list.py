"""``descant mind ls`` and ``show``: which minds are here, and what they are made of."""

from __future__ import annotations

import click

from studio.commands.options import JSON
from studio.console import columns, emit


@click.command()
@JSON
def ls(as_json: bool) -> None:
    """List the minds that are here: the house mind, and those that were fetched from the hub."""
    from studio.minds import mind_list, shown

    rows = mind_list()
    if as_json or rows:
        told = ("name", "kind", "megabytes", "picture", "latents")
        emit(rows if as_json else columns([shown(row) for row in rows], told), as_json)
    else:
        emit("no minds are here: train the house mind (descant mind train), or give a folder", False)


@click.command()
@click.argument("mind", default="house")
@click.option("--modules", is_flag=True, help="List all modules by the names that `sheet --modules` chooses from.")
@JSON
def show(mind: str, modules: bool, as_json: bool) -> None:
    """Show what MIND is made of, and how it would be opened here. Its weights are neither fetched nor read."""
    from studio.minds import mind_card, mind_modules

    if modules:
        rows = mind_modules(mind)
        emit(rows if as_json else columns(rows, ("name", "layer", "parameters")), as_json)
    else:
        card = mind_card(mind)
        emit(card.data if as_json else card.text, as_json)
