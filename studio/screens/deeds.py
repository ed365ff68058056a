"""What a person does with a performance: every action of the transport, of the take, and of the piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual.screen import Screen

from pieces.errors import DescantError
from studio.screens.model import Memory, Model
from studio.screens.notices import Notices
from studio.screens.playing import Playing

if TYPE_CHECKING:
    from db.work import SessionRecord
    from studio.app import Studio

#: Speeds that one can choose, forwards.
SPEEDS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)


class Deeds(Screen[None]):
    """The actions of a screen that performs; what is shown is its heir's."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()
        #: What is said at the bottom, and what was.
        self.notices = Notices(lambda: self.memory.now())
        self._loop_from: float | None = None
        self.playing = Playing(
            self._give,
            lambda player: self.attempt(lambda m: m.awaits(player)),
            self._is_free,
        )

    def _give(self, kind: str, data: Mapping[str, Any]) -> None:
        if self.model is not None and self.model.name:  # before, nobody hears it, and the player need not be told
            self.attempt(lambda m: m.send(kind, data), acts=False)

    @property
    def studio(self) -> Studio:
        """The app."""
        return cast("Studio", self.app)

    @property
    def model(self) -> Model | None:
        """The session; None in the first moments."""
        return self.studio.model

    @property
    def bar_beats(self) -> int:
        """Beats a bar."""
        return int(self.model.piece.get("metre", {}).get("beats", 4)) if self.model else 4

    def say(self, line: str, fault: bool = False) -> None:
        """A notice; a fault is said before others, and stays longer."""
        raise NotImplementedError

    def set_status(self, **words: str) -> None:
        """Change what stands at the top."""
        raise NotImplementedError

    def attempt(self, deed: Callable[[Model], object], acts: bool = True) -> bool:
        """Do something with the session; what is refused becomes a notice. What `acts` ends what was said before."""
        if self.model is None:
            self.say("one moment: the studio is still starting")
            return False
        if acts:
            self.notices.act()
        try:
            deed(self.model)
        except DescantError as error:
            self.say(str(error), fault=True)
            return False
        return True

    # Keys that are notes

    def action_piano(self) -> None:
        self.show_piano(self.playing.turn(self.hears_notes))

    def show_piano(self, line: str) -> None:
        """Whether keys are notes, and what to tell the player."""
        sign = self.studio.keymap.sign("piano")
        self.say(f"{line} · {sign}: commands again" if self.playing.is_on else line)
        self.set_status(piano=f"♪ piano ({sign})" if self.playing.is_on else "")

    @property
    def hears_notes(self) -> bool:
        """Whether a part listens to notes."""
        opened = self.memory.opened
        return opened is not None and any("note" in kinds for kinds in opened.listens.values())

    def _is_free(self, key: str) -> bool:
        """Whether a key is no note and no slip: what ends this, and what one holds Control for."""
        named = any(key in self.studio.keymap.keys(action) for action in ("panic", "piano", "help", "said"))
        return named or key.startswith("ctrl+")

    # The transport, the take, the piece

    def action_play(self) -> None:
        if self.memory.playing:
            self.attempt(lambda m: m.pause())
        else:
            self.attempt(lambda m: m.play())

    def action_step(self) -> None:
        self.attempt(lambda m: m.step())

    def action_stop(self) -> None:
        self.attempt(lambda m: m.stop())

    def action_live(self) -> None:
        self.seek(self.memory.position.end if self.memory.position else 0.0)

    def action_start(self) -> None:
        self.seek(0.0)

    def seek(self, beat: float) -> None:
        """Put the playhead there."""
        if self.attempt(lambda m: m.seek(beat)):
            self.memory.seek(beat)

    def _scrub(self, beats: float) -> None:
        place = self.memory.position
        if place is not None:
            self.seek(min(max(self.memory.aim() + beats, 0.0), place.end))

    def action_scrub_back(self) -> None:
        self._scrub(-1.0)

    def action_scrub_on(self) -> None:
        self._scrub(1.0)

    def action_scrub_back_bar(self) -> None:
        self._scrub(-float(self.bar_beats))

    def action_scrub_on_bar(self) -> None:
        self._scrub(float(self.bar_beats))

    def action_loop_from(self) -> None:
        self._loop_from = self.memory.aim()
        ends = self.studio.keymap.sign("loop_to") or "Loop to here"
        self.say(f"the loop begins at bar {self._loop_from / self.bar_beats + 1:.4g}; {ends} ends it")

    def action_loop_to(self) -> None:
        place, to = self.memory.position, self.memory.aim()
        if place is None:
            return
        start = self._loop_from if self._loop_from is not None else max(to - self.bar_beats, 0.0)
        if to - start < 0.25:
            begins = self.studio.keymap.sign("loop_from") or "Loop from here"
            self.say(f"a loop needs a beginning before its end: {begins} sets it")
            return
        self.attempt(lambda m: m.loop((start, to)))

    def action_loop_off(self) -> None:
        self._loop_from = None
        self.attempt(lambda m: m.loop(None))

    def _set_speed(self, by: int) -> None:
        now = self.memory.position.speed if self.memory.position else 1.0
        at = min(range(len(SPEEDS)), key=lambda i: abs(SPEEDS[i] - abs(now)))
        wanted = SPEEDS[min(max(at + by, 0), len(SPEEDS) - 1)]
        self.attempt(lambda m: m.speed(-wanted if now < 0 else wanted))

    def action_slower(self) -> None:
        self._set_speed(-1)

    def action_faster(self) -> None:
        self._set_speed(1)

    def action_reverse(self) -> None:
        now = self.memory.position.speed if self.memory.position else 1.0
        self.attempt(lambda m: m.speed(-now))

    def action_branch(self) -> None:
        self.attempt(lambda m: m.branch())

    def action_new_seed(self) -> None:
        self.attempt(lambda m: m.new_seed())

    def action_undo(self) -> None:
        self.attempt(lambda m: m.undo())

    def action_redo(self) -> None:
        self.attempt(lambda m: m.redo())

    def action_history(self) -> None:
        from studio.screens.past import Past

        model = self.model
        if model is None or not model.name:
            self.say("no piece is open: choose one")
            return

        def jump(number: int) -> None:
            self.attempt(lambda m: m.jump(number))

        self.app.push_screen(Past(model.name, lambda: model.history, jump))

    def action_sessions(self) -> None:
        from studio.screens.past import Earlier

        def answered(answer: str | None) -> None:
            if answer:
                self.studio.without_loss(lambda: self.attempt(lambda m: m.recover(answer)), "Open")

        if self.model is not None:
            self.app.push_screen(Earlier(self.model.place), answered)

    def offer(self, found: SessionRecord) -> None:
        """A session that a crash interrupted is offered back."""
        from studio.screens.dialogs import Ask
        from studio.screens.library_parts import when

        def answered(answer: str | None) -> None:
            if answer == "y":
                self.studio.without_loss(lambda: self._go_on(found), "Open")
            elif answer == "f":
                self.attempt(lambda m: m.forget(found.id))

        question = f"A session of {found.name} was not closed ({when(found.updated)}). Go on with it?"
        self.app.push_screen(Ask(question, (("y", "Go on"), ("f", "Forget it"), ("n", "Not now"))), answered)

    def _go_on(self, found: SessionRecord) -> None:
        if self.attempt(lambda m: m.recover(found.id)) and found.take_id:
            sign = self.studio.keymap.sign("library") or "the library"
            self.say(f"what was recorded is take {found.take_id[:8]}: {sign} shows it")

    def action_keep(self) -> None:
        self.attempt(lambda m: m.keep())

    def action_keep_last(self) -> None:
        if self.attempt(lambda m: m.keep_last(16)):
            self.say("keeping the last 16 bars ...")

    def action_discard(self) -> None:
        from studio.screens.dialogs import Ask

        def answered(answer: str | None) -> None:
            if answer == "y":
                self.attempt(lambda m: m.discard())

        self.app.push_screen(Ask("Throw this recording away?", (("y", "Discard"), ("n", "Go on"))), answered)

    def action_edit_file(self) -> None:
        from studio.screens.editor import edit

        self.attempt(lambda m: edit(self.app, m.file(), self.say))

    def action_save_as(self) -> None:
        self.save_as()

    def save_as(self, then: Callable[[], object] = lambda: None) -> None:
        """Ask for a file, write the piece to it, and go on."""
        from studio.screens.dialogs import Prompt

        def answered(answer: str | None) -> None:
            if answer:
                path = Path(answer).expanduser()
                if self.attempt(lambda m: m.save_as(path)):
                    self.say(f"written: {path}")
                    then()

        name = f"{self.model.name.rpartition('/')[2].removesuffix('.toml')}.toml" if self.model else "piece.toml"
        self.app.push_screen(Prompt("Write the piece to", name), answered)
