"""The library on a real archive: every action, by keys and mouse."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile
from textual.containers import VerticalScroll
from textual.widgets import Button, Checkbox, Input, ProgressBar, TextArea

from db.archive import Archive
from pieces.errors import DescantError
from studio.screens.library_dialogs import ExportDialog, TrimDialog
from studio.screens.library_parts import Chip
from studio.takes import PAGE, Filter, Takes
from studio.widgets.lineage import Lineage
from studio.widgets.waveform import Waveform
from tests.studio.screens.takes import NAMES, like, take_id
from tests.studio.screens.visits import Visit, visit

#: As they are listed.
NEWEST = tuple(reversed(NAMES))


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
