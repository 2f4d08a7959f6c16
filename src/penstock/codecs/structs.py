"""Records of one fixed layout, in the format language of the ``struct`` module."""

from __future__ import annotations

import builtins
import struct
from typing import Any, TypeVar, get_args, get_origin, overload

from ..errors import BadPayloadError, ConfigurationError, LocalProtocolError
from .base import DEFAULT_MAX_FRAME_BYTES, NEED_DATA, Buffer, NeedData
from .objects import ObjectCodec, converter_of, name_of
from .octets import require_range

M = TypeVar("M", bound=tuple[Any, ...])


class Struct(ObjectCodec[M]):
    """A tuple for each record of one binary layout.

    Args:
        format: A format of the ``struct`` module that begins with its byte order: ``>`` or ``!`` (big) or ``<``
            (little). Without one the layout would be this machine's, padding included. A record is 1 byte to 1 MiB;
            its size is its ``max_frame_bytes``.
        type: What a record is given as and checked against: a NamedTuple, or ``tuple[int, float]``.

    Raises:
        ConfigurationError: The format is malformed, names no byte order, or describes no bytes or too
            many; or ``type`` is no tuple of as many fields.
    """

    name = "struct"

    @overload
    def __init__(self: Struct[tuple[Any, ...]], format: str) -> None: ...
    @overload
    def __init__(self, format: str, *, type: type[M]) -> None: ...

    def __init__(self, format: str, *, type: Any = Any) -> None:  # noqa: A002  # the words of struct and msgspec
        if not format.startswith((">", "<", "!")):
            raise ConfigurationError(f"the format {format!r} names no byte order: begin it with > (big) or < (little)")
        try:
            self._struct = struct.Struct(format)
        except (struct.error, UnicodeEncodeError) as error:
            raise ConfigurationError(f"the format {format!r} is not one of the struct module: {error}") from None
        self.max_frame_bytes = require_range(f"the size of {format!r}", self._struct.size, 1, DEFAULT_MAX_FRAME_BYTES)
        self.format = format
        self._fields = len(self._struct.unpack(bytes(self._struct.size)))
        self._read(type)

    def _read(self, type: Any) -> None:  # noqa: A002
        fields = self._fields if type is Any else _fields_of(type)
        if fields not in (self._fields, None):
            raise ConfigurationError(f"{name_of(type)} has {fields} fields, a record of {self.format!r} {self._fields}")
        self._convert = None if type in (Any, tuple) else converter_of(type, (bytes,))
        self._compiled = self._convert is None
        self.type = type

    def decode(self, buffer: Buffer) -> M | NeedData:
        """Take one record. Without ``type`` nothing is ever refused: every pattern of bits is some value.

        Raises:
            BadPayloadError: It is not of ``type``.
        """
        if len(buffer) < self._struct.size:
            return NEED_DATA
        record: Any = self._struct.unpack_from(buffer)
        message: M = record
        if self._convert is not None:
            try:
                message = self._converted(record)  # before it is taken: a bad one is left where it is
            except BadPayloadError as error:
                raise error.skipping(self._struct.size)  # noqa: B904 - the same one
        del buffer[: self._struct.size]
        return message

    def encode(self, message: M) -> bytes:
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

    def decode_many(self, data: bytes, limit: int) -> tuple[list[M], int]:
        """Take up to ``limit`` records.

        Raises:
            BadPayloadError: As `decode`, for the first one.
        """
        taken = max(0, min(len(data) // self._struct.size, limit)) * self._struct.size
        records: list[Any] = list(self._struct.iter_unpack(data[:taken]))
        if self._convert is None:
            return records, taken
        messages: list[M] = []
        for record in records:
            try:
                messages.append(self._converted(record))
            except BadPayloadError:
                if not messages:
                    raise
                break
        return messages, len(messages) * self._struct.size

    def _converted(self, record: tuple[Any, ...]) -> M:
        try:
            message: M = self._convert(record)  # type: ignore[misc]  # called where there is one
        except ValueError as error:
            raise BadPayloadError(str(error)) from None
        return message


def _fields_of(type: Any) -> int | None:  # noqa: A002
    """Return how many fields a tuple's type has, None for any number.

    Raises:
        ConfigurationError: It is no tuple's type.
    """
    kind = get_origin(type) or type
    if not (isinstance(kind, builtins.type) and issubclass(kind, tuple)):
        raise ConfigurationError(
            f"cannot decode a record into {name_of(type)}: write a NamedTuple or tuple[int, float]"
        )
    fields = getattr(kind, "_fields", get_args(type))
    return len(fields) if fields and ... not in fields else None
