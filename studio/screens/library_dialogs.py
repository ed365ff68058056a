"""Export and trim: what is wanted, then the progress of a process of its own, which can be cancelled."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Label, ProgressBar, Static

from studio.jobs import Done, Excerpt, Export, Failed, Job, Progressed, Running, Stretch

#: Formats of an export and what they are.
_FORMATS = {
    "wav": "the mix, 32-bit float",
    "flac": "the mix, 24 bit",
    "mp4": "the film",
    "png": "the sheet",
    "csv": "signals",
    "parquet": "signals, typed",
    "jsonl": "signals, a line a tick",
    "mid": "notes and curves",
}


class Tick(Checkbox):
    """A box with a tick or nothing in it: no colour is needed to tell them apart."""

    BUTTON_INNER = " "

    def watch_value(self) -> None:
        """Another sign."""
        self.BUTTON_INNER = "✓" if self.value else " "
        super().watch_value()


class JobDialog(ModalScreen[Done | None]):
    """A form whose job runs while it stays; Escape cancels the job, or leaves where none runs."""

    DEFAULT_CSS = """
    JobDialog { align: center middle; }
    JobDialog > Vertical {
        width: 78; max-width: 98%; height: auto; max-height: 98%; padding: 1 2; background: $surface;
        border: round $accent;
    }
    JobDialog #about { margin-bottom: 1; text-style: bold; }
    JobDialog Grid { grid-size: 2; grid-columns: 1fr 1fr; grid-rows: 1; height: auto; margin-bottom: 1; }
    JobDialog Checkbox { width: auto; }
    JobDialog .field { height: 1; }
    JobDialog .field Label { width: 20; color: $text-muted; }
    JobDialog .field Input { width: 1fr; }
    JobDialog #progress { height: 1; margin-top: 1; }
    JobDialog ProgressBar { width: 1fr; }
    JobDialog Bar { width: 1fr; }
    JobDialog #stage { width: 14; color: $text-muted; }
    JobDialog #said { height: auto; max-height: 6; margin-top: 1; color: $text-muted; }
    JobDialog #said.-bad { color: $error; }
    JobDialog #buttons { height: 1; align: right middle; margin-top: 1; }
    JobDialog Button { margin-left: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", show=False)]

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place
        self._work: Running | None = None
        self._done: Done | None = None

    def foot(self) -> ComposeResult:
        """Progress, what is said, and buttons: the end of every form."""
        with Horizontal(id="progress"):
            yield Label("", id="stage")
            yield ProgressBar(show_eta=False, id="bar")
        yield Static("", id="said", markup=False)

    def on_mount(self) -> None:
        self.query_one("#progress").display = False

    def say(self, text: str, bad: bool = False) -> None:
        """A line below the form."""
        said = self.query_one("#said", Static)
        said.update(text)
        said.set_class(bad, "-bad")

    def begin(self, job: Job) -> None:
        """Start a job, and follow it."""
        if self._work is None:
            self.run_worker(self._follow(job), exit_on_error=False)

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self._work is not None

    async def _follow(self, job: Job) -> None:
        self.say("")
        self.query_one("#progress").display = True
        self._tell(Progressed("begin", 0, 0))
        try:
            self._work = await asyncio.to_thread(Running, self._place, job)
        except (OSError, ValueError) as error:
            self.query_one("#progress").display = False
            self.say(f"no process can be started for it: {error}", bad=True)
            return

        def told(progress: Progressed) -> None:
            self.app.call_from_thread(self._tell, progress)

        over = await asyncio.to_thread(self._work.wait, told)
        self._work = None
        self.query_one("#progress").display = False
        if isinstance(over, Done):
            self._done = over
            self.finished(over)
        else:
            self.say(
                over.reason or "cancelled: nothing was written", bad=isinstance(over, Failed) and bool(over.reason)
            )

    def finished(self, done: Done) -> None:
        """What to say of it."""
        raise NotImplementedError

    def _tell(self, progress: Progressed) -> None:
        if not self.is_mounted:
            return
        self.query_one("#stage", Label).update(progress.stage)
        total = progress.total or None
        self.query_one("#bar", ProgressBar).update(total=total, progress=progress.done if total else 0)

    def action_cancel(self) -> None:
        """Cancel the job, or leave."""
        if self._work is not None:
            self.say("cancelling ...")
            self._work.cancel()
        else:
            self.dismiss(self._done)

    def on_unmount(self) -> None:
        """Nothing goes on without its dialogue."""
        if self._work is not None:
            self._work.cancel()


class ExportDialog(JobDialog):
    """Which files of a take, and where to."""

    def __init__(self, place: str, take_id: str, name: str, folder: str = "") -> None:
        super().__init__(place)
        self._take_id, self._called, self._folder = take_id, name, folder or os.curdir

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(f"Export {self._called}", id="about", markup=False)
            with Grid():
                for name, what in _FORMATS.items():
                    yield Tick(f"{name}  {what}", value=name == "wav", id=f"format-{name}", compact=True)
                yield Tick("stems (with wav)", id="stems", compact=True)
                yield Tick("MPE (with mid)", id="mpe", compact=True)
            with Horizontal(classes="field"):
                yield Label("into the folder")
                yield Input(str(Path(self._folder).absolute()), id="folder", compact=True, select_on_focus=False)
            yield from self.foot()
            with Horizontal(id="buttons"):
                yield Button("Export", id="go", variant="primary", compact=True)
                yield Button("Close (Esc)", id="cancel", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Go, or leave."""
        self._export() if event.button.id == "go" else self.action_cancel()

    def on_input_submitted(self) -> None:
        """Enter in the folder exports."""
        self._export()

    def _export(self) -> None:
        formats = tuple(n for n in _FORMATS if self.query_one(f"#format-{n}", Checkbox).value)
        if not formats:
            self.say("choose a format at least", bad=True)
            return
        folder = Path(self.query_one("#folder", Input).value).expanduser()
        stems, mpe = (self.query_one(f"#{name}", Checkbox).value for name in ("stems", "mpe"))
        self.begin(Export(self._take_id, folder, formats, stems, mpe))

    def finished(self, done: Done) -> None:
        """Name the files."""
        self.say("\n".join(["written:", *(path.name for path in done.paths)]))


class TrimDialog(JobDialog):
    """A stretch of a take with fades: as a take of its own, or as a sound file."""

    def __init__(self, place: str, take_id: str, name: str, stretch: tuple[float, float], folder: str = "") -> None:
        super().__init__(place)
        self._take_id, self._called, self._stretch = take_id, name, stretch
        self._folder = folder or os.curdir

    def compose(self) -> ComposeResult:
        start, end = self._stretch
        stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in self._called) or "take"
        file = Path(self._folder).absolute() / f"{stem}-{start:.1f}-{end:.1f}.wav"
        fields = {
            "from": ("from (s)", f"{start:.3f}"),
            "to": ("to (s)", f"{end:.3f}"),
            "fade-in": ("fade in (s)", "0"),
            "fade-out": ("fade out (s)", "0"),
            "title": ("title of the take", ""),
            "file": ("or the sound file", str(file)),
        }
        with Vertical():
            yield Static(f"Trim {self._called}: the take itself stays as it is", id="about", markup=False)
            for id, (label, value) in fields.items():
                with Horizontal(classes="field"):
                    yield Label(label)
                    yield Input(value, id=id, compact=True, select_on_focus=False)
            yield from self.foot()
            with Horizontal(id="buttons"):
                yield Button("New take", id="take", variant="primary", compact=True)
                yield Button("Sound file", id="sound", compact=True)
                yield Button("Close (Esc)", id="cancel", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Make it, or leave."""
        if event.button.id == "cancel":
            self.action_cancel()
        elif (numbers := self._numbers()) is not None:
            start, end, rise, fall = numbers
            if event.button.id == "take":
                title = self.query_one("#title", Input).value
                self.begin(Excerpt(self._take_id, start, end, (rise, fall), title))
            else:
                path = Path(self.query_one("#file", Input).value).expanduser()
                self.begin(Stretch(self._take_id, path, start, end, (rise, fall)))

    def _numbers(self) -> tuple[float, float, float, float] | None:
        found = []
        for id in ("from", "to", "fade-in", "fade-out"):
            text = self.query_one(f"#{id}", Input).value
            try:
                found.append(float(text or 0))
            except ValueError:
                self.say(f"{id} = {text!r}: allowed are seconds, such as 1.5", bad=True)
                return None
        return found[0], found[1], found[2], found[3]

    def finished(self, done: Done) -> None:
        """A new take is shown in the library; a file is named."""
        if done.take_id:
            self.dismiss(done)
        else:
            self.say(f"written: {done.paths[0]}")
