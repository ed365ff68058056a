"""Minds: which there are and what they are made of, sheets, lines, planes, coasts, training of the house mind."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FrameType

import click
from click.core import ParameterSource

from studio.commands.mind_list import ls, show
from studio.commands.mind_sheet import sheet
from studio.commands.mind_space import coast, line, plane
from studio.commands.options import QUIET
from studio.console import Bar

#: What may be said of the training of a judge.
_OF_JUDGES = ("judge", "work", "out", "threads", "quiet")


@click.group("mind", invoke_without_command=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where minds compute.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fast", "float32", "float16", "bfloat16"]),
    help="How exactly; fast: bfloat16 on a CPU that multiplies it, float16 on a GPU.",
)
@click.option("--offload", is_flag=True, help="Keep on the GPU only what is computing: less memory, more time.")
@click.option("--slicing", is_flag=True, help="Attention and decoding a piece at a time: the same.")
@click.pass_context
def mind(context: click.Context, device: str | None, precision: str | None, offload: bool, slicing: bool) -> None:
    """Look into diffusion models, and operate on them.

    Where and how they compute may also be said by DESCANT_DEVICE, DESCANT_PRECISION, DESCANT_OFFLOAD=1 and
    DESCANT_SLICING=1, for every command that opens a mind.
    """
    said = {"DEVICE": device, "PRECISION": precision, "OFFLOAD": offload and "1", "SLICING": slicing and "1"}
    _say(context, {f"DESCANT_{name}": value for name, value in said.items() if value})
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _say(context: click.Context, variables: Mapping[str, str]) -> None:
    """Set variables of the environment, as long as the command runs."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)

    def unsay() -> None:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    context.call_on_close(unsay)


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
@click.option("--judge", is_flag=True, help="Train instead the judge that examines it, on the CPU.")
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
    judge: bool,
    threads: int,
    quiet: bool,
    **given: int | None,
) -> None:
    """Train the house mind. What was stopped, or killed, goes on with the same command."""
    from pieces.minds.house.training import Recipe
    from studio.config import home, limited
    from studio.minds import train_house

    work = work or home() / "training"
    if judge:
        _train_judge(context, out or work, threads, quiet)
        return
    recipe = Recipe(seed=seed, **{name: value for name, value in given.items() if value is not None})
    wished = False

    def wish(number: int, frame: FrameType | None) -> None:
        nonlocal wished
        if wished:
            raise KeyboardInterrupt
        wished = True
        click.echo("stopping after a checkpoint; once more to stop at once", err=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        context.call_on_close(partial(signal.signal, number, signal.signal(number, wish)))
    with limited(threads), Bar(quiet) as bar:
        made = train_house(work, out, recipe, device, bar, lambda: wished)
    if made is None:
        click.echo("stopped; the same command goes on", err=True)
        context.exit(1)
    folder, gate = made
    click.echo(
        f"{folder}: objects {gate.objects:.0%}, hats {gate.hat_when_asked:.0%}, none {gate.no_hat_otherwise:.0%} "
        f"right; the gate is {'passed' if gate.passed else 'not passed'}: README.md there says more"
    )


def _train_judge(context: click.Context, folder: Path, threads: int, quiet: bool) -> None:
    """Train the judge as it was trained; there is no other way."""
    from studio.config import limited
    from studio.minds import train_judge

    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE and name not in _OF_JUDGES:
            raise click.UsageError(f"--judge is trained in one way: leave out --{name.replace('_', '-')}")
    with limited(threads), Bar(quiet) as bar:
        path, trust = train_judge(folder, bar)
    click.echo(
        f"{path}: objects {trust.objects:.0%}, hats {trust.hats:.0%} seen, {trust.false_hats:.0%} imagined; "
        f"noise {trust.nothing:.0%} nothing"
    )


for verb in (ls, show, sheet, line, plane, coast):
    mind.add_command(verb)
