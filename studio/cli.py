"""The command line: every action of the studio as a verb. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from studio.console import Bar, columns, emit

if TYPE_CHECKING:
    from db.archive import Archive
    from db.records import Retention
    from pieces.piece import Piece
    from studio.compose import Plan


class _Finite(click.FloatRange):
    """A range that NaN, which compares with nothing, does not slip through."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        number = float(super().convert(value, param, context))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, context)
        return number


_JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
_QUIET = click.option("--quiet", is_flag=True, help="No progress; only what was asked for.")
_SEED = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of everything random."
)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--archive", metavar="PATH_OR_URL", help="Another archive than the one in the data directory.")
@click.version_option(package_name="descant")
@click.pass_context
def descant(context: click.Context, archive: str | None) -> None:
    """Art made from the inside of neural networks, for people and for machine audiences."""
    context.obj = archive
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@contextmanager
def _archive(context: click.Context, create: bool = True) -> Iterator[Archive]:
    """The archive; one that a user names is created only by what writes into it, so that a slip of the pen is seen."""
    from db.archive import Archive
    from studio.config import archive_place

    named = context.obj is not None or "DESCANT_ARCHIVE" in os.environ
    with Archive.open(archive_place(context.obj), create=create or not named) as archive:
        yield archive


@descant.command()
@click.argument("name", required=False)
@_JSON
def sources(name: str | None, as_json: bool) -> None:
    """List sources, or the channels, controls and references of one."""
    from studio.catalogue import source_card, source_list

    if name:
        card = source_card(name)
        emit(card.data if as_json else card.text, as_json)
    else:
        rows = source_list()
        emit(rows if as_json else columns(rows, ["name", "about"]), as_json)


@descant.command()
@click.argument("name", required=False)
@click.option("--toml", is_flag=True, help="Print the piece as a file for editing.")
@_JSON
def pieces(name: str | None, toml: bool, as_json: bool) -> None:
    """List pieces, or show one; --toml prints it for editing."""
    from studio.catalogue import piece_card, piece_list, piece_toml

    if not name:
        if toml:
            raise click.UsageError("--toml needs the name of a piece: descant pieces NAME --toml")
        rows = piece_list()
        emit(rows if as_json else columns(rows, ["name", "title", "seconds"]), as_json)
    elif toml:
        click.echo(piece_toml(name), nl=False)
    else:
        card = piece_card(name)
        emit(card.data if as_json else card.text, as_json)


@descant.command()
@click.argument("piece")
@_SEED
@click.option(
    "--set", "settings", multiple=True, metavar="PART.CONTROL=VALUE", help="Set a control before the first tick."
)
@click.option("--ticks", type=click.IntRange(1, 100_000_000), help="Longest length in ticks.")
@click.option("--duration", type=_Finite(0.01, 86_400), help="Longest length in seconds.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files.")
@click.option("--stems", is_flag=True, help="Write every voice as a file of its own.")
@click.option("--video", is_flag=True, help="Make a film: picture and sound in step.")
@click.option("--scratch", is_flag=True, help="Keep the take only for a while.")
@_QUIET
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
    video: bool,
    scratch: bool,
    quiet: bool,
) -> None:
    """Perform PIECE headless, faster than real time, and keep it as a take."""
    from pieces.piece import find_piece
    from studio.compose import plan

    if ticks and duration:
        raise click.UsageError("--ticks and --duration are two ways to say one thing: give one")
    found, base = find_piece(piece)
    planned = plan(piece, _lengthened(found.with_controls(_settings(settings)), ticks, duration), base)
    formats = ("wav", "png", "mp4") if video else ("wav", "png")
    retention: Retention = "scratch" if scratch else "kept"
    _perform(context, planned, seed, out, formats, stems=stems, retention=retention, quiet=quiet)


def _lengthened(piece: Piece, ticks: int | None, duration: float | None) -> Piece:
    """The piece with another longest length for its parts."""
    if ticks is None and duration is None:
        return piece
    changes = {}
    for name, part in piece.parts.items():
        changes[f"parts.{name}.ticks"] = ticks or max(1, round((duration or 0) * part.rate))
    return piece.with_values(changes)


def _perform(
    context: click.Context,
    planned: Plan,
    seed: int,
    out: Path | None,
    formats: tuple[str, ...],
    *,
    stems: bool = False,
    retention: Retention = "kept",
    quiet: bool = False,
) -> None:
    """Perform a plan, make what `formats` asks for, write it into `out` if there is one, and say where it is."""
    from studio.catalogue import take_files
    from studio.compose import compose as perform
    from studio.files import check_folder, export
    from studio.rendering import make
    from studio.rendering import stems as rendered_stems

    if out:
        check_folder(out)
    with _archive(context) as archive, Bar(quiet) as bar:
        take_id = perform(archive, planned, seed, retention=retention, progress=bar)
        make(archive, take_id, formats, bar)
        if stems:
            rendered_stems(archive, take_id, bar)
        written = export(archive, take_id, out, formats, stems=stems) if out else []
        bar.close()
        click.echo(take_id if quiet else take_files(archive, take_id, written))


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


@descant.command()
@click.argument("series", type=click.Path(path_type=Path))
@click.option("--column", "chosen", multiple=True, metavar="C", help="Only this column (may be repeated).")
@click.option("--range", "span", default="A2..A5", show_default=True, help="Notes or hertz: C3..C6, 200hz..1600hz.")
@click.option("--duration", type=_Finite(0.5, 3600), default=30.0, show_default=True, help="Seconds.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files.")
@_QUIET
@click.pass_context
def listen(
    context: click.Context,
    series: Path,
    chosen: tuple[str, ...],
    span: str,
    duration: float,
    out: Path | None,
    quiet: bool,
) -> None:
    """Hear a CSV, Parquet, JSONL or NPZ file, one voice a column."""
    from pieces.series import series_piece
    from studio.compose import plan

    low, dots, high = span.partition("..")
    if not (dots and low and high):
        raise click.UsageError(f"--range {span}: write it as C3..C6 or 200hz..1600hz")
    piece = series_piece(series, list(chosen) or None, low, high, duration)
    planned = plan(series.name, piece, Path.cwd())
    _perform(context, planned, 0, out, ("wav",), quiet=quiet)


@descant.command()
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True)
@click.option("--offset", type=click.IntRange(0, 1_000_000_000), default=0)
@click.option("--status", type=click.Choice(["running", "done", "interrupted", "failed"]))
@click.option("--piece", help="Only takes of this piece.")
@_JSON
@click.pass_context
def takes(
    context: click.Context, limit: int, offset: int, status: str | None, piece: str | None, as_json: bool
) -> None:
    """List takes, newest first."""
    from studio.catalogue import take_list

    with _archive(context, create=False) as archive:
        rows = take_list(archive, limit=limit, offset=offset, status=status, piece=piece)
    if as_json:
        emit(rows, True)
    elif rows:
        emit(columns(rows, ["id", "piece", "seed", "status", "duration_s", "created"]), False)
    else:
        emit("no takes yet: descant compose digits --seed 1", False)


@descant.command()
@click.argument("take")
@_JSON
@click.pass_context
def show(context: click.Context, take: str, as_json: bool) -> None:
    """Show a take: what it is, its files, its lineage, who attended it."""
    from studio.catalogue import take_card

    with _archive(context, create=False) as archive:
        card = take_card(archive, take)
    emit(card.data if as_json else card.text, as_json)


@descant.command()
@click.argument("take")
@click.option("--backend", type=click.Choice(["portaudio", "jack"]), default="portaudio", show_default=True)
@_QUIET
@click.pass_context
def play(context: click.Context, take: str, backend: Any, quiet: bool) -> None:
    """Play a take's sound."""
    from sonify.player import play as sound
    from studio.rendering import heard

    with _archive(context, create=False) as archive:
        path = heard(archive, archive.take(take))
    with Bar(quiet) as bar:
        sound(path, backend, lambda played, duration: bar("play", played, duration))


@descant.command()
@click.argument("take")
@click.option("--verify", is_flag=True, help="Compare with what was recorded, bit for bit.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the new mix.")
@_QUIET
@click.pass_context
def replay(context: click.Context, take: str, verify: bool, out: Path | None, quiet: bool) -> None:
    """Perform and render a take again; --verify holds it against the archive."""
    from studio.catalogue import verdict_text
    from studio.files import check_folder
    from studio.replay import verify as compare

    if not (verify or out):
        raise click.UsageError("say what for: --verify compares it with the archive, --out DIR writes the new mix")
    with _archive(context, create=False) as archive, Bar(quiet) as bar:
        path = check_folder(out) / f"replay-{archive.take(take).id}.wav" if out else None
        verdict = compare(archive, take, bar, path)
        bar.close()
        click.echo(verdict_text(verdict))
        if path:
            click.echo(f"mix    {path}")
    if verify and not verdict.identical:
        context.exit(1)


@descant.command()
@click.argument("take")
@_QUIET
@click.pass_context
def resume(context: click.Context, take: str, quiet: bool) -> None:
    """Go on with an interrupted or failed take."""
    from studio.catalogue import take_files
    from studio.compose import resume as go_on
    from studio.rendering import sheet

    with _archive(context, create=False) as archive, Bar(quiet) as bar:
        take_id = archive.take(take).id
        go_on(archive, take_id, bar)
        sheet(archive, take_id, bar)
        bar.close()
        click.echo(take_id if quiet else take_files(archive, take_id, []))


@descant.command()
@click.argument("take")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("."), help="Folder.")
@click.option(
    "--format",
    "formats",
    default="wav,png",
    show_default=True,
    metavar="F,F",
    help="wav flac mp4 png csv parquet jsonl",
)
@click.option("--stems", is_flag=True, help="With wav: every voice as a file of its own.")
@_QUIET
@click.pass_context
def export(context: click.Context, take: str, folder: Path, formats: str, stems: bool, quiet: bool) -> None:
    """Write a take's files."""
    from studio.files import FORMATS
    from studio.files import export as write

    wanted = [f.strip() for f in formats.split(",")]
    for fmt in wanted:
        if fmt not in FORMATS:
            raise click.UsageError(f"--format {fmt!r}: allowed are {', '.join(FORMATS)}")
    with _archive(context, create=False) as archive, Bar(quiet) as bar:
        written = write(archive, take, folder, wanted, stems=stems, progress=bar)
    for path in written:
        click.echo(path)


@descant.command()
@click.argument("piece")
@click.option("--audience", default="listener", show_default=True, help="Who attends.")
@click.option("--steerer", default="gp", show_default=True, help="How the next piece is proposed: gp, random.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=3, show_default=True)
@_SEED
@_QUIET
@_JSON
@click.pass_context
def steer(
    context: click.Context, piece: str, audience: str, steerer: str, rounds: int, seed: int, quiet: bool, as_json: bool
) -> None:
    """Close the loop: take, artefact, visit, proposal, next take."""
    from pieces.piece import find_piece
    from studio.audience.loop import steer as run
    from studio.catalogue import round_text

    found, base = find_piece(piece)
    done = []
    with _archive(context) as archive, Bar(quiet or as_json) as bar:
        for step in run(archive, piece, found, base, audience, steerer, rounds, seed, bar):
            done.append(step)
            if not as_json:
                bar.close()
                click.echo(round_text(step))
    if as_json:
        emit([step.to_json() for step in done], True)


@descant.group("archive", invoke_without_command=True)
@click.pass_context
def archive_group(context: click.Context) -> None:
    """Look after the archive."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@archive_group.command("check")
@_JSON
@click.pass_context
def archive_check(context: click.Context, as_json: bool) -> None:
    """Verify every block, hash and file; mark takes whose process is gone."""
    with _archive(context, create=False) as archive:
        report = archive.check()
    emit(report.to_json() if as_json else str(report), as_json)
    if report.problems:
        context.exit(1)


@archive_group.command("upgrade")
@click.pass_context
def archive_upgrade(context: click.Context) -> None:
    """Bring an older archive to this version."""
    from db.archive import Archive
    from studio.config import archive_place

    click.echo(Archive.upgrade(archive_place(context.obj)))


@archive_group.command("gc")
@click.option("--scratch-days", type=_Finite(0, 36_500), default=30.0, show_default=True, help="Age of scratch takes.")
@click.option("--scratch-gb", type=_Finite(0, 1e6), default=10.0, show_default=True, help="Room for scratch takes.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@_JSON
@click.pass_context
def archive_gc(context: click.Context, scratch_days: float, scratch_gb: float, dry_run: bool, as_json: bool) -> None:
    """Remove old scratch takes and files that no take refers to; kept takes are never touched."""
    with _archive(context, create=False) as archive:
        report = archive.gc(scratch_age_days=scratch_days, scratch_quota_bytes=int(scratch_gb * 1e9), dry_run=dry_run)
    emit(report.to_json() if as_json else str(report), as_json)


@descant.command()
@_JSON
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Say what works on this machine and what does not."""
    from studio.doctor import examine

    findings = examine(context.obj)
    emit(findings if as_json else columns(findings, ["ok", "what", "found"]), as_json)
    if any(f["ok"] == "no" for f in findings):
        context.exit(1)


def _stopped(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point: one line for every error, never a bare traceback (``DESCANT_DEBUG=1`` shows it)."""
    signal.signal(signal.SIGTERM, _stopped)
    try:
        sys.exit(descant.main(standalone_mode=False))
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail("stopped; what was recorded is kept (descant takes)", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        _fail(_explained(error), 1, error)


def _explained(error: Exception) -> str:
    from pieces.signals import DescantError

    if isinstance(error, DescantError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'input or output'}: {error.strerror or error}"
    return f"a fault of Descant's own: {type(error).__name__}: {error}; DESCANT_DEBUG=1 shows where"


def _fail(line: str, code: int, error: BaseException | None = None) -> None:
    if error is not None and os.environ.get("DESCANT_DEBUG"):
        raise error
    click.echo(f"descant: {' '.join(line.split())}", err=True)
    sys.exit(code)
