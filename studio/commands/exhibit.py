"""Exhibiting: a programme full screen, unattended."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sonify.engine.commands import Backend

#: Seconds in which an exhibition ends.
ENDS = 5.0


@click.command()
@click.argument("programme", required=False, type=click.Path(path_type=Path))
@click.option("--fresh", is_flag=True, help="Begin at the first item; else it goes on where it was.")
@click.option("--no-screen", is_flag=True, help="Sound alone, and the log on stderr.")
@click.option(
    "--backend",
    type=click.Choice(["portaudio", "jack", "silent"]),
    default="portaudio",
    show_default=True,
    help="Where sound goes; in silence while that one is not there.",
)
@click.option("--example", is_flag=True, help="Print a programme to begin with.")
@click.pass_context
def exhibit(
    context: click.Context, programme: Path | None, fresh: bool, no_screen: bool, backend: Any, example: bool
) -> None:
    """Show the takes and live pieces of PROGRAMME (a TOML file) full screen, in order, until someone ends it.

    To leave hold q, press it three times within two seconds, or type exit. F8 or ! silences it at once, over all items
    to come, while pictures and time go on; Space brings the sound back where the show is then.
    """
    from studio.exhibition.programme import EXAMPLE

    if example:
        click.echo(EXAMPLE, nl=False)
        return
    if programme is None:
        raise click.UsageError("name a programme's file; --example prints one to begin with")
    named = context.obj is not None or "DESCANT_ARCHIVE" in os.environ
    play = _heard if no_screen else _shown
    context.exit(play(programme, context.obj, backend, fresh, not named))


def _heard(path: Path, archive: str | None, backend: Backend, fresh: bool, create: bool) -> int:
    """Play it without a screen, until it is over or somebody stops it."""
    from pieces.errors import DescantError
    from studio.config import archive_place
    from studio.exhibition.opening import exhibition

    def echo(line: str) -> None:
        click.echo(line, err=True)

    place = archive_place(archive)
    with exhibition(path, place, backend=backend, pictures=False, fresh=fresh, create=create, echo=echo) as (
        showing,
        _,
    ):
        with suppress(KeyboardInterrupt):  # it ends itself then, and its place is kept
            showing.run()
        if showing.failure:
            raise DescantError(f"{path.name}: {showing.failure}")
    return 0


def _shown(path: Path, archive: str | None, backend: Backend, fresh: bool, create: bool) -> int:
    """Show it in this terminal."""
    from pieces.errors import DescantError
    from studio import terminal
    from studio.exhibition.programme import read_programme

    read_programme(path)
    if line := terminal.unusable():
        why, *_ = line.split("; ")
        raise DescantError(f"{why}; what still works: descant exhibit {path} --no-screen plays the sound alone")
    status, line = terminal.supervised(lambda alive: _in_terminal(path, archive, backend, fresh, create, alive))
    if line:
        raise DescantError(f"{line.partition(';')[0]}; the next start goes on where it was")
    return status


def _in_terminal(path: Path, archive: str | None, backend: Backend, fresh: bool, create: bool, alive: int) -> int:
    """The same in the child that `studio.terminal.supervised` runs; errors and the log come after the screen."""
    from pieces.errors import DescantError
    from studio.config import archive_place, configuration
    from studio.console import complain
    from studio.exhibition.opening import exhibition
    from studio.keymap import read_keymap
    from studio.screens.exhibit import Exhibit

    keymap, said = read_keymap(configuration() / "keymap.toml")
    try:
        with exhibition(path, archive_place(archive), backend=backend, fresh=fresh, create=create) as (
            showing,
            journal,
        ):
            if said:
                journal.say(said)
            app = Exhibit(showing, configuration(), keymap)
            try:
                app.run_until(alive)
            finally:
                showing.stop()
                showing.over.wait(ENDS)
    except DescantError as error:
        complain(str(error))
        return 1
    for line in journal.lines:
        click.echo(line, err=True)
    if failure := app.fault or showing.failure:
        complain(f"{path.name}: {failure}")
    return 1 if failure or app.return_code else 0
