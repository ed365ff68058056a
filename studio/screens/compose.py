"""The compose screen: a piece heard and seen live, its controls, its voices, its transport."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from pieces.errors import DescantError
from studio.messages import Ended, Made, Notice, Opened, Rescored, Turned
from studio.reports import Crashed, EngineState, Filmed, Meters, Offered, Recording
from studio.reports import History as Undoable
from studio.screens.deeds import Deeds
from studio.screens.desk import Desk
from studio.screens.notices import Word
from studio.screens.playing import DEAF
from studio.screens.shelf import Shelf
from studio.screens.voices import Row, VoiceBox
from studio.widgets.keys import bindings
from studio.widgets.knob import Knob
from studio.widgets.picture import Picture
from studio.widgets.plain import plain
from studio.widgets.plot import Lane, Plot
from studio.widgets.timeline import Course, Timeline
from studio.widgets.transport import Place, Transport

if TYPE_CHECKING:
    from studio.painter import Painter
    from studio.pictures.canvas import Pixels
    from studio.screens.model import Model

#: Pictures a second, and how many of them pass between two drawings of words, of the plots, of all below a dialogue.
FPS, WORDS_EVERY, PLOTS_EVERY, DIMMED_EVERY = 24, 2, 3, 12
#: Seconds that the plots show.
WINDOW = 20.0

HINT = """\
[b $accent]$play[/]  plays and holds: the piece is ready
[b $accent]$jump[/]  goes anywhere by a letter; arrows turn controls
[b $accent]$open[/]  other pieces   [b $accent]$palette[/]  commands   [b $accent]$help[/]  help
[b $accent]$panic[/]  silence at any time   [b $accent]$quit[/]  leaves"""


class Compose(Deeds):
    """Everything of one session on one screen."""

    CSS = """
    Compose { layout: vertical; layers: base over; }
    #head { height: 1; padding: 0 1; background: $panel; }
    #body { height: 1fr; }
    #stage { width: 1fr; }
    #picture { height: 3fr; background: #07080d; }
    #hint {
        layer: over; position: absolute; width: auto; height: auto; padding: 1 3;
        background: $surface; border: round $accent;
    }
    Compose.-narrow Desk { width: 40; }
    Compose.-narrow #left { display: none; }
    Compose.-narrow Transport > #right { width: 16; }
    #plot { height: 2fr; padding: 0 1; border-top: solid $panel; }
    #plot:focus { border-top: solid $accent; }
    #notice { height: 1; padding: 0 1; color: $text-muted; }
    #notice.-new { height: auto; max-height: 3; color: $warning; text-style: bold; }
    #keys { height: 1; padding: 0 1; background: $panel; color: $text-muted; }
    Compose.-narrow #shelf { display: none; }
    Compose.-narrow.-shelf #shelf { display: block; width: 100%; }
    Compose.-narrow.-shelf #stage, Compose.-narrow.-shelf #desk { display: none; }
    Compose.-wide.-noshelf #shelf { display: none; }
    Compose.-large #desk, Compose.-large #shelf, Compose.-large #plot { display: none; }
    Compose.-large #head, Compose.-large #keys, Compose.-large #notice { display: none; }
    Compose.-large #notice.-new { display: block; height: auto; max-height: 5; }
    """
    BINDINGS = [*bindings("compose"), Binding("escape", "leave", "Back, or silence", show=False)]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]
    AUTO_FOCUS = "#timeline"
    #: Whether it draws pictures.
    paints = True
    #: Where its actions stand in the table of actions.
    PLACE = "compose"

    def __init__(self) -> None:
        super().__init__()
        self._picture: Pixels | None = None
        self._asked: object = None
        self._count = 0
        self._painter: Painter | None = None
        self._shown_lines: list[str] = []
        self._rates: dict[str, float] = {}
        self._status: dict[str, str] = {}
        #: The take that is recorded, when it has begun.
        self._take: str | None = None
        self._films: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        with Horizontal(id="body"):
            yield Shelf(id="shelf")
            with Vertical(id="stage"):
                yield Picture(id="picture")
                yield Plot(id="plot")
            yield Desk(id="desk")
        yield Timeline(id="timeline")
        yield Transport(id="transport")
        yield Static(id="notice", markup=False)
        yield Static(id="keys")
        yield Static(id="hint")

    def on_mount(self) -> None:
        sign = self.studio.keymap.sign
        words = {name: sign(name) for name in ("play", "jump", "open", "palette", "help", "panic", "quit")}
        self.query_one("#hint", Static).update(Content.from_markup(HINT, **words))
        self.show_head()
        self.show_keys()
        self.set_interval(1 / FPS, self.turn)
        if self.studio.perform is not None:
            self.add_class("-large")
            self.query_one("#hint").display = False
            self.show_piano(self.playing.begin())

    def on_descendant_focus(self) -> None:
        self.show_keys()

    def on_unmount(self) -> None:
        if self._painter is not None:
            self._painter.close()

    # What comes from the session

    async def turn(self) -> None:
        """Take in what was reported since the last time, and show it: nothing is ever queued for the screen."""
        meters = None
        while self.studio.reports:
            report = self.studio.reports.popleft()
            if isinstance(report, Meters):
                meters = report  # only the newest is of interest
            else:
                await self.hear(report)
        self.playing.due()
        self._count += 1
        # Below a dialogue any change is a whole screen anew, dimmed cell by cell: so fewer.
        front = self.app.screen
        if front is self or (isinstance(front, ModalScreen) and self._count % DIMMED_EVERY == 0):
            self._show(meters)
        self._show_notices()

    def _show(self, meters: Meters | None) -> None:
        if meters is not None:
            self.query_one(Transport).hear(meters.peak)
            self.query_one(Desk).hear(meters.strips)
        if self._count % WORDS_EVERY == 0:
            self._show_place()
        if self.query_one("#hint").display:
            self._place_hint()
        if self._count % PLOTS_EVERY == 0:
            self._show_plots()
        self._show_picture()

    async def hear(self, report: object) -> None:
        """One report."""
        self.memory.hear(report)
        if isinstance(report, Made):
            if self._painter is not None:
                self._painter.add(report.part, report.block)
        elif isinstance(report, Opened):
            await self._open(report)
        elif isinstance(report, Turned):
            self.query_one(Desk).turn(report.part, report.control, report.value)
        elif isinstance(report, Rescored):
            await self.query_one(Desk).score(report.score, self._folded)
        elif isinstance(report, Notice):
            self.say(report.text, fault=not isinstance(report, Word))
        else:
            await self._hear_more(report)

    async def _hear_more(self, report: object) -> None:
        """What the session adds to what the performer says."""
        if isinstance(report, EngineState):
            self.studio.sound, self.studio.underruns = report.backend, report.underruns
            if report.line:
                self.say(report.line, fault=True)
        elif isinstance(report, Undoable):
            await self._edited_elsewhere()
            self.set_status(edit=f"{self.studio.keymap.sign('undo')} undoes {report.undo}" if report.undo else "")
        elif isinstance(report, Recording):
            if not report.line:  # it has just begun
                self._take = report.take_id
            if report.take_id == self._take:  # of others it is said below, and no more
                sign = {"scratch": "● scratch", "kept": "● kept", "rendered": "● kept"}.get(report.state, "")
                self.set_status(take=sign)
            if report.line:
                self.say(report.line, fault=report.state == "off")
        elif isinstance(report, Filmed):
            self._films[report.part] = report.path
        elif isinstance(report, Offered) and report.sessions:
            self.offer(report.sessions[0])
        elif isinstance(report, Crashed | Ended) and (isinstance(report, Crashed) or report.status == "failed"):
            self.say(report.reason or "the source failed", fault=True)

    async def _edited_elsewhere(self) -> None:
        """Knobs and voices as the piece has them now."""
        piece = self.model.piece if self.model else {}
        parts = piece.get("parts", {})
        for knob in self.query_one(Desk).query(Knob):
            given = parts.get(knob.part, {}).get("controls", {})
            knob.show(given.get(knob.declared.name, knob.declared.default))
        await self.query_one(Desk).score(piece.get("score", {}), self._folded)

    @property
    def _folded(self) -> bool:
        return self.size.height < 40

    async def _open(self, report: Opened) -> None:
        piece = self.model.piece if self.model else {}
        tempo = piece.get("metre", {}).get("tempo", 60.0)
        self._rates = {
            name: float(part.get("rate") or _number(part.get("per_beat", 1)) * tempo / 60)
            for name, part in piece.get("parts", {}).items()
        }
        self._loop_from, self._asked = None, None
        if self.playing.is_on and not self.hears_notes:
            self.playing.end()
            self.show_piano(DEAF)
        desk = self.query_one(Desk)
        await desk.open(self.memory.controls(), self.memory.values)
        await desk.score(piece.get("score", {}), self._folded)
        self.query_one(Picture).clear()
        if self.paints:
            self._paint(piece)
        if self.model is not None:
            self.query_one(Shelf).mark(self.model.name)
        self._take = None
        self.set_status(take="")

    def _paint(self, piece: Mapping[str, Any]) -> None:
        from studio.painter import Canvas, Painter

        if self._painter is None:
            reports = self.studio.reports  # the app may be gone when it is told that the process is
            self._painter = Painter(self._painted, lambda line: reports.append(Notice(line)))
        parts = piece.get("parts", {})
        films = {n: p["inputs"]["video"] for n, p in parts.items() if "video" in p.get("inputs", {})}
        films |= {part: path for part, path in self._films.items() if part in parts}
        opened = self.memory.opened.channels if self.memory.opened else {}
        names = {part: tuple(c.name for c in channels) for part, channels in opened.items()}
        self._painter.open(Canvas(piece.get("picture", {}), self._rates, names, films))

    def _painted(self, picture: Pixels) -> None:
        self._picture = picture  # the newest only: one that was not shown in time is dropped

    # What is shown

    def show_head(self) -> None:
        """The line at the top: what is open, how it is kept."""
        model = self.model
        title = str(model.piece.get("title", "")) if model and model.name else ""
        named = plain(f"  {title} ({model.name})" if model and title and title != model.name else f"  {title}")
        status = "   ".join(word for word in self._status.values() if word)
        line = Content.assemble(("Descant", "bold $accent"), (named, "bold"), f"   {status}" if status else "")
        self.query_one("#head", Static).update(line, layout=False)

    def set_status(self, **words: str) -> None:
        """Change what stands at the top beside the title."""
        self._status.update(words)
        self.show_head()

    def show_keys(self) -> None:
        """The line at the bottom: keys of what has the focus, then those of everywhere; each can be clicked."""
        shown = [(a, self.studio.keymap.sign(a.id).replace("[", "\\[")) for a in self.studio.shown_actions()]
        parts = [f"[@click=app.do('{a.id}')][b $text]{sign}[/] {a.label}[/]" for a, sign in shown if sign]
        self.query_one("#keys", Static).update(Content.from_markup("  ".join(parts)), layout=False)

    def say(self, line: str, fault: bool = False) -> None:
        """A notice; a fault is said before others, and stays longer."""
        line = self.notices.say(line, fault)
        # The library, while it lies over this screen, shows what is said too.
        front = next((s for s in reversed(self.app.screen_stack) if not s.is_modal), self)
        if front is not self and (told := getattr(front, "say", None)):
            told(line)

    def _show_notices(self) -> None:
        lines = self.notices.shown(3 if self.has_class("-large") else 1)
        if lines != self._shown_lines:
            self._shown_lines = lines
            notice = self.query_one("#notice", Static)
            notice.update("\n".join(lines))
            notice.set_class(bool(lines), "-new")

    def _place_hint(self) -> None:
        hint, frame = self.query_one("#hint"), self.query_one("#picture").region
        width, height = hint.outer_size
        left = frame.x + (frame.width - width) // 2
        hint.styles.offset = (
            min(max(left, 0), self.size.width - width),
            frame.y + max((frame.height - height) // 2, 0),
        )

    def _show_place(self) -> None:
        memory, place = self.memory, self.memory.position
        if place is None:
            mode = "paused" if memory.opened else "none"
            self.query_one(Transport).show(Place(mode=mode, sound=self.studio.sound, underruns=self.studio.underruns))
            return
        if memory.playing and self.query_one("#hint").display:
            self.query_one("#hint").display = False
        beats = self.bar_beats
        beat = memory.beat()
        whole = int(beat + 1e-6)  # from a beat to seconds and back a hair is lost
        mode = "ended" if memory.ended and place.mode != "recorded" else place.mode
        loop = place.loop
        said = "" if loop is None else f"{loop[0] / beats + 1:.4g}–{loop[1] / beats + 1:.4g}"
        tick = round(next(iter(self._ticks().values()), 0.0) - 0.499)
        self.query_one(Transport).show(
            Place(
                *(mode, whole // beats + 1, whole % beats + 1, memory.seconds(), place.tempo, place.speed),
                *(place.section, tick, said, self.studio.sound, self.studio.underruns),
            )
        )
        live = place.mode == "live" or beat >= place.end - 1e-6
        course = Course(beat, max(place.end, beat if live else 0.0), beats, place.sections, loop, live)
        self.query_one(Timeline).show(course)

    def _ticks(self) -> dict[str, float]:
        """The tick of each part that sounds now, between two reports as its rate has it."""
        place, memory = self.memory.position, self.memory
        if place is None:
            return {part: trail.end - 1.0 for part, trail in memory.trails.items() if trail.end}
        passed = min(memory.now() - memory.heard_at, 1.0) * place.speed if memory.playing else 0.0
        found = {}
        for part, tick in place.ticks.items():
            last = memory.trails[part].end - 1 if part in memory.trails else tick
            found[part] = min(max(tick + passed * self._rates.get(part, 0.0), 0.0), max(last, 0) + 0.999)
        return found

    def _show_plots(self) -> None:
        plot, ticks = self.query_one(Plot), self._ticks()
        if not plot.display or not plot.size.height:
            return
        seen = (plot.size, plot.first, tuple(int(t) for t in ticks.values()), tuple(self._trail_ends()))
        if seen == getattr(plot, "seen", None):
            return
        plot.seen = seen  # type: ignore[attr-defined]
        lanes = []
        several = len(self.memory.trails) > 1
        for part, name in self._plotted():
            trail = self.memory.trails[part]
            window = trail.window(name, ticks.get(part, 0.0), max(round(WINDOW * self._rates.get(part, 20.0)), 2))
            label = f"{part}.{name}" if several else name
            lanes.append(Lane(label, trail.channels[name].unit, window, trail.span(name)))
        plot.show(lanes)

    def _trail_ends(self) -> list[int]:
        return [trail.end for trail in self.memory.trails.values()]

    def _plotted(self) -> list[tuple[str, str]]:
        """Channels in the order in which they matter: first those that a voice follows."""
        score = self.model.piece.get("score", {}) if self.model else {}
        parts = list(self.memory.trails)
        heard: dict[tuple[str, str], None] = {}
        for voice in score.get("voices", {}).values():
            for lane in voice.get("lanes", {}).values():
                if isinstance(lane, Mapping) and "channel" in lane:
                    part, _, name = str(lane["channel"]).rpartition(".")
                    heard[part or voice.get("part") or (parts[0] if parts else ""), name.partition("[")[0]] = None
        every = [(p, n) for p, trail in self.memory.trails.items() for n in trail.channels]
        return [place for place in heard if place in every] + [place for place in every if place not in heard]

    def _show_picture(self) -> None:
        picture = self.query_one(Picture)
        if self._picture is not None:
            shown, self._picture = self._picture, None
            picture.show(shown)
        if self._painter is None or not picture.display or not self.memory.trails:
            return
        ticks, (width, height) = self._ticks(), picture.wanted
        asked = (tuple(ticks.items()), width, height, tuple(self._trail_ends()) if not self.memory.playing else ())
        if ticks and asked != self._asked and min(width, height) >= 8:
            from studio.painter import Wish

            self._asked = asked
            place = self.memory.position
            here = (place.section, self.memory.seconds(), place.begun) if place else ("", 0.0)
            self._painter.draw(Wish(ticks, width, height, *here))

    # What a person does here; the rest is in `Deeds`

    def action_open(self) -> None:
        self.remove_class("-large")
        if self.has_class("-narrow"):
            self.toggle_class("-shelf")
            if not self.has_class("-shelf"):
                self.query_one(Timeline).focus()
                return
        self.remove_class("-noshelf")
        self.query_one("#filter").focus()

    def action_about(self) -> None:
        if self.model is not None and self.model.name:
            self.run_worker(self._tell_about(self.model), group="about", exclusive=True)

    async def _tell_about(self, model: Model) -> None:
        """The page of the piece as it is heard; a source of the user's takes its time to be read."""
        from studio.screens.shelf import card

        name = model.name
        try:
            self.studio.tell(name, await asyncio.to_thread(card, name, model.piece, model.base))
        except DescantError as error:
            self.say(str(error))

    def action_larger(self) -> None:
        self.toggle_class("-large")

    def action_leave(self) -> None:
        """Escape: back from where one is; silence where nothing is open."""
        if self.has_class("-large") or self.has_class("-shelf"):
            self.remove_class("-large", "-shelf")
            self.query_one(Timeline).focus()
        else:
            self.studio.action_panic()

    @on(Shelf.Left)
    def _left(self) -> None:
        self.remove_class("-shelf")
        self.query_one(Timeline).focus()

    @on(Shelf.Chosen)
    def _chosen(self, event: Shelf.Chosen) -> None:
        self.remove_class("-shelf")
        self.query_one(Timeline).focus()
        self.studio.open(event.name)

    @on(Knob.Turned)
    def _turned(self, event: Knob.Turned) -> None:
        knob = event.knob
        if self.model is None:
            return
        try:
            self.model.set(knob.part, knob.declared.name, event.value)
        except DescantError as error:
            knob.show(self.memory.values.get((knob.part, knob.declared.name), knob.declared.default))
            knob.fail(str(error))

    @on(Timeline.Sought)
    def _sought(self, event: Timeline.Sought) -> None:
        self.seek(event.beat)

    @on(Timeline.Looped)
    def _looped(self, event: Timeline.Looped) -> None:
        self.attempt(lambda m: m.loop(event.beats))

    @on(Row.Edited)
    def _edited(self, event: Row.Edited) -> None:
        if self.model is None:
            return
        try:
            self.model.edit(event.row.path, event.value)
        except DescantError as error:
            event.answer(str(error))
            return
        event.answer(None)

    @on(VoiceBox.Asked)
    def _asked_of_voice(self, event: VoiceBox.Asked) -> None:
        box, desk = event.box, self.query_one(Desk)
        if event.what == "mute":
            if self.attempt(lambda m: m.strip(box.voice, mute=not box.muted)):
                desk.strip(box.voice, mute=not box.muted)
        elif event.what == "solo":
            if self.attempt(lambda m: m.strip(box.voice, solo=not box.soloed)):
                desk.strip(box.voice, solo=not box.soloed)
        else:
            gain = float(box.data.get("gain_db", 0.0)) + (1.0 if event.what == "louder" else -1.0)
            self.attempt(lambda m: m.gain(box.voice, min(max(gain, -60.0), 12.0)))


def _number(given: Any) -> float:
    """A number, or a ratio such as ``"3/2"``."""
    top, _, bottom = str(given).partition("/")
    return float(top) / float(bottom or 1)
