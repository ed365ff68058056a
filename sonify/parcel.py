"""Large arrays handed from process to process: written once, into a file without a name, and mapped by who gets it."""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

from pieces.errors import DescantError


class Parcel:
    """Something to be sent, once or more often. When nobody holds it any more, the file is gone.

    Parameters
    ----------
    contents : object
        Anything that can be pickled; its arrays arrive as read-only views.

    Raises
    ------
    DescantError
        If there is no room for it in the folder for temporary files.
    """

    def __init__(self, contents: object) -> None:
        arrays: list[pickle.PickleBuffer] = []
        head = pickle.dumps(contents, protocol=5, buffer_callback=arrays.append)
        parts = [array.raw() for array in arrays]
        self._sizes = [len(part) for part in parts]
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            self._file.writelines((*parts, head))
            self._file.flush()
        except OSError as error:
            where, size = tempfile.gettempdir(), (sum(self._sizes) >> 20) + 1
            raise DescantError(
                f"{where}: {size} MB cannot be written: {error.strerror}: make room, or set TMPDIR"
            ) from error

    def send(self, pipe: Connection) -> None:
        """Give it to whoever is at the other end of a duplex pipe."""
        reduction.send_handle(pipe, self._file.fileno(), None)
        pipe.send(self._sizes)


def receive(pipe: Connection) -> Any:
    """What a parcel contains.

    Raises
    ------
    EOFError
        If the pipe is closed.
    """
    descriptor = reduction.recv_handle(pipe)
    sizes = pipe.recv()
    try:
        memory = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)
    arrays, at = [], 0
    for size in sizes:
        arrays.append(memory[at : at + size])
        at += size
    return pickle.loads(memory[at:], buffers=arrays)
