"""Lines about each connection and each message, for those who write a service."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from ...codecs.base import NEED_DATA, Buffer, Codec, NeedData
from ...core.events import Accepted, Closed, DatagramHandled, Event
from ...core.texts import text_of
from ...telemetry.escaping import escape_bytes, escape_text

# What is shown of a message.
MOST_BYTES: Final = 120

_GREEN, _CYAN, _YELLOW, _GREY, _PLAIN = "\x1b[32m", "\x1b[36m", "\x1b[33m", "\x1b[90m", "\x1b[0m"


class Teller:
    """An observer that writes a line for each connection, message and end.

    It has each connection speak a codec that passes everything on to its own, and tells what passes. A handler that
    changes the codec of its connection is told of no further than that.

    Args:
        write: Writes a line; it does not wait.
        colour: Whether lines are coloured.
        now: The time of day.
    """

    def __init__(
        self, write: Callable[[str], object], *, colour: bool, now: Callable[[], time.struct_time] = time.localtime
    ) -> None:
        self._write = write
        self._colour = colour
        self._now = now

    def observe(self, event: Event, /) -> None:
        """Tell of one event."""
        match event:
            case Accepted(connection=conn):
                self.tell(_GREEN, "+", conn.peer, "connected")
                conn.set_codec(ToldCodec(conn.codec, self, conn.peer))
            case Closed(connection=conn, reason=reason):
                counts = f"{conn.messages_in} in, {conn.messages_out} out"
                self.tell(_GREY, "-", conn.peer, f"{reason} after {event.duration_s:.1f}s, {counts} {event.detail}")
            case DatagramHandled(connection=conn):
                self.tell(_CYAN, "<", conn.peer, f"a datagram of {conn.bytes_in} bytes")

    def message(self, peer: object, message: object, *, received: bool) -> None:
        """Tell of a message."""
        shown = escape_bytes(message, MOST_BYTES) if isinstance(message, bytes) else _cut(text_of(message))
        self.tell(_CYAN if received else _YELLOW, "<" if received else ">", peer, shown)

    def tell(self, colour: str, sign: str, peer: object, text: str) -> None:
        """Write a line."""
        line = f"{time.strftime('%H:%M:%S', self._now())} {sign} {escape_text(str(peer))} {text}".rstrip()
        self._write(f"{colour}{line}{_PLAIN}" if self._colour else line)


def _cut(text: str) -> str:
    shown = escape_text(text)
    return shown if len(shown) <= MOST_BYTES else f"{shown[:MOST_BYTES]}..."


class ToldCodec(Codec[Any]):
    """Passes everything on to another codec, and tells of the messages.

    Args:
        codec: The codec.
        teller: Told of each.
        peer: Whose messages they are.
    """

    def __init__(self, codec: Codec[Any], teller: Teller, peer: object) -> None:
        self._codec = codec
        self._teller = teller
        self._peer = peer
        self.max_frame_bytes = codec.max_frame_bytes
        self.skips, self.on_oversize, self.quiet_s = codec.skips, codec.on_oversize, codec.quiet_s

    def decode(self, buffer: Buffer) -> Any | NeedData:
        """As the codec does."""
        return self._told(self._codec.decode(buffer))

    def finish(self, buffer: Buffer) -> Any | NeedData:
        """As the codec does."""
        return self._told(self._codec.finish(buffer))

    def decode_quiet(self, buffer: Buffer) -> Any | NeedData:
        """As the codec does."""
        return self._told(self._codec.decode_quiet(buffer))

    def decode_datagram(self, data: bytes) -> Any:
        """As the codec does."""
        return self._told(self._codec.decode_datagram(data))

    def encode(self, message: Any) -> bytes:
        """As the codec does."""
        frame = self._codec.encode(message)
        self._teller.message(self._peer, message, received=False)
        return frame

    def encode_datagram(self, message: Any) -> bytes:
        """As the codec does."""
        frame = self._codec.encode_datagram(message)
        self._teller.message(self._peer, message, received=False)
        return frame

    def _told(self, message: Any | NeedData) -> Any | NeedData:
        if message is not NEED_DATA:
            self._teller.message(self._peer, message, received=True)
        return message
