"""What workers say to each other: MessagePack, with the length before each message.

Workers of two generations speak with each other while a roll lasts. So fields may be added at the end, with defaults,
and a message of a kind that is not known is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_LENGTH: Final = struct.Struct("!I")


class Said(msgspec.Struct, array_like=True, frozen=True, tag=str.lower):
    """One message."""


class Hello(Said, frozen=True):
    """The first one.

    Attributes:
        cell: Which cell of the memory of all keys is the sender's; -1 for none.
        wants_all: Whether it is to get every publication, whoever has members: connections may come to it from another
            worker.
    """

    cell: int = -1
    wants_all: bool = False


class Known(Said, frozen=True):
    """The answer to `Hello`: from now on the sender's publications go there, and of its members all was told."""


class Settled(Said, frozen=True):
    """No connections come any more: the sender wants what is for its members."""


class Presence(Said, frozen=True):
    """So many members of a group speak this codec, in the sender."""

    group: str
    codec: str
    records: bool
    count: int


class Publication(Said, frozen=True):
    """A message to a group.

    Attributes:
        group: Its name.
        number: Of the sender's publications: each has a greater one.
        frames: The message, for each codec that members are known to speak.
        exclude: The ids of the connections that do not get it.
        on_slow: As of `Group.publish`.
        key: Likewise.
    """

    group: str
    number: int
    frames: list[tuple[str, bool, bytes]]
    exclude: list[int] = []
    on_slow: str | None = None
    key: Any = None


class Displaced(Said, frozen=True):
    """The sender has a later hold of a key, which is for one: earlier ones are closed."""

    registry: str
    key: Any
    order: int


class Request(Said, frozen=True):
    """Do something with the connection that has a key.

    Attributes:
        number: Which the answer repeats; 0 for no answer.
        registry: Whose key.
        key: The key.
        verb: ``request``, ``post`` or ``close``.
        message: As `values.packed` has it.
        timeout_s: How long a reply may take.
        is_passed_on: Whether the sender has it from another worker, where the key was before.
    """

    number: int
    registry: str
    key: Any
    verb: str
    message: tuple[str, bytes] = ("", b"")
    timeout_s: float | None = None
    is_passed_on: bool = False


class Dropped(Said, frozen=True):
    """The answer to a request is not wanted any more."""

    number: int


class Reply(Said, frozen=True):
    """The answer to `Request`.

    Attributes:
        number: Of the request.
        message: The reply.
        error: The name of the class of what was raised; empty for a reply; ``gone`` where the key is not held here, and
            nothing was done.
        problem: Its text.
        reason: Its reason, where it has one.
    """

    number: int
    message: tuple[str, bytes] = ("", b"")
    error: str = ""
    problem: str = ""
    reason: str = ""


class Mark(Said, frozen=True):
    """To be answered by `Marked`, after all that the other worker has published by then."""

    number: int


class Marked(Said, frozen=True):
    """The answer to `Mark`."""

    number: int


AnySaid = Hello | Known | Settled | Presence | Publication | Displaced | Request | Dropped | Reply | Mark | Marked

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(AnySaid)


def encoded(said: Said) -> bytes:
    """Return a message with its length before it.

    Raises:
        TypeError, ValueError, OverflowError: It has something that cannot be told.
    """
    data = _encoder.encode(said)
    return _LENGTH.pack(len(data)) + data


def taken(buffer: bytearray) -> Iterator[AnySaid]:
    """Take what is whole out of a buffer; what is of a kind that is not known here is passed over.

    Raises:
        msgspec.DecodeError: It is no message.
    """
    at = 0
    try:
        while len(buffer) - at >= _LENGTH.size:
            end = at + _LENGTH.size + _LENGTH.unpack_from(buffer, at)[0]
            if end > len(buffer):
                return
            body = bytes(buffer[at + _LENGTH.size : end])
            at = end
            try:
                said = _decoder.decode(body)
            except (msgspec.ValidationError, RecursionError):
                continue
            yield said
    finally:
        del buffer[:at]
