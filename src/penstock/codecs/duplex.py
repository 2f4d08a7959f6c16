"""One codec for what comes in, another one for what goes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ConfigurationError
from .base import Buffer, Codec, NeedData


class Duplex(Codec[Any]):
    """Two codecs, one for each direction: in a text ``IN/OUT``, as ``lines/json-lines``.

    What is received is cut by the one, what is sent is framed by the other; limits and silence are those of what is
    received. The other end has them the other way round: `mirrored`. Handlers take messages of the one, and send
    messages of the other.

    Args:
        receives: What cuts the messages that come.
        sends: What frames those that are sent.

    Raises:
        ConfigurationError: One of them has directions itself.
    """

    def __init__(self, receives: Codec[Any], sends: Codec[Any]) -> None:
        for each in (receives, sends):
            if isinstance(each, Duplex):
                raise ConfigurationError(f"{each.name} is two codecs already: name one for each direction")
        self.receives = receives
        self.sends = sends
        self.name = f"{receives.name}/{sends.name}"  # type: ignore[misc]  # of one, not of all
        self.message_type = receives.message_type  # type: ignore[misc]
        self.max_frame_bytes = receives.max_frame_bytes
        self.skips = receives.skips
        self.on_oversize = receives.on_oversize
        self.quiet_s = receives.quiet_s

    def __getattr__(self, name: str) -> Any:
        # A codec that says which reply belongs to which request has these two; requests are sent, replies are received.
        if name == "request_id":
            return self.sends.request_id  # type: ignore[attr-defined]
        if name == "reply_id":
            return self.receives.reply_id  # type: ignore[attr-defined]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def mirrored(self) -> Duplex:
        """Return the codec of the other end."""
        return Duplex(self.sends, self.receives)

    def decode(self, buffer: Buffer) -> Any | NeedData:
        """Take one message, as the codec of what is received does."""
        return self.receives.decode(buffer)

    def finish(self, buffer: Buffer) -> Any | NeedData:
        """Say what the bytes left over at EOF are, as that one does."""
        return self.receives.finish(buffer)

    def decode_quiet(self, buffer: Buffer) -> Any | NeedData:
        """Say what the bytes before a silence are, as that one does."""
        return self.receives.decode_quiet(buffer)

    def decode_many(self, data: bytes, limit: int) -> tuple[list[Any], int]:
        """Take up to ``limit`` messages, as that one does."""
        return self.receives.decode_many(data, limit)

    def decode_datagram(self, data: bytes) -> Any:
        """Decode a whole datagram, as that one does."""
        return self.receives.decode_datagram(data)

    def encode(self, message: Any) -> bytes:
        """Frame one message, as the codec of what is sent does."""
        return self.sends.encode(message)

    def encode_many(self, messages: Sequence[Any]) -> bytes:
        """Frame several messages, as that one does."""
        return self.sends.encode_many(messages)

    def encode_datagram(self, message: Any) -> bytes:
        """Encode one message as one datagram, as that one does."""
        return self.sends.encode_datagram(message)
