"""The frames of GT06 trackers and their many relatives, as gateway.py speaks them. No I/O.

Wire format: 78 78, length, type, body, serial number, CRC-16/X-25 of all from the length on, 0D 0A. A device sends 01
(login: IMEI, 8 bytes BCD), 12 (position), 13 (alive) and 15 (what a command brought); login and alive are answered with
their type and number. A command goes out as 80.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from penstock.codecs import NEED_DATA, Buffer, Codec, NeedData
from penstock.errors import BadFrameError

LOGIN, POSITION, ALIVE, BROUGHT, COMMAND = 0x01, 0x12, 0x13, 0x15, 0x80


class Packet(NamedTuple):
    kind: int
    body: bytes
    number: int


class GT06(Codec[Packet]):
    """One byte of length, and a check of every frame."""

    name = "gt06"
    message_type = Packet
    max_frame_bytes = 250

    def decode(self, buffer: Buffer) -> Packet | NeedData:
        if not b"\x78\x78".startswith(buffer[:2]):
            raise BadFrameError("a frame begins with 78 78")
        if len(buffer) < 3 or len(buffer) < (end := buffer[2] + 5):
            return NEED_DATA
        if (
            buffer[2] < 5
            or buffer[end - 2 : end] != b"\r\n"
            or crc(buffer[2 : end - 4]) != int.from_bytes(buffer[end - 4 : end - 2], "big")
        ):
            raise BadFrameError("a frame whose length, check or end is wrong")
        packet = Packet(buffer[3], bytes(buffer[4 : end - 6]), int.from_bytes(buffer[end - 6 : end - 4], "big"))
        del buffer[:end]
        return packet

    def encode(self, message: Packet) -> bytes:
        frame = (
            struct.pack(">BB", len(message.body) + 5, message.kind) + message.body + struct.pack(">H", message.number)
        )
        return b"\x78\x78" + frame + struct.pack(">H", crc(frame)) + b"\r\n"


def crc(data: bytes | bytearray) -> int:
    """Return the CRC-16/X-25 of data."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x8408 if value & 1 else 0)
    return value ^ 0xFFFF
