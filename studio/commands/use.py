"""Using takes: playing, replaying, exporting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.commands.options import QUIET, opened
from studio.console import Bar


@click.command()
@click.argument("take")
@click.option("--backend", type=click.Choice(["portaudio", "jack"]), default="portaudio", show_default=True)
@QUIET
@click.pass_context
def play(context: click.Context, take: str, backend: Any, quiet: bool) -> None:
    """Play a take's sound."""
    from sonify.player import play as sound
    from studio.rendering import heard

    with opened(context, create=False) as archive:
        path = heard(archive, archive.take(take))
    with Bar(quiet) as bar:
        sound(path, backend, lambda played, duration: bar("play", played, duration))


@click.command()
@click.argument("take")
@click.option("--verify", is_flag=True, help="Compare with what was recorded, bit for bit.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the new mix.")
@QUIET
@click.pass_context
def replay(context: click.Context, take: str, verify: bool, out: Path | None, quiet: bool) -> None:
    """Perform and render a take again; --verify holds it against the archive."""
    from studio.catalogue import verdict_text
    from studio.files import check_folder
    from studio.replay import verify as compare

    if not (verify or out):
        raise click.UsageError("say what for: --verify compares it with the archive, --out DIR writes the new mix")
    with opened(context, create=False) as archive, Bar(quiet) as bar:
        path = check_folder(out) / f"replay-{archive.take(take).id}.wav" if out else None
        verdict = compare(archive, take, bar, path)
        bar.close()
        click.echo(verdict_text(verdict))
        if path:
            click.echo(f"mix    {path}")
    if verify and not verdict.identical:
        context.exit(1)


@click.command()
@click.argument("take")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("."), help="Folder.")
@click.option(
    "--format",
    "formats",
    default="wav,png",
    show_default=True,
    metavar="F,F",
    help="wav flac mp4 png csv parquet jsonl mid",
)
@click.option("--stems", is_flag=True, help="With wav: every voice as a file of its own.")
@click.option("--mpe", is_flag=True, help="With mid: for instruments that know MIDI polyphonic expression.")
@QUIET
@click.pass_context
def export(context: click.Context, take: str, folder: Path, formats: str, stems: bool, mpe: bool, quiet: bool) -> None:
    """Write a take's files."""
    from studio.files import FORMATS
    from studio.files import export as write

    wanted = [f.strip() for f in formats.split(",")]
    for fmt in wanted:
        if fmt not in FORMATS:
            raise click.UsageError(f"--format {fmt!r}: allowed are {', '.join(FORMATS)}")
    with opened(context, create=False) as archive, Bar(quiet) as bar:
        written = write(archive, take, folder, wanted, stems=stems, mpe=mpe, progress=bar)
    for path in written:
        click.echo(path)
