"""What a datagram is to its handler, on every engine: a conversation of one message with its sender."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..address import Address, Peer
from ..codecs import guard
from ..codecs.base import Codec
from ..config import OnFull
from ..core.contract import ConnectionBase, refuse_frame
from ..core.endings import reason_after
from ..core.gate import Gate
from ..core.handlers import CallbackHandler, Handler, MessageHandler
from ..core.send_queue import check_policy
from ..core.texts import detail_of
from ..errors import ClosedError, LocalProtocolError
from ..reasons import CloseReason
from .destination import Sourced
from .listener import Listener
from .wire import longest_datagram, next_connection_id

if TYPE_CHECKING:
    from .endpoint import DatagramEndpoint

M = TypeVar("M")


# Datagrams that are no longer can be sent over every protocol.
_LONG: Final = 65507


class OneDatagram(ConnectionBase[M]):
    """One datagram and its sender, for as long as it is being handled: all but where it is kept."""

    if not TYPE_CHECKING:
        __slots__ = ()  # a subclass has them

    is_datagram = True

    _answers: int  # how many were sent, or asked for
    _endpoint: DatagramEndpoint
    _gate: Gate | None
    _listener: Listener
    _name: Any  # of the sender, as recvfrom(2) has it
    _source: bytes | None  # the address it came to, as of `Sourced`; None where answers leave it to the kernel

    messages_in = 1

    def __repr__(self) -> str:
        return f"<datagram {self.id} {self.peer}>"

    @property
    def messages_out(self) -> int:  # type: ignore[override]
        """How many answers were sent, or kept until the kernel has room."""
        return self._answers

    @property
    def opened_at(self) -> float:  # type: ignore[override]
        """Now, on the engine's clock: a datagram lasts as long as it is handled."""
        return self._endpoint.now()

    @property
    def queued_bytes(self) -> int:
        """0: what a socket keeps is no single datagram's."""
        return 0

    @property
    def server(self) -> Any:
        """Whose listener it came to."""
        return self._endpoint.server

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

    def post(self, message: M, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Send one datagram back to the sender: no policy keeps it."""
        if on_full is not None:
            check_policy("on_full", on_full, key)
        if not self.is_open:
            raise ClosedError("the connection is closed")
        self._send(message)

    def post_frame(self, frame: bytes, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Send one datagram back to the sender: no policy keeps it."""
        refuse_frame(frame)
        if on_full is not None:
            check_policy("on_full", on_full, key)
        if not self.is_open:
            raise ClosedError("the connection is closed")
        self._send_datagram(frame)

    def try_send(self, message: M) -> bool:
        """Send one datagram back to the sender; return whether it was not dropped."""
        if not self.is_open:
            raise ClosedError("the connection is closed")
        return self._send(message)

    def _send(self, message: M) -> bool:
        return self._send_datagram(guard.encode_datagram(self.codec, message))

    def _send_datagram(self, data: bytes) -> bool:
        return self.may_answer(len(data)) and self._endpoint.send(data, self._to)

    @property
    def _to(self) -> Any:
        """Whom to answer, as endpoints send."""
        return self._name if self._source is None or not self._name else Sourced(self._name, self._source)

    def may_answer(self, size: int) -> bool:
        """Count an answer of so many bytes; or refuse it, counted, when it is too large for its question.

        Raises:
            LocalProtocolError: As `check_length`.
        """
        if size > _LONG:
            self.check_length(size)
        size += self.bytes_out
        gate = self._gate
        answers = self._answers + 1
        if gate is not None and gate.amplifies(self.bytes_in, answers, size) and not gate.is_local(self.peer):
            self._endpoint.drop("amplification")
            return False
        self._answers = answers
        self._endpoint.answers += 1
        self.bytes_out = size
        return True

    def check_length(self, size: int) -> None:
        """Refuse an answer of so many bytes.

        Raises:
            LocalProtocolError: No datagram to this sender can be so long.
        """
        longest = longest_datagram(self._listener.sock.family, self._name)
        if longest is not None and size > longest:
            raise LocalProtocolError(f"a datagram of {size} bytes is too long: {self.peer} takes {longest} at most")

    def close(self, *, detail: str = "") -> None:
        """Send no more. A datagram has no event that would tell of ``detail``."""
        detail_of(detail)
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


class DatagramConnection(OneDatagram[M]):
    """One datagram and its sender, kept in slots."""

    __slots__ = (
        "_answers",
        "_endpoint",
        "_gate",
        "_listener",
        "_name",
        "_source",
        "bytes_in",
        "bytes_out",
        "close_reason",
        "codec",
        "id",
        "state",
    )

    def __init__(
        self,
        endpoint: DatagramEndpoint,
        name: Any,
        listener: Listener,
        size: int,
        gate: Gate | None = None,
        *,
        source: bytes | None = None,
    ) -> None:
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
        self._source = source
        self._listener = listener


def handle(handler: MessageHandler | CallbackHandler, conn: OneDatagram[Any], message: Any) -> None:
    """Call a ``def`` handler for one datagram and send what it returns. Raises what the handler raises."""
    callbacks = handler.callbacks()
    if callbacks is None:
        conn.answer(handler.for_messages(conn, None)(message))
        return
    try:
        callbacks.on_connect(conn)
        if conn.is_open:
            conn.answer(callbacks.on_message(conn, message))
    except BaseException as error:
        conn.end(reason_after(error))
        raise
    finally:
        callbacks.on_close(conn, conn.end(CloseReason.DONE))
