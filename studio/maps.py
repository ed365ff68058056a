"""Labelled maps of a mind's space for people, as PNG: lines, planes, random points, coasts with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pieces.minds.coast import LEVEL, Coast, Extent
from pieces.minds.space import grid as lattice
from studio.atlas import Panel, Shore, Strip
from studio.pictures.canvas import FAINT, GOAL, GROUND, INK, LEARNED, Colour, dim, mix, series_colours
from studio.pictures.sheet import hexadecimal, look, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Dots an inch; sizes of figures are in inches of so many pixels. Points a side of a chart as it is drawn.
DPI, FINE = 100, 600
#: Views on a chart: so many a side, out to this share of its radius, each so wide (half, in radii of the chart).
VIEWS, VIEWED, VIEW = 6, 0.9, 0.085
#: Colours that keep apart for colour-blind eyes (after Okabe & Ito 2008), the palette's amber first.
HUES: tuple[Colour, ...] = (
    LEARNED,
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (240, 228, 66),
    (0, 114, 178),
    (200, 200, 208),
)


def _figure(path: Path, size: tuple[float, float], title: str, subtitle: str, fill: Callable[[Figure], None]) -> None:
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(look(), after_reset=True):
        figure = Figure(figsize=size, dpi=DPI)
        FigureCanvasAgg(figure)
        top = 1 - 0.36 / size[1]
        figure.text(0.25 / size[0], top, title, fontsize=17, fontweight="bold", va="center")
        figure.text(
            0.25 / size[0], top - 0.3 / size[1], subtitle, fontsize=10, va="center", color=hexadecimal(dim(INK, 0.6))
        )
        fill(figure)
        write_figure(figure, path)


def _colours(concepts: Sequence[str]) -> dict[str, Colour]:
    """A colour for each concept, the one that is asked for first; nothing is grey."""
    return {**dict(zip(concepts, cycle(HUES), strict=False)), "nothing": dim(INK, 0.4)}


def _shown(axes: Axes, picture: NDArray[np.uint8], colour: Colour) -> None:
    """A picture in a frame."""
    axes.imshow(picture, interpolation="bicubic")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=hexadecimal(colour), linewidth=2)


def draw_line(path: Path, strip: Strip, concepts: Sequence[str], ends: tuple[str, str], subtitle: str) -> None:
    """Write a line: its pictures, a row a noise, over the scores of all concepts along it.

    Raises
    ------
    DescantError
        If the file cannot be written, as in all of these.
    """
    n, rows = strip.pictures.shape[:2]
    names, colours = [*concepts, "nothing"], _colours(concepts)
    strongest = [names[i] for i in strip.scores.argmax(axis=1)]
    size = (max(n * 1.15 + 0.9, 8.0), rows * 1.15 + 3.9)

    def fill(figure: Figure) -> None:
        grid = figure.add_gridspec(
            rows + 1, n, height_ratios=[*[1.0] * rows, 1.9], wspace=0.06, hspace=0.12,
            left=0.6 / size[0], right=1 - 0.3 / size[0], top=1 - 1.15 / size[1], bottom=0.5 / size[1],
        )  # fmt: skip
        for i in range(n):
            for row in range(rows):
                axes = figure.add_subplot(grid[row, i])
                _shown(axes, strip.pictures[i, row], colours[strongest[i]])
                if not row:
                    axes.set_title(
                        f"{strip.shares[i]:+.2f}\n{strongest[i]}", fontsize=8, color=hexadecimal(dim(INK, 0.75))
                    )
        axes = figure.add_subplot(grid[rows, :])
        for column, name in enumerate(names):
            if strip.scores[:, column].max() > 0.15:
                axes.plot(
                    strip.shares,
                    strip.scores[:, column],
                    "o-",
                    ms=3,
                    lw=1.6,
                    color=hexadecimal(colours[name]),
                    label=name,
                )
        for share, name in zip((0.0, 1.0), ends, strict=True):
            axes.axvline(share, color=hexadecimal(dim(INK, 0.5)), lw=0.9)
            axes.text(share, 1.03, name, fontsize=9, ha="center", color=hexadecimal(INK))
        step = (strip.shares[-1] - strip.shares[0]) / max(n - 1, 1) / 2 or 0.5
        axes.set(xlim=(strip.shares[0] - step, strip.shares[-1] + step), ylim=(-0.02, 1.02), ylabel="score")
        axes.set_xlabel("share of the way; below 0 and above 1 lies beyond the prompts")
        axes.legend(fontsize=8, frameon=False, loc="center left")

    _figure(path, size, f"From {ends[0]!r} to {ends[1]!r}, and beyond", subtitle, fill)


def draw_around(path: Path, strip: Strip, concepts: Sequence[str], prompt: str, subtitle: str) -> None:
    """Write pictures at random points at one distance from a prompt, with what they show."""
    names, colours = [*concepts, "nothing"], _colours(concepts)
    n = len(strip.pictures)
    columns = min(n, 10)
    rows = -(-n // columns)
    size = (max(columns * 1.3 + 0.5, 8.0), rows * 1.5 + 1.2)

    def fill(figure: Figure) -> None:
        grid = figure.add_gridspec(
            rows, columns, wspace=0.08, hspace=0.22,
            left=0.25 / size[0], right=1 - 0.25 / size[0], top=1 - 1.1 / size[1], bottom=0.1 / size[1],
        )  # fmt: skip
        for i in range(n):
            axes = figure.add_subplot(grid[i // columns, i % columns])
            best = int(strip.scores[i].argmax())
            _shown(axes, strip.pictures[i, 0], colours[names[best]])
            axes.set_title(f"{names[best]} {strip.scores[i, best]:.0%}", fontsize=8, color=hexadecimal(dim(INK, 0.75)))

    title = f"Around {prompt!r}, {strip.shares[0]:g} norms away in random directions"
    _figure(path, size, title, subtitle, fill)


def draw_plane(
    path: Path,
    panels: Sequence[Panel],
    concepts: Sequence[str],
    places: Mapping[str, tuple[float, float]],
    subtitle: str,
) -> None:
    """Write squares of a plane full of pictures, each picture framed in the colour of what it shows most."""
    names, colours = [*concepts, "nothing"], _colours(concepts)
    size = (len(panels) * 8.4 + 0.4, 9.9)
    seen: set[str] = set()

    def fill(figure: Figure) -> None:
        grid = figure.add_gridspec(
            1, len(panels), wspace=0.12, left=0.6 / size[0], right=1 - 0.2 / size[0], top=0.9, bottom=0.09
        )
        for column, panel in enumerate(panels):
            axes = figure.add_subplot(grid[column])
            best = [names[i] for i in panel.scores.argmax(axis=1)]
            seen.update(best)
            whole = _mosaic(panel.pictures[:, 0], [colours[b] for b in best])
            side = round(len(best) ** 0.5)
            reach = panel.radius * (side / max(side - 1, 1))
            axes.imshow(whole, extent=(-reach, reach, -reach, reach), interpolation="bilinear")
            axes.grid(False)
            _named(axes, places, reach)
            axes.set_xlabel("norms of the embedding")
            axes.set_title(f"radius {panel.radius:.3g}", loc="left", fontsize=9)
        _legend(figure, [(n, colours[n]) for n in names if n in seen])

    _figure(path, size, f"A plane through {next(iter(places))!r}", subtitle, fill)


def _mosaic(pictures: NDArray[np.uint8], colours: Sequence[Colour]) -> NDArray[np.uint8]:
    """Pictures ``[n * n, h, w, 3]`` as one, each in a frame, in the middle of a square."""
    count, (height, width) = round(len(pictures) ** 0.5), pictures.shape[1:3]
    longest = max(height, width)
    frame = max(2, longest // 24)
    side = longest + 2 * frame
    top, left = (side - height) // 2, (side - width) // 2
    squares = np.full((count * count, side, side, 3), GROUND, np.uint8)
    framed = squares[:, top - frame : top + height + frame, left - frame : left + width + frame]
    framed[:] = np.array(colours, np.uint8)[:, None, None]
    framed[:, frame:-frame, frame:-frame] = pictures
    return squares.reshape(count, count, side, side, 3).swapaxes(1, 2).reshape(count * side, count * side, 3)


def _named(axes: Axes, places: Mapping[str, tuple[float, float]], reach: float) -> None:
    """Prompts where they are, the first named to its left; those beyond the rim are left out."""
    for index, (name, (x, y)) in enumerate(places.items()):
        if max(abs(x), abs(y)) <= reach:
            axes.plot(x, y, "+", color=hexadecimal(INK), ms=11, mew=2.4)
            axes.annotate(
                name, (x, y), (8 if index else -8, 6), textcoords="offset points", fontsize=10, fontweight="bold",
                ha="left" if index else "right",
                bbox={"facecolor": hexadecimal(GROUND), "alpha": 0.7, "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip


def _legend(figure: Figure, named: Sequence[tuple[str, Colour]]) -> None:
    from matplotlib.patches import Patch

    figure.legend(
        handles=[Patch(color=hexadecimal(colour), label=name) for name, colour in named],
        loc="lower center",
        ncols=10,
        frameon=False,
        fontsize=9,
    )


def draw_coast(
    path: Path,
    shores: Sequence[Shore],
    views: Panel,
    concept: str,
    places: Mapping[str, tuple[float, float]],
    subtitle: str,
) -> None:
    """Write the map of a coast, the radii in all directions, and the extents with their intervals.

    The first shore is the mind's as it is; those that follow are under surgery and drawn as further coastlines. The
    views are what the mind as it is draws here and there on the chart.
    """
    size = (15.0, 9.2)
    colours = [LEARNED, *series_colours(max(len(shores) - 1, 2))[: len(shores) - 1]]

    def fill(figure: Figure) -> None:
        grid = figure.add_gridspec(
            2, 2, width_ratios=(1.45, 1), wspace=0.13, hspace=0.28, left=0.045, right=0.975, top=0.895, bottom=0.065
        )
        chart = figure.add_subplot(grid[:, 0])
        _map(chart, shores, colours)
        _views(chart, views)
        _named(chart, places, shores[0].coast.radius)
        _directions(figure.add_subplot(grid[0, 1]), shores, colours)
        _extents(figure.add_subplot(grid[1, 1]), shores, colours)

    _figure(path, size, f"The coast of {concept!r}", subtitle, fill)


def _map(axes: Axes, shores: Sequence[Shore], colours: Sequence[Colour]) -> None:
    """Land and sea, the coastline in each state, and where the mind was asked."""
    from matplotlib.colors import LinearSegmentedColormap

    chart = shores[0].coast
    sea, shallow, land = (hexadecimal(c) for c in (dim(GOAL, 0.12), dim(GOAL, 0.55), dim(LEARNED, 0.42)))
    sheet = LinearSegmentedColormap.from_list(
        "island", [(0, sea), (LEVEL - 0.001, shallow), (LEVEL, land), (1, hexadecimal(dim(LEARNED, 0.8)))]
    )
    x, y = np.meshgrid(chart.axis, chart.axis)
    fine = np.linspace(-chart.radius, chart.radius, FINE)
    points = np.stack(np.meshgrid(fine, fine), axis=-1)
    reach = (-chart.radius, chart.radius)
    image = axes.imshow(
        chart.score(points.reshape(-1, 2)).reshape(FINE, FINE), cmap=sheet, vmin=0, vmax=1, origin="lower",
        extent=(*reach, *reach), interpolation="nearest",
    )  # fmt: skip
    axes.figure.colorbar(image, ax=axes, fraction=0.035, pad=0.015, label="score")
    axes.plot(x[chart.asked], y[chart.asked], ".", ms=1.6, color=hexadecimal(INK), alpha=0.5, zorder=0.5)
    for index, (shore, colour) in reversed(list(enumerate(zip(shores, colours, strict=True)))):
        look: dict[str, Any] = {
            "color": hexadecimal(mix(colour, INK, 0.5) if not index else colour),
            "lw": 2.4 if not index else 1.3,
        }
        axes.plot([], [], label=(shore.label or "as it is") + ("" if shore.coast.shores else ": no shore"), **look)
        for line in shore.coast.shores:
            axes.plot(*line.T, **look)
    axes.set(xlim=reach, ylim=reach, aspect="equal")
    axes.grid(False)
    axes.set_xlabel(
        "norms of the embedding; small pictures: what the mind as it is draws there; dots: where it was asked"
    )
    axes.set_title(
        f"{_around(chart)}; {chart.land:.0%} land, pieces of it: {chart.islands}; {chart.asked.sum()} points asked",
        loc="left",
        fontsize=9,
    )
    if len(shores) > 1:
        axes.legend(
            fontsize=8, facecolor=hexadecimal(GROUND), edgecolor="none", framealpha=0.9, loc="lower right", reverse=True
        )


def _around(chart: Coast) -> str:
    """What lies around the prompt, in words."""
    if chart.around() is not None:
        return "the coast round the prompt is closed"
    at_sea = chart.score(np.zeros((1, 2)))[0] <= chart.level
    return "the prompt lies at sea" if at_sea else "the coast round the prompt is not closed on this chart"


def _views(axes: Axes, views: Panel) -> None:
    """Small pictures where they were drawn, below coastlines and names."""
    points = lattice(round(len(views.pictures) ** 0.5), views.radius)
    height, width = views.pictures.shape[2:4]
    right, up = (VIEW * views.radius / VIEWED * side / max(height, width) for side in (width, height))
    for (x, y), picture in zip(points, views.pictures[:, 0], strict=True):
        place = (x - right, x + right, y - up, y + up)
        axes.imshow(picture, extent=place, interpolation="bicubic", alpha=0.9, zorder=1)


def _directions(axes: Axes, shores: Sequence[Shore], colours: Sequence[Colour]) -> None:
    """Radii in random directions of the whole space, in order of the first state's."""
    first = shores[0]
    order = np.argsort(first.radii.middle, kind="stable")
    for shore, colour in zip(shores, colours, strict=True):
        middle, endless = shore.radii.middle[order], shore.radii.endless[order]
        axes.plot(np.arange(len(order)), middle, "-", lw=0.8, color=hexadecimal(dim(colour, 0.5)))
        axes.plot(np.flatnonzero(~endless), middle[~endless], "o", ms=5, color=hexadecimal(colour))
        axes.plot(np.flatnonzero(endless), middle[endless], "^", ms=6, color=hexadecimal(colour))
    roof = 1.08 * (max(float(s.radii.middle.max()) for s in shores) or 1.0)
    found = first.extent
    if found.bound != "no island":
        axes.axhspan(found.low, min(found.high, roof), color=hexadecimal(LEARNED), alpha=0.15, lw=0)
        axes.axhline(found.radius, color=hexadecimal(LEARNED), lw=1, ls="-" if found.bound == "measured" else "--")
    axes.set_ylim(-0.03 * roof, roof)
    axes.set_title(
        f"radius in {len(order)} random directions of the whole space (norms; ▲: no shore found)",
        loc="left",
        fontsize=9,
    )
    axes.set_xlabel("directions, nearest shore first")


def spoken(found: Extent) -> tuple[str, str]:
    """A radius and its interval in words, as ``">= 2.00"`` and ``"1.75 and more"``."""
    if found.bound == "no island":
        return found.bound, "-"
    radius = f"{'>= ' if found.bound == 'at least' else ''}{found.radius:.2f}"
    return radius, f"{found.low:.2f} " + (f"to {found.high:.2f}" if np.isfinite(found.high) else "and more")


def _extents(axes: Axes, shores: Sequence[Shore], colours: Sequence[Colour]) -> None:
    """Medians with their intervals, a state beside the other; what has no end found is an arrow."""
    ends = np.array([(s.extent.radius, s.extent.high) for s in shores])
    highest = float(ends[np.isfinite(ends)].max()) or 1.0
    for i, (shore, colour) in enumerate(zip(shores, colours, strict=True)):
        found, ink = shore.extent, hexadecimal(colour)
        if found.bound == "no island":
            axes.plot(i, 0, "x", ms=9, mew=2, color=ink)
            axes.annotate(" no island", (i, 0), (8, 0), textcoords="offset points", fontsize=8, va="center")
            continue
        is_open = not np.isfinite(found.high)
        top = 1.2 * highest if is_open else found.high
        axes.plot([i, i], [found.low, top], "-", lw=2, color=ink)
        axes.plot(i, found.low, "_", ms=14, mew=2, color=ink)
        axes.plot(i, top, "^" if is_open else "_", ms=10 if is_open else 14, mew=2, color=ink)
        axes.plot(i, found.radius, "o", ms=8, mew=2, color=ink, mfc=ink if found.bound == "measured" else "none")
        text = " {}\n {}".format(*spoken(found))
        axes.annotate(text, (i, found.radius), (8, 0), textcoords="offset points", fontsize=8, va="center")
    axes.set_xticks(range(len(shores)), [s.label or "as it is" for s in shores])
    axes.set_xlim(-0.5, len(shores) - 0.2)
    axes.set_ylim(-0.06 * highest, 1.3 * highest)
    axes.grid(True, axis="y", color=hexadecimal(FAINT))
    axes.set_title(
        f"their median, and {shores[0].extent.confidence:.0%} of its bootstrap (norms; ▲: no end found)",
        loc="left",
        fontsize=9,
    )


def facts(shores: Sequence[Shore]) -> list[dict[str, Any]]:
    """Numbers of a coast, state by state, for machines; None where there is no number, or no end."""
    return [
        {
            "state": s.label or "as it is",
            "bound": s.extent.bound,
            "radius": s.extent.radius,
            "low": s.extent.low if np.isfinite(s.extent.low) else None,
            "high": s.extent.high if np.isfinite(s.extent.high) else None,
            "confidence": s.extent.confidence,
            "endless": s.extent.endless,
            "radii": s.radii.middle.round(4).tolist(),
            "land": s.coast.land,
            "islands": s.coast.islands,
            "closed": s.coast.around() is not None,
            "asked": int(s.coast.asked.sum()),
        }
        for s in shores
    ]


def table(shores: Sequence[Shore]) -> list[dict[str, str]]:
    """The same for people."""
    return [
        {
            "state": s.label or "as it is",
            **dict(zip(("radius", "95%"), spoken(s.extent), strict=True)),
            "endless": f"{s.extent.endless:.0%}",
            "land": f"{s.coast.land:.0%}",
            "islands": str(s.coast.islands),
            "closed": "-" if s.extent.bound == "no island" else "yes" if s.coast.around() is not None else "no",
        }
        for s in shores
    ]
