"""Framing by silence: a message is what comes between two pauses."""

from __future__ import annotations

from typing import Final

from ..errors import FrameTooLongError, LocalProtocolError
from .base import DEFAULT_MAX_LINE_BYTES, NEED_DATA, Buffer, NeedData
from .octets import BytesCodec, require_quiet

DEFAULT_QUIET_S: Final = 0.02


class Gap(BytesCodec):
    """A message is what comes between two silences, for devices that send no end.

    Modbus RTU over TCP, serial device servers, scales and barcode readers frame like that: pyserial's inter-byte
    timeout, the packing timer of a terminal server. It is a last resort: a network may pause in the middle of a
    message, and may bring two messages together. A message is sent as it is; the pause after it is the sender's to
    keep. Over datagrams each message is one datagram.

    The blocking engine and `connect_sync` read only while a message is waited for. What comes while a handler works is
    one piece for them, whatever pauses were in it; the other engines note each pause.

    Args:
        quiet_s: How long nothing has to come for a message to be over, in seconds. EOF ends one, too.
        max_frame_bytes: Longest message, in bytes, both ways; a longer one is refused as soon as it is.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    name = "gap"
    quiet_s: float

    def __init__(self, *, quiet_s: float = DEFAULT_QUIET_S, max_frame_bytes: int = DEFAULT_MAX_LINE_BYTES) -> None:
        super().__init__(max_frame_bytes=max_frame_bytes)
        self.quiet_s = require_quiet(quiet_s)

    def decode(self, buffer: Buffer) -> NeedData:
        """Wait for the silence.

        Raises:
            FrameTooLongError: What is there is longer than ``max_frame_bytes``.
        """
        if len(buffer) > self.max_frame_bytes:
            raise FrameTooLongError(None, self.max_frame_bytes)
        return NEED_DATA

    def finish(self, buffer: Buffer) -> bytes | NeedData:
        """Take all there is: at a silence as at EOF."""
        return bytes(buffer) if buffer else NEED_DATA

    def encode(self, message: bytes) -> bytes:
        """Return the message as it is.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``, or empty.
            TypeError: It is not bytes.
        """
        message = self._payload(message)
        if not message:
            raise LocalProtocolError("an empty message cannot be sent: nothing would tell it from silence")
        return message
