"""Media beside the database: files named by the SHA-256 of their content, so that equal ones are kept once."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from db.records import ArchiveBusy, ArchiveError

#: A file younger than this may belong to somebody who has not referenced it yet.
GRACE_S = 3600.0
#: What a disk refuses for now: it is full, a quota is used up, or writing failed.
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
#: The archive's own files in a media folder: content, what `MediaStore.put` was writing when it was killed, and what
#: was being rendered for it. All others are somebody else's and are never touched.
_OWN = re.compile(r"(?P<head>[0-9a-f]{2})/(?P=head)[0-9a-f]{62}(\.[^.]+)?|tmp/[0-9a-f]{32}|making-[a-z0-9_]{8}/[^/]+")


class Stored(NamedTuple):
    """A file in the store: its hash, suffix and size in bytes."""

    sha256: str
    suffix: str
    bytes: int


class MediaStore:
    """A folder of content-addressed files, ``ab/abcdef....wav``.

    A file is written under a temporary name, synced and renamed; only what `put` has returned may be referenced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._temporary = folder / "tmp"

    def claim(self, archive_id: str) -> None:
        """Make the folder the archive's own, by an empty file ``descant-archive-<id>``.

        Raises
        ------
        ArchiveError
            If another archive's media lie there (each would sweep the other's), or it cannot be written.
        """
        mine = self.folder / f"descant-archive-{archive_id}"
        if others := [path.name for path in self.folder.glob("descant-archive-*") if path != mine]:
            raise ArchiveError(
                f"{self.folder}: holds the media of another archive ({others[0]}): name another folder with ?media="
            )
        if mine.exists():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            mine.touch()
        except OSError as error:
            kind = ArchiveBusy if error.errno in _PASSING else ArchiveError
            raise kind(
                f"{self.folder}: media cannot be kept there ({error.strerror}): make it writable or name another folder"
            ) from error

    def path(self, sha256: str, suffix: str) -> Path:
        """Where the content lies, whether it is there or not."""
        return self.folder / sha256[:2] / f"{sha256}{suffix}"

    def put(self, source: Path | bytes, suffix: str) -> Stored:
        """Copy a file, or write bytes, into the store.

        Raises
        ------
        ArchiveBusy
            If the disk is full.
        ArchiveError
            If the source cannot be read or the store not be written.
        """
        try:
            return self._put(source, suffix)
        except OSError as error:
            place = error.filename or self.folder
            # A disk may fail on either side; where there is no source to be read it is ours.
            passes = error.errno in _PASSING and (error.errno != errno.EIO or isinstance(source, bytes))
            raise (ArchiveBusy if passes else ArchiveError)(
                f"{place}: {error.strerror or error}: the file was not archived; free space or rights, then again"
            ) from error

    def _put(self, source: Path | bytes, suffix: str) -> Stored:
        self._temporary.mkdir(parents=True, exist_ok=True)
        temporary = self._temporary / secrets.token_hex(16)
        try:
            with temporary.open("xb") as file:
                if isinstance(source, bytes):
                    file.write(source)
                else:
                    with source.open("rb") as original:
                        shutil.copyfileobj(original, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            stored = Stored(file_hash(temporary), suffix, temporary.stat().st_size)
            target = self.path(stored.sha256, suffix)
            if target.exists():
                os.utime(target)  # young again, so that nobody sweeps it before it is referenced
            else:
                target.parent.mkdir(exist_ok=True)
                temporary.replace(target)
                _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
        return stored

    def problem(self, stored: Stored) -> str | None:
        """What is wrong with a stored file, or None."""
        path = self.path(stored.sha256, stored.suffix)
        try:
            if file_hash(path) != stored.sha256:
                return f"{path}: damaged: its content has changed"
        except FileNotFoundError:
            return f"{path}: missing"
        except OSError as error:
            return f"{path}: {error.strerror}"
        return None

    def old_files(self) -> Iterator[Path]:
        """The archive's own files that nobody can be about to reference."""
        limit = time.time() - GRACE_S
        for path in self.folder.glob("*/*"):
            if not _OWN.fullmatch(path.relative_to(self.folder).as_posix()):
                continue
            try:
                if path.is_file() and path.stat().st_mtime < limit:
                    yield path
            except FileNotFoundError:
                continue


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable (fsync(2): syncing a file does not sync its folder)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
