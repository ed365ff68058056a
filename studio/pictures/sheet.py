"""Sheets: labelled pictures for people, with times, plots and the sound's spectrogram. A sheet is no artefact."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from pieces.signals import Channel, Frames
from studio.pictures.canvas import BREAK, FAINT, GOAL, GROUND, INK, Colour, dim, mix, series_colours
from studio.pictures.view import scalars, signal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from studio.pictures.scene import Scene

#: Pictures on a sheet (two rows), channels plotted, and the size in pixels.
MOMENTS, PLOTTED, SIZE = 6, 6, (1600, 1000)
#: Points drawn of a long signal.
POINTS = 2000


def sheet(
    scene: Scene,
    parts: Mapping[str, Frames],
    title: str,
    subtitle: str,
    path: Path,
    *,
    channels: Mapping[str, Sequence[Channel]] | None = None,
    waveform: NDArray[np.float32] | None = None,
    sample_rate: int = 48000,
) -> None:
    """Write a labelled PNG of 1600 x 1000 pixels.

    Parameters
    ----------
    scene : Scene
        How it looks.
    parts : mapping of str to Frames
        Every part in the time of the piece, with the scalars to plot (six that vary, of all parts in turn).
    title, subtitle : str
        Plain text.
    path : Path
        The file to write; replaced when it is complete.
    channels : mapping, optional
        Part → declarations that give the plots their units.
    waveform : ndarray, optional
        Sound ``[n, 2]`` at `sample_rate` (Hz) whose spectrogram is shown.

    Raises
    ------
    DescantError
        If the view cannot be drawn or the file cannot be written.
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(look(), after_reset=True):
        figure = Figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100)
        FigureCanvasAgg(figure)
        _head(figure, parts, scene.duration, title, subtitle)
        grid = figure.add_gridspec(
            1, 2, width_ratios=(1.02, 1), left=0.028, right=0.975, top=0.885, bottom=0.062, wspace=0.13
        )
        _moments(figure, grid[0], scene)
        units = {(part, c.name): c.unit for part, declared in (channels or {}).items() for c in declared}
        _plots(figure, grid[1], parts, scene.duration, units, waveform, sample_rate)
        write_figure(figure, Path(path))


def hexadecimal(colour: Colour) -> str:
    """A colour as matplotlib takes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def look() -> dict[str, Any]:
    """Matplotlib's settings for everything that is drawn on a sheet."""
    quiet, ground = hexadecimal(dim(INK, 0.55)), hexadecimal(GROUND)
    return {
        "figure.facecolor": ground,
        "axes.facecolor": hexadecimal(mix(GROUND, FAINT, 0.35)),
        "axes.edgecolor": hexadecimal(FAINT),
        "axes.labelcolor": quiet,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": hexadecimal(FAINT),
        "grid.linewidth": 0.6,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": hexadecimal(INK),
        "text.parse_math": False,
        "xtick.color": quiet,
        "ytick.color": quiet,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
    }


def _head(figure: Figure, parts: Mapping[str, Frames], duration: float, title: str, subtitle: str) -> None:
    figure.text(0.028, 0.948, title, fontsize=23, fontweight="bold", color=hexadecimal(INK))
    figure.text(0.028, 0.918, subtitle, fontsize=11, color=hexadecimal(dim(INK, 0.6)))
    ticks = sum(frames.ticks for frames in parts.values())
    rates = ", ".join(f"{frames.rate:g}" for frames in parts.values())
    facts = f"{duration:.1f} s   {ticks:,} ticks at {rates} a second"
    figure.text(0.975, 0.918, facts, fontsize=11, ha="right", color=hexadecimal(dim(INK, 0.6)))


def _moments(figure: Figure, place: Any, scene: Scene) -> None:
    """Pictures over time, closer together at the beginning, where most things happen."""
    grid = place.subgridspec(MOMENTS // 2, 2, wspace=0.04, hspace=0.12)
    moments = max(scene.duration - 1e-3, 0.0) * np.linspace(0, 1, MOMENTS) ** 1.6
    for k, seconds in enumerate(moments.tolist()):
        axes = figure.add_subplot(grid[k // 2, k % 2])
        box = axes.get_position()
        width, height = round(box.width * SIZE[0]), round(box.height * SIZE[1])
        axes.imshow(scene.draw(seconds, width, height), interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        axes.set_title(f"{seconds:.2f} s", loc="left", fontsize=10, color=hexadecimal(dim(INK, 0.7)), pad=4)


def _main_channels(parts: Mapping[str, Frames]) -> list[tuple[str, str]]:
    """Part and name of the channels to plot: those that vary, of each part in turn."""
    varying = []
    for part, frames in parts.items():
        known = scalars(frames) if frames.ticks else []
        found = [n for n in known if np.ptp(signal(frames, n)) > 0] or known
        varying.append([(part, name) for name in found])
    in_turn = (channel for row in zip_longest(*varying) for channel in row)
    return [channel for channel in in_turn if channel is not None][:PLOTTED]


def _plots(
    figure: Figure,
    place: Any,
    parts: Mapping[str, Frames],
    duration: float,
    units: Mapping[tuple[str, str], str],
    waveform: NDArray[np.float32] | None,
    sample_rate: int,
) -> None:
    names = _main_channels(parts)
    heights = [1.0] * len(names) + ([1.9] if waveform is not None else [])
    if not heights:
        return
    grid = place.subgridspec(len(heights), 1, height_ratios=heights, hspace=0.34)
    end = max(duration, len(waveform) / sample_rate if waveform is not None else 0.0)
    for row, ((part, name), colour) in enumerate(zip(names, series_colours(len(names)), strict=True)):
        axes = figure.add_subplot(grid[row])
        _plot(axes, parts[part].starts, signal(parts[part], name), colour)
        unit = units.get((part, name), "")
        label = name.replace("_", " ") + (f"  ({unit})" if unit else "")
        axes.set_title(f"{part}: {label}" if len(parts) > 1 else label, loc="left", fontsize=9, pad=3)
        _events(axes, parts[part], label=(part, name) == next(n for n in names if n[0] == part))
        axes.set_xlim(0, end)
        axes.tick_params(labelbottom=row == len(heights) - 1)
    if waveform is not None:
        axes = figure.add_subplot(grid[len(names)])
        _spectrogram(axes, waveform, sample_rate)
        axes.set_xlim(0, end)
    figure.axes[-1].set_xlabel("time (s)")


def _plot(axes: Axes, times: NDArray[np.float64], values: NDArray[np.float64], colour: Colour) -> None:
    """A signal over seconds; of a long one the lowest and highest of each stretch."""
    if len(values) > 2 * POINTS:
        cuts = np.linspace(0, len(values), POINTS, endpoint=False).astype(int)
        low, high = np.minimum.reduceat(values, cuts), np.maximum.reduceat(values, cuts)
        times, values = np.repeat(times[cuts], 2), np.stack([low, high], axis=1).ravel()
    axes.plot(times, values, color=hexadecimal(colour), linewidth=1.4, drawstyle="steps-post")  # a value is held
    if values.min() > 0 and values.max() / values.min() > 100:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    else:
        axes.locator_params(axis="y", nbins=4)
    axes.margins(y=0.12)


def _events(axes: Axes, frames: Frames, label: bool) -> None:
    """A stroke for each event; in the first plot the first of each kind is named."""
    named: set[str] = set()
    times = np.append(frames.starts, frames.duration)
    for event in [e for e in frames.events if e.kind not in ("control", "score", "stopped")][:200]:
        at = float(times[event.tick])
        broken = event.kind in ("diverged", "exploded", "collapsed", "cliff")
        colour = hexadecimal(BREAK if broken else mix(GOAL, INK, 0.3))
        axes.axvline(at, color=colour, linewidth=0.9, alpha=0.7)
        if label and event.kind not in named:
            named.add(event.kind)
            axes.text(
                at, 0.97 - 0.17 * (len(named) % 2), f" {event.kind.replace('_', ' ')}", color=colour, fontsize=8,
                va="top", transform=axes.get_xaxis_transform(), clip_on=True,
            )  # fmt: skip


def _spectrogram(axes: Axes, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Level in dB below the loudest, time against frequency on a log scale (Hann windows of 4096 samples)."""
    from matplotlib.colors import LinearSegmentedColormap

    window, columns = 4096, 900
    mono = np.pad(np.asarray(waveform, dtype=np.float64).mean(axis=1), (window // 2, window // 2))
    starts = np.linspace(0, len(mono) - window, min(columns, len(mono) - window + 1)).astype(int)
    shape = np.hanning(window)
    spectra = np.stack([np.abs(np.fft.rfft(mono[s : s + window] * shape)) for s in starts], axis=1)
    frequencies = np.fft.rfftfreq(window, 1 / sample_rate)
    bands = np.geomspace(40, min(16000, sample_rate / 2), 300)
    rows = np.searchsorted(frequencies, bands).clip(1, len(frequencies) - 1)
    level = 20 * np.log10(np.maximum(spectra[rows], 1e-9))
    ceiling = float(level.max())
    night = LinearSegmentedColormap.from_list("dusk", ["#07080d", "#2a2f66", "#a04fc0", "#ff8054", "#faf0b2"])
    times = np.linspace(0, len(waveform) / sample_rate, len(starts))
    axes.pcolormesh(
        times, bands, level, cmap=night, vmin=ceiling - 70, vmax=ceiling, shading="nearest", rasterized=True
    )
    axes.set_yscale("log")
    ticks = [f for f in (50, 100, 200, 500, 1000, 2000, 5000, 10000) if f < bands[-1]]
    axes.set_yticks(ticks, [f"{f:g}" if f < 1000 else f"{f / 1000:g}k" for f in ticks])
    axes.minorticks_off()
    axes.grid(False)
    axes.set_title("sound  (Hz; colours span 70 dB)", loc="left", fontsize=9, pad=3)


def write_figure(figure: Figure | SubFigure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all; `DescantError` if it cannot be."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        figure.savefig(part, format="png", metadata={"Software": None})  # type: ignore[union-attr]
        part.replace(path)
    except OSError as error:
        raise DescantError(f"{path}: the sheet cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
