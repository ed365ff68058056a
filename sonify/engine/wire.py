"""Messages over a unix socket whose sender never waits: what does not go at once goes later, in order."""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from typing import Any

_LENGTH = struct.Struct("<Q")


class Wire:
    """One end of a connection. Anything that can be pickled goes through, both ways.

    Parameters
    ----------
    end : socket
        Connected; it belongs to the wire from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)
        self._end = end
        self._lock = threading.Lock()
        self._waiting: deque[memoryview] = deque()
        self._flushing = False
        self._closed = False

    def send(self, message: Any) -> bool:
        """Send, or leave it to a thread where the other end does not read fast enough; False where it is gone."""
        data = pickle.dumps(message, protocol=5)
        view = memoryview(_LENGTH.pack(len(data)) + data)
        with self._lock:
            if self._closed:
                return False
            if not self._waiting:
                try:
                    view = view[self._end.send(view, socket.MSG_DONTWAIT) :]
                except (BlockingIOError, InterruptedError):
                    pass
                except OSError:
                    self._closed = True
                    return False
            if view:
                self._waiting.append(view)
                if not self._flushing:
                    self._flushing = True
                    threading.Thread(target=self._flush, daemon=True).start()
        return True

    def receive(self) -> Any:
        """The next message; waits for it.

        Raises
        ------
        EOFError
            If the other end is gone.
        """
        (size,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return pickle.loads(self._exactly(size))

    def close(self) -> None:
        """End the connection, once what waits has been sent or the other end is gone."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._flushing:
                return
        self._shut()

    def _shut(self) -> None:
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()

    def _flush(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._flushing = False
                    closed = self._closed
                    break
                view = self._waiting[0]
            try:
                self._end.sendall(view)
            except OSError:
                with self._lock:
                    self._waiting.clear()
                    self._closed, closed, self._flushing = True, True, False
                break
            with self._lock:
                self._waiting.popleft()
        if closed:
            self._shut()

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._end.recv(min(size - len(parts), 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise EOFError("the other end is gone")
            parts += part
        return bytes(parts)
