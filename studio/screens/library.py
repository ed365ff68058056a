"""The library: takes with search and filters, what is known of each, its sound; listening, comparing, triage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, Input, Label, Static

from studio.audition import Audition, B, Sound
from studio.keymap import Keymap
from studio.screens.library_deeds import Deeds
from studio.screens.library_parts import Chip, cells, facts, length
from studio.takes import Filter, Takes
from studio.widgets.keys import bindings
from studio.widgets.lineage import Lineage, named
from studio.widgets.peaks import Peaks
from studio.widgets.soundview import SoundView
from studio.widgets.spectrogram import Spectrogram
from studio.widgets.waveform import Waveform

if TYPE_CHECKING:
    from db.records import TakeRow

#: Seconds that the cursor rests on a take before its sound is read, and sounds that are remembered.
REST, REMEMBERED = 0.08, 8
#: Rows before the end of the list at which the next page is read.
AHEAD = 20
#: Playheads a second.
FPS = 15
#: Tags that have a chip.
TAGS = 4
#: What is said of an empty list: of one that was narrowed, of the whole.
_NOTHING = ("no take is like that", "no takes yet: compose one, or let one play")
_COLUMNS = {"mark": "", "name": "take", "stars": "stars", "length": "length", "tags": "tags", "when": "made"}


class Library(Deeds):
    """Takes, newest first. It is left with what is to be opened (``take:ID``), or with nothing.

    Parameters
    ----------
    takes : Takes
        It is closed with the screen: only then is gone what was discarded.
    sound : Sound, optional
        The sound engine; without it nothing is heard, and everything else works.
    keymap : Keymap, optional
    folder : str
        Where exports go by default.
    hush : callable, optional
        Called before a take is heard: whatever else sounds is to fall silent.
    """

    CSS = """
    Library { layout: vertical; }
    #find { height: 1; background: $panel; padding: 0 1; }
    #find Label { width: 2; color: $accent; text-style: bold; }
    #find Input { width: 1fr; min-width: 16; background: $surface; }
    #find #count { width: auto; color: $text-muted; padding: 0 1; }
    #chips { height: 1; padding: 0 1; background: $panel; overflow-x: hidden; }
    #body { height: 3fr; }
    #takes { width: 3fr; height: 1fr; background: $surface; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
    #takes:focus { background-tint: $foreground 2%; }
    #details { width: 2fr; min-width: 26; max-width: 64; padding: 0 1; background: $panel; scrollbar-size-vertical: 1; }
    #details #facts { height: auto; }
    #family { margin-top: 1; }
    #sound { height: 2fr; min-height: 6; }
    Library Spectrogram { display: none; }
    Library.-spectrum Waveform { display: none; }
    Library.-spectrum Spectrogram, Library.-both Spectrogram { display: block; }
    #deck { height: 1; padding: 0 1; background: $panel; }
    #notice { height: 1; padding: 0 1; color: $text-muted; }
    #notice.-new { color: $warning; text-style: bold; }
    #keys { height: 1; padding: 0 1; background: $panel; color: $text-muted; }
    Library.-low #notice { display: none; }
    Library.-low #notice.-new { display: block; }
    Library.-small #details { max-width: 30; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("library")]
    #: Where its actions stand in the table of actions, and what help says of it.
    PLACE = "library"
    ABOUT = (
        "takes",
        "Newest first. ● is kept, ○ is scratch, which is pruned when it is old; ✗ failed, ‖ was interrupted. Search "
        "finds words in titles, notes, tags and pieces, or the beginning of an id; the chips below it narrow the list. "
        "What is discarded is gone when the library is closed, and not before.",
    )
    HORIZONTAL_BREAKPOINTS = [(0, "-small"), (100, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]
    AUTO_FOCUS = "#takes"

    def __init__(
        self,
        takes: Takes,
        sound: Sound | None = None,
        keymap: Keymap | None = None,
        folder: str = "",
        hush: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(takes, None if sound is None else Audition(sound, hush), folder, keymap or Keymap({}))
        self._skip, self._more, self._reading = 0, True, False
        self._peaks: dict[Path, Peaks] = {}
        self._seen = ""
        self._lost = 0

    def compose(self) -> ComposeResult:
        with Horizontal(id="find"):
            yield Label("/")
            yield Input(placeholder="search: words, a tag, a piece, an id", id="search", compact=True)
            yield Static("", id="count")
        with Horizontal(id="chips"):
            yield Chip("", [("all takes", None), ("scratch", "scratch"), ("kept", "kept")], id="retention")
            states = [("any state", None), *((s, s) for s in ("done", "interrupted", "failed", "running"))]
            yield Chip("", states, id="status")
            yield Chip("", [("any stars", None), *((f"{n}★ and more", n) for n in (1, 3, 5))], id="rating")
        with Horizontal(id="body"):
            yield DataTable(id="takes", cursor_type="row", zebra_stripes=False)
            with VerticalScroll(id="details", can_focus=False):
                yield Static("", id="facts", markup=False)
                yield Lineage(id="family")
        yield Static("", id="deck", markup=False)
        with Vertical(id="sound"):
            yield Waveform(id="waveform")
            yield Spectrogram(id="spectrogram")
        yield Static("", id="notice", markup=False)
        yield Static("", id="keys")

    async def on_mount(self) -> None:
        """Columns, chips for tags, and the first page."""
        for key, word in _COLUMNS.items():
            self.table.add_column(word, key=key)
        self.show_keys()
        self.show_deck()
        self.set_interval(1 / FPS, self._follow)
        self.begin(self._fill, "look")

    async def _fill(self) -> None:
        tags = await self.ask(self.takes.tags)
        if tags:
            chips = [Chip(f"#{tag}", [("", None), ("✓", tag)], id=f"tag-{k}") for k, tag in enumerate(tags[:TAGS])]
            await self.query_one("#chips").mount(*chips)
        await self.look()

    def on_unmount(self) -> None:
        """Silence; and what was discarded goes, if the screen was closed from outside."""
        self.card = None  # nobody waits for its sound any more
        if self.audition is not None:
            self.audition.stop()
        self.takes.close()

    # The archive, beside the event loop

    def do(self, work: Callable[[], object], then: str = "") -> None:
        """Change the take that is looked at, then show it as it is now and say so."""
        if (take_id := self.current) is None:
            self.say("there is no take here")
            return

        async def change() -> None:
            if await self.ask(lambda: (work(), True)) is not None:
                await self._renew(take_id)
                if then:
                    self.say(then)

        self.run_worker(change(), group="change", exit_on_error=False)

    # The list

    @property
    def table(self) -> DataTable[object]:
        """The list of takes."""
        return self.query_one("#takes", DataTable)

    @property
    def current(self) -> str | None:
        """The take under the cursor."""
        ids = list(self.rows)
        at = self.table.cursor_row
        return ids[at] if 0 <= at < len(ids) else None

    @property
    def wanted(self) -> Filter:
        """What the search and the chips say."""
        value = {name: self.query_one(f"#{name}", Chip).value for name in ("retention", "status", "rating")}
        tags = tuple(c.value for c in self.query(Chip) if (c.id or "").startswith("tag-") and c.value)
        return Filter(text=self.query_one("#search", Input).value, tags=tags, **value)

    async def look(self, point: str | None = None) -> None:
        """Read the list again, from its beginning; the cursor stays on its take, or goes to `point`."""
        stay, wanted = point or self.current, self.wanted
        count = await self.ask(lambda: self.takes.count(wanted))
        self.rows, self._skip, self._more = {}, 0, True
        self.table.clear()
        await self._read_on()
        self.query_one("#count", Static).update("" if count is None else f"{count} take" + "s" * (count != 1))
        if not self.rows:
            self.card = None
            self._show_nothing("the archive cannot be read" if count is None else _NOTHING[wanted == Filter()])
        elif stay in self.rows:
            self.table.move_cursor(row=list(self.rows).index(stay))

    async def _read_on(self) -> None:
        """The next page."""
        if self._reading or not self._more:
            return
        self._reading = True
        wanted, skip = self.wanted, self._skip
        try:
            found = await self.ask(lambda: self.takes.page(wanted, skip))
        finally:
            self._reading = False
        if found is None or wanted != self.wanted:
            return
        rows, self._skip = found
        self._more = bool(rows)
        for row in rows:
            if row.id not in self.rows:  # one was made meanwhile, and moved the others on
                self.rows[row.id] = row
                self.table.add_row(*self._cells(row).values(), key=row.id)

    def _cells(self, row: TakeRow) -> dict[str, object]:
        letters = "".join(name for name, (take_id, _) in self.pair.items() if take_id == row.id)
        return dict(cells(self, row, letters))

    async def _renew(self, take_id: str) -> None:
        """Show a take that was changed."""
        row = await self.ask(lambda: self.takes.row(take_id))
        if row is not None and take_id in self.rows:
            self.rows[take_id] = row
            self.write(take_id)
        if take_id == self.current:
            await self._show(take_id)

    def write(self, take_id: str) -> None:
        for key, cell in self._cells(self.rows[take_id]).items():
            self.table.update_cell(take_id, key, cell, update_width=True)

    @on(DataTable.RowHighlighted, "#takes")
    def _pointed(self, event: DataTable.RowHighlighted) -> None:
        take_id = event.row_key.value
        if take_id is None:
            return
        self.begin(partial(self._show, take_id), "show", exclusive=True)
        if event.cursor_row >= len(self.rows) - AHEAD and self._more:
            self.begin(self._read_on, "page")

    @on(DataTable.RowSelected, "#takes")
    def _entered(self) -> None:
        self.views[0].focus()

    @on(Input.Changed, "#search")
    @on(Chip.Turned)
    def _filtered(self) -> None:
        self.begin(self.look, "look", exclusive=True)

    @on(Input.Submitted, "#search")
    def _found(self) -> None:
        self.table.focus()

    @on(Lineage.Chosen)
    def _go(self, event: Lineage.Chosen) -> None:
        if event.take_id in self.rows:
            self.table.move_cursor(row=list(self.rows).index(event.take_id))
        else:  # not among those that are listed: shown all the same
            self.begin(partial(self._show, event.take_id), "show", exclusive=True)

    # One take

    async def _show(self, take_id: str) -> None:
        """All that is known of a take; its sound when the cursor has rested on it."""
        card = await self.ask(lambda: self.takes.card(take_id))
        if card is None:
            return
        self.card = card
        self.query_one("#facts", Static).update(facts(self, card))
        self.query_one(Lineage).show_family(card.family, take_id)
        if card.mix is None:
            self._seen = ""
            done = card.take.status == "done"
            line = "no sound yet: play it, and it is made" if done else f"no sound: the take is {card.take.status}"
            for view in self.query(SoundView):
                view.say(line)
        elif str(card.mix) != self._seen:
            await asyncio.sleep(REST)
            await self._hear(card.mix)
        self.show_deck()

    async def _hear(self, path: Path) -> None:
        peaks = self._peaks.get(path)
        if peaks is None:
            peaks = await self.ask(lambda: Peaks.read(path, lambda: self.card is None or self.card.mix != path))
            if peaks is None:
                return
            self._peaks[path] = peaks
            while len(self._peaks) > REMEMBERED:
                del self._peaks[next(iter(self._peaks))]
        if self.card is not None and self.card.mix == path:
            self._seen = str(path)
            self.query_one(Waveform).hear(peaks)
            self.query_one(Spectrogram).hear(path, peaks.duration, peaks.sample_rate)

    def _show_nothing(self, text: str) -> None:
        self.query_one("#facts", Static).update(text)
        self.query_one(Lineage).clear()
        self._seen = ""
        for view in self.query(SoundView):
            view.say("")

    # The sound

    @property
    def views(self) -> list[SoundView]:
        """Waveform and spectrogram, those that are seen first."""
        return sorted(self.query(SoundView), key=lambda view: not view.display)

    @on(SoundView.Moved)
    def _moved(self, event: SoundView.Moved) -> None:
        for view in self.query(SoundView):
            if view is not event.view:
                view.match(event.view)
        self.show_deck()

    def _follow(self) -> None:
        """The playhead."""
        if self.audition is None or not self.audition.playing:
            return
        position, length_s = self.audition.position(), self.query_one(Waveform).duration
        # Nothing for a second: somebody pressed panic, or the engine is gone.
        self._lost = 0 if position is not None else self._lost + 1
        over = position is not None and position > length_s > 0
        if self._lost > FPS or (over and not self.audition.loops):
            self.stop()
            return
        for view in self.query(SoundView):
            view.playhead = position
        self.show_deck()

    def show_deck(self) -> None:
        """The line below the sound: what plays, where the cursor is, what is selected."""
        view = self.query_one(Waveform)
        playing = self.audition is not None and self.audition.playing
        parts = ["▶" if playing else "■"]
        if len(self.pair) == 2:
            heard = "B" if self.audition is not None and self.audition.heard == B else "A"
            names = {k: named(self.rows[i]) if i in self.rows else i[-6:] for k, (i, _) in self.pair.items()}
            parts.append("  ".join(f"[{k}] {names[k]}" if k == heard else f" {k}  {names[k]}" for k in sorted(names)))
        elif self.pair:
            (letter,) = self.pair
            parts.append(f"{letter} is marked; mark another one to compare")
        if view.duration:
            at = view.playhead if view.playhead is not None else view.cursor
            parts.append(f"{length(at)} of {length(view.duration)}")
            parts.append(f"seen {length(view.start)}–{length(view.end)}")
            if view.selection:
                a, b = view.selection
                parts.append(f"selected {a:.3f}–{b:.3f} s ({b - a:.3f} s)")
        self.query_one("#deck", Static).update("   ".join(parts))

    # The line at the bottom

    def on_resize(self) -> None:
        """Room for more keys, or fewer."""
        self.show_keys()

    # What a person does here; the rest is in `Deeds`

    def action_spectrum(self) -> None:
        """Waveform, spectrogram, both."""
        states = ("", "-spectrum", "-both")
        now = next((i for i, name in enumerate(states) if name and self.has_class(name)), 0)
        self.remove_class("-spectrum", "-both")
        if name := states[(now + 1) % 3]:
            self.add_class(name)
        if isinstance(self.focused, SoundView):
            self.views[0].focus()

    def action_search(self) -> None:
        """To the field."""
        self.query_one("#search", Input).focus()

    def action_refresh(self) -> None:
        """Read the list again."""
        self._filtered()
