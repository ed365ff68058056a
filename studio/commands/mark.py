"""Marking takes: titles, notes, stars, tags; what stays and what goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from studio.commands.options import opened

if TYPE_CHECKING:
    from db.archive import Archive


@click.command()
@click.argument("take")
@click.argument("tags", nargs=-1, metavar="TAG...")
@click.option("--remove", multiple=True, metavar="TAG", help="Take this tag away (may be repeated).")
@click.pass_context
def tag(context: click.Context, take: str, tags: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Give a take tags; prints those that it has."""
    with opened(context, create=False) as archive:
        click.echo(" ".join(archive.labels.tag(archive.take(take).id, tags, remove)))


@click.command()
@click.argument("take")
@click.argument("title")
@click.pass_context
def rename(context: click.Context, take: str, title: str) -> None:
    """Give a take a title; an empty one takes it away."""
    with opened(context, create=False) as archive:
        archive.labels.rename(archive.take(take).id, title)


@click.command()
@click.argument("take")
@click.argument("stars", type=click.Choice(["0", "1", "2", "3", "4", "5", "none"]))
@click.pass_context
def rate(context: click.Context, take: str, stars: str) -> None:
    """Give a take your stars, 0 to 5."""
    with opened(context, create=False) as archive:
        archive.labels.rate(archive.take(take).id, None if stars == "none" else int(stars))


@click.command()
@click.argument("take")
@click.argument("text")
@click.pass_context
def note(context: click.Context, take: str, text: str) -> None:
    """Write a take's notes, in place of those it has."""
    with opened(context, create=False) as archive:
        archive.labels.note(archive.take(take).id, text)


@click.command()
@click.argument("take")
@click.pass_context
def keep(context: click.Context, take: str) -> None:
    """Keep a scratch take for good."""
    with opened(context, create=False) as archive:
        archive.retain(archive.take(take).id, "kept")


@click.command()
@click.argument("take")
@click.option("--kept", is_flag=True, help="Also one that is kept.")
@click.pass_context
def discard(context: click.Context, take: str, kept: bool) -> None:
    """Remove a scratch take with its files, for good."""
    with opened(context, create=False) as archive:
        _discard(archive, archive.take(take).id, kept)


def _discard(archive: Archive, take_id: str, kept: bool) -> None:
    if not kept and archive.take(take_id).retention == "kept":
        raise click.ClickException(f"take {take_id} is kept: descant discard {take_id} --kept removes it for good")
    freed = archive.discard(take_id, kept=kept)
    click.echo(f"{take_id} is gone ({freed / 1e6:.1f} MB)")
