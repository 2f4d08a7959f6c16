"""A connection's bytes as a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import EndOfStreamError

if TYPE_CHECKING:
    from .connection import ThreadConnection


class ConnectionFile(io.RawIOBase):
    """The raw file under `BlockingConnection.makefile`.

    Args:
        conn: Speaks the codec `Raw` if the file reads.
        write: Sends bytes past the codec, all of them.
        reads: It is open for reading.
        writes: It is open for writing.
    """

    def __init__(
        self, conn: ThreadConnection[Any], write: Callable[[bytes], None], *, reads: bool, writes: bool
    ) -> None:
        self._conn = conn
        self._write = write
        self._reads = reads
        self._writes = writes
        self._rest = memoryview(b"")  # of what was received and not read
        self.mode = f"{'r' if reads else ''}{'w' if writes else ''}b"

    @property
    def name(self) -> int:
        """The descriptor, which is what `io` calls a file without a path."""
        return self._conn.fileno()

    def fileno(self) -> int:
        """Return the connection's descriptor, which does not block."""
        self._require_open()
        return self._conn.fileno()

    def readable(self) -> bool:
        """Whether it is open for reading."""
        self._require_open()
        return self._reads

    def writable(self) -> bool:
        """Whether it is open for writing."""
        self._require_open()
        return self._writes

    def readinto(self, buffer: Any, /) -> int:
        """Read what there is, at most as much as fits, or wait; return how much, 0 at the end. Raises as `receive`."""
        self._require_open()
        if not self._reads:
            raise io.UnsupportedOperation("not readable")
        target = memoryview(buffer).cast("B")
        if not target:
            return 0
        if not self._rest:
            try:
                self._rest = memoryview(self._conn.receive())
            except EndOfStreamError:
                return 0
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def write(self, data: Any, /) -> int:
        """Send all of it. Raises as `send`."""
        self._require_open()
        if not self._writes:
            raise io.UnsupportedOperation("not writable")
        octets = bytes(memoryview(data).cast("B"))
        if octets:
            self._write(octets)
        return len(octets)

    def _require_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


class TextPair(io.TextIOWrapper):
    """Text both ways. A plain `io.TextIOWrapper` forgets, with each write, the lines that it has read ahead.

    Args:
        raw: Open for reading and writing.
        size: Of either buffer, in bytes.
        encoding: As for `open`.
        errors: As for `open`.
        newline: As for `open`.
        line_buffering: Whether each line is sent at once.
    """

    _out: io.TextIOWrapper | None = None

    def __init__(
        self,
        raw: ConnectionFile,
        size: int,
        *,
        encoding: str | None,
        errors: str | None,
        newline: str | None,
        line_buffering: bool,
    ) -> None:
        super().__init__(io.BufferedReader(raw, size), encoding, errors, newline)
        self._out = io.TextIOWrapper(io.BufferedWriter(raw, size), encoding, errors, newline, line_buffering)

    def writable(self) -> bool:
        """Whether it is open for writing: always."""
        return True

    def write(self, text: str, /) -> int:
        """Write text to the buffer."""
        assert self._out is not None
        return self._out.write(text)

    def flush(self) -> None:
        """Send what is in the buffer."""
        if self._out is not None and not self._out.closed:
            self._out.flush()

    def close(self) -> None:
        """Send what is in the buffer, and read and write no more."""
        try:
            if self._out is not None:
                self._out.close()
        finally:
            super().close()
