"""Reviewing visits: transcripts turn by turn, with the moment of sound and picture beside each.

A coder is blind to audiences and conditions until unblinding; see `studio.review`.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, Input, Label, Static

from studio.audience.text import plain
from studio.audition import Audition, Sound
from studio.keymap import Keymap
from studio.retelling import Moment, Reteller
from studio.review import BROKEN, ENDS, FAILED, FINE, Choices, Listed, Review, Step, Wanted, choices, head_text, kinds
from studio.screens.help import Reader
from studio.screens.library_parts import Chip
from studio.screens.review_deeds import Deeds
from studio.screens.review_parts import about, cells, fitted, turn
from studio.widgets.keys import bindings
from studio.widgets.picture import Picture

if TYPE_CHECKING:
    from db.archive import Archive

#: Seconds that a turn is looked at before its moment is made, and pictures a second.
REST, FPS = 0.1, 16
_COLUMNS = ("", "visit", "who", "turns", "ended", "when", "tags")
#: Chips that narrow the list, and what they say while they do not.
_CHIPS = {"study": "study", "audience": "visitor", "condition": "condition", "ended": "ended", "tag": "tag"}
_ENDED = ((_CHIPS["ended"], ""), ("ended well", FINE), (FAILED, FAILED), *((end, end) for end in (*ENDS, BROKEN)))
#: What is said of an empty list: of one that was narrowed, of the whole.
_NOTHING = ("no visits are like that: x lists all", "no visits yet: descant attend TAKE makes one")


class Reviewing(Deeds):
    """Visits, newest first, and one of them turn by turn.

    Parameters
    ----------
    place : str
        The archive's path or URL.
    sound : Sound, optional
        The sound engine; without it nothing is heard, and everything else works.
    keymap : Keymap, optional
    hush : callable, optional
        Called before a moment is heard: whatever else sounds is to fall silent.
    author : str
        Who reviews; default: who is logged in. Only what was unblinded under this name is seen.
    """

    CSS = """
    Reviewing { layout: vertical; }
    #find { height: 1; background: $panel; padding: 0 1; }
    #find Label { width: 2; color: $accent; text-style: bold; }
    #find Input { width: 1fr; min-width: 12; background: $surface; }
    #find #count { width: auto; color: $text-muted; padding: 0 1; }
    #chips { height: 1; padding: 0 1; background: $panel; overflow-x: hidden; }
    #chips #blind { width: auto; padding: 0 1; color: $warning; text-style: bold; }
    #body { height: 1fr; }
    #visits { width: 52; height: 1fr; background: $surface; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
    #visits:focus { background-tint: $foreground 2%; }
    #turn { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    #turn:focus { background-tint: $foreground 2%; }
    #turn Static { height: auto; }
    #beside { width: 40; padding: 0 1; background: $panel; }
    #beside Picture { height: 12; background: #000000; }
    #beside #heard { height: 1; color: $text-muted; }
    #beside #about { height: 1fr; scrollbar-size-vertical: 1; }
    #beside #about Static { height: auto; }
    #notice { height: 1; padding: 0 1; color: $text-muted; }
    #notice.-new { color: $warning; text-style: bold; }
    #keys { height: 1; padding: 0 1; background: $panel; color: $text-muted; }
    Reviewing.-middle #visits { width: 28; }
    Reviewing.-huge #visits { width: 72; }
    Reviewing.-huge #beside { width: 60; }
    Reviewing.-huge #beside Picture { height: 17; }
    Reviewing.-small #visits { width: 1fr; }
    Reviewing.-small #turn, Reviewing.-small #beside { display: none; }
    Reviewing.-small.-reading #visits { display: none; }
    Reviewing.-small.-reading #turn, Reviewing.-small.-reading #beside { display: block; }
    Reviewing.-small #beside { width: 24; }
    Reviewing.-small #beside Picture { height: 6; }
    Reviewing.-low.-reading #find { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("review")]
    #: Where its actions stand in the table of actions, and what help says of it.
    PLACE = "review"
    ABOUT = (
        "visits",
        "Each visit is read turn by turn: what was decided, with the probabilities of all options in the order they "
        "stood in, what came of it, and beside it what was heard and seen. In a study you are blind: who it was and "
        "under which condition is hidden until you unblind, and that is logged. Facts and interpretations are kept "
        "apart, each with its author.",
    )
    HORIZONTAL_BREAKPOINTS = [(0, "-small"), (90, "-middle"), (132, "-wide"), (180, "-huge")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]
    AUTO_FOCUS = "#visits"

    def __init__(
        self,
        place: str,
        sound: Sound | None = None,
        keymap: Keymap | None = None,
        hush: Callable[[], None] = lambda: None,
        author: str = "",
    ) -> None:
        super().__init__(author or _login(), keymap or Keymap({}))
        self.place = place
        self.audition = None if sound is None else Audition(sound, hush)
        self.rows: dict[str, Listed] = {}
        #: What was heard and seen in the turn that is read.
        self.heard: Moment | None = None
        self._archive: Archive | None = None
        self._reteller: Reteller | None = None
        self._beginning = Lock()
        self._wanted = Wanted()
        self._lost = 0

    def compose(self) -> ComposeResult:
        with Horizontal(id="find"):
            yield Label("/")
            yield Input(placeholder="search: words in commands and observations", id="search", compact=True)
            yield Static("", id="count", markup=False)
        with Horizontal(id="chips"):
            for name, word in _CHIPS.items():
                yield Chip("", _ENDED if name == "ended" else [(word, "")], id=name)
            yield Chip("d:", [("any decision", "")], id="kind")
            yield Static("", id="blind", markup=False)
        with Horizontal(id="body"):
            yield DataTable(id="visits", cursor_type="row", show_header=False)
            with VerticalScroll(id="turn", can_focus=True):
                yield Static("", markup=False)
            with Vertical(id="beside"):
                yield Picture()
                yield Static("", id="heard", markup=False)
                with VerticalScroll(id="about", can_focus=False):
                    yield Static("", markup=False)
        yield Static("", id="notice", markup=False)
        yield Static("", id="keys")

    async def on_mount(self) -> None:
        """Columns, and the list."""
        for name in _COLUMNS:
            self.table.add_column(name, key=name or "mark")
        self.show_keys()
        self.set_interval(1 / FPS, self._follow)
        self.begin(self.look, "look")

    def on_unmount(self) -> None:
        """Silence, and nothing more is computed."""
        if self.audition is not None:
            self.audition.stop()
        if self._reteller is not None:
            self._reteller.close()
        if self._archive is not None:
            self._archive.close()

    # The archive, beside the event loop

    @property
    def review(self) -> Review:
        """The archive as this coder may see it; for a thread."""
        with self._beginning:
            if self._archive is None:
                from db.archive import Archive

                self._archive = Archive.open(self.place)
            return Review(self._archive, author=self.author)

    # The list

    @property
    def table(self) -> DataTable[object]:
        """The list of visits."""
        return self.query_one("#visits", DataTable)

    @property
    def wanted(self) -> Wanted:
        """What the search and the chips say."""
        chosen = {name: str(self.query_one(f"#{name}", Chip).value) for name in _CHIPS}
        return Wanted(text=self.query_one("#search", Input).value, **chosen)

    async def look(self) -> None:
        """Read all again: the list, and what it can be narrowed by."""
        every = await self.ask(lambda: self.review.listed())
        if every is not None:
            self._offer(choices(every))
            await self._list(every if self.wanted == Wanted() else None)

    def _offer(self, found: Choices) -> None:
        """The chips; what is the same in all visits, or hidden, has none."""
        tags = [(f"#{tag}", tag) for tag in found.tags]
        offered = {
            "study": [(name, key) for key, name in found.studies.items()] if len(found.studies) > 1 else [],
            "audience": [(name, name) for name in found.audiences],
            "condition": [(name, name) for name in found.conditions],
            "tag": tags,
        }
        for name, some in offered.items():
            chip = self.query_one(f"#{name}", Chip)
            chip.offer([(_CHIPS[name], ""), *some])
            chip.display = bool(some)

    async def _list(self, found: list[Listed] | None = None) -> None:
        """Show what is wanted, or what was `found` already; the cursor stays on its visit."""
        stay, wanted = None if self.seen is None else self.seen.listed.id, self.wanted
        self._wanted = wanted
        found = await self.ask(lambda: self.review.listed(wanted)) if found is None else found
        if found is None or wanted != self.wanted:
            return
        self.rows = {row.id: row for row in found}
        self.table.clear()
        several = len({row.study for row in found}) > 1
        for row in found:
            self.table.add_row(*cells(self, row, row.study if several else "blind"), key=row.id)
        self.query_one("#count", Static).update(f"{len(found)} visit" + "s" * (len(found) != 1))
        if not found:
            self.seen = None
            self._show()
            self.say(_NOTHING[wanted == Wanted()])
        elif stay in self.rows:
            self.table.move_cursor(row=list(self.rows).index(stay))

    @on(DataTable.RowHighlighted, "#visits")
    def _pointed(self, event: DataTable.RowHighlighted) -> None:
        visit, at = event.row_key.value, self.table.cursor_row
        if not 0 <= at < len(self.rows) or visit != list(self.rows)[at]:
            return  # said while the list was made again
        if visit is not None and (self.seen is None or self.seen.listed.id != visit):
            self.begin(partial(self.open, visit), "open", exclusive=True)

    @on(DataTable.RowSelected, "#visits")
    def _entered(self) -> None:
        self.add_class("-reading")
        self.query_one("#turn").focus()

    @on(Input.Changed, "#search")
    @on(Chip.Turned)
    def _filtered(self) -> None:
        if self.wanted != self._wanted:
            self.begin(self._list, "look", exclusive=True)

    @on(Input.Submitted, "#search")
    def _found(self) -> None:
        self.table.focus()

    # One visit

    async def open(self, visit: str, at: int = 0) -> None:
        """Read a visit, from one of its turns on."""
        seen = await self.ask(lambda: self.review.seen(visit))
        if seen is None:
            return
        is_other = self.seen is None or self.seen.listed.id != visit
        self.seen, self.at = seen, min(at, len(seen.steps) - 1)
        if is_other:
            self.query_one("#kind", Chip).offer([("any decision", ""), *((kind, kind) for kind in kinds(seen))])
        self._show()

    def _show(self) -> None:
        """The turn, and what is beside it."""
        panel, beside = self.query_one("#turn"), self.query_one("#about")
        seen, step = self.seen, self.step
        blind = seen is not None and seen.listed.blind
        self.query_one("#blind", Static).update(f"blind: {self.author}" if blind else "")
        self.stop()
        self.heard = None
        picture = self.query_one(Picture)
        picture.clear()
        # A black picture would say that something dark was seen.
        picture.display = step is not None and step.count > 0
        if seen is None or step is None:
            line = "no turns: it ended before the first" if seen else _NOTHING[self.wanted == Wanted()]
            panel.query_one(Static).update(line)
            beside.query_one(Static).update("" if seen is None else about(self, seen))
            self.query_one("#heard", Static).update("")
            return
        width = panel.scrollable_content_region.width or panel.size.width
        panel.query_one(Static).update(turn(self, step, seen.steps[-1].number, width))
        panel.scroll_home(animate=False)
        beside.query_one(Static).update(about(self, seen))
        self.query_one("#heard", Static).update("one moment ..." if step.count else "nothing was heard")
        if step.count:
            self.begin(partial(self._retell, seen.listed.id, step), "moment", exclusive=True)

    async def _retell(self, visit: str, step: Step) -> None:
        """What was heard and seen, made in a process of its own."""
        await asyncio.sleep(REST)
        found = await self.retold(lambda reteller: reteller.moment(visit, step.number))
        if self.seen is None or self.seen.listed.id != visit or self.step is not step:
            return
        if isinstance(found, Moment):
            self.heard = found
            self._picture(len(found.pictures) // 2)
            self.query_one("#heard", Static).update(f"■ {found.seconds:g} s")
        else:
            hidden = self.seen.listed.blind and "nothing was heard" not in found
            self.query_one("#heard", Static).update("it cannot be told again" if hidden else plain(found))

    def reteller(self) -> Reteller:
        """The worker; for a thread, since its process is begun. Whoever turns fast asks for it twice at once."""
        with self._beginning:
            if self._reteller is None:
                self._reteller = Reteller(self.place)
            return self._reteller

    def _picture(self, number: int) -> None:
        picture = self.query_one(Picture)
        if self.heard is not None and all(picture.wanted):
            picture.show(fitted(self.heard.pictures[min(number, len(self.heard.pictures) - 1)], picture.wanted))

    # The sound of its moment

    def _follow(self) -> None:
        """Picture and sound go together."""
        if self.audition is None or not self.audition.playing or self.heard is None:
            return
        position = self.audition.position()
        self._lost = 0 if position is not None else self._lost + 1
        if self._lost > FPS or (position is not None and position >= self.heard.seconds):
            self.stop()
        elif position is not None:
            self._picture(int(position * self.heard.fps))
            self.query_one("#heard", Static).update(f"▶ {position:.1f} of {self.heard.seconds:g} s")

    def stop(self) -> None:
        """Silence."""
        if self.audition is not None and self.audition.playing:
            self.audition.stop()
            if self.heard is not None:
                self.query_one("#heard", Static).update(f"■ {self.heard.seconds:g} s")

    def action_moment(self) -> None:
        """Hear what was told, or stop."""
        if self.audition is not None and self.audition.playing:
            self.stop()
        elif self.heard is None:
            self.say("nothing was heard in this turn, or it is still being made")
        elif self.audition is None:
            self.say("no sound engine here: nothing can be heard, everything else works")
        else:
            self.audition.hear(self.heard.path, 0.0)

    # Turns

    def _go(self, at: int) -> None:
        if self.seen is None or not 0 <= at < len(self.seen.steps):
            self.say("there is no turn before" if at < 0 else "that was the last turn")
            return
        self.at = at
        self._show()

    def action_turn_on(self) -> None:
        """The next one."""
        self._go(self.at + 1)

    def action_turn_back(self) -> None:
        """The one before."""
        self._go(self.at - 1)

    def action_decision_kind(self) -> None:
        """Another kind to jump to."""
        self.query_one("#kind", Chip).action_turn()

    def action_decision_on(self) -> None:
        """The next decision of the kind."""
        kind = str(self.query_one("#kind", Chip).value)
        steps = self.seen.steps if self.seen is not None else ()
        for at in range(self.at + 1, len(steps)):
            if steps[at].decisions and (not kind or kind in steps[at].kinds):
                self._go(at)
                return
        self.say(f"no further decision: {kind or 'any'}")

    # The screen

    def action_about_visit(self) -> None:
        """All that is known of it."""
        if self.seen is not None:
            self.app.push_screen(Reader(f"visit {self.seen.listed.id[-6:]}", head_text(self.seen)))

    def on_resize(self) -> None:
        """Other widths of bars, other pictures, more keys or fewer; a head for the list where there is room."""
        self.show_keys()
        self.table.show_header = self.size.height >= 30
        self.call_after_refresh(self._show)

    def action_search_visits(self) -> None:
        """To the field."""
        self.remove_class("-reading")
        self.query_one("#search", Input).focus()

    def action_narrow_visits(self) -> None:
        """To the first chip."""
        next(chip for chip in self.query("#chips Chip") if chip.display).focus()

    def action_all_visits(self) -> None:
        """No search, and no filter."""
        for name in _CHIPS:
            self.query_one(f"#{name}", Chip).clear()
        self.query_one("#search", Input).value = ""
        self._filtered()
        self.table.focus()

    def action_leave_review(self) -> None:
        """From a turn, a field or a chip to the list; from a search to all; from the list to where one came from."""
        field = self.query_one("#search", Input)
        if self.has_class("-reading") or field.has_focus or isinstance(self.focused, Chip):
            self.remove_class("-reading")
            self.table.focus()
        elif field.value:
            field.value = ""
        else:
            self.dismiss(None)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
