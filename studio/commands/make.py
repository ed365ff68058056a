"""Making takes: composing, listening, going on."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from studio.commands.options import QUIET, SEED, Finite, opened
from studio.console import Bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from db.archive import Archive
    from db.records import Retention
    from pieces.piece import Piece
    from studio.compose import Given
    from studio.conductor import Stage
    from studio.plan import Plan

LEGEND = click.option("--legend", is_flag=True, help="Write a sounded legend, a caption and a timing table.")
MARKS = click.option(
    "--marks", type=Finite(0.1, 3600), metavar="SECONDS", help="Write the mix with a soft tick every so many seconds."
)


@click.command()
@click.argument("piece")
@SEED
@click.option(
    "--set", "settings", multiple=True, metavar="PART.CONTROL=VALUE", help="Set a control before the first tick."
)
@click.option("--ticks", type=click.IntRange(1, 100_000_000), help="Longest length in ticks.")
@click.option("--duration", type=Finite(0.01, 86_400), help="Longest length in seconds.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files.")
@click.option("--stems", is_flag=True, help="Write every voice as a file of its own.")
@LEGEND
@MARKS
@click.option("--midi", type=click.Path(path_type=Path), metavar="FILE.mid", help="Notes and pedals to give its parts.")
@click.option("--video", is_flag=True, help="Make a film: picture and sound in step.")
@click.option("--scratch", is_flag=True, help="Keep the take only for a while.")
@QUIET
@click.pass_context
def compose(
    context: click.Context,
    piece: str,
    seed: int,
    settings: tuple[str, ...],
    ticks: int | None,
    duration: float | None,
    out: Path | None,
    stems: bool,
    legend: bool,
    marks: float | None,
    midi: Path | None,
    video: bool,
    scratch: bool,
    quiet: bool,
) -> None:
    """Perform PIECE headless, faster than real time, and keep it as a take."""
    from pieces.piece import find_piece
    from studio.plan import plan

    if ticks and duration:
        raise click.UsageError("--ticks and --duration are two ways to say one thing: give one")
    found, base = find_piece(piece)
    planned = plan(piece, _lengthened(found.with_controls(_settings(settings)), ticks, duration), base)
    formats = ("wav", "png", "mp4") if video else ("wav", "png")
    retention: Retention = "scratch" if scratch else "kept"
    more: dict[str, Any] = {"legend": legend, "marks": marks, **(_played(planned, midi) if midi else {})}
    perform_plan(context, planned, seed, out, formats, stems=stems, **more, retention=retention, quiet=quiet)


def _lengthened(piece: Piece, ticks: int | None, duration: float | None) -> Piece:
    """The piece with another longest length for its parts."""
    from pieces.form import shortened

    if duration is not None:
        return shortened(piece, duration)
    if ticks is None:
        return piece
    if len(piece.parts) > 1:
        raise click.UsageError(f"--ticks {ticks}: the piece has {len(piece.parts)} parts: give --duration in seconds")
    return piece.with_values({f"parts.{part}.ticks": ticks for part in piece.parts})


def perform_plan(
    context: click.Context,
    planned: Plan,
    seed: int,
    out: Path | None,
    formats: tuple[str, ...],
    *,
    stems: bool = False,
    legend: bool = False,
    marks: float | None = None,
    given: Given | None = None,
    stage: Stage | None = None,
    after: Callable[[Archive, str], None] | None = None,
    retention: Retention = "kept",
    quiet: bool = False,
) -> None:
    """Perform a plan, make what `formats` asks for, write it into `out` if there is one, and say where it is."""
    from studio.catalogue import take_files
    from studio.compose import compose as perform
    from studio.files import check_folder, export
    from studio.listen import take_guides
    from studio.rendering import make
    from studio.rendering import stems as rendered_stems

    if out:
        check_folder(out)
    elif legend or marks:
        raise click.UsageError("--legend and --marks write files: say where with --out DIR")
    with opened(context) as archive, Bar(quiet) as bar:
        take_id = perform(archive, planned, seed, retention=retention, given=given, stage=stage, progress=bar)
        for line in () if quiet else _notices(archive, take_id):
            bar.close()
            click.echo(line, err=True)
        if after is not None:
            after(archive, take_id)
        make(archive, take_id, formats, bar)
        if stems:
            rendered_stems(archive, take_id, bar)
        written = export(archive, take_id, out, formats, stems=stems) if out else []
        if out and (legend or marks):
            written += take_guides(archive, take_id, out, legend=legend, marks=marks)
        bar.close()
        click.echo(take_id if quiet else take_files(archive, take_id, written))


def _notices(archive: Archive, take_id: str) -> list[str]:
    """What its sources say of what they were given."""
    events = (e for part in archive.take(take_id).parts for e in archive.events(take_id, "notice", part=part))
    return list(dict.fromkeys(str(event.data["line"]) for event in events))


def _played(planned: Plan, midi: Path) -> dict[str, Any]:
    """How the notes of a file reach the parts: at their ticks, or, where parts come and go, at their time."""
    from sonify.midi_in import read_midi
    from studio.live import script
    from studio.prompt import Script

    events = read_midi(midi)
    given = script(planned, events)
    return {"stage": Script(planned.piece, events)} if planned.piece.sections else {"given": given}


def _settings(settings: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--set {setting}: write it as part.control=value")
        values[name.strip()] = _number(text.strip())
    return values


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@click.command()
@click.argument("series", type=click.Path(path_type=Path))
@click.option("--column", "chosen", multiple=True, metavar="C", help="Only this column (may be repeated).")
@click.option("--range", multiple=True, metavar="[C=]LO..HI", help="Notes or hertz: C3..C6, 200hz..1600hz.")
@click.option("--domain", multiple=True, metavar="[C=]LO..HI", help="Data that cover the range; or data, p1-p99.")
@click.option("--shape", multiple=True, metavar="[C=]SHAPE", help="linear, log, symlog, sqrt or rank.")
@click.option("--polarity", multiple=True, metavar="[C=]SIGN", help="positive; or negative: larger is lower.")
@click.option("--instrument", multiple=True, metavar="[C=]NAME", help="One that sounds all the time: glide, pad ...")
@click.option("--scale", metavar="NAME", help="Round to a tuning: 'D dorian', 'major pentatonic in just', 31-edo.")
@click.option("--duration", type=Finite(0.5, 3600), default=30.0, show_default=True, help="Seconds.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files.")
@click.option("--stems", is_flag=True, help="Write every voice as a file of its own.")
@LEGEND
@MARKS
@click.option("--follow", is_flag=True, help="Hear it again whenever the file has grown, until Ctrl-C.")
@QUIET
@click.pass_context
def listen(
    context: click.Context,
    /,
    series: Path,
    chosen: tuple[str, ...],
    scale: str | None,
    duration: float,
    out: Path | None,
    stems: bool,
    legend: bool,
    marks: float | None,
    follow: bool,
    quiet: bool,
    **voicing: tuple[str, ...],
) -> None:
    """Hear a CSV, Parquet, JSONL or NPZ file, one voice a column.

    What is written [C=] is for all columns, or for the one that is named; it may be repeated.
    """
    from studio.listen import ListenError, grown, parse_voicing, piece_of
    from studio.plan import plan

    try:
        parsed = parse_voicing(voicing, scale)
    except ListenError as error:
        raise click.UsageError(str(error)) from error
    # One that is followed is kept for a while only: there will be many takes of it.
    more: dict[str, Any] = {"stems": stems, "legend": legend, "marks": marks, "quiet": quiet}
    more["retention"] = "scratch" if follow else "kept"
    with suppress(KeyboardInterrupt) if follow else nullcontext():
        for _ in grown(series) if follow else (None,):
            piece, notices = piece_of(series, list(chosen) or None, parsed, duration)
            for notice in () if quiet else notices:
                click.echo(f"note: {notice}", err=True)
            perform_plan(context, plan(series.name, piece, Path.cwd()), 0, out, ("wav",), **more)


@click.command()
@click.argument("take")
@QUIET
@click.pass_context
def resume(context: click.Context, take: str, quiet: bool) -> None:
    """Go on with an interrupted or failed take; `latest` is the last one of them."""
    from studio.catalogue import take_files
    from studio.compose import resume as go_on
    from studio.rendering import sheet

    with opened(context, create=False) as archive, Bar(quiet) as bar:
        ended = [*archive.takes(status="interrupted", limit=1), *archive.takes(status="failed", limit=1)]
        newest = max((row.id for row in ended), default=take)
        take_id = archive.take(newest if take.strip().lower() == "latest" else take).id
        go_on(archive, take_id, bar)
        sheet(archive, take_id, bar)
        bar.close()
        click.echo(take_id if quiet else take_files(archive, take_id, []))
