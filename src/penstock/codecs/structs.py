"""Records of one fixed layout, in the format language of the ``struct`` module."""

from __future__ import annotations

import struct
from typing import Any

from ..errors import ConfigurationError, LocalProtocolError
from .base import DEFAULT_MAX_FRAME_BYTES, NEED_DATA, Buffer, Codec, NeedData
from .octets import require_range


class Struct(Codec[tuple[Any, ...]]):
    """A tuple for each record of one binary layout.

    Args:
        format: A format of the ``struct`` module that begins with its byte order: ``>`` or ``!`` (big) or ``<``
            (little). Without one the layout would be this machine's, padding included. A record is 1 byte to 1 MiB;
            its size is its ``max_frame_bytes``.

    Raises:
        ConfigurationError: The format is malformed, names no byte order, or describes no bytes or too
            many.
    """

    name = "struct"
    message_type = object

    def __init__(self, format: str) -> None:  # noqa: A002  # the struct module's own word for it
        if not format.startswith((">", "<", "!")):
            raise ConfigurationError(f"the format {format!r} names no byte order: begin it with > (big) or < (little)")
        try:
            self._struct = struct.Struct(format)
        except (struct.error, UnicodeEncodeError) as error:
            raise ConfigurationError(f"the format {format!r} is not one of the struct module: {error}") from None
        self.max_frame_bytes = require_range(f"the size of {format!r}", self._struct.size, 1, DEFAULT_MAX_FRAME_BYTES)
        self.format = format
        self._fields = len(self._struct.unpack(bytes(self._struct.size)))

    def decode(self, buffer: Buffer) -> tuple[Any, ...] | NeedData:
        """Take one record. Nothing is ever refused: every pattern of bits is some value."""
        if len(buffer) < self._struct.size:
            return NEED_DATA
        message = self._struct.unpack_from(buffer)
        del buffer[: self._struct.size]
        return message

    def encode(self, message: tuple[Any, ...]) -> bytes:
        """Pack one record.

        Numbers for a floating-point field are rounded to its precision. Nothing else is changed: where ``struct.pack``
        would cut or pad a byte string, this refuses.

        Raises:
            LocalProtocolError: A value does not fit its field.
            TypeError: It is not a tuple with a value for each field.
        """
        if not isinstance(message, tuple) or len(message) != self._fields:  # type: ignore[redundant-expr]
            raise TypeError(f"a message of {self.format!r} is a tuple of {self._fields}, not {message!r:.80}")
        try:
            data = self._struct.pack(*message)
        except (struct.error, OverflowError) as error:
            raise LocalProtocolError(f"{self.format!r}: {error}") from None
        arrived = self._struct.unpack(data)
        if arrived != message:
            for value, other in zip(message, arrived, strict=True):
                if value != other and not isinstance(other, float):
                    raise LocalProtocolError(f"{self.format!r}: {value!r:.80} would arrive as {other!r:.80}")
        return data

    def decode_many(self, data: bytes, limit: int) -> tuple[list[tuple[Any, ...]], int]:
        """Take up to ``limit`` records."""
        taken = max(0, min(len(data) // self._struct.size, limit)) * self._struct.size
        return list(self._struct.iter_unpack(data[:taken])), taken
