"""The packets of MQTT 3.1.1, as mqtt.py sends and receives them. No I/O."""

from __future__ import annotations

import itertools
import struct
from typing import NamedTuple

from penstock.codecs import NEED_DATA, Buffer, Codec, NeedData
from penstock.codecs.varint import read_varint, write_varint
from penstock.errors import BadFrameError, BadLengthError, FrameTooLongError

numbers = itertools.cycle(range(1, 0x10000))


class Kind:
    CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
    SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14


class Packet(NamedTuple):
    kind: int
    flags: int = 0
    body: bytes = b""


class Mqtt(Codec[Packet]):
    """A byte of kind and flags, the length of the rest in 1 to 4 bytes, the rest."""

    name = "mqtt"
    message_type = Packet
    max_frame_bytes = 256 * 1024

    def decode(self, buffer: Buffer) -> Packet | NeedData:
        length, start = read_varint(buffer[:5], 1)
        if length > self.max_frame_bytes:
            raise FrameTooLongError(length, self.max_frame_bytes)
        if not start and len(buffer) >= 5:
            raise BadLengthError("a length has 4 bytes at most")
        if not start or len(buffer) < start + length:
            return NEED_DATA
        packet = Packet(buffer[0] >> 4, buffer[0] & 15, bytes(buffer[start : start + length]))
        del buffer[: start + length]
        return packet

    def encode(self, message: Packet) -> bytes:
        return bytes((message.kind << 4 | message.flags,)) + write_varint(len(message.body)) + message.body


def take(body: bytes) -> tuple[bytes, bytes]:
    """Take a counted string off the front; return it and the rest."""
    (size,) = struct.unpack_from(">H", body)
    if len(body) < 2 + size:
        raise BadFrameError("a string is longer than its packet")
    return body[2 : 2 + size], body[2 + size :]


def message(topic: bytes, payload: bytes, quality: int, flags: int = 0) -> Packet:
    number = struct.pack(">H", next(numbers)) if quality else b""
    return Packet(Kind.PUBLISH, flags | quality << 1, struct.pack(">H", len(topic)) + topic + number + payload)


def matches(pattern: bytes, topic: bytes) -> bool:
    """Say whether a filter takes a topic in (section 4.7). Pure, so its tests need no connection."""
    wanted, levels = pattern.split(b"/"), topic.split(b"/")
    if topic.startswith(b"$") and wanted[0] in (b"#", b"+"):
        return False
    if wanted[-1] == b"#":
        wanted, levels = wanted[:-1], levels[: len(wanted) - 1]
    return len(wanted) == len(levels) and all(each in (b"+", level) for each, level in zip(wanted, levels, strict=True))
