"""The piece of a session on disk: its own file or a draft, what stands in it, and saves in an editor."""

from __future__ import annotations

import copy
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pieces.errors import DescantError
from pieces.piece import ALIASES, Piece, PieceError, library
from pieces.source import split_source_path
from studio import config, revise
from studio.revise import Paper
from studio.watch import Watch


class PieceFile:
    """Where a piece stands.

    Parameters
    ----------
    base : Path
        Folder against which its paths are read.
    file : Path or None
        Its own file.
    paper : Paper
        Its text, with comments.

    Attributes
    ----------
    saved : mapping
        The piece, as plain data, as it stands in a file or in the library.
    """

    def __init__(self, base: Path, file: Path | None, paper: Paper) -> None:
        self.base, self.file, self.paper = base, file, paper
        self.saved = paper.data
        self._watches: dict[Path, Watch] = {}
        if file is not None:
            self._watch(file)

    @classmethod
    def of(cls, name: str, piece: Piece, base: Path, file: Path | None) -> PieceFile:
        """That of a piece that was just read."""
        text = None
        if file is not None:
            try:
                text = file.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError):
                file = None  # gone since: the session goes on without
        else:
            text = library().get(ALIASES.get(name, name))
        return cls(base, file, Paper(text or piece.to_toml(), piece.model_dump(mode="json")))

    @classmethod
    def again(cls, name: str, first: Piece, base: Path, file: Path | None) -> PieceFile:
        """That of a piece which was `first` when it was read; by now its file may say something else, or nothing."""
        if file is None:
            return cls.of(name, first, base, None)
        try:
            found, base, file = revise.read(str(file))
            return cls.of(name, revise.checked(name, found.model_dump(), base), base, file)
        except DescantError:
            return cls.of("", first, base, None)

    def parse(self, name: str, text: str) -> dict[str, Any]:
        """A text of the piece as plain data, not checked.

        Raises
        ------
        PieceError
            If it is no TOML.
        """
        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise PieceError(f"{Path(name).name}: not TOML: {error}") from error

    def use(self, text: str, data: Mapping[str, Any]) -> None:
        """From now on this is its text; it may be that of its file."""
        self.paper = Paper(text, data)
        if self.file is not None and _read(self.file) == text:
            self.saved = data

    def to_edit(self, name: str, data: Mapping[str, Any]) -> Path:
        """A file that says what is heard: its own, or a draft where that says something else; its saves are noticed.

        Raises
        ------
        DescantError
            If a draft cannot be written.
        """
        if self.file is not None and data == self.saved:
            return self.file
        stem = re.sub(r"[^\w.-]+", "-", Path(name).stem) or "piece"
        path = config.home() / "drafts" / f"{stem}.toml"
        self._write(path, self.paper.written(data, self.base))
        return path

    def save(self, path: Path, data: Mapping[str, Any]) -> None:
        """Write the piece as `path`, which is its own file then.

        Raises
        ------
        DescantError
            If it cannot be written.
        """
        path = Path(os.path.expanduser(path)).absolute()
        if path.suffix != ".toml":
            raise DescantError(f"{path}: a piece is a .toml file: name it so")
        moved = data if path.parent == self.base else _anchored(data, self.base)
        text = self.paper.written(moved, path.parent)
        self._write(path, text)
        self.file, self.base, self.saved, self.paper = path, path.parent, data, Paper(text, moved)

    def look(self) -> Iterator[str]:
        """Texts that were saved since the last look."""
        for watch in list(self._watches.values()):
            if (text := watch.look()) is not None:
                yield text

    def _write(self, path: Path, text: str) -> None:
        """Whole or not at all: what is there stays until the new one is complete."""
        new = path.with_name(f".{path.name}.new")
        watch = self._watches.get(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if watch is not None:
                watch.expect(text)
            new.write_text(text, encoding="utf-8")
            new.replace(path)
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            raise DescantError(f"{path}: cannot be written: {error.strerror}: choose another place") from error
        if watch is None:
            self._watch(path)

    def _watch(self, path: Path) -> None:
        self._watches[path] = Watch(path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None


def _anchored(data: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A piece whose files are named by whole paths, to stand in another folder."""
    made: dict[str, Any] = copy.deepcopy(dict(data))

    def whole(text: str) -> str:
        path = base / os.path.expanduser(text)
        return str(path.resolve()) if path.is_file() else text

    for part in made["parts"].values():
        part["inputs"] = {key: whole(value) for key, value in part["inputs"].items()}
        if split := split_source_path(part["source"]):
            part["source"] = f"{whole(split[0])}:{split[1]}" if split[1] else whole(split[0])
    for voice in made["score"].get("voices", {}).values():
        if isinstance(voice.get("sample"), str):
            voice["sample"] = whole(voice["sample"])
    return made
