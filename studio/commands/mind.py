"""Minds: what there is of them, sheets, lines, planes, coasts, and the training of the house mind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType

import click

from studio.commands.mind_sheet import sheet
from studio.commands.mind_space import coast, line, plane
from studio.commands.options import QUIET
from studio.console import Bar


@click.group("mind", invoke_without_command=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where minds compute.")
@click.option("--precision", type=click.Choice(["auto", "float32", "float16", "bfloat16"]), help="How exactly.")
@click.option("--offload", is_flag=True, help="Keep on the GPU only what is computing: less memory, more time.")
@click.option("--slicing", is_flag=True, help="Attention and decoding a piece at a time: the same.")
@click.pass_context
def mind(context: click.Context, device: str | None, precision: str | None, offload: bool, slicing: bool) -> None:
    """Look into diffusion models, and operate on them.

    Where and how they compute may also be said by DESCANT_DEVICE, DESCANT_PRECISION, DESCANT_OFFLOAD=1 and
    DESCANT_SLICING=1, for every command.
    """
    said = {"DEVICE": device, "PRECISION": precision, "OFFLOAD": offload and "1", "SLICING": slicing and "1"}
    os.environ.update({f"DESCANT_{name}": value for name, value in said.items() if value})
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@mind.command()
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), help="Folder of the training.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the finished mind.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="Of drawings and weights.")
@click.option("--drawings", type=click.IntRange(1000, 10**6), help="Drawings that it learns from.")
@click.option("--vae-steps", type=click.IntRange(20), help="Steps of the first stage.")
@click.option("--clip-steps", type=click.IntRange(20), help="Steps of the second.")
@click.option("--unet-steps", type=click.IntRange(20), help="Steps of the third.")
@click.option("--eye-steps", type=click.IntRange(20), help="Steps of the fourth.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Threads of the CPU.")
@QUIET
@click.pass_context
def train(
    context: click.Context,
    /,
    work: Path | None,
    out: Path | None,
    device: str,
    seed: int,
    threads: int,
    quiet: bool,
    **given: int | None,
) -> None:
    """Train the house mind. What was stopped, or killed, goes on with the same command."""
    from pieces.minds.house.training import Recipe
    from studio.config import home, limited
    from studio.minds import train_house

    recipe = Recipe(seed=seed, **{name: value for name, value in given.items() if value is not None})
    wished = False

    def wish(number: int, frame: FrameType | None) -> None:
        nonlocal wished
        if wished:
            raise KeyboardInterrupt
        wished = True
        click.echo("stopping after a checkpoint; once more to stop at once", err=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, wish)
    with limited(threads), Bar(quiet) as bar:
        made = train_house(work or home() / "training", out, recipe, device, bar, lambda: wished)
    if made is None:
        click.echo("stopped; the same command goes on", err=True)
        context.exit(1)
    folder, gate = made
    click.echo(
        f"{folder}: objects {gate.objects:.0%}, hats {gate.hat_when_asked:.0%}, none {gate.no_hat_otherwise:.0%} "
        f"right; the gate is {'passed' if gate.passed else 'not passed'}: README.md there says more"
    )


for verb in (sheet, line, plane, coast):
    mind.add_command(verb)
