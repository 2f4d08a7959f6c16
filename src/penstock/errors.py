"""Every error Penstock raises. The base class says whose fault it is; a program reads the fields.

``ConfigurationError``, ``ApplicationError`` and ``BindError`` stop a start, each with its own exit status.
``RemoteProtocolError`` and its kin are the peer's doing, ``LocalProtocolError`` is ours; ``ClosedError``,
``BrokenError`` and ``EndOfStreamError`` say how a connection ended for the one who still uses it.
"""

import os
from enum import IntEnum, StrEnum
from errno import ETIMEDOUT
from typing import Self

from .reasons import CloseReason, Refusal


class ExitStatus(IntEnum):
    """What the process tells its parent."""

    OK = 0
    FAILED = 1
    USAGE = 2
    APPLICATION = 3
    BIND = 4
    TLS = 5
    LIMITS = 6
    DRAIN_TIMEOUT = 7
    INTERRUPTED = 130


class Phase(StrEnum):
    """What a client was doing when something failed or time ran out."""

    RESOLVE = "resolve"  # from a name to addresses
    CONNECT = "connect"  # until the peer's system accepted
    HANDSHAKE = "handshake"  # TLS, or whatever comes before the first message
    READ = "read"  # waiting for a message
    WRITE = "write"  # waiting for the peer to take what it was sent
    TOTAL = "total"  # all of it together


class PenstockError(Exception):
    """Base of every error of this package.

    Attributes:
        exit_status: What a command that ends with this error exits with.
    """

    exit_status: ExitStatus = ExitStatus.FAILED


# -- at start: nothing has been served yet ----------------------------------------------------------------------------


class ConfigurationError(PenstockError, ValueError):
    """An option, a file or a variable is wrong. Nothing was started.

    Attributes:
        problem: What is wrong, what is allowed and what to do, in one sentence or two.
        where: The option, ``file:line`` or variable it came from, or None when it was given in code.
    """

    exit_status = ExitStatus.USAGE

    def __init__(self, problem: str, where: str | None = None) -> None:
        super().__init__(problem, where)
        self.problem = problem
        self.where = where

    def __str__(self) -> str:
        return self.problem if self.where is None else f"{self.where}: {self.problem}"


class TlsMaterialError(ConfigurationError):
    """A certificate, a key or another file of TLS is missing or wrong. Nothing was started."""

    exit_status = ExitStatus.TLS


class ApplicationError(PenstockError):
    """The user's module or handler cannot be loaded or has the wrong shape. Nothing was started."""

    exit_status = ExitStatus.APPLICATION


class StoppedError(PenstockError):
    """A server or an application was told to stop before it served. What its lifespans had opened was closed."""

    exit_status = ExitStatus.INTERRUPTED


class LimitError(PenstockError):
    """There is no more: of what the system lets a server have, as threads and descriptors; of keys in one worker."""

    exit_status = ExitStatus.LIMITS


class BindError(PenstockError):
    """An address cannot be listened on. Every listener opened before it was closed again.

    Attributes:
        address: The address as the user wrote it.
        problem: Why, and what to do.
        errno: The system's error number, or None.
    """

    exit_status = ExitStatus.BIND

    def __init__(self, address: str, problem: str, errno: int | None = None) -> None:
        super().__init__(address, problem, errno)
        self.address = address
        self.problem = problem
        self.errno = errno

    def __str__(self) -> str:
        return f"cannot listen on {self.address}: {self.problem}"


# -- protocol: who broke it -------------------------------------------------------------------------------------------


class ProtocolError(PenstockError):
    """The rules of the framing, or of the connection, were broken. One of the two subclasses says by whom."""


class LocalProtocolError(ProtocolError):
    """This side asked for something the protocol does not allow. Nothing was sent."""


class WrongTypeError(PenstockError, TypeError):
    """What was to be sent is no message of the codec: a str for a codec of bytes. Nothing was sent.

    Attributes:
        codec: The codec's name.
        wanted: What its messages are: ``bytes``, ``str``.
        got: What it was given.
    """

    def __init__(self, codec: str, wanted: str, got: str) -> None:
        super().__init__(codec, wanted, got)
        self.codec = codec
        self.wanted = wanted
        self.got = got

    def __str__(self) -> str:
        return f"a message of the codec {self.codec} is {self.wanted}, not {self.got}"


class WrongReplyError(PenstockError, TypeError):
    """A handler returned what its codec does not send. Nothing was sent; ``__cause__`` is what the codec raised.

    Attributes:
        handler: The handler's name.
        place: Where it is written, ``file:line``.
        problem: What it returned, and what the codec sends.
    """

    def __init__(self, handler: str, place: str, problem: str) -> None:
        super().__init__(handler, place, problem)
        self.handler = handler
        self.place = place
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.handler} ({self.place}) returned {self.problem}"


class RemoteProtocolError(ProtocolError):
    """The peer sent what the codec refuses. The connection closes: the stream cannot be trusted again.

    Attributes:
        reason: What the connection is closed with.
        skip_bytes: How many bytes at the front of the buffer are the bad frame, where its codec knows for sure that the
            next one begins after them: a service may skip it then (``on_bad_message``). None: the stream is over.
    """

    reason: CloseReason = CloseReason.BAD_FRAME
    skip_bytes: int | None = None

    def skipping(self, size: int) -> Self:
        """Say that the bad frame is ``size`` bytes long and the next one is fine: ``raise error.skipping(size)``."""
        self.skip_bytes = size
        return self


class FrameTooLongError(RemoteProtocolError):
    """The peer sent, or announced, a frame above the limit.

    Attributes:
        size: Announced payload size in bytes, or None when all that is known is "over the limit".
        limit: The ``max_frame_bytes`` in force, in bytes.
        frame_bytes: How many bytes the whole frame has, where its codec knows; or None.
    """

    frame_bytes: int | None = None

    reason = CloseReason.FRAME_TOO_LARGE

    def __init__(self, size: int | None, limit: int) -> None:
        # The arguments go to super() as they came: the exception survives pickling on its way between processes.
        super().__init__(size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        what = "frame" if self.size is None else f"frame of {self.size} bytes"
        return f"{what} exceeds max_frame_bytes={self.limit}"


class BadLengthError(RemoteProtocolError):
    """A length field is no length: negative, not a number, not in its one canonical form, or too long itself."""

    reason = CloseReason.BAD_LENGTH


class BadFrameError(RemoteProtocolError):
    """A frame's own bytes are wrong: a terminator that is missing, an unknown type byte."""

    reason = CloseReason.BAD_FRAME


class BadEncodingError(RemoteProtocolError):
    """Text was expected and the bytes are not text in the expected encoding.

    Attributes:
        offset: Index of the first bad byte within the payload.
    """

    reason = CloseReason.BAD_ENCODING

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.args[0]} at byte {self.offset}"


class BadPayloadError(RemoteProtocolError):
    """The frame is whole and its content cannot be decoded: malformed JSON or msgpack, nested too deep."""

    reason = CloseReason.BAD_PAYLOAD


class TruncatedError(RemoteProtocolError):
    """The stream ended in the middle of a frame.

    Attributes:
        pending: How many bytes of the incomplete frame had arrived.
        partial: These bytes, as far as they were kept: those of a frame that was passed over were not.
    """

    reason = CloseReason.TRUNCATED

    def __init__(self, pending: int, partial: bytes = b"") -> None:
        super().__init__(pending, partial)
        self.pending = pending
        self.partial = partial

    def __str__(self) -> str:
        return f"the stream ended {self.pending} bytes into a frame"


class HandshakeError(PenstockError):
    """What comes before the first message has failed: TLS, or the PROXY protocol.

    Attributes:
        reason: What the connection is closed with: ``tls_certificate``, ``proxy_bad``, …
        problem: What is wrong, in words.
        refusal: Why the gate refuses the peer whom a proxy named; None where it is another failure.
    """

    def __init__(self, reason: CloseReason, problem: str, refusal: Refusal | None = None) -> None:
        super().__init__(reason, problem, refusal)
        self.reason = reason
        self.problem = problem
        self.refusal = refusal

    def __str__(self) -> str:
        return self.problem


class TlsError(HandshakeError):
    """A TLS handshake failed, or TLS broke after it: the ``__cause__`` of what `connect`, `send` or `receive` raise."""


class ProxyError(HandshakeError):
    """A PROXY header is missing or wrong, or the gate refuses whom it names."""


class CodecError(ProtocolError):
    """The codec itself failed, or broke its contract: neither the peer's doing nor the handler's. The connection ends.

    Attributes:
        codec: The codec's name.
        method: Which of its methods: ``decode``, ``encode_many``, …
        problem: What it did. ``__cause__`` is what it raised, where it raised something.
        reason: What the connection is closed with.
    """

    reason: CloseReason = CloseReason.CODEC_ERROR

    def __init__(self, codec: str, method: str, problem: str) -> None:
        super().__init__(codec, method, problem)
        self.codec = codec
        self.method = method
        self.problem = problem

    @property
    def is_about_input(self) -> bool:
        """Whether it failed at what was received, not at what was to be sent."""
        return not self.method.startswith("encode")

    def __str__(self) -> str:
        return f"{self.method} of the codec {self.codec} {self.problem}"


# -- a connection that is no longer what its user thinks --------------------------------------------------------------


class ConnectionEndedError(PenstockError):
    """The connection cannot do what was asked because it has ended, wholly or in this direction."""


class ClosedError(ConnectionEndedError):
    """This side already closed, aborted or sent EOF."""


class EndOfStreamError(ConnectionEndedError):
    """The peer sent EOF, or the server drains: no further message will come. What was received was delivered."""


class BrokenError(ConnectionEndedError):
    """The peer or the network ended the connection; ``__cause__`` is the OSError where there is one.

    Attributes:
        reason: What the connection was closed with: ``reset``, ``write_timeout``, …
        unread_bytes: Of a client's: what the peer had sent and was not received, where that was so much that the peer
            was not read any more, while the peer did not read what it was sent either; else 0. Both sides wrote, and
            this one did not receive.
    """

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unread_bytes = 0

    @property
    def errno(self) -> int | None:
        """The system's error number, where the system gave one."""
        return self.__cause__.errno if isinstance(self.__cause__, OSError) else None

    @property
    def phase(self) -> Phase | None:
        """`Phase.WRITE` when the peer took too long to read; None when time is not what it is about."""
        return Phase.WRITE if self.reason is CloseReason.WRITE_TIMEOUT else None

    def __str__(self) -> str:
        cause = (
            f"; {self.unread_bytes:,} bytes that the peer sent were not received here, and so it may not have read "
            "either: receive while you send"
        )
        return f"the connection is gone: {self.reason}{cause if self.unread_bytes else ''}"


class DatagramError(BrokenError):
    """A datagram could not be sent, or was not delivered, as the system says. The socket is as good as before.

    Where no socket listened (ECONNREFUSED), the next datagram may find one.

    Attributes:
        problem: What happened to which datagram, in words.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(CloseReason.NETWORK)
        self.args = (problem,)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class SlowPeerError(BrokenError):
    """The peer read too slowly: the write buffer stayed over a limit for too long, or reached its hard limit."""


class TimedOutError(PenstockError, TimeoutError):
    """What was waited for did not come in time.

    Attributes:
        phase: What was waited for.
        timeout_s: How long it was given, in seconds.
        errno: ETIMEDOUT.
    """

    def __init__(self, phase: Phase, timeout_s: float) -> None:
        super().__init__(phase, timeout_s)
        self.errno = ETIMEDOUT
        self.phase = phase
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        what = {Phase.READ: "no message", Phase.TOTAL: "not done"}.get(self.phase, f"{self.phase} not done")
        return f"{what} within {self.timeout_s:g} s"


class ConnectError(PenstockError):
    """No connection could be made.

    Attributes:
        address: What was connected to, as the user wrote it.
        problem: Why, in words.
        errno: The system's error number: ECONNREFUSED, ENETUNREACH, …; one of ``socket.EAI_…``, which are negative, for
            a name that does not resolve; ETIMEDOUT when time ran out; None where there is none.
        phase: How far it came.
    """

    def __init__(self, address: str, problem: str, errno: int | None = None, phase: Phase = Phase.CONNECT) -> None:
        super().__init__(address, problem, errno, phase)
        self.address = address
        self.problem = problem
        self.errno = errno
        self.phase = phase

    @classmethod
    def from_os_error(cls, address: str, error: OSError) -> "ConnectError":
        """Wrap what connect(2) said, in its own words."""
        number = error.errno
        return cls(address, os.strerror(number).lower() if number else str(error), number)

    def __str__(self) -> str:
        return f"cannot connect to {self.address}: {self.problem}"


class ConnectTimeoutError(ConnectError, TimeoutError):
    """The connection was not made in time. Nothing was left open."""


# -- a client that stays connected ------------------------------------------------------------------------------------


class RequestLostError(BrokenError):
    """The connection ended after a request was sent and before its reply came: whether it was done is unknown.

    It is not sent again, for it was not marked idempotent, or it was sent as often as it may be.
    """

    def __str__(self) -> str:
        return f"the connection was lost before the reply came: {self.reason}"


class KeyTakenError(PenstockError):
    """Another connection has the key in a registry that refuses a second one.

    Attributes:
        registry: The registry's name.
        key: The key.
    """

    def __init__(self, registry: str, key: object) -> None:
        super().__init__(registry, key)
        self.registry = registry
        self.key = key

    def __str__(self) -> str:
        return f"another connection has the key {self.key!r}{f' in {self.registry}' if self.registry else ''}"


class QueueFullError(PenstockError):
    """A queue is full: a client's, or what a peer is owed. The message was not sent, and will not be."""
