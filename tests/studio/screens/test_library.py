"""The library on a real archive: every action, by keys and mouse."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from textual.app import App
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Button, Checkbox, Input, ProgressBar, TextArea

from db.archive import Archive
from pieces.signals import DescantError
from studio.audition import A, B
from studio.jobs import Failed, Running, Stretch
from studio.screens.library import Library
from studio.screens.library_dialogs import ExportDialog, TrimDialog
from studio.screens.library_parts import Chip
from studio.takes import PAGE, Filter, Takes
from studio.themes import THEMES
from studio.widgets.lineage import Lineage
from studio.widgets.tones import theme_of
from studio.widgets.waveform import Waveform
from tests.studio.screens.takes import NAMES, like, make_archive, take_id

#: As they are listed.
NEWEST = tuple(reversed(NAMES))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    make_archive(folder)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """An archive of one's own."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy" / "archive.db"


class Host(App[None]):
    """Shows a library, and what it was left with."""

    def __init__(self, place: Path, sound: Any = None, folder: str = "", theme: str = "descant-dark") -> None:
        super().__init__()
        for look in THEMES.values():
            self.register_theme(theme_of(look))
        self.theme = theme
        self.library = Library(Takes(str(place)), sound, folder=folder)
        self.left: list[str | None] = []

    def on_mount(self) -> None:
        self.push_screen(self.library, self.left.append)


class Visit:
    """What a test plays with."""

    def __init__(self, app: Host, pilot: Pilot[None], place: Path) -> None:
        self.app, self.pilot, self.place, self.library = app, pilot, place, app.library

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            await self.pilot.pause(0.01)

    async def calm(self) -> None:
        """Wait until what is asked for is there."""

        def quiet() -> bool:
            card, current = self.library.card, self.library.current
            return self.library.settled and (current is None or (card is not None and card.take.id == current))

        await self.until(quiet)
        await self.pilot.pause()
        await self.until(quiet)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.calm()

    async def goto(self, name: str) -> None:
        ids = list(self.library.rows)
        self.library.table.move_cursor(row=ids.index(take_id(name)))
        await self.until(lambda: self.library.card is not None and self.library.card.take.id == take_id(name))
        await self.calm()

    @property
    def listed(self) -> tuple[str, ...]:
        return tuple(NAMES[int(i[-3:]) - 1] if i.startswith("0190f3a0") else i for i in self.library.rows)

    def text(self, selector: str) -> str:
        widget = self.app.screen.query_one(selector)
        return "\n".join(strip.text.rstrip() for strip in widget.render_lines(widget.region.size.region))

    def line(self, name: str) -> str:
        return " ".join(str(cell) for cell in self.library.table.get_row(take_id(name)))

    def stored(self, name: str) -> Any:
        with Archive.open(self.place) as archive:
            return archive.take(take_id(name))


def visit(
    place: Path, test: Callable[[Visit], Awaitable[None]], size: tuple[int, int] = (120, 40), **more: Any
) -> Host:
    async def run() -> Host:
        app = Host(place, **more)
        async with app.run_test(size=size) as pilot:
            seen = Visit(app, pilot, place)
            await seen.until(lambda: seen.library.card is not None or seen.library.query("#facts"))
            await seen.calm()
            await test(seen)
        return app

    return asyncio.run(run())


def test_takes_are_listed_newest_first_with_what_is_known_of_them(place):
    async def test(seen: Visit) -> None:
        assert seen.listed == NEWEST
        assert seen.library.current == take_id("broken")
        assert "loss is not a number" in " ".join(seen.text("#facts").split())
        assert "no sound: the take is failed" in seen.text("#waveform")
        await seen.goto("first")
        facts = " ".join(seen.text("#facts").split())
        for told in ("Dawn", "★★★★☆", "#dawn #keep", "found late", "seed 1", "-16.0 LUFS", take_id("first")):
            assert told in facts
        assert seen.library.query_one(Waveform).duration == pytest.approx(2.0)
        assert "Dawn" in seen.line("first")
        assert "✗" in seen.line("broken")
        assert ("●" in seen.line("first"), "○" in seen.line("scratch")) == (True, True)

    visit(place, test)


def test_search_and_filters_narrow_the_list(place):
    async def test(seen: Visit) -> None:
        await seen.press("slash", *"dawn")
        assert seen.listed == ("first",)
        await seen.until(lambda: seen.text("#count").strip() == "1 take")
        await seen.press("enter", "escape")
        assert seen.listed == NEWEST
        chips = {chip.id: chip for chip in seen.library.query(Chip)}
        await seen.pilot.click(chips["retention"])
        await seen.calm()
        assert seen.listed == ("broken", "child", "scratch")
        chips["status"].focus()
        await seen.press("enter")
        assert seen.listed == ("child", "scratch")
        for _ in range(2):
            chips["retention"].focus()
            await seen.press("space")
        assert seen.listed == ("middle", "child", "scratch", "louder", "first")
        await seen.pilot.click(chips["tag-0"])
        await seen.calm()
        assert seen.listed == ("louder", "first")
        chips["rating"].focus()
        await seen.press("enter", "enter")
        assert seen.listed == ("first",)
        seen.library.query_one("#search", Input).value = "nothing at all"
        await seen.calm()
        assert seen.listed == ()
        assert "no take is like that" in seen.text("#facts")

    visit(place, test)


def test_labels_are_written_and_shown(place):
    async def test(seen: Visit) -> None:
        await seen.goto("louder")
        await seen.press("5")
        assert seen.stored("louder").rating == 5
        assert "★★★★★" in seen.line("louder")
        await seen.press("5")
        assert seen.stored("louder").rating is None
        await seen.pilot.press("r")
        await seen.pilot.press(*"Noon", "enter")
        await seen.until(lambda: "Noon" in seen.line("louder"))
        assert seen.stored("louder").title == "Noon"
        await seen.pilot.press("t")
        await seen.pilot.press(*" #loud", "enter")
        await seen.until(lambda: "#loud" in seen.line("louder"))
        assert seen.stored("louder").tags == ("keep", "loud")
        await seen.pilot.press("n")
        await seen.pilot.pause()
        seen.app.screen.query_one(TextArea).text = "two\nlines"
        await seen.pilot.press("ctrl+s")
        await seen.until(lambda: "two" in seen.text("#facts"))
        assert seen.stored("louder").notes == "two\nlines"
        await seen.pilot.press("t")
        await seen.pilot.pause()
        seen.app.screen.query_one(Input).value = "a,b b"
        await seen.pilot.press("enter")
        await seen.until(lambda: seen.stored("louder").tags == ("a", "b"))
        await seen.pilot.press("r")
        await seen.pilot.press(*"no", "escape")
        await seen.calm()
        assert seen.stored("louder").title == "Noon"

    visit(place, test)


def test_what_is_not_allowed_is_a_notice(place):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        await seen.pilot.press("t")
        await seen.pilot.pause()
        seen.app.screen.query_one(Input).value = "x" * 70
        await seen.pilot.press("enter")
        await seen.until(lambda: "one word of up to 64" in seen.text("#notice"))
        assert seen.stored("first").tags == ("dawn", "keep")

    visit(place, test)


def test_triage_keeps_and_discards_with_undo_until_it_is_closed(place):
    async def test(seen: Visit) -> None:
        await seen.goto("scratch")
        await seen.press("k")
        assert seen.stored("scratch").retention == "kept"
        assert "●" in seen.line("scratch")
        await seen.press("k", "x")
        await seen.until(lambda: "scratch" not in seen.listed)
        assert seen.library.current == take_id("louder")  # the next one is under the cursor
        assert seen.stored("scratch").retention == "scratch"  # still there
        await seen.press("u")
        await seen.until(lambda: "scratch" in seen.listed)
        assert seen.library.current == take_id("scratch")
        await seen.press("x")
        await seen.until(lambda: "scratch" not in seen.listed)
        await seen.goto("first")
        await seen.press("x")
        await seen.until(lambda: "came from it" in seen.text("#notice"))
        assert "first" in seen.listed
        await seen.pilot.press("escape")
        await seen.until(lambda: seen.app.left)

    app = visit(place, test)
    assert app.left == [None]
    with Archive.open(place) as archive:
        ids = [row.id for row in archive.takes()]
        assert take_id("scratch") not in ids
        assert take_id("first") in ids
        assert archive.check().clean


def test_leaving_the_studio_discards_too(place):
    async def test(seen: Visit) -> None:
        await seen.goto("scratch")
        await seen.press("x")
        await seen.until(lambda: "scratch" not in seen.listed)

    visit(place, test)
    with Archive.open(place) as archive, pytest.raises(DescantError, match="no take"):
        archive.take(take_id("scratch"))


def test_the_lineage_is_a_tree_that_leads_to_takes(place):
    async def test(seen: Visit) -> None:
        await seen.goto("child")
        tree = seen.library.query_one(Lineage)
        (root,) = tree.root.children
        assert root.data == take_id("first")
        assert [node.data for node in root.children] == [take_id("child"), take_id("middle")]
        assert "branch at 30" in str(root.children[0].label)
        assert "trim at 25" in str(root.children[1].label)
        await seen.pilot.pause()
        assert tree.cursor_node is root.children[0]
        tree.focus()
        await seen.press("up", "enter")
        assert seen.library.current == take_id("first")

    visit(place, test)


def test_a_take_opens_as_a_piece(place):
    async def test(seen: Visit) -> None:
        await seen.goto("louder")
        await seen.pilot.press("d")
        await seen.until(lambda: seen.app.left)

    assert visit(place, test).left == [f"take:{take_id('louder')}"]


def test_exports_appear_when_they_are_complete(place, tmp_path):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        await seen.pilot.press("e")
        await seen.pilot.pause()
        dialog = seen.app.screen
        assert isinstance(dialog, ExportDialog)
        assert "▐✓▌ wav" in seen.text("#format-wav")
        assert "▐ ▌ csv" in seen.text("#format-csv")
        dialog.query_one("#format-csv", Checkbox).value = True
        dialog.query_one("#format-flac", Checkbox).value = True
        await seen.pilot.click("#go")
        await seen.until(lambda: "written:" in seen.text("#said"))
        await seen.pilot.press("escape")
        await seen.until(lambda: seen.app.screen is seen.library)

    visit(place, test, folder=str(tmp_path / "out"))
    stem = f"cubics-{take_id('first')}"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{stem}.csv", f"{stem}.flac", f"{stem}.wav"]
    assert soundfile.info(tmp_path / "out" / f"{stem}.wav").duration == pytest.approx(2.0)


def test_an_export_is_cancelled_and_leaves_nothing(place, tmp_path):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        await seen.pilot.press("e")
        await seen.pilot.pause()
        dialog = seen.app.screen
        assert isinstance(dialog, ExportDialog)
        dialog.query_one("#format-mp4", Checkbox).value = True
        await seen.pilot.click("#go")
        await seen.until(lambda: "film" in seen.text("#stage"), 60)
        await seen.until(lambda: (dialog.query_one(ProgressBar).percentage or 0) > 0)
        await seen.pilot.press("escape")
        await seen.until(lambda: not dialog.busy)
        assert "cancelled" in seen.text("#said")

    visit(place, test, folder=str(tmp_path / "out"))
    assert not [p for p in tmp_path.glob("out/**/*") if p.is_file()]
    with Archive.open(place) as archive:
        assert not list(archive.media_folder.glob("making-*"))


def test_a_folder_that_cannot_be_written_is_said(place, tmp_path):
    (tmp_path / "file").write_text("in the way")

    async def test(seen: Visit) -> None:
        await seen.goto("first")
        await seen.pilot.press("e")
        await seen.pilot.pause()
        await seen.pilot.click("#go")
        await seen.until(lambda: "cannot be made" in seen.text("#said"))

    visit(place, test, folder=str(tmp_path / "file"))


def test_a_selection_becomes_a_take_of_its_own_with_its_parent(place):
    async def test(seen: Visit) -> None:
        await seen.goto("louder")
        await seen.press("enter", *["ctrl+right"] * 3, *["shift+right"] * 3)
        wave = seen.library.query_one(Waveform)
        assert wave.selection == pytest.approx((0.5, 0.55))
        wave.select(0.5, 1.0)
        await seen.pilot.press("c")
        await seen.pilot.pause()
        dialog = seen.app.screen
        assert isinstance(dialog, TrimDialog)
        dialog.query_one("#title", Input).value = "a part"
        dialog.query_one("#fade-in", Input).value = "0.1"
        await seen.pilot.click("#take")
        await seen.until(lambda: seen.app.screen is seen.library)
        await seen.until(lambda: len(seen.library.rows) == len(NAMES) + 1)
        await seen.calm()
        assert "a part" in seen.text("#facts")

    visit(place, test)
    with Archive.open(place) as archive:
        made = archive.take("latest")
        assert (made.title, made.origin) == ("a part", "captured")
        assert [p.take_id for p in made.parents] == [take_id("louder")]


def test_a_selection_becomes_a_sound_file(place, tmp_path):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        seen.library.query_one(Waveform).select(0.25, 0.75)
        await seen.pilot.press("c")
        await seen.pilot.pause()
        assert seen.app.screen.query_one("#from", Input).value == "0.250"
        seen.app.screen.query_one("#to", Input).value = "wrong"
        await seen.pilot.click("#sound")
        assert "allowed are seconds" in seen.text("#said")
        seen.app.screen.query_one("#to", Input).value = "0.75"
        seen.app.screen.query_one("#file", Input).value = str(tmp_path / "part.wav")
        await seen.until(lambda: not seen.app.screen.query_one("Button#sound").has_class("-active"))
        await seen.pilot.click("#sound")
        await seen.until(lambda: "written:" in seen.text("#said"))

    visit(place, test)
    with Archive.open(place) as archive:
        (mix,) = (m.path for m in archive.media(take_id("first")) if m.role == "mix")
    whole, _ = soundfile.read(mix, dtype="float32")
    part, _ = soundfile.read(tmp_path / "part.wav", dtype="float32")
    np.testing.assert_array_equal(part, whole[12_000:36_000])


def test_waveform_and_spectrogram_show_the_same_stretch(place):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        wave, spectrum = seen.library.query_one("#waveform"), seen.library.query_one("#spectrogram")
        assert (wave.display, spectrum.display) == (True, False)
        await seen.press("s")
        assert (wave.display, spectrum.display) == (False, True)
        await seen.press("s")
        assert (wave.display, spectrum.display) == (True, True)
        await seen.press("enter", "plus", "plus")
        assert wave.end == spectrum.end < wave.duration
        wave.select(0.1, 0.2)
        await seen.calm()
        assert spectrum.selection == (0.1, 0.2)
        assert "selected 0.100–0.200 s" in seen.text("#deck")

    visit(place, test)


def test_without_an_engine_everything_but_sound_works(place):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        await seen.press("space")
        assert "no sound engine" in seen.text("#notice")
        await seen.press("v")
        assert "mark one take" in seen.text("#notice")

    visit(place, test)


def test_text_of_a_person_is_no_markup_and_no_escape(place):
    with Archive.open(place) as archive:
        archive.labels.rename(take_id("first"), "[red]\x1b[31mDawn[/]")
        archive.labels.note(take_id("first"), "[bold]\x9b31m \u202edesrever")

    async def test(seen: Visit) -> None:
        await seen.goto("first")
        shown = seen.text("#facts") + seen.line("first") + str(seen.library.query_one(Lineage).root.children[0].label)
        assert shown.count("[red]") == 3
        assert not [c for c in shown if not c.isprintable() and c != "\n"]

    visit(place, test)


def test_a_long_title_leaves_room_for_the_rest(place):
    with Archive.open(place) as archive:
        archive.labels.rename(take_id("first"), "word " * 40)

    async def test(seen: Visit) -> None:
        assert seen.library.table.virtual_size.width < 120
        assert "…" in seen.line("first")
        await seen.goto("first")
        assert " ".join(seen.text("#facts").split()).count("word") == 40

    visit(place, test)


def test_an_empty_archive_says_what_to_do(tmp_path):
    async def test(seen: Visit) -> None:
        await seen.until(lambda: "no takes yet" in seen.text("#facts"))
        await seen.press(*"xkrtnecdabv125su")
        assert seen.app.screen is seen.library or seen.app.left

    visit(tmp_path / "new.db", test)


def test_an_archive_that_cannot_be_read_is_a_notice(tmp_path):
    (tmp_path / "no.db").write_text("this is no archive, and it is long enough to be looked at as one")

    async def test(seen: Visit) -> None:
        await seen.until(lambda: "cannot be read" in seen.text("#facts"))
        assert "no.db" in seen.text("#notice")
        await seen.pilot.press("escape")
        await seen.until(lambda: seen.app.left)

    visit(tmp_path / "no.db", test)


def test_a_long_list_is_read_page_by_page(made, tmp_path):
    shutil.copytree(made, tmp_path / "many")
    with Archive.open(tmp_path / "many" / "archive.db") as archive:
        new = like(archive, take_id("first"))
        for _ in range(3 * PAGE):
            archive.begin(new).fail("no")

    async def test(seen: Visit) -> None:
        assert len(seen.library.rows) == PAGE
        seen.library.table.move_cursor(row=PAGE - 5)
        await seen.until(lambda: len(seen.library.rows) == 2 * PAGE)
        await seen.calm()
        seen.library.table.move_cursor(row=2 * PAGE - 1)
        await seen.until(lambda: len(seen.library.rows) == 3 * PAGE)
        seen.library.table.move_cursor(row=3 * PAGE - 1)
        await seen.until(lambda: len(seen.library.rows) == 3 * PAGE + len(NAMES))
        assert len(set(seen.library.rows)) == len(seen.library.rows)
        assert tuple(seen.library.rows) == tuple(sorted(seen.library.rows, reverse=True))

    visit(tmp_path / "many" / "archive.db", test)


def test_everything_can_be_reached_on_a_small_screen(place):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        for selector in ("#takes", "#details", "#waveform", "#deck", "#keys", "#search"):
            region = seen.app.screen.query_one(selector).region
            assert region.width > 10
            assert region.height >= 1
            assert seen.app.screen.region.contains_region(region)
        assert seen.library.query_one("#details", VerticalScroll).max_scroll_y > 0
        assert "Dawn" in seen.text("#facts")

    visit(place, test, size=(80, 24))


def test_buttons_of_the_dialogues_fit_a_small_screen(place):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        for key in ("e", "c"):
            await seen.pilot.press(key)
            await seen.pilot.pause()
            for widget in (*seen.app.screen.query(Button), *seen.app.screen.query(Input)):
                assert seen.app.screen.region.contains_region(widget.region)
            await seen.pilot.press("escape")
            await seen.until(lambda: seen.app.screen is seen.library)

    visit(place, test, size=(80, 24))


def test_pages_leave_out_what_was_discarded(place):
    takes = Takes(str(place))
    first, skip = takes.page(Filter(), 0, 2)
    takes.discard(take_id("child"))
    second, skip = takes.page(Filter(), skip, 2)
    third, skip = takes.page(Filter(), skip, 2)
    assert [row.id for row in (*first, *second, *third)] == [take_id(n) for n in NEWEST if n != "child"]
    assert takes.page(Filter(), skip, 2)[0] == []
    assert takes.undiscard() == take_id("child")
    assert takes.undiscard() is None
    takes.close()


def test_the_sound_of_a_live_take_is_made_when_somebody_wants_to_hear_it(place, speaker):
    with Archive.open(place) as archive:
        first = archive.take(take_id("first"))
        new = like(archive, first.id)
        recorder = archive.begin(new)
        recorder.channels(first.parts["cubics"].channels)
        for block in archive.blocks(first.id):
            recorder.append(block)
        recorder.finish(duration_s=1.5)

    async def test(seen: Visit) -> None:
        assert seen.library.current == recorder.take_id
        assert "play it, and it is made" in seen.text("#waveform")
        await seen.pilot.press("space")
        await seen.until(lambda: seen.library.card.mix is not None, 60)
        await seen.calm()
        assert seen.library.query_one(Waveform).duration == pytest.approx(2.0)
        await seen.pilot.press("space")
        await seen.until(lambda: A in speaker.state().decks)

    visit(place, test, sound=speaker)


def test_a_job_begins_under_a_screen_as_the_first_process_of_all(place, tmp_path):
    """A screen's stderr has no file, for which multiprocessing asks when it starts anything for the first time."""
    code = f"""
import asyncio, sys
from pathlib import Path
from textual.app import App
from studio.jobs import Done, Running, Stretch

class Host(App):
    def job(self):
        job = Running({str(place)!r}, Stretch({take_id("first")!r}, Path({str(tmp_path / "a.wav")!r}), 0.0, 1.0))
        return job.wait(lambda progress: None)

async def main():
    app = Host()
    async with app.run_test():
        assert sys.stderr.fileno() == -1
        assert isinstance(await asyncio.to_thread(app.job), Done)

if __name__ == "__main__":
    asyncio.run(main())
"""
    (tmp_path / "first.py").write_text(code)
    done = subprocess.run([sys.executable, str(tmp_path / "first.py")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.wav").exists()


def test_a_job_whose_process_dies_says_so(place, tmp_path):
    job = Running(str(place), Stretch(take_id("first"), tmp_path / "a.wav", 0.0, 1.0))
    job._process.kill()
    found = job.wait(lambda progress: None)
    assert isinstance(found, Failed)
    assert "ended with code -9" in found.reason


class Speaker:
    """A real engine in real time without a device, and what it plays as a file."""

    def __init__(self, folder: Path) -> None:
        from sonify.engine.client import Engine

        self.path = folder / "played.wav"
        self._engine = Engine(lambda answer: None, "silent")
        end = time.monotonic() + 20
        while self._engine.state() is None:
            assert time.monotonic() < end, "the engine did not start"
            time.sleep(0.01)
        self.send, self.state = self._engine.send, self._engine.state

    def record(self, on: bool) -> None:
        from sonify.engine.commands import Record

        self.send(Record(self.path if on else None))

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def speaker(tmp_path: Path) -> Iterator[Speaker]:
    found = Speaker(tmp_path)
    yield found
    found.close()


def test_a_take_is_heard_from_the_cursor_and_stopped(place, speaker):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        wave = seen.library.query_one(Waveform)
        wave.place(0.5)
        await seen.pilot.press("space")
        await seen.until(lambda: A in speaker.state().decks)
        await seen.until(lambda: wave.playhead is not None and wave.playhead > 0.6)
        assert speaker.state().decks[A][1] > 0.001
        assert "▶" in seen.text("#deck")
        await seen.pilot.press("space")
        await seen.until(lambda: A not in speaker.state().decks)
        assert wave.playhead is None
        wave.select(0.2, 0.4)
        await seen.pilot.press("space")
        turns = []

        def turned() -> bool:
            turns.append(wave.playhead or 0.0)
            return any(b < a - 0.05 for a, b in pairwise(turns))

        await seen.until(turned)  # the selection comes again
        assert max(turns) < 0.5
        await seen.pilot.press("space")

    visit(place, test, sound=speaker)


def test_a_take_that_is_over_stops(place, speaker):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        seen.library.query_one(Waveform).place(1.6)
        await seen.pilot.press("space")
        await seen.until(lambda: seen.library.audition.playing)
        await seen.until(lambda: not seen.library.audition.playing)
        assert "■" in seen.text("#deck")

    visit(place, test, sound=speaker)


def test_two_takes_are_compared_at_the_same_place(place, speaker):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        await seen.press("a")
        await seen.goto("louder")
        await seen.pilot.press("b")
        await seen.until(lambda: {A, B} <= speaker.state().decks.keys())
        assert "A" in seen.line("first")
        assert "B" in seen.line("louder")
        await seen.until(lambda: speaker.state().decks[A][0] > 0.2)
        decks = speaker.state().decks
        assert abs(decks[A][0] - decks[B][0]) < 0.03
        assert "[A]" in seen.text("#deck")
        await seen.pilot.press("v")
        await seen.until(lambda: "[B]" in seen.text("#deck"))
        assert seen.library.current == take_id("louder")
        await seen.pilot.press("v")
        await seen.until(lambda: "[A]" in seen.text("#deck"))
        await seen.pilot.press("escape")
        await seen.until(lambda: not speaker.state().decks)

    visit(place, test, sound=speaker)


def test_to_hear_the_other_one_makes_no_click(tmp_path, speaker):
    """Two tones, switched between: what is played turns from one into the other without a step."""
    from studio.audition import Audition

    seconds = np.arange(6 * 48_000) / 48_000
    for name, hertz in (("a", 220.0), ("b", 330.0)):
        tone = 0.3 * np.sin(2 * np.pi * hertz * seconds)
        soundfile.write(tmp_path / f"{name}.wav", np.stack([tone, tone], axis=1), 48_000, subtype="FLOAT")
    audition = Audition(speaker)

    def wait(seconds: float) -> None:
        end = time.monotonic() + 20
        while (audition.position() or 0.0) < seconds:
            assert time.monotonic() < end
            time.sleep(0.01)

    audition.compare(tmp_path / "a.wav", tmp_path / "b.wav", 0.0)
    wait(0.3)
    speaker.record(True)
    wait(0.8)
    assert audition.switch() == B
    wait(1.4)
    assert audition.switch() == A
    wait(2.0)
    speaker.record(False)
    end = time.monotonic() + 20
    while not speaker.path.exists() or len(sound := soundfile.read(speaker.path)[0][:, 0]) < 48_000:
        assert time.monotonic() < end
        time.sleep(0.02)
    heard = sound[2048:-2048]
    blocks = heard[: len(heard) // 4800 * 4800].reshape(-1, 4800)
    strongest = np.abs(np.fft.rfft(blocks * np.hanning(4800), axis=1)).argmax(axis=1) * 10
    order = [int(h) for k, h in enumerate(strongest) if k == 0 or h != strongest[k - 1]]
    assert [h for h in order if h in (220, 330)] == [220, 330, 220]
    steps = np.abs(np.diff(heard, 2))
    assert steps.max() < 3 * 0.3 * (2 * np.pi * 330 / 48_000) ** 2  # as smooth as the two tones are
