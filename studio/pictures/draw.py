"""The views, and how a picture or a film is drawn from frames.

Pictures are what an audience perceives: RGB pixels and no text. The same frames, view, tick, size and options give the
same pixels in every process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from pieces.signals import Frames
from pieces.source import nearest
from studio.pictures import landscape, layers, plots, training
from studio.pictures.canvas import Pixels
from studio.pictures.view import PictureError, View

__all__ = ["VIEWS", "PictureError", "View", "find_view", "picture", "pictures", "view_names"]

#: Built-in views by name.
VIEWS: Mapping[str, View] = {
    v.name: v for v in (training.CURVE, training.KNOTS, layers.LAYERS, landscape.LANDSCAPE, plots.PLOTS)
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
        On an unknown view or option, a missing channel, frames without ticks, or a size out of range.
    """
    found = _checked(view, frames, width, height, options or {})
    return _drawn(found, found.prepare(frames, options or {}), frames, tick, width, height)


def pictures(
    view: str, frames: Frames, fps: float, width: int, height: int, options: Mapping[str, Any] | None = None
) -> Iterator[Pixels]:
    """The pictures of a film, one after the other: picture k shows the time ``k / fps``.

    There are ``ceil(duration * fps)`` of them. Takes and raises what `picture` does, and raises it at the call.
    """
    if not 0 < fps <= 240:
        raise PictureError(f"fps = {fps:g}: allowed are numbers above 0, up to 240")
    found = _checked(view, frames, width, height, options or {})
    state = found.prepare(frames, options or {})
    count = math.ceil(round(frames.duration * fps, 6))
    return (_drawn(found, state, frames, k / fps * frames.rate, width, height) for k in range(count))


def _drawn(view: View, state: Any, frames: Frames, tick: float, width: int, height: int) -> Pixels:
    return view.draw(state, min(max(float(tick), 0.0), frames.ticks - 1e-6), width, height)


def _checked(name: str, frames: Frames, width: int, height: int, options: Mapping[str, Any]) -> View:
    view = find_view(name)
    for side, value in (("width", width), ("height", height)):
        if not SIDES[0] <= value <= SIDES[1]:
            raise PictureError(f"picture {side} = {value}: allowed are {SIDES[0]} to {SIDES[1]} pixels")
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
