"""The transport: what is played, where it is, how fast; every word of it can be clicked."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from studio.widgets.meters import Meter


@dataclass(frozen=True)
class Place:
    """What the transport says.

    Attributes
    ----------
    mode : str
        ``live``, ``recorded``, ``paused``, ``ended``, or ``none`` before a piece is open.
    bar, beat : int
        Both from 1.
    seconds, tempo, speed : float
    section : str
    tick : int
        Of the first part.
    loop : str
        ``bars 3..5``, or empty.
    sound : str
        The engine's backend in a word.
    underruns : int
    """

    mode: str = "none"
    bar: int = 1
    beat: int = 1
    seconds: float = 0.0
    tempo: float = 0.0
    speed: float = 1.0
    section: str = ""
    tick: int = 0
    loop: str = ""
    sound: str = ""
    underruns: int = 0


#: What a mode looks like.
SIGNS = {
    "live": "▶ LIVE ",
    "recorded": "▶ TAPE ",
    "paused": "‖ HOLD ",
    "ended": "■ ENDED",
    "none": "■ READY",
}


class Transport(Horizontal):
    """One line: mode, bar and beat, time, tempo, speed, section, tick, loop; the engine; the master's meters."""

    DEFAULT_CSS = """
    Transport { height: 1; width: 1fr; padding: 0 1; }
    Transport > #place { width: 1fr; height: 1; }
    Transport > #sound { width: auto; height: 1; padding: 0 1; color: $text-muted; }
    Transport > #sound.-warn { color: $warning; text-style: bold; }
    Transport > #left { width: 14; margin-right: 1; }
    Transport > #right { width: 20; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.left, self.right = Meter(id="left"), Meter(number=True, id="right")
        self._text = self._sound = ""

    def compose(self) -> ComposeResult:
        yield Static(id="place", markup=False)
        yield Static(id="sound", markup=False)
        yield self.left
        yield self.right

    def hear(self, peak: tuple[float, float]) -> None:
        """The master's linear peaks, left and right; where there is room for one meter it has the higher of them."""
        self.left.hear(peak[0])
        self.right.hear(peak[1] if self.left.display else max(peak))

    def show(self, place: Place) -> None:
        """Say this; nothing is done while it would read the same."""
        narrow = self.size.width < 120
        text = _markup(place, narrow)
        if text != self._text:
            self._text = text
            self.query_one("#place", Static).update(Content.from_markup(text, section=place.section), layout=False)
        sound = place.sound + (f" · {place.underruns} underruns" if place.underruns else "")
        if sound != self._sound:
            self._sound = sound
            label = self.query_one("#sound", Static)
            label.update(f"{place.underruns} xr" if narrow and place.underruns else "" if narrow else sound)
            label.set_class(place.underruns > 0, "-warn")


def _markup(place: Place, narrow: bool) -> str:
    colour = {"live": "$success", "recorded": "$secondary", "ended": "$text-muted"}.get(place.mode, "$warning")
    minutes, seconds = divmod(max(place.seconds, 0.0), 60)
    parts = [
        f"[bold {colour}][@click=screen.play]{SIGNS[place.mode]}[/][/]",
        f"[bold]{place.bar:>3}:{place.beat}[/]",
        f"{int(minutes)}:{seconds:04.1f}",
        f"♩{place.tempo:g}" if place.tempo else "♩–",
        f"[@click=screen.slower]‹[/]×{place.speed:g}[@click=screen.faster]›[/]",
        "[bold]$section[/]" if place.section and not narrow else "",
        f"tick {place.tick}" if not narrow else f"t{place.tick}",
        f"[$accent][@click=screen.loop_off]↻ {place.loop}[/][/]" if place.loop else "",
    ]
    return ("  " if not narrow else " ").join(p for p in parts if p)
