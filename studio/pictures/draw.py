"""The views, and how a picture or a film is drawn from frames.

Pictures are what an audience perceives: RGB pixels and no text. The same frames, view, tick, size and options give the
same pixels in every process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from pieces.signals import Frames
from pieces.source import nearest
from studio.pictures import alien, denoising, island, landscape, layers, plots, training
from studio.pictures.canvas import Pixels
from studio.pictures.view import PictureError, View

__all__ = ["VIEWS", "PictureError", "Prepared", "View", "find_view", "picture", "prepare", "view_names"]

#: Built-in views by name.
VIEWS: Mapping[str, View] = {
    v.name: v
    for v in (
        training.CURVE,
        training.KNOTS,
        layers.LAYERS,
        landscape.LANDSCAPE,
        denoising.DENOISING,
        alien.ALIEN,
        island.ISLAND,
        plots.PLOTS,
    )
}
#: Smallest and largest side of a picture in pixels.
SIDES = (8, 8192)


def view_names() -> list[str]:
    """Names of all views: built in, and installed under the entry point group ``descant.views``."""
    return sorted({*VIEWS, *(e.name for e in entry_points(group="descant.views"))})


def find_view(name: str) -> View:
    """The view called `name`.

    Raises
    ------
    PictureError
        If there is none (with the nearest name), or an installed one does not load.
    """
    if name in VIEWS:
        return VIEWS[name]
    for entry in entry_points(group="descant.views"):
        if entry.name == name:
            try:
                found = entry.load()
            except Exception as error:
                raise PictureError(f"view {name!r} ({entry.value}) does not load: {error}") from error
            if not isinstance(found, View):
                raise PictureError(f"view {name!r} ({entry.value}) is a {type(found).__name__}, not a View")
            return found
    raise PictureError(f"no view {name!r}{nearest(name, view_names())}")


@dataclass(frozen=True)
class Prepared:
    """A view of frames, made ready to be drawn at any tick and size."""

    view: View
    state: Any
    ticks: int

    def draw(self, tick: float, width: int, height: int) -> Pixels:
        """The picture at `tick`, which is held within the performance."""
        return self.view.draw(self.state, min(max(float(tick), 0.0), self.ticks - 1e-6), width, height)


def prepare(view: str, frames: Frames, options: Mapping[str, Any] | None = None) -> Prepared:
    """Make a view of `frames` ready.

    Raises
    ------
    PictureError
        On an unknown view or option, a missing channel, or frames without ticks.
    """
    given = options or {}
    found = _checked(view, frames, given)
    return Prepared(found, found.prepare(frames, given), frames.ticks)


def picture(
    view: str, frames: Frames, tick: float, width: int, height: int, options: Mapping[str, Any] | None = None
) -> Pixels:
    """One picture of `frames` at `tick`.

    Parameters
    ----------
    view : str
        Name of a view.
    frames : Frames
        The performance, with the channels that the view needs.
    tick : float
        Moment shown; held within the performance.
    width, height : int
        Size in pixels, 8 to 8192 each.
    options : mapping, optional
        Options of the view.

    Returns
    -------
    ndarray
        RGB, uint8 ``[height, width, 3]``.

    Raises
    ------
    PictureError
        What `prepare` raises, or on a size out of range.
    """
    check_size(width, height)
    return prepare(view, frames, options).draw(tick, width, height)


def check_size(width: int, height: int) -> None:
    """Refuse sizes that no picture has."""
    for side, value in (("width", width), ("height", height)):
        if not SIDES[0] <= value <= SIDES[1]:
            raise PictureError(f"picture {side} = {value}: allowed are {SIDES[0]} to {SIDES[1]} pixels")


def _checked(name: str, frames: Frames, options: Mapping[str, Any]) -> View:
    view = find_view(name)
    if frames.ticks < 1:
        raise PictureError(f"view {name!r}: the performance has no ticks, so there is nothing to draw")
    for channel in view.needs:
        if channel not in frames.arrays:
            have = ", ".join(frames.arrays) or "none"
            raise PictureError(f"view {name!r} needs channel {channel!r}; channels are {have}; view 'plots' draws any")
    for option in options:
        if option not in view.options:
            raise PictureError(f"view {name!r} has no option {option!r}{nearest(option, view.options)}")
    return view
