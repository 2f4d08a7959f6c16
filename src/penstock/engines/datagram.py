"""What a datagram is to its handler, on every engine: a conversation of one message with its sender."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any, Final, Protocol, TypeVar

from ..address import Address, Peer
from ..codecs.base import Codec
from ..core.gate import Gate
from ..core.service import CallbackHandler, Handler, MessageHandler
from ..errors import ClosedError, LocalProtocolError
from ..reasons import CloseReason
from .base import ConnectionBase
from .listener import Listener
from .wire import next_connection_id

M = TypeVar("M")

# Larger than any UDP datagram (65,507 bytes over IPv4), so that none is cut.
MAX_DATAGRAM_BYTES: Final = 65536
# Datagrams read before others get their turn.
READS_PER_TURN: Final = 32

_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})

# From linux/socket.h and linux/sock_diag.h: nine 32-bit numbers, of which the last counts the datagrams that the kernel
# dropped because nobody read in time: what SO_RXQ_OVFL says, without its cost for every datagram.
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=9I")


def kernel_drops(sock: socket.socket) -> int:
    """Return how many datagrams the kernel has dropped for a socket; 0 where it does not say."""
    if sys.platform != "linux":
        return 0
    try:
        drops: int = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8]
    except (OSError, struct.error):  # before Linux 4.12
        return 0
    return drops


class Endpoint(Protocol):
    """Whoever reads the datagrams of one listener."""

    @property
    def codec(self) -> Codec[Any]:
        """What decodes them."""

    def send(self, data: bytes, name: Any, /) -> bool:
        """Send one datagram, now or when the kernel takes it; drop it, counted, and return False when it cannot."""

    def refuse_answer(self) -> None:
        """Count an answer that is too large for its question. Only called where the connection was given a gate."""


class DatagramConnection(ConnectionBase[M]):
    """One datagram and its sender, for as long as it is being handled."""

    __slots__ = (
        "_answers",
        "_endpoint",
        "_gate",
        "_listener",
        "_name",
        "bytes_in",
        "bytes_out",
        "close_reason",
        "codec",
        "id",
        "state",
    )

    is_datagram = True

    def __init__(self, endpoint: Endpoint, name: Any, listener: Listener, size: int, gate: Gate | None = None) -> None:
        self.id = next_connection_id()
        self.codec = endpoint.codec
        self.state = None
        self.bytes_in = size
        self.bytes_out = 0
        self.close_reason = None
        self._answers = 0
        self._endpoint = endpoint
        self._gate = gate
        self._name = name
        self._listener = listener

    def __repr__(self) -> str:
        return f"<datagram {self.id} {self.peer}>"

    @property
    def peer(self) -> Peer:
        """Who sent the datagram."""
        return Peer(self._name, self._listener.sock.family)

    @property
    def local(self) -> Address:
        """Where it arrived."""
        return self._listener.address

    @property
    def is_open(self) -> bool:
        """Whether a reply may still be sent."""
        return self.close_reason is None

    def answer(self, reply: M | None) -> None:
        """Send what the handler returned, if anything. A handler that closed may still answer, one that aborted not."""
        if reply is not None and self.close_reason is not CloseReason.ABORTED:
            self._send(reply)

    def post(self, message: M) -> None:
        """Send one datagram back to the sender."""
        if not self.is_open:
            raise ClosedError("the connection is closed")
        self._send(message)

    def try_send(self, message: M) -> bool:
        """Send one datagram back to the sender; return whether it was not dropped."""
        if not self.is_open:
            raise ClosedError("the connection is closed")
        return self._send(message)

    def _send(self, message: M) -> bool:
        data = self.codec.encode_datagram(message)
        size = self.bytes_out + len(data)
        gate = self._gate
        answers = self._answers + 1
        if gate is not None and gate.amplifies(self.bytes_in, answers, size) and not gate.is_local(self.peer):
            self._endpoint.refuse_answer()
            return False
        self._answers = answers
        self.bytes_out = size
        return self._endpoint.send(data, self._name)

    def close(self) -> None:
        """Send no more."""
        self.end(CloseReason.DONE)

    def abort(self) -> None:
        """Send no more."""
        self.end(CloseReason.ABORTED)

    def end(self, reason: CloseReason) -> CloseReason:
        """Send no more, for that reason unless there was one before; return which it is."""
        self.close_reason = reason = self.close_reason or reason
        return reason

    def send_eof(self) -> None:
        """Refuse: a datagram has no end."""
        raise LocalProtocolError("a datagram has no end to send")

    def set_codec(self, codec: Codec[Any]) -> None:
        """Encode further replies to this datagram with another codec."""
        self.codec = codec

    def set_handler(self, handler: Handler[Any]) -> None:
        """Refuse: no message follows."""
        raise LocalProtocolError("no message follows a datagram")

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Do nothing: a datagram waits for nobody."""

    def set_limits(self, **limits: int | str) -> None:
        """Do nothing: a datagram is queued behind no other of its own."""


def handle(handler: MessageHandler | CallbackHandler, conn: DatagramConnection[Any], message: Any) -> None:
    """Call a ``def`` handler for one datagram and send what it returns. Raises what the handler raises."""
    if isinstance(handler, MessageHandler):
        function = handler.function
        conn.answer(function(conn, message) if handler.takes_connection else function(message))
        return
    callbacks = handler.factory()
    try:
        callbacks.on_connect(conn)
        if conn.is_open:
            conn.answer(callbacks.on_message(conn, message))
    except Exception:
        conn.end(CloseReason.HANDLER_ERROR)
        raise
    finally:
        callbacks.on_close(conn, conn.end(CloseReason.DONE))


def is_forged(name: Any, own: Any, sock: socket.socket) -> bool:
    """Say whether a datagram cannot be from whom it says.

    It says port 0, to which nobody can be answered, or the very socket that received it, which would answer itself for
    ever.

    Args:
        name: Whom it says it is from, as recvfrom(2) has it.
        own: The name of the socket that received it, asked for once.
        sock: That socket.
    """
    if not isinstance(name, tuple):
        return False
    if name[1] != own[1]:
        return bool(name[1] == 0)
    return bool(name[0] == own[0] or (own[0] in _WILDCARDS and Gate.is_local(Peer(name, sock.family))))
