"""A writer for a stream that may stall: an unread log must not stop the server that writes it."""

import os
import select
import threading
from collections.abc import Callable
from typing import Final

from ..engines.aside import start_thread

# How much may wait to be written, in bytes. Beyond it lines are dropped and counted: memory stays flat and the caller
# goes on. It holds several thousand lines, more than a burst that a live reader would ever be behind with.
MAX_PENDING_BYTES: Final = 1024 * 1024
# A pipe takes 64 KiB at once; larger writes would only be cut by the kernel.
_WRITE_BYTES: Final = 64 * 1024


class LineWriter:
    """Writes lines to a file descriptor on a thread of its own.

    `write` never waits for the descriptor. What cannot be kept is dropped, oldest kept, and the next line that gets
    through is preceded by one that says how many were lost. An error of the descriptor (a full disk, a broken pipe)
    costs the lines concerned and nothing else.

    Args:
        fd: Where to write. It stays open when the writer is closed.
        max_pending_bytes: How much may wait.
        describe_loss: Makes the line that says how many were lost.
    """

    def __init__(
        self,
        fd: int,
        *,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        describe_loss: Callable[[int], str] = "{} log lines were dropped: they could not be written in time".format,
    ) -> None:
        self._fd = fd
        self._describe_loss = describe_loss
        self._max_pending_bytes = max_pending_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._dropped = 0
        self._unreported = 0
        self._closing = False
        self._changed = threading.Condition()
        # A daemon: a descriptor that is never read again must not keep the process.
        self._thread = threading.Thread(target=self._run, name="penstock-log", daemon=True)
        start_thread(self._thread)

    @property
    def dropped(self) -> int:
        """How many lines were lost so far."""
        with self._changed:
            return self._dropped

    def write(self, line: str) -> bool:
        """Queue one line, or several as one unit; the newline at the end is added.

        Returns:
            False when it was dropped.
        """
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._changed:
            if self._closing or self._pending_bytes + len(data) > self._max_pending_bytes:
                self._dropped += 1
                self._unreported += 1
                return False
            self._pending.append(data)
            self._pending_bytes += len(data)
            self._changed.notify()
            return True

    def close(self, timeout_s: float) -> bool:
        """Write what is pending, for at most ``timeout_s`` seconds; then every further line is dropped.

        Returns:
            False when time ran out and lines were lost.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pending and not self._closing:
                    self._changed.wait()
                if not self._pending:
                    return
                lines, self._pending = self._pending, []
                lost, self._unreported = self._unreported, 0
            if lost and not self._write_all(self._describe_loss(lost).encode() + b"\n"):
                with self._changed:
                    self._unreported += lost
            self._write_lines(lines)

    def _write_lines(self, lines: list[bytes]) -> None:
        """Write ``lines`` in as few calls as a pipe allows, giving back their room as they go."""
        start = 0
        while start < len(lines):
            end, size = start, 0
            while end < len(lines) and (end == start or size + len(lines[end]) <= _WRITE_BYTES):
                size += len(lines[end])
                end += 1
            written = self._write_all(b"".join(lines[start:end]))
            with self._changed:
                self._pending_bytes -= size
                if not written:
                    self._dropped += end - start
                    self._unreported += end - start
            start = end

    def _write_all(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                # Somebody who shares the descriptor made it non-blocking.
                select.select([], [self._fd], [])
            except OSError:
                return False
        return True
