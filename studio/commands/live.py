"""Performing in real time."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from studio.commands.make import perform_plan
from studio.commands.options import QUIET, SEED
from studio.console import emit

if TYPE_CHECKING:
    from db.archive import Archive
    from sonify.incoming import Inbox
    from studio.asked import Asked
    from studio.live import Hall
    from studio.plan import Plan
    from studio.prompt import Roll


@click.command()
@click.argument("piece", required=False)
@SEED
@click.option("--keys", is_flag=True, help="Play the computer keyboard; where nothing else plays, a terminal does.")
@click.option("--mid", type=click.Path(path_type=Path), metavar="FILE", help="A .mid file plays.")
@click.option("--video", metavar="FILE|camera|moving", help="What is drawn on; default: the built-in moving picture.")
@click.option("--midi-in", metavar="PORT", help="A MIDI port, or a part of its name.")
@click.option("--midi-virtual", is_flag=True, help="Make that port, for others to connect to.")
@click.option("--midi-backend", type=click.Choice(["alsa", "jack"]), help="Default: the first that is there.")
@click.option("--midi-clock", is_flag=True, help="Follow the port's clock.")
@click.option("--midi-ports", is_flag=True, help="List the MIDI ports.")
@click.option("--cc", multiple=True, metavar="NUMBER=PART.CONTROL", help="A MIDI controller turns a control.")
@click.option("--osc-in", metavar="[HOST:]PORT", help="Listen for OSC: /descant/set/PART/CONTROL, /descant/event/KIND.")
@click.option("--osc-out", metavar="HOST:PORT", help="Send every channel, lane and event as OSC.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files.")
@click.option("--no-screen", is_flag=True, help="Not in the studio; nor with --out, --quiet, --midi-clock.")
@QUIET
@click.pass_context
def perform(
    context: click.Context,
    piece: str | None,
    seed: int,
    keys: bool,
    mid: Path | None,
    video: str | None,
    midi_in: str | None,
    midi_virtual: bool,
    midi_backend: Any,
    midi_clock: bool,
    midi_ports: bool,
    cc: tuple[str, ...],
    osc_in: str | None,
    osc_out: str | None,
    out: Path | None,
    no_screen: bool,
    quiet: bool,
) -> None:
    """Perform PIECE in real time, played by keys, MIDI and OSC.

    Without a PIECE it is Castro's performance in four parts; a number from 1 to 4 begins with that part. On a terminal
    it is played in the studio, with keys that are notes, and recorded as a scratch take. Without a screen it is kept,
    and Ctrl-C ends it.
    """
    from pieces.piece import find_piece
    from studio.asked import Asked
    from studio.prompt import FOUR_PARTS

    if midi_ports:
        from sonify import midi_in as ports

        emit("\n".join(ports.midi_ports(midi_backend)) or "no MIDI ports", False)
        return
    if (midi_clock or midi_virtual or cc) and not midi_in:
        raise click.UsageError("--midi-clock, --midi-virtual and --cc need --midi-in PORT")
    number = int(piece) if piece and piece.isdigit() else 1
    name = FOUR_PARTS if piece is None or piece.isdigit() else piece
    found, base = find_piece(name)
    asked = Asked(
        *(found, name, number, seed, video, mid, midi_in, midi_virtual, midi_backend, cc),
        *(_address(osc_in, "127.0.0.1"), _address(osc_out, None)),
    )
    asked.changed(found, "moving" if video else None)
    if no_screen or out or quiet or midi_clock or not all(s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)):
        _without_screen(context, asked, base, keys, midi_clock, out, quiet)
    else:
        from studio.launch import launch

        sys.exit(launch(context.obj, asked))


def _without_screen(
    context: click.Context, asked: Asked, base: Path, keys: bool, midi_clock: bool, out: Path | None, quiet: bool
) -> None:
    from sonify.incoming import Inbox
    from studio.live import Hall
    from studio.plan import plan
    from studio.prompt import Port, awaits, finest, parse_controllers

    planned, inbox = plan(asked.name, asked.changed(asked.piece, asked.video), base), Inbox()
    controls = {part: player.source.controls for part, player in planned.players.items()}
    hall = Hall(planned, inbox, controllers=parse_controllers(controls, asked.cc), notice=_notice)
    if awaits(planned.piece):
        hall.grain = finest(planned.piece)
        keys = keys or (not (asked.mid or asked.midi_in or asked.osc_in) and sys.stdin.isatty())
        hall.played = bool(keys or asked.mid or asked.midi_in)
    hall.roll = _read(asked, planned) if asked.mid else None
    with ExitStack() as stack:
        hall.begun = _beginning(hall, inbox, keys, stack)
        if midi := asked.midi(inbox):
            stack.enter_context(midi)
            hall.port, hall.clock = Port(midi, _notice), midi.clock if midi_clock else None
        if osc := asked.osc(inbox):
            stack.enter_context(osc)
        if out_to := asked.out():
            hall.out = stack.enter_context(out_to)
        after = _filming(hall, stack) if asked.video == "camera" else None
        perform_plan(context, planned, asked.seed, out, ("wav",), stage=hall, after=after, quiet=quiet)


def _filming(hall: Hall, stack: ExitStack) -> Callable[[Archive, str], None]:
    """A camera films; what it filmed is kept with the take."""
    from studio.camera import Camera

    folder = Path(stack.enter_context(TemporaryDirectory(prefix="descant-camera-")))
    camera = hall.camera = stack.enter_context(Camera(folder / "camera.mp4"))
    part = next(name for name, part in hall.plan.piece.parts.items() if part.source == "video")

    def keep(archive: Archive, take_id: str) -> None:
        camera.close()
        if camera.filmed:
            archive.add_media(take_id, f"input:{part}.video", camera.path)

    return keep


def _beginning(hall: Hall, inbox: Inbox, keys: bool, stack: ExitStack) -> Callable[[], None]:
    """What is done when time begins: keys are heard, and the first Ctrl-C ends the performance in good order."""
    from studio.piano import HELP
    from studio.typing_in import TypedIn

    typed = TypedIn(inbox) if keys else None
    before = signal.getsignal(signal.SIGINT)
    stack.callback(signal.signal, signal.SIGINT, before)

    def interrupted(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        hall.interrupt()

    def begin() -> None:
        signal.signal(signal.SIGINT, interrupted)
        if typed is not None:
            stack.enter_context(typed)
            _notice(HELP)

    return begin


def _read(asked: Asked, planned: Plan) -> Roll:
    from studio.prompt import Roll, check_heard

    events = asked.notes()
    check_heard(planned.name, events, [k for player in planned.players.values() for k in player.source.listens])
    return Roll(events)


def _notice(line: str) -> None:
    click.echo(line, err=True)


def _address(text: str | None, host: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    name, colon, port = text.rpartition(":")
    found = name if colon else host
    if not port.isdigit() or not found:
        raise click.UsageError(f"{text}: write it as {'[HOST:]PORT' if host else 'HOST:PORT'}")
    return found, int(port)
