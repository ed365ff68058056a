"""``descant mind sheet``: a mind under surgery, picture by picture."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from studio.commands.options import QUIET, SEED, Finite
from studio.console import Bar

if TYPE_CHECKING:
    from db.archive import Archive


@click.command()
@click.argument("mind", default="house")
@click.option(
    "--surgery",
    type=click.Choice(["knockout", "hal", "randomise", "noise", "down", "up"]),
    default="knockout",
    show_default=True,
)
@click.option("--prompt", help="What is drawn.")
@click.option("--part", type=click.Choice(["unet", "text_encoder", "text_encoder_2", "vae", "all"]), default="unet")
@click.option("--layer", help="Kind of layer: Conv2d, Linear, GroupNorm, LayerNorm; default all.")
@click.option("--modules", metavar="PATTERN", help="Only modules of such names: 'mid_block.*'.")
@click.option("--depth", type=(Finite(0, 1), Finite(0, 1)), metavar="FROM TO", help="Only those so far in: 0 to 1.")
@click.option("--half", type=click.Choice(["both", "left", "right"]), default="both", help="Half that is struck.")
@click.option("--count", type=click.IntRange(1, 10_000), help="At most so many modules, evenly spread.")
@click.option("--grades", type=click.IntRange(2, 1000), help="Grades of damage of hal, noise, down, up.")
@click.option("--most", type=Finite(0.001, 8), help="Last grade; default: as far as this mind bears, measured once.")
@click.option("--concepts", metavar="A;B", help="Captions to compare with, that which is asked for first.")
@click.option("--clip", help="Folder or hub name of the CLIP that scores; default: the mind's own.")
@click.option("--steps", type=click.IntRange(1, 200), help="Denoising steps of a picture.")
@click.option("--guidance", type=Finite(0, 15), help="How strongly the prompt is followed.")
@click.option("--height", type=click.IntRange(8, 8192), help="Of the pictures, in pixels; default: the mind's own.")
@click.option("--width", type=click.IntRange(8, 8192), help="The same.")
@click.option("--batch", type=click.IntRange(1, 256), help="Pictures drawn together, where they fit in memory.")
@SEED
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files.")
@QUIET
@click.pass_context
def sheet(context: click.Context, /, seed: int, out: Path | None, quiet: bool, **given: Any) -> None:
    """Operate on MIND in every way of one kind, and keep pictures, sound and a labelled sheet as a take.

    What was stopped (Ctrl-C), or killed, goes on with the same command.
    """
    from studio.commands.make import perform_plan
    from studio.config import home, limited, threads
    from studio.files import check_folder
    from studio.sheets import drawn, planned, sheet_of

    if out:
        check_folder(out)
    with limited(threads()), Bar(quiet) as bar:
        plan, measured = planned(_inputs(given), _controls(given), seed, home() / "ranges", bar)
        sweep, said = drawn(plan, seed, home() / "sweeps", bar)
    for line in [] if quiet else dict.fromkeys(measured + said):
        click.echo(f"note: {line}", err=True)

    def after(archive: Archive, take_id: str) -> None:
        made = sheet_of(archive, take_id)
        if out:
            made = Path(shutil.copyfile(made, out / f"alien-{take_id}-surgeries.png"))
        if not quiet:
            click.echo(f"sheet     {made}")
        sweep.clear()

    perform_plan(context, plan, seed, out, ("wav", "png"), after=after, quiet=quiet)


def _inputs(given: dict[str, Any]) -> dict[str, str]:
    """What was said, as inputs of `alien`; folders by their whole paths, since takes outlive places."""
    said = {name: given[name] for name in ("prompt", "modules", "concepts") if given[name]}
    places = {name: given[name] for name in ("mind", "clip") if given[name]}
    for name, place in places.items():
        folder = Path(place).expanduser()
        said[name] = str(folder.resolve()) if place != "house" and folder.exists() else place
    return said


def _controls(given: dict[str, Any]) -> dict[str, Any]:
    """What was said, as controls of `alien`."""
    names = ("surgery", "part", "layer", "half", "grades", "most", "steps", "guidance", "height", "width", "batch")
    said = {name: given[name] for name in names if given.get(name) is not None}
    if given["count"]:
        said["modules"] = given["count"]
    if given["depth"]:
        said["from_depth"], said["to_depth"] = given["depth"]
    return said
