"""A sweep: long work in batches, each kept as soon as it is done, so that what was killed goes on where it was.

A batch is a file; a file is there whole or not at all. So ``kill -9``, or a machine that goes down, loses the batch
that was being made, and no other.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from studio.rendering import Progress, silent

#: What a batch is: arrays by name.
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
_SETTINGS, _LOCK = "sweep.json", "sweep.lock"


class SweepError(DescantError):
    """A sweep that cannot begin or go on."""


class Sweep:
    """Batches of work in a folder, as far as they have come.

    Parameters
    ----------
    folder : Path
        Where the batches are kept; made if it is not there.
    settings : mapping
        JSON values: all that the batches follow from. They are written at the first use of a folder.

    Raises
    ------
    SweepError
        If the folder holds a sweep of other settings (the line names one that differs), or cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        wanted = json.loads(json.dumps(settings))
        path = folder / _SETTINGS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _write(path, json.dumps(wanted, sort_keys=True, indent=1).encode())
            found = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SweepError(
                f"{error.filename or folder}: {error.strerror}: give a folder that can be written"
            ) from error
        except ValueError as error:
            raise SweepError(f"{path} cannot be read: {error}; move the folder away to begin anew") from error
        if found != wanted:
            raise SweepError(f"{folder} holds another sweep: {_difference(found, wanted)}; give another folder")

    @property
    def done(self) -> int:
        """Batches that are kept."""
        return len(list(self.folder.glob("batch-*.npz")))

    def each(
        self, count: int, work: Callable[[int], Arrays], progress: Progress = silent, stage: str = "sweep"
    ) -> Generator[tuple[int, dict[str, NDArray[Any]]], None, None]:
        """Batches 0 to `count` - 1 in order, each with its number: from its file where it is kept, else made and kept.

        Parameters
        ----------
        work : callable
            Makes batch k. It must follow from k and the sweep's settings alone.

        Raises
        ------
        SweepError
            If another process is at work in the folder, or a batch cannot be kept.
        """
        with self._alone():
            progress(stage, 0, count)
            for k in range(count):
                path = self.folder / f"batch-{k:05d}.npz"
                found = _read(path)
                if found is None:
                    found = {name: np.asarray(array) for name, array in work(k).items()}
                    self._keep(path, found)
                progress(stage, k + 1, count)
                yield k, found

    def clear(self) -> None:
        """Take the folder away, if nobody else has begun to work in it: what the sweep was for is done."""
        with suppress(SweepError, OSError), self._alone():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _keep(self, path: Path, arrays: dict[str, NDArray[Any]]) -> None:
        from io import BytesIO

        whole = BytesIO()
        np.savez(whole, allow_pickle=False, **arrays)
        try:
            _write(path, whole.getvalue())
        except OSError as error:
            raise SweepError(
                f"{path}: {error.strerror}: the batches before it are kept; the same call goes on"
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two processes would make every batch twice; the lock of one that was killed is gone with it."""
        with (self.folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SweepError(f"{self.folder}: another process is at this sweep: wait for it, or end it") from error
            yield


def sweep_of(folder: Path, name: str, settings: Mapping[str, Any]) -> Sweep:
    """The sweep of some settings, in a folder of its own within `folder`."""
    told = json.dumps(settings, sort_keys=True)
    return Sweep(folder / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:24]}", settings)


def _write(path: Path, data: bytes) -> None:
    """A file that is there whole or not at all, also when the machine goes down."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    """A batch that is kept; None of one that is not, or that a disk has spoiled: it is made again."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The first setting that differs, as words."""
    for name in sorted({*found, *wanted}):
        if found.get(name) != wanted.get(name):
            return f"its {name} is {_short(found.get(name))}, not {_short(wanted.get(name))}"
    return "its settings are of another form"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
