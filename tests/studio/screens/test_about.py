"""What is told of pieces and sources, also of the user's own: never by this process, and never at its cost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.widgets import Static

from pieces.piece import find_piece
from studio.screens.help import Reader
from studio.screens.shelf import items
from tests.studio.screens.stage import Stage, play, staged

pytestmark = pytest.mark.usefixtures("home")

#: A source that tells who reads it.
OWN = """
import os
from pathlib import Path
from pieces.training.knots import Knots

with Path(__file__).with_name("readers").open("a") as file:
    file.write(f"{os.getpid()}\\n")

class Own(Knots):
    name, about = "own", "Knots of one's own."
    references = ("A book on knots",)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "own.py"
    path.parent.mkdir()
    path.write_text(OWN)
    return path


def readers(own: Path) -> set[int]:
    return {int(line) for line in own.with_name("readers").read_text().split()}


async def told(stage: Stage) -> str:
    """Press i, and read."""
    await stage.press("i")
    await stage.until(lambda: isinstance(stage.app.screen, Reader) and stage.app.screen.query(Static))
    return str(stage.app.screen.query_one(Static).render())


def test_a_piece_is_told_as_it_is_heard_while_its_file_is_half_written(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(find_piece("knots")[0].to_toml())

    async def scene():
        async with staged(tmp_path, str(path)) as stage:
            stage.session.edit("title", "Knots and bows")
            path.write_text("x = [")
            await stage.until(lambda: "not TOML" in stage.notice)
            text = await told(stage)
            assert text.startswith("Knots and bows")
            assert "references" in text
            await stage.press("escape")
            await stage.until(lambda: stage.app.screen is stage.screen)

    play(scene)


def test_a_source_of_the_users_is_told_of_by_another_process(own, tmp_path):
    path = own.with_name("mine.toml")
    path.write_text(find_piece("knots")[0].with_values({"parts.knots.source": own.name}).to_toml())

    async def scene():
        async with staged(tmp_path, str(path)) as stage:
            text = await told(stage)
            assert "own: Knots of one's own." in text
            assert "A book on knots" in text
            await stage.press("escape")
            await stage.until(lambda: stage.app.screen is stage.screen)
            own.write_text("raise SystemExit('no more')")
            assert "source file own.py does not load: SystemExit: no more" in await told(stage)

    play(scene)
    assert readers(own)
    assert os.getpid() not in readers(own)


def test_a_source_file_is_opened_without_being_read_here(own, tmp_path):
    async def scene():
        async with staged(tmp_path, str(own)) as stage:
            assert "own" in stage.text("#head")
            assert [*stage.memory.trails] == ["source"]

    play(scene)
    assert readers(own)
    assert os.getpid() not in readers(own)


def test_installed_sources_stand_on_the_shelf_and_are_not_read_here(own, monkeypatch):
    (own.parent / "ends.py").write_text("raise SystemExit(3)")
    found = own.parent / "own-1.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    (found / "entry_points.txt").write_text("[descant.sources]\nown = own:Own\nends = ends:Ends\n")
    monkeypatch.syspath_prepend(own.parent)
    first, second = items()
    assert "knots" in {item.name for item in first}
    assert [item.name for item in second if item not in first] == ["own"]
    assert second[-1].about == "Knots of one's own."
    assert os.getpid() not in readers(own)


def test_what_is_told_of_a_source_is_read_where_its_session_began(own, tmp_path, monkeypatch):
    monkeypatch.chdir(own.parent)

    async def scene():
        async with staged(tmp_path, "knots") as stage:
            monkeypatch.chdir(tmp_path)
            stage.session.edit("parts.knots.source", "own.py")
            assert stage.session.base == own.parent
            assert "A book on knots" in await told(stage)

    play(scene)
