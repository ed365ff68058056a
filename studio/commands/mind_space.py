"""``descant mind line``, ``plane`` and ``coast``: what lies between a mind's words, as labelled maps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from studio.commands.options import JSON, QUIET, SEED, Finite
from studio.console import Bar, columns, emit

if TYPE_CHECKING:
    from studio.atlas import Atlas

F = TypeVar("F", bound=Callable[..., Any])
_SIDE = "Of the pictures, in pixels; default: the mind's own."


def _common(command: F) -> F:
    """Options that the three share."""
    for option in reversed(
        (
            click.argument("mind", default="house"),
            click.option("--concepts", metavar="A;B", help="Captions that the CLIP chooses between."),
            click.option("--clip", help="Folder or hub name of the CLIP that scores; default: the mind's own."),
            click.option("--steps", type=click.IntRange(1, 200), default=20, show_default=True, help="A picture's."),
            click.option("--guidance", type=Finite(0, 15), default=3.0, show_default=True, help="Of the point."),
            click.option("--noises", type=click.IntRange(1, 16), default=1, show_default=True, help="At each point."),
            click.option("--batch", type=click.IntRange(1, 256), default=16, show_default=True, help="Drawn together."),
            click.option("--height", type=click.IntRange(8, 8192), help=_SIDE),
            click.option("--width", type=click.IntRange(8, 8192), help=_SIDE),
            SEED,
            click.option(
                "--out",
                type=click.Path(path_type=Path, file_okay=False),
                default=".",
                show_default=True,
                help="Folder for the map.",
            ),
            QUIET,
        )
    ):
        command = option(command)
    return command


@contextmanager
def _atlas(prompt: str, given: dict[str, Any]) -> Iterator[tuple[Atlas, Path]]:
    """The atlas that was asked for, and the folder for its map; what was kept is cleared when the map is there."""
    from pieces.minds.concepts import CONCEPTS
    from pieces.minds.mind import Settings
    from studio.atlas import Asked, Atlas
    from studio.config import home, limited, threads
    from studio.files import check_folder

    check_folder(given["out"])
    captions = tuple(c.strip() for c in (given["concepts"] or "").split(";") if c.strip()) or CONCEPTS
    settings = Settings(given["steps"], given["guidance"])
    place = Path(given["mind"]).expanduser()
    mind = str(place.resolve()) if given["mind"] != "house" and place.exists() else given["mind"]
    more = {name: given[name] or 0 for name in ("seed", "noises", "batch", "height", "width")}
    asked = Asked(mind, given["clip"] or "", captions, settings, **more)
    with limited(threads()), Bar(given["quiet"]) as bar:
        atlas = Atlas(asked, prompt, home() / "sweeps", bar)
        _tell([*atlas.mind.news(), *atlas.mind.notices(prompt)], given["quiet"])
        yield atlas, given["out"]
    _tell(atlas.mind.news(), given["quiet"])
    atlas.forget()


def _tell(lines: list[str], quiet: bool) -> None:
    """What a user should know: of the prompt, and of memory that ran out."""
    for line in [] if quiet else lines:
        click.echo(f"note: {line}", err=True)


def _file(folder: Path, *words: str) -> Path:
    """A name made of words."""
    return folder / (re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-") + ".png")


def _about(given: dict[str, Any]) -> str:
    noises = f", {given['noises']} noises a point" if given["noises"] > 1 else ""
    return f"{given['mind']} mind, seed {given['seed']}{noises}, {given['steps']} steps, guidance {given['guidance']:g}"


@click.command()
@_common
@click.option("--from", "start", default="a dog", show_default=True, help="Prompt at 0.")
@click.option("--to", "end", default="a cat", show_default=True, help="Prompt at 1.")
@click.option(
    "--beyond", type=Finite(0, 20), default=1.0, show_default=True, help="How far on, in lengths of the line."
)
@click.option("--pictures", type=click.IntRange(2, 200), default=15, show_default=True, help="Along the line.")
def line(start: str, end: str, beyond: float, pictures: int, **given: Any) -> None:
    """Draw the straight line between two prompts of MIND, and on beyond both of them.

    What was stopped (Ctrl-C), or killed, goes on with the same command, as with plane and coast.
    """
    import numpy as np

    from studio.maps import draw_line

    with _atlas(start, given) as (atlas, out):
        strip = atlas.line(end, np.linspace(-beyond, 1 + beyond, pictures))
        path = _file(out, "line", start, end)
        draw_line(path, strip, atlas.concepts, (start, end), _about(given))
    click.echo(path)


@click.command()
@_common
@click.option("--prompt", default="a cat", show_default=True, help="In the middle.")
@click.option("--right", default="", help="Prompt to its right; default: a random direction.")
@click.option("--above", default="", help="Prompt above; default: a random direction.")
@click.option("--radius", type=Finite(0.001, 100), default=1.0, show_default=True, help="Half the side, in norms.")
@click.option("--side", type=click.IntRange(2, 60), default=9, show_default=True, help="Pictures a side.")
@click.option("--zooms", type=click.IntRange(1, 8), default=1, show_default=True, help="Squares, ever smaller.")
@click.option("--closest", type=Finite(0.001, 100), help="Radius of the last zoom; default: a tenth of the first.")
@click.option("--around", type=click.IntRange(1, 500), help="Instead: so many random points at that radius.")
def plane(
    prompt: str,
    right: str,
    above: str,
    radius: float,
    side: int,
    zooms: int,
    closest: float | None,
    around: int | None,
    **given: Any,
) -> None:
    """Draw a plane of MIND through a prompt, once or in zooms; or random points around it."""
    from studio.maps import draw_around, draw_plane

    with _atlas(prompt, given) as (atlas, out):
        if around:
            path = _file(out, "around", prompt)
            draw_around(path, atlas.around(radius, around), atlas.concepts, prompt, _about(given))
        else:
            panels = atlas.plane(right, above, radius, side, zooms, closest or radius / 10)
            path = _file(out, "plane", prompt, right, above)
            draw_plane(path, panels, atlas.concepts, atlas.places(right, above), _about(given))
    click.echo(path)


def _strengths(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...]:
    try:
        return () if text is None else tuple(float(word) for word in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r}: give numbers with commas between, as 0.1,0.2,0.4") from None


#: Strengths of surgeries where nobody gives others: under these the house mind still draws what it is asked for.
STRENGTHS = {
    "hal": (0.02, 0.05, 0.1),
    "noise": (0.1, 0.2, 0.3),
    "down": (0.9, 0.8, 0.7),
    "up": (1.1, 1.2, 1.3),
}


@click.command()
@_common
@click.option("--prompt", default="a cat", show_default=True, help="On the island.")
@click.option("--right", default="", help="Prompt to its right; default: a random direction.")
@click.option("--above", default="", help="Prompt above; default: a random direction.")
@click.option("--radius", type=Finite(0.001, 100), default=8.0, show_default=True, help="Half the chart, in norms.")
@click.option("--cells", type=click.IntRange(2, 64), default=8, show_default=True, help="Squares a side at first.")
@click.option("--depth", type=click.IntRange(0, 5), default=2, show_default=True, help="Refinements along the coast.")
@click.option("--directions", type=click.IntRange(2, 500), default=16, show_default=True, help="Of the radii.")
@click.option("--furthest", type=Finite(0.01, 100), default=12.0, show_default=True, help="Where the search ends.")
@click.option("--surgery", type=click.Choice(["hal", "noise", "down", "up"]), help="Chart it again under this.")
@click.option("--strengths", callback=_strengths, metavar="A,B,C", help="Of the surgery, in this order.")
@JSON
def coast(
    prompt: str,
    right: str,
    above: str,
    surgery: str | None,
    strengths: tuple[float, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Chart the coast of a prompt's concept in MIND on a plane, and how far it reaches in many directions.

    Radii are found by bisection; the interval is of their median over the directions. Where no shore is found before
    --furthest in half of them or more, the radius is a lower bound (>=). With --surgery the chart is drawn again under
    a surgery of the whole UNet at each strength.
    """
    from studio.atlas import Sizes, check_strengths, operations_of
    from studio.maps import VIEWED, VIEWS, draw_coast, facts, table

    if strengths and not surgery:
        raise click.UsageError("--strengths are those of a --surgery: give one")
    if surgery:
        strengths = strengths or STRENGTHS[surgery]
        check_strengths(surgery, strengths)
    with _atlas(prompt, given) as (atlas, out):
        operations = operations_of(atlas.mind, surgery, strengths, given["seed"]) if surgery else []
        sizes = Sizes(**{f.name: given[f.name] for f in fields(Sizes)})
        shores = atlas.coast(right, above, sizes, operations)
        (views,) = atlas.plane(right, above, VIEWED * sizes.radius, VIEWS, 1, 0.0)
        path = _file(out, "coast", prompt, right, above, surgery or "")
        draw_coast(path, shores, views, atlas.concept, atlas.places(right, above), _about(given))
    if as_json:
        emit({"map": str(path), "shores": facts(shores)}, as_json)
    else:
        rows = table(shores)
        emit(f"{columns(rows, list(rows[0]))}\n{path}", as_json)
