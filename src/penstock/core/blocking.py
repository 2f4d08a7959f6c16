"""What a ``def`` connection handler sees of its connection: the same on every engine."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Self, TypeVar, overload

from ..errors import ConnectionEndedError, EndOfStreamError, LocalProtocolError
from ..reasons import CloseReason
from .contract import ConnectionBase

if TYPE_CHECKING:
    from .tls import TlsInfo

M = TypeVar("M")


class BlockingConnection(ConnectionBase[M]):
    """One peer, whose messages wait until they are received.

    ``for message in conn`` ends when the peer sends EOF or the server drains, and raises as `receive` does otherwise.
    Every method may be called from any thread, and from several at once; one of them at a time may receive.

    Deadlines are kept while a thread waits, and by the server's own thread meanwhile. Output that `post` left behind is
    sent by whichever thread waits next: `send`, `receive` and `wait_closed` all do.
    """

    __slots__ = ()

    @abstractmethod
    def send(self, message: M) -> None:
        """Send one message; return when the kernel has taken it.

        Raises:
            LocalProtocolError, TypeError: The codec refuses it. Nothing was queued.
            ClosedError: This side already closed or sent EOF.
            BrokenError: The peer or the network ended the connection.
            SlowPeerError: The peer did not read for ``timeouts.write_s``. The connection is aborted.

        Several threads may send at once; frames never interleave. Returning says nothing about the peer: the bytes may
        still be in the kernel.
        """

    @abstractmethod
    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, past the codec, between two messages: as `send` otherwise.

        Args:
            data: What goes out: one datagram or record where the connection carries those. It counts as one message.

        Raises:
            TypeError: It is not bytes. Nothing was queued.
            LocalProtocolError: It is longer than a datagram to this peer can be.
            ClosedError, BrokenError, SlowPeerError: As of `send`.
        """

    @abstractmethod
    def receive(self, timeout_s: float | None = None) -> M:
        """Return the next message.

        Args:
            timeout_s: How long to wait for all of it, in seconds on the engine's clock; None to wait as long as the
                connection's own timeouts allow; 0 to take only what is there.

        Raises:
            EndOfStreamError: The peer sent EOF, or the server drains.
            RemoteProtocolError: The peer broke the framing; as `Connection.receive`.
            BrokenError: The peer, the network, or a timeout of the connection ended it.
            ClosedError: This side already closed.
            TimeoutError: ``timeout_s`` passed. The connection is as it was.
            LocalProtocolError: Another thread is already receiving.
        """

    @abstractmethod
    def receive_exactly(self, n: int, timeout_s: float | None = None, *, max_bytes: int | None = None) -> bytes:
        """Return the next ``n`` bytes after the message received last, past the codec, which cuts what follows them.

        For a protocol that changes its framing from one message to the next: a line, then a counted block. It is as
        cheap as `receive`, and cuts nothing twice.

        Args:
            n: How many bytes; 0 returns at once.
            timeout_s: As of `receive`.
            max_bytes: The highest ``n``; None for the ``max_frame_bytes`` of the codec.

        Raises:
            FrameTooLongError: ``n`` is above that: a length that the peer announced is refused as a codec refuses it.
                The connection is closing.
            TruncatedError: The peer sent EOF in the middle. The connection is closing.
            ValueError: ``n`` is below 0.
            LocalProtocolError: It carries datagrams or records; or as of `receive`.
            EndOfStreamError, BrokenError, ClosedError, TimeoutError: As of `receive`.
        """

    @abstractmethod
    def receive_until(self, delimiter: bytes, max_bytes: int | None = None, timeout_s: float | None = None) -> bytes:
        """Return the bytes up to the next ``delimiter``, without it, past the codec; as `receive_exactly` otherwise.

        Args:
            delimiter: 1 to 256 bytes. It is taken, too.
            max_bytes: The most bytes before it; None for the ``max_frame_bytes`` of the codec.
            timeout_s: As of `receive`.

        Raises:
            FrameTooLongError: The delimiter does not come within ``max_bytes``. The connection is closing.
            TruncatedError: The peer sent EOF before the delimiter and after other bytes. The connection is closing.
            ConfigurationError: ``delimiter`` or ``max_bytes`` is out of its range.
            TypeError: ``delimiter`` is not bytes.
            LocalProtocolError, EndOfStreamError, BrokenError, ClosedError, TimeoutError: As of `receive_exactly`.
        """

    @overload
    def makefile(
        self,
        mode: Literal["r", "w", "rw", "wr"] = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.TextIOWrapper: ...
    @overload
    def makefile(self, mode: Literal["rb", "br"], buffering: int | None = None) -> io.BufferedReader: ...
    @overload
    def makefile(self, mode: Literal["wb", "bw"], buffering: int | None = None) -> io.BufferedWriter: ...
    @overload
    def makefile(
        self, mode: Literal["rwb", "rbw", "wrb", "wbr", "brw", "bwr"], buffering: int | None = None
    ) -> io.BufferedRWPair: ...
    @overload
    def makefile(
        self,
        mode: str,
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.IOBase: ...

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.IOBase:
        """Return the connection's bytes as a file, as `socket.socket.makefile` does.

        A file that reads takes over the input: from the byte after the message received last, the connection speaks the
        codec `Raw`. What is written goes out as it is. Reading ends at the peer's EOF and when the server drains; it
        raises as `receive` does. Closing the file flushes it and leaves the connection open.

        Args:
            mode: ``r``, ``w`` or both; with ``b`` for bytes, without for text.
            buffering: As for `open`; 0 for none, with ``b`` only.
            encoding: Of text.
            errors: What to do about text that cannot be decoded or encoded.
            newline: As for `open`.

        Raises:
            ValueError: The mode is none of these, or text is to be unbuffered.
        """
        return self._file(mode, buffering, encoding, errors, newline)

    @abstractmethod
    def _file(
        self, mode: str, buffering: int | None, encoding: str | None, errors: str | None, newline: str | None
    ) -> io.IOBase: ...

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor of the socket; -1 once it is closed. Reading or writing it breaks the connection."""

    def wait_tls(self, timeout_s: float | None = None) -> TlsInfo:
        """Wait until the TLS handshake that `start_tls` began is done; return what was agreed.

        Raises:
            BrokenError, ClosedError: There is no TLS: the connection is closed, for the reason that says why.
            LocalProtocolError: TLS has not begun, or begins once this handler has returned.
            TimeoutError: ``timeout_s`` passed.
        """
        raise LocalProtocolError("there is no TLS")

    @abstractmethod
    def wait_closed(self) -> CloseReason:
        """Wait until the transport is gone; return why. Does not close.

        Raises:
            LocalProtocolError: It is called by the handler of a message, whose connection closes when it has returned.
        """

    def __iter__(self) -> Iterator[M]:
        """Iterate over the messages until the end of the stream."""
        return self

    def __next__(self) -> M:
        try:
            return self.receive()
        except EndOfStreamError:
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        """Close gracefully; abort when an exception other than the connection's own end leaves the block."""
        if kind is None or issubclass(kind, ConnectionEndedError):
            self.close()
        else:
            self.abort()
        self.wait_closed()
