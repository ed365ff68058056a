"""A piece and its file: drafts, saves, what is unsaved, moving to another folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pieces.errors import DescantError
from pieces.piece import find_piece, parse_piece
from studio.piecefile import PieceFile
from studio.revise import changed, checked, read


def opened(name: str) -> tuple[PieceFile, dict]:  # type: ignore[type-arg]
    piece, base, file = read(name)
    piece = checked(name, piece.model_dump(), base)
    return PieceFile.of(name, piece, base, file), piece.model_dump(mode="json")


def looks(file: PieceFile) -> list[str]:
    return [text for _ in range(2) for text in file.look()]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine" / "my.toml"
    path.parent.mkdir()
    text = '# my own\ntitle = "Mine"\n\n[parts.s]\nsource = "series"\nrate = 20\nticks = 40\n'
    text += 'inputs = { data = "data.csv" }  # from the field\n\n'
    text += '[score.voices.a]\ninstrument = "glide"\nlanes = { pitch = { channel = "x", range = [200, 400] } }\n'
    path.write_text(text)
    (path.parent / "data.csv").write_text("x\n" + "\n".join(map(str, range(40))))
    return path


def test_a_file_is_edited_itself_while_it_says_what_is_heard(own: Path, home: Path) -> None:
    file, data = opened(str(own))
    assert file.to_edit(str(own), data) == own
    louder = changed(data, "score.voices.a.gain_db", -3.0)
    draft = file.to_edit(str(own), louder)
    assert draft == home / "drafts" / "my.toml"
    assert "# from the field" in draft.read_text()
    assert tomllib.loads(draft.read_text())["score"]["voices"]["a"]["gain_db"] == -3.0
    assert "gain_db" not in own.read_text()
    assert looks(file) == []  # our own writing is no news
    for path in (draft, own):
        path.write_text(path.read_text().replace("Mine", f"Mine, {path.parent.name}"))
        assert looks(file) == [path.read_text()]


def test_a_built_in_piece_is_edited_as_a_draft_with_its_comments(home: Path) -> None:
    file, data = opened("canon")
    draft = file.to_edit("canon", data)
    assert draft.is_relative_to(home)
    piece, _ = find_piece(str(draft))
    assert piece.model_dump(mode="json") == data
    assert "#" in draft.read_text()


def test_saved_elsewhere_it_still_finds_its_files(own: Path, tmp_path: Path) -> None:
    file, data = opened(str(own))
    louder = changed(data, "score.voices.a.gain_db", -3.0)
    other = tmp_path / "other" / "new.toml"
    file.save(other, louder)
    piece, base, _ = read(str(other))
    assert Path(piece.parts["s"].inputs["data"]) == own.parent / "data.csv"
    assert checked("new", piece.model_dump(), base).score["voices"]["a"]["gain_db"] == -3.0
    assert "# from the field" in other.read_text()
    assert (file.file, file.base, file.saved) == (other, other.parent, louder)
    assert "gain_db" not in own.read_text()
    file.save(own, louder)
    assert 'data = "data.csv"' in own.read_text() or str(own.parent) in own.read_text()
    assert parse_piece(tomllib.loads(own.read_text()), "x").score["voices"]["a"]["gain_db"] == -3.0


def test_what_cannot_be_written_leaves_what_is_there(own: Path, tmp_path: Path) -> None:
    file, data = opened(str(own))
    with pytest.raises(DescantError, match=r"a piece is a \.toml file"):
        file.save(tmp_path / "x.txt", data)
    (tmp_path / "file").write_text("")
    with pytest.raises(DescantError, match="cannot be written"):
        file.save(tmp_path / "file" / "x.toml", data)
    assert file.file == own
    with pytest.raises(DescantError, match=r"my\.toml: not TOML"):
        file.parse(str(own), "title = ")
    own.unlink()
    piece = parse_piece(data, "x")
    assert PieceFile.of(str(own), piece, own.parent, own).file is None  # gone: it goes on without
