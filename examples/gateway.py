"""A gateway for trackers: they log in, send positions that go into a database, and take commands of an operator.

    penstock serve examples/gateway.py:app --bind tracker=tcp://127.0.0.1:5023 --bind admin=unix:admin.sock
    echo 'ask 123456789012345 STATUS#' | socat - UNIX:admin.sock

Wire format of GT06: 78 78, length, type, body, serial number, CRC-16/X-25 of all from the length on, 0D 0A. Login (IMEI
as 8 bytes BCD) and sign of life are answered with their type and number; a command's number comes back in the answer.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import struct
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import penstock
from penstock.codecs import NEED_DATA, Buffer, Codec, NeedData
from penstock.errors import BadFrameError

LOGIN, POSITION, ALIVE, BROUGHT, COMMAND = 0x01, 0x12, 0x13, 0x15, 0x80


class Packet(NamedTuple):
    kind: int
    body: bytes
    number: int


class GT06(Codec[Packet]):
    message_type = Packet
    max_frame_bytes = 250

    def decode(self, buffer: Buffer) -> Packet | NeedData:
        if not b"\x78\x78".startswith(buffer[:2]):
            raise BadFrameError("a frame begins with 78 78")
        if len(buffer) < 3 or len(buffer) < (end := buffer[2] + 5):
            return NEED_DATA
        if buffer[2] < 5 or buffer[end - 4 : end] != crc(buffer[2 : end - 4]) + b"\r\n":
            raise BadFrameError("a frame whose length, check or end is wrong")
        packet = Packet(buffer[3], bytes(buffer[4 : end - 6]), int.from_bytes(buffer[end - 6 : end - 4], "big"))
        del buffer[:end]
        return packet

    def encode(self, message: Packet) -> bytes:
        frame = bytes((len(message.body) + 5, message.kind)) + message.body + message.number.to_bytes(2, "big")
        return b"\x78\x78" + frame + crc(frame) + b"\r\n"

    def request_id(self, message: Packet) -> bytes | None:
        return message.body[1:5] if message.kind == COMMAND else None

    def reply_id(self, message: Packet) -> bytes | None:
        return message.body[1:5] if message.kind == BROUGHT else None


def crc(data: bytes | bytearray) -> bytes:
    """Return the CRC-16/X-25 of data."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x8408 if value & 1 else 0)
    return (value ^ 0xFFFF).to_bytes(2, "big")


app = penstock.App("gateway")


@app.lifespan
async def database(app: penstock.App[Any]) -> AsyncIterator[None]:
    """SQLite blocks, so threads ask it; it lets one of them in at a time."""
    db = sqlite3.connect(os.environ.get("FLEET", "fleet.db"), check_same_thread=False, isolation_level=None)
    app.state.db = lambda *query: asyncio.to_thread(lambda: db.execute(*query).fetchall())
    await app.state.db("CREATE TABLE IF NOT EXISTS position (imei, at, latitude, longitude)")
    yield
    db.close()


@app.on_connection(codec=GT06(), bind="tcp://127.0.0.1:5023", timeouts={"receive_idle": "10m"})
async def tracker(conn: penstock.Connection[Packet]) -> None:
    """Serve one device from its login on."""
    conn.begin_handshake()
    login = await conn.receive()
    if login.kind != LOGIN or len(login.body) != 8:
        raise BadFrameError("a device logs in first")
    conn.end_handshake()
    imei = login.body.hex().removeprefix("0")
    async with app.registry("devices").hold(imei, conn):  # a device that connects anew takes the place of its old one
        await conn.send(Packet(LOGIN, b"", login.number))
        async for kind, body, number in conn:
            if kind == POSITION and len(body) >= 15:  # year to second, satellites, latitude, longitude, …
                latitude, longitude = (part / 1_800_000 for part in struct.unpack_from(">II", body, 7))
                query = "INSERT INTO position VALUES (?, datetime('now'), ?, ?)"
                await app.state.db(query, (imei, latitude, longitude))
            elif kind == ALIVE:
                await conn.send(Packet(ALIVE, b"", number))


@app.on_message(codec="lines", bind="unix:admin.sock", drain_after="tracker")
async def admin(line: bytes) -> bytes:
    match line.decode().split(maxsplit=2):
        case ["list"]:  # those of this worker
            return " ".join(sorted(app.registry("devices"))).encode()
        case ["where", imei]:
            query = "SELECT latitude, longitude FROM position WHERE imei = ? ORDER BY rowid DESC LIMIT 1"
            found = await app.state.db(query, (imei,))
            return b"%.5f %.5f" % found[0] if found else b"unknown"
        case ["ask", imei, command]:
            if (device := app.registry("devices").get(imei)) is None:
                return b"not connected"
            flag = os.urandom(4)  # which no other request to it has, whichever worker asks
            packet = Packet(COMMAND, bytes((4 + len(command),)) + flag + command.encode(), flag[2] << 8 | flag[3])
            try:
                return (await device.request(packet, timeout_s=10)).body[5:]
            except (TimeoutError, penstock.ConnectionEndedError):
                return b"no answer"
    return b"list, where IMEI, or ask IMEI COMMAND"
