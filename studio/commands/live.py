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
    quiet: bool,
) -> None:
    """Perform PIECE in real time, played by keys, MIDI and OSC, and keep it as a take; Ctrl-C ends it.

    Without a PIECE it is Castro's performance in four parts; a number from 1 to 4 begins with that part.
    """
    from sonify.incoming import Inbox
    from studio.live import Hall, parse_controllers
    from studio.prompt import awaits, finest

    if midi_ports:
        from sonify import midi_in as ports

        emit("\n".join(ports.midi_ports(midi_backend)) or "no MIDI ports", False)
        return
    if (midi_clock or midi_virtual or cc) and not midi_in:
        raise click.UsageError("--midi-clock, --midi-virtual and --cc need --midi-in PORT")
    planned, inbox = _planned(piece, video), Inbox()
    hall = Hall(planned, inbox, controllers=parse_controllers(planned, cc), notice=_notice)
    if awaits(planned.piece):
        hall.grain = finest(planned.piece)
        keys = keys or (not (mid or midi_in or osc_in) and sys.stdin.isatty())
        hall.played = bool(keys or mid or midi_in)
    hall.roll = _read(mid, planned) if mid else None
    with ExitStack() as stack:
        hall.begun = _beginning(hall, inbox, keys, stack)
        if midi_in:
            from sonify.midi_in import MidiIn

            port = stack.enter_context(MidiIn(midi_in, virtual=midi_virtual, backend=midi_backend, inbox=inbox))
            hall.port, hall.clock = port, port.clock if midi_clock else None
        if osc_in:
            from sonify.osc_in import OscIn

            host, number = _address(osc_in, "127.0.0.1")
            stack.enter_context(OscIn(number, host=host, inbox=inbox))
        if osc_out:
            from sonify.osc import OscOut

            hall.out = stack.enter_context(OscOut(*_address(osc_out, None)))
        after = _filming(hall, stack) if video == "camera" else None
        perform_plan(context, planned, seed, out, ("wav",), stage=hall, after=after, quiet=quiet)


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


def _planned(name: str | None, video: str | None) -> Plan:
    """The piece that is performed, from the part that is asked for on, with its video."""
    from pieces.piece import find_piece
    from studio.plan import plan
    from studio.prompt import FOUR_PARTS, from_part, with_video

    part = int(name) if name and name.isdigit() else 1
    found, base = find_piece(FOUR_PARTS if name is None or name.isdigit() else name)
    if part != 1:
        found = from_part(found, part)
    if video is not None:
        found = with_video(found, video)
    return plan(FOUR_PARTS if name is None or name.isdigit() else name, found, base)


def _read(mid: Path, planned: Plan) -> Roll:
    from sonify.midi_in import read_midi
    from studio.prompt import Roll, check_heard

    events = read_midi(mid)
    check_heard(planned.name, events, [k for player in planned.players.values() for k in player.source.listens])
    return Roll(events)


def _notice(line: str) -> None:
    click.echo(line, err=True)


def _address(text: str, host: str | None) -> tuple[str, int]:
    name, colon, port = text.rpartition(":")
    found = name if colon else host
    if not port.isdigit() or not found:
        raise click.UsageError(f"{text}: write it as {'[HOST:]PORT' if host else 'HOST:PORT'}")
    return found, int(port)
