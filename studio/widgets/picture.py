"""A live picture in half blocks: rows of ready terminal text, of which only those that changed are made again.

A truecolour picture of 128 x 64 cells made of Rich segments takes a quarter of a second; ready strings take a few
milliseconds. Textual only ever needs the segments where something cuts through a row (an overlay, a modal screen's
dimming) or exports the screen, so they are made only then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    from studio.widgets.cells import Depth, Pixels

#: What `rich` calls the colours of a terminal.
_DEPTHS: dict[str | None, Depth] = {"truecolor": "true", "256": "256", "standard": "16", "windows": "16", None: "none"}
_BLOCK = "▀"


def depth_of(app: App[object]) -> Depth:
    """The colours that this terminal shows; none where ``NO_COLOR`` is set."""
    if app.no_color:
        return "none"
    return _DEPTHS[app.console.color_system]


class _Forgetful:
    """A cache that keeps nothing."""

    def get(self, key: object) -> None:
        return None

    def __setitem__(self, key: object, value: object) -> None:
        pass


_FORGETFUL = _Forgetful()
_CACHES = tuple(slot for slot in Strip.__slots__ if slot.endswith("_cache") and slot != "_render_cache")


class ReadyStrip(Strip):
    """A strip with its terminal text ready; its segments are made when something asks for them.

    It overrides what Textual keeps private (`Strip._segments`): Textual is pinned, and the tests watch it.
    """

    __slots__ = ("_given", "_make", "_ready")

    def __init__(self, text: str, cells: int, make: Callable[[], list[Segment]]) -> None:
        # Not the parent's constructor: it makes eight caches, and a row of a live picture is seen once.
        self._make = make
        self._ready = text
        self._given: list[Segment] | None = None
        self._cell_length = cells
        self._cell_count = self._link_ids = self._render_cache = None
        for name in _CACHES:
            setattr(self, name, _FORGETFUL)

    @property
    def _segments(self) -> list[Segment]:
        if self._given is None:
            self._given = self._make()
        return self._given

    @_segments.setter
    def _segments(self, segments: list[Segment]) -> None:
        self._given = segments

    def render(self, console: Console) -> str:
        """The text as it goes to the terminal."""
        return self._ready


@lru_cache(maxsize=16384)
def _style(upper: int, lower: int) -> Style:
    return Style(color=_colour(upper), bgcolor=_colour(lower))


def _colour(packed: int) -> Color:
    return Color.from_triplet(ColorTriplet(packed >> 16, packed >> 8 & 255, packed & 255))


class Picture(Widget):
    """RGB pictures, as many cells as the widget has; `show` takes the next one.

    Parameters
    ----------
    bits : int
        Bits kept of every colour, 4 to 8: fewer bytes where a terminal is slow.
    """

    DEFAULT_CSS = "Picture { width: 1fr; height: 1fr; }"
    ALLOW_SELECT = False

    def __init__(self, bits: int = 6, id: str | None = None) -> None:
        super().__init__(id=id)
        self._bits = bits
        self._pixels: Pixels | None = None
        self._rows: list[Strip] = []
        self._depth: Depth = "true"
        #: Pictures that went to the terminal.
        self.painted = 0
        self._fresh = False

    def on_mount(self) -> None:
        self._depth = depth_of(self.app)

    @property
    def wanted(self) -> tuple[int, int]:
        """Width and height in pixels of the picture that fills the widget."""
        from studio.widgets.cells import pixel_size

        return pixel_size(self.size.width, self.size.height, self._depth)

    def clear(self) -> None:
        """Show nothing."""
        self._pixels, self._rows = None, []
        self.refresh()

    def show(self, picture: Pixels) -> bool:
        """Show a picture, uint8 ``[height, width, 3]``; one of another size than `wanted` is left out (False)."""
        import numpy as np

        from studio.widgets.cells import encode, quantised

        height, width = picture.shape[:2]
        columns, rows = self.size
        if (width, height) != self.wanted or not width or not height:
            return False
        picture = quantised(picture, self._bits)
        if self._pixels is None or self._pixels.shape != picture.shape:
            changed = np.arange(rows)
            self._rows = [Strip.blank(columns)] * rows
        else:
            differs = (picture != self._pixels).reshape(rows, -1).any(axis=1)
            changed = np.flatnonzero(differs)
        self._pixels = picture
        if not len(changed):
            return True
        part = picture.reshape(rows, height // rows, width, 3)[changed].reshape(-1, width, 3)
        for row, text in zip(changed.tolist(), encode(part, self._depth), strict=True):
            self._rows[row] = ReadyStrip(text, columns, partial(self._segments_of, row, text))
        self._fresh = True
        if len(changed) > rows // 2:
            self.refresh()
        else:
            self.refresh(*[Region(0, row, columns, 1) for row in changed.tolist()])
        return True

    def _segments_of(self, row: int, text: str) -> list[Segment]:
        if self._depth == "none":
            return [Segment(text)]
        import numpy as np

        from studio.widgets.cells import reduced

        assert self._pixels is not None
        shown = reduced(self._pixels[2 * row : 2 * row + 2], self._depth).astype(np.uint32)
        packed = shown[..., 0] << 16 | shown[..., 1] << 8 | shown[..., 2]
        upper, lower = packed.tolist()
        return [Segment(_BLOCK, _style(t, b)) for t, b in zip(upper, lower, strict=True)]

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows of `crop`, each exactly as wide as it."""
        if self._fresh:
            self.painted += 1
            self._fresh = False
        background = self.rich_style
        fits = len(self._rows) == self.size.height and (not self._rows or self._rows[0].cell_length == self.size.width)
        strips = [
            self._rows[y] if fits and 0 <= y < len(self._rows) else Strip.blank(self.size.width, background)
            for y in crop.line_range
        ]
        if crop.x or crop.width != self.size.width:
            strips = [s.crop(crop.x, crop.right) for s in strips]
        # A screen above ours dims what is below it: it needs real segments, and the filters of the app.
        if self.screen is not self.app.screen:
            strips = [Strip(list(s), s.cell_length) for s in strips]
            for line_filter in self.get_line_filters():
                strips = [s.apply_filter(line_filter, self.background_colors[1]) for s in strips]
        return strips

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """All the room there is."""
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """All the room there is."""
        return container.height
