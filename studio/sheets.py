"""Sheets of a mind under surgery: drawn as a sweep, performed as a take, written as one labelled picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from pieces.minds.alien import PROMPT, VISIBLE, Alien
from pieces.minds.concepts import concepts_of
from pieces.minds.mind import PARTS
from pieces.minds.ranges import TRIED, Ranges, keep, known, measure, scan, scorer, scores
from pieces.piece import find_piece
from pieces.signals import FrameBlock
from studio.config import versions
from studio.pictures.canvas import BREAK, GOAL, GROUND, INK, LEARNED, Colour, dim
from studio.rendering import Progress, silent
from studio.sweep import Sweep, sweep_of

if TYPE_CHECKING:
    from db.archive import Archive
    from studio.plan import Plan

#: Largest width of a sheet in pixels; a cell's picture is between these sides; lines of a label and their height.
WIDTH, SIDES, LINES, LINE = 1920, (96, 256), 4, 12
_GAP, _HEAD = 6, 64


def planned(
    inputs: Mapping[str, str], controls: Mapping[str, Any], seed: int, ranges: Path, progress: Progress = silent
) -> tuple[Plan, list[str]]:
    """The plan of a sheet: the piece `alien` with inputs and controls; grades end where this mind's concept is lost.

    Returns the plan, and what a user should know of how that was measured (a line each).

    Parameters
    ----------
    ranges : Path
        Folder for the ranges of minds whose own cannot be written, and for scores of what is being measured.

    Raises
    ------
    DescantError
        If anything that was given is wrong; the line says what is allowed.
    """
    from studio.plan import plan

    piece, base = find_piece("alien")
    part = next(iter(piece.parts))
    given = {**piece.parts[part].controls, "modules": 0, **controls}
    piece = piece.with_values({f"parts.{part}.controls": given, f"parts.{part}.inputs": dict(inputs)})
    found = plan("alien", piece, base)
    source = _source(found, seed)
    if not (source.surgery in TRIED and not controls.get("most") and _is_whole(given, inputs)):
        return found, []
    end = _most(source, str(given.get("part", "unet")), ranges, progress)
    return plan("alien", piece.with_controls({"most": end}), base), source.bench.mind.news()


def _source(plan: Plan, seed: int) -> Alien:
    """The source of a plan's first part."""
    player = next(iter(plan.players.values()))
    return Alien(seed + player.part.seed, player.controls, player.inputs)


def _is_whole(controls: Mapping[str, Any], inputs: Mapping[str, str]) -> bool:
    """Whether a sheet is of all of a part, for which ranges are measured."""
    picked = {"modules": 0, "layer": "all", "from_depth": 0.0, "to_depth": 1.0, "half": "both"}
    named = controls.get("part", "unet") in PARTS and not inputs.get("modules")
    return named and all(controls.get(name, whole) == whole for name, whole in picked.items())


def _most(source: Alien, part: str, elsewhere: Path, progress: Progress) -> float:
    """The damage of a part at which a mind has lost its concept, measured where nobody knows it yet."""
    progress("mind", 0, 0)
    bench, surgery = source.bench, source.surgery
    found = known(bench.mind, bench.eye, elsewhere, part)
    if found is None or surgery not in found.lost:
        sweep = sweep_of(elsewhere, "scores", {**scan(surgery, part), **bench.identity, **versions()})
        found = _measured(source, part, sweep, progress)
        keep(found, bench.mind, elsewhere)
        sweep.clear()
    return found.most(surgery)


def _measured(source: Alien, part: str, sweep: Sweep, progress: Progress) -> Ranges:
    """What a part bears, each score a batch of a sweep: those that an earlier run kept are not drawn again."""
    given = (source.bench.mind, source.bench.eye, source.surgery, part)
    draw, asked = scorer(*given), list[float]()
    batches: Any = sweep.each(scores(), lambda k: {"score": np.array(draw(asked[k]))}, progress, "ranges")
    with closing(batches):

        def score(damage: float) -> float:
            asked.append(damage)
            return float(next(batches)[1]["score"])

        return measure(*given, score)


def drawn(plan: Plan, seed: int, folder: Path, progress: Progress = silent) -> tuple[Sweep, list[str]]:
    """Draw the pictures of a planned sheet; those that an earlier run kept in `folder` are not drawn again.

    The process remembers them, so that the plan's performance finds them. Returns the sweep, and what a user should
    know of how the mind was opened and what its memory held (a line each).

    Raises
    ------
    DescantError
        If mind or modules are wrong, or another process is drawing the same sheet.
    """
    source = _source(plan, seed)
    progress("mind", 0, 0)
    sweep = sweep_of(folder, "sheet", {"sheet": source.sheet, **source.bench.identity, **versions()})
    for k, arrays in sweep.each(source.batches, source.batch, progress, "draw"):
        source.remember(k, arrays)
    return sweep, list(source.bench.mind.said)


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet: its pixels, its label, the colour of its verdict, and how much has changed."""

    picture: NDArray[np.uint8]
    label: tuple[str, ...]
    colour: Colour
    effect: float


def cells(blocks: Iterable[FrameBlock], concepts: Sequence[str]) -> list[Cell]:
    """The pictures of a take of `alien`, that without surgery first, then sorted by effect."""
    found: list[Cell] = []
    for block in blocks:
        told = {e.tick: e.data for e in block.events if e.kind == "surgery"}
        for i in range(block.ticks):
            tick, row = block.first_tick + i, {name: array[i] for name, array in block.arrays.items()}
            found.append(_cell(tick, row, told.get(tick, {}), concepts))
    return [*found[:1], *sorted(found[1:], key=lambda cell: cell.effect)]


def _cell(tick: int, row: Mapping[str, Any], told: Mapping[str, Any], concepts: Sequence[str]) -> Cell:
    effect, best = float(row["distance_pixels"]), int(row["strongest"])
    what = concepts[best] if best < len(concepts) else "nothing"
    score = float(row["scores"][best])
    name = str(told.get("name", f"tick {tick}"))
    colour = LEARNED if best == 0 else BREAK if best == len(concepts) else GOAL
    whole = f", complete {float(row['complete']):.0%}" if best == 0 else ""
    moved = effect >= VISIBLE or not tick
    label = (*_broken(name), f"effect {effect:.1%}", f"{what} {score:.0%}{whole}")
    return Cell(_small(row["picture"]), label, colour if moved or best else dim(INK, 0.5), effect)


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture no larger than it is ever shown: a sheet of a large mind's whole pictures takes gigabytes."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((SIDES[1], SIDES[1]), Image.Resampling.BICUBIC)
    return np.asarray(image)


#: What stands for the longest words of module names, so that a name fits under its picture.
_SHORT = (
    ("down_blocks", "down"),
    ("up_blocks", "up"),
    ("mid_block", "mid"),
    ("transformer_blocks", "block"),
    ("attentions", "attention"),
    ("text_encoder", "text"),
    ("encoder.layers", "layer"),
    ("unet.", ""),
)


def _broken(name: str) -> tuple[str, str]:
    """A module's name on two lines."""
    for long, short in _SHORT:
        name = name.replace(long, short)
    words = name.split(".")
    half = (len(words) + 1) // 2 if len(name) > 18 else len(words)
    return ".".join(words[:half]), ".".join(words[half:])


def write(path: Path, shown: Sequence[Cell], title: str, subtitle: str) -> None:
    """Write a sheet as a PNG of at most 1920 pixels' width.

    Raises
    ------
    DescantError
        If the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    columns = int(np.clip(round((len(shown) * 1.6) ** 0.5), 4, WIDTH // (SIDES[0] + _GAP)))
    side = min((WIDTH - _GAP) // columns - _GAP, SIDES[1])
    pitch, high = side + _GAP, side + LINES * LINE + 2 * _GAP
    rows = -(-len(shown) // columns)
    image = Image.new("RGB", (max(columns * pitch + _GAP, 640), _HEAD + rows * high + _GAP), GROUND)
    pen = ImageDraw.Draw(image)
    large, small = ImageFont.load_default(24), ImageFont.load_default(10)
    pen.text((_GAP, 6), title, INK, font=large)
    pen.text((_GAP, 40), subtitle, dim(INK, 0.6), font=ImageFont.load_default(13))
    for i, cell in enumerate(shown):
        x, y = _GAP + (i % columns) * pitch, _HEAD + (i // columns) * high
        pen.rectangle((x - 2, y - 2, x + side + 1, y + side + 1), cell.colour)
        shown_as = ImageOps.contain(Image.fromarray(cell.picture), (side, side), Image.Resampling.BICUBIC)
        image.paste(shown_as, (x + (side - shown_as.width) // 2, y + (side - shown_as.height) // 2))
        for line, text in enumerate(cell.label):
            light = cell.colour if line == len(cell.label) - 1 else dim(INK, 0.8 if line < 2 else 0.55)
            pen.text((x, y + side + 3 + line * LINE), _fitting(text, small, side), light, font=small)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        image.save(part, format="png")
        part.replace(path)
    except OSError as error:
        raise DescantError(f"{path}: the sheet cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _fitting(text: str, font: Any, width: int) -> str:
    while text and font.getlength(text) > width:
        text = text[:-1]
    return text


def sheet_of(archive: Archive, take_id: str) -> Path:
    """The labelled sheet of a take of `alien`, made and kept with the take."""
    from studio.rendering import final_piece, workspace

    take = archive.take(take_id)
    piece = final_piece(archive, take)
    part = next(name for name, p in piece.parts.items() if p.source == "alien")
    given, controls = piece.parts[part].inputs, piece.parts[part].controls
    prompt = given.get("prompt", PROMPT)
    wanted = ("distance_pixels", "strongest", "complete", "scores", "picture")
    blocks = archive.blocks(take.id, wanted, part=part)
    shown = cells(blocks, concepts_of(prompt, given.get("concepts", "")))
    unmoved = sum(cell.effect < VISIBLE for cell in shown[1:])
    title = f"{controls.get('surgery', 'knockout')}: {prompt}"
    about = f"{Path(given.get('mind', 'house')).name} mind, seed {take.seed}; {len(shown) - 1} surgeries by effect"
    with workspace(archive) as folder:
        write(
            folder / "surgeries.png", shown, title, f"{about}; {unmoved} without visible effect (below {VISIBLE:.1%})"
        )
        return archive.add_media(take.id, "surgeries", folder / "surgeries.png").path
