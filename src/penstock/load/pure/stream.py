"""One connection of the load of ``penstock bench`` in Python."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from ...core.inbound import StreamInbound
from ...core.records import RecordInbound
from ...engines.wire import is_connected_to_itself, reset_on_close
from ...errors import CodecError, ProtocolError
from .ciphered import Ciphered, CipherError

if TYPE_CHECKING:
    from ...client.tls import Handshake
    from .loop import LoadLoop

# Before a connection that was lost is replaced.
RECONNECT_S: Final = 0.1
READ_BYTES: Final = 256 * 1024
# The most that is given to the system at once.
SEND_BYTES: Final = 64 * 1024
_BATCH: Final = 1024


class State(Enum):
    """Of a connection."""

    CLOSED = auto()
    CONNECTING = auto()
    SHAKING = auto()  # hands, over TLS
    OPEN = auto()


class Stream:
    """One connection: requests on their way in the order they were sent, which is the order of the replies.

    Attributes:
        state: What it is.
        retry_at: When a closed one that failed is opened again; 0.0 if none has failed.
    """

    def __init__(self, run: LoadLoop) -> None:
        load = run.load
        self._run = run
        self._load = load
        self._counts_raw = load.is_raw
        self._on_way: deque[tuple[float, float, int]] = deque()
        self._waiting = 0
        self._unsent = 0  # bytes; of records, their number
        self._sent = 0  # bytes of the frame that has gone in part
        self._events = 0
        self._since = 0.0
        self._raw_have = 0
        self._raw_wrong = False
        self._plain: socket.socket
        self._sock: socket.socket | Ciphered  # that, or what enciphers it
        self._ciphered: Ciphered | None = None
        self._inbound: StreamInbound[Any] | RecordInbound[Any]
        self.state = State.CLOSED
        self.retry_at = 0.0

    @property
    def room(self) -> int:
        """How many requests it takes now."""
        return self._load.depth - self._waiting if self.state is State.OPEN else 0

    def connecting(self, sock: socket.socket, now: float) -> None:
        """Wait until a socket has connected."""
        self._plain = self._sock = sock
        self._ciphered = None
        self._since = now
        self.state = State.CONNECTING
        self._events = selectors.EVENT_WRITE
        self._run.selector.register(sock, self._events, self)

    def ready(self, mask: int) -> None:
        """Go on: the socket can be read, or written."""
        now = time.perf_counter()
        if self.state is State.CONNECTING:
            number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            with contextlib.suppress(OSError):  # not connected at all
                if not number and is_connected_to_itself(self._plain):
                    number = errno.ECONNREFUSED
                    reset_on_close(self._plain)
            if number:
                self.fail(f"connect: {errno.errorcode.get(number, number)}", now)
            elif self._load.handshake is not None:
                self._begin_tls(self._load.handshake, now)
            else:
                self._connected(now)
            return
        if self.state is State.SHAKING:
            self._shake(now)
            return
        try:
            if mask & selectors.EVENT_READ:
                self._receive()
            if self.state is State.OPEN and mask & selectors.EVENT_WRITE:
                self._send()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self.fail(name_of(error), now)
        except CodecError as error:  # our own fault: it ends the run, and is not hidden
            raise error.__cause__ or error from None
        except ProtocolError as error:
            self.fail(f"protocol: {error}", now)

    def _begin_tls(self, handshake: Handshake, now: float) -> None:
        try:
            ciphered = Ciphered(handshake, self._plain)
        except OSError as error:
            # What is registered is the plain socket still, though the connection has gone over and is closed.
            self.fail(f"connect: {name_of(error)}", now)
            return
        self._sock = self._ciphered = ciphered
        self.state = State.SHAKING
        self._shake(now)

    def _shake(self, now: float) -> None:
        assert self._ciphered is not None
        try:
            events = self._ciphered.shake()
        except OSError as error:
            self.fail(f"connect: {name_of(error)}", now)
            return
        if events:
            self._watch(events)
        else:
            self._connected(now)

    def _connected(self, now: float) -> None:
        self._inbound = (RecordInbound if self._load.is_records else StreamInbound)(self._load.codec)
        self._raw_have, self._raw_wrong = 0, False
        self._unsent = self._sent = 0
        self.state = State.OPEN
        self._run.connected_at = now
        self._watch(selectors.EVENT_READ)
        self.fill(now, self._load.depth)  # before the run begins there is nothing to be sent

    # -- out -----------------------------------------------------------------------------------------------------------

    def fill(self, now: float, most: int) -> None:
        """Send as many requests as there is room for, and ``most`` at most."""
        room = min(most, self.room)
        entries = self._run.take(room, now) if room > 0 else []
        if not entries:
            return
        self._on_way.extend(entries)
        count = sum([entry[2] for entry in entries])
        self._waiting += count
        self._run.waiting += count
        self._unsent += count if self._load.is_records else count * len(self._run.frame)
        try:
            self._send()
        except BlockingIOError:
            self._watch(selectors.EVENT_READ | selectors.EVENT_WRITE)
        except OSError as error:
            self.fail(name_of(error), now)

    def _send(self) -> None:
        frame = self._run.frame
        while self._unsent:
            if self._load.is_records:
                self._run.measured.bytes_out += self._sock.send(frame)
                self._unsent -= 1
                continue
            size = min(self._unsent, max(SEND_BYTES, len(frame)))
            data = frame[self._sent :] if self._sent else frame * max(1, size // len(frame))
            taken = self._sock.send(data)
            self._run.measured.bytes_out += taken
            self._unsent -= taken
            self._sent = (self._sent + taken) % len(frame)
        self._watch(selectors.EVENT_READ)

    def _watch(self, events: int) -> None:
        if events != self._events:
            self._events = events
            self._run.selector.modify(self._sock, events, self)

    # -- in ------------------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        while True:
            data = self._sock.recv(READ_BYTES)
            now = time.perf_counter()
            if not data and not self._load.is_datagrams:
                self.fail("closed by the peer", now)
                return
            self._run.measured.bytes_in += len(data)
            if self._counts_raw:
                self._replied(self._raw_replies(data), now)
            else:
                self._inbound.feed(data)
                while messages := self._inbound.take(_BATCH):
                    if self._load.expect_echo:
                        self._wrong(sum([message != self._load.message for message in messages]))
                    self._replied(len(messages), now)
            if self._ciphered is not None and self._ciphered.has_more:
                continue  # the socket would not tell of it
            # Of records each is read by itself: no more than are waited for, for the last look finds nothing.
            if not self._load.is_records or not self._waiting:
                break
        self.fill(now, self._load.depth)

    def _raw_replies(self, data: bytes) -> int:
        """Count replies in bytes without bounds: each is as long as the request."""
        frame, have = self._run.frame, self._raw_have
        whole, self._raw_have = divmod(have + len(data), len(frame))
        if self._load.expect_echo:
            expected = (frame * (whole + 1))[have : have + len(data)]
            if data != expected or self._raw_wrong:
                self._count_wrong(data, have)
        return whole

    def _count_wrong(self, data: bytes, have: int) -> None:
        frame, at = self._run.frame, 0
        while at < len(data):
            part = data[at : at + len(frame) - have]
            self._raw_wrong = self._raw_wrong or part != frame[have : have + len(part)]
            at += len(part)
            have += len(part)
            if have == len(frame):
                self._wrong(self._raw_wrong)
                self._raw_wrong = False
                have = 0

    def _wrong(self, count: int) -> None:
        if count:
            self._run.measured.errors["reply is not what was sent"] += count

    def _replied(self, count: int, now: float) -> None:
        if count > self._waiting:
            self._run.measured.errors["reply to nothing"] += count - self._waiting
            count = self._waiting
        self._waiting -= count
        self._run.waiting -= count
        while count:
            due_at, sent_at, sent = entry = self._on_way[0]
            taken = min(count, sent)
            self._run.replied(entry, taken, now)
            if taken == sent:
                self._on_way.popleft()
            else:
                self._on_way[0] = (due_at, sent_at, sent - taken)
            count -= taken

    # -- the end -------------------------------------------------------------------------------------------------------

    def give_up_before(self, instant: float, now: float) -> None:
        """Give up requests that were sent before ``instant``: on a stream, with all that follow them."""
        if self.state in (State.CONNECTING, State.SHAKING):
            if self._since < instant:
                self.fail("connect: timeout", now)
        elif self._on_way and self._on_way[0][1] < instant:
            if not self._load.is_datagrams:
                self.fail("timeout", now)
                return
            while self._on_way and self._on_way[0][1] < instant:
                count = self._on_way.popleft()[2]
                self._waiting -= count
                self._run.waiting -= count
                self._run.measured.errors["timeout"] += count
            self.fill(now, self._load.depth)

    def fail(self, kind: str, now: float) -> None:
        """Count what was on its way on a connection that is gone, and have it replaced a little later."""
        self._run.measured.errors[kind] += max(1, self._waiting)
        self.retry_at = now + RECONNECT_S
        self.close()

    def close(self) -> None:
        """Close, and expect no more replies."""
        self._run.waiting -= self._waiting
        self._waiting = 0
        self._on_way.clear()
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._run.selector.unregister(self._sock)
            self._sock.close()


def name_of(error: OSError) -> str:
    """Name the kind of an error for a count of errors."""
    if isinstance(error, CipherError):
        return str(error)
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
