"""Performing in real time."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from studio.commands.make import perform_plan
from studio.commands.options import QUIET, SEED
from studio.console import emit


@click.command()
@click.argument("piece", required=False)
@SEED
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
    """Perform PIECE in real time, played by MIDI and OSC, and keep it as a take; Ctrl-C ends it."""
    from pieces.piece import find_piece
    from studio.live import Hall, parse_controllers
    from studio.plan import plan

    if midi_ports:
        from sonify import midi_in as ports

        emit("\n".join(ports.midi_ports(midi_backend)) or "no MIDI ports", False)
        return
    if piece is None:
        raise click.UsageError("say which PIECE: descant pieces lists them")
    if (midi_clock or midi_virtual or cc) and not midi_in:
        raise click.UsageError("--midi-clock, --midi-virtual and --cc need --midi-in PORT")
    found, base = find_piece(piece)
    planned = plan(piece, found, base)
    from sonify.incoming import Inbox

    inbox = Inbox()
    hall = Hall(
        planned, inbox, controllers=parse_controllers(planned, cc), notice=lambda line: click.echo(line, err=True)
    )
    with ExitStack() as stack:
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
        perform_plan(context, planned, seed, out, ("wav",), stage=hall, quiet=quiet)


def _notice(line: str) -> None:
    click.echo(line, err=True)


def _address(text: str, host: str | None) -> tuple[str, int]:
    name, colon, port = text.rpartition(":")
    found = name if colon else host
    if not port.isdigit() or not found:
        raise click.UsageError(f"{text}: write it as {'[HOST:]PORT' if host else 'HOST:PORT'}")
    return found, int(port)
