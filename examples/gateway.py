"""A gateway for trackers: they log in, send positions that go into a database, and take commands of an operator.

    penstock serve examples/gateway.py:app --bind tracker=tcp://127.0.0.1:5023 --bind admin=unix:admin.sock
    echo 'ask 123456789012345 STATUS#' | socat - UNIX:admin.sock

The wire format is in gt06.py. The operator has lines: ``list``, ``where IMEI``, ``ask IMEI COMMAND``.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import struct
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gt06
from gt06 import GT06, Packet

import penstock
from penstock.errors import BadFrameError

SECONDS_TO_ANSWER = 10.0
numbers = itertools.count(1)


app = penstock.App("gateway")


@app.lifespan
async def database(app: penstock.App[Any]) -> AsyncIterator[None]:
    """SQLite blocks: one thread of its own does all its work, in order."""
    with ThreadPoolExecutor(1) as thread:
        app.state.db = lambda *query: asyncio.get_running_loop().run_in_executor(thread, execute, db, *query)
        db = sqlite3.connect(os.environ.get("FLEET", "fleet.db"), check_same_thread=False)
        await app.state.db("CREATE TABLE IF NOT EXISTS position (imei, at, latitude, longitude)")
        yield
        db.close()


def execute(db: sqlite3.Connection, query: str, *values: object) -> list[Any]:
    with db:  # a transaction
        return db.execute(query, values).fetchall()


@app.on_connection(codec=GT06(), bind="tcp://127.0.0.1:5023", timeouts={"receive_idle": "10m"})
async def tracker(conn: penstock.Connection[Packet]) -> None:
    """Serve one device from its login on."""
    conn.begin_handshake()
    login = await conn.receive()
    if login.kind != gt06.LOGIN or len(login.body) != 8:
        raise BadFrameError("a device logs in first")
    imei = login.body.hex().removeprefix("0")
    conn.end_handshake()
    conn.state = {}  # by number of the command: who waits for what it brings
    async with app.registry("devices").hold(imei, conn):  # a device that connects anew takes the place of its old one
        await conn.send(Packet(gt06.LOGIN, b"", login.number))
        async for packet in conn:
            match packet.kind:
                case gt06.POSITION if len(packet.body) >= 15:  # year to second, satellites, latitude, longitude, …
                    latitude, longitude = (part / 1_800_000 for part in struct.unpack_from(">II", packet.body, 7))
                    query = "INSERT INTO position VALUES (?, ?, ?, ?)"
                    await app.state.db(query, imei, time.time(), latitude, longitude)
                case gt06.ALIVE:
                    await conn.send(Packet(gt06.ALIVE, b"", packet.number))
                case gt06.BROUGHT if len(packet.body) >= 5:
                    waiter = conn.state.pop(int.from_bytes(packet.body[1:5], "big"), None)
                    if waiter is not None and not waiter.done():
                        waiter.set_result(packet.body[5:])


async def ask(imei: str, command: bytes) -> bytes:
    """Send a command to a device; return what it brings."""
    conn = app.registry("devices")[imei]
    number = next(numbers)
    waiter = conn.state[number] = asyncio.get_running_loop().create_future()
    body = bytes((4 + len(command),)) + struct.pack(">I", number) + command
    conn.post(Packet(gt06.COMMAND, body, number & 0xFFFF))
    try:
        return await asyncio.wait_for(waiter, SECONDS_TO_ANSWER)
    finally:
        conn.state.pop(number, None)


@app.on_message(codec="lines", bind="unix:admin.sock", drain_after="tracker")
async def admin(line: bytes) -> bytes:
    """Answer the operator."""
    match line.split(maxsplit=2):
        case [b"list"]:
            return " ".join(sorted(app.registry("devices"))).encode()
        case [b"where", imei]:
            query = "SELECT latitude, longitude FROM position WHERE imei = ? ORDER BY rowid DESC LIMIT 1"
            found = await app.state.db(query, imei.decode())
            return b"%.5f %.5f" % found[0] if found else b"unknown"
        case [b"ask", imei, command]:
            try:
                return await ask(imei.decode(), command)
            except KeyError:
                return b"not connected"
            except TimeoutError:
                return b"no answer"
    return b"list, where IMEI, or ask IMEI COMMAND"
