"""A line for each connection, message and end, on every engine, with every kind of handler."""

import asyncio
import time

import pytest

import penstock
from penstock.cli.dev.told import MOST_BYTES, Teller
from penstock.engines.registry import ENGINES, native_missing

each_engine = pytest.mark.parametrize("engine", [name for name in ENGINES if name != "native" or not native_missing()])


@penstock.on_message(codec="lines")
def shout(message: bytes) -> bytes:
    return message.upper()


@penstock.on_connection(codec="lines")
async def converse(conn: penstock.Connection[bytes]) -> None:
    async for message in conn:
        await conn.send(message.upper())


@penstock.on_connection(codec="lines")
def block(conn: penstock.BlockingConnection[bytes]) -> None:
    for message in conn:
        conn.send(message.upper())


class Callbacks(penstock.Handler[bytes]):
    async def on_message(self, conn, message):
        return message.upper()


@each_engine
@pytest.mark.parametrize("target", [shout, converse, Callbacks])
async def test_each_connection_message_and_end_has_its_line(engine, target):
    """In the order in which they happened."""
    lines = []
    if engine == "blocking":
        target = {shout: shout}.get(target, block)
    teller = Teller(lines.append, colour=False, now=lambda: time.gmtime(0))
    async with penstock.serve(
        target, codec="lines", engine=engine, bind="tcp://127.0.0.1:0", observers=[teller]
    ) as server:
        async with await penstock.connect(server.addresses[0]) as conn:
            me = str(conn.local).removeprefix("tcp://")
            assert [b"A", b"B"] == [await conn.request(b"a"), await conn.request(b"b")]
        await server.wait_connections(0)
        await server.wait_until(lambda server: server.stats.closed)

    assert [
        f"00:00:00 {text}" for text in (f"+ {me} connected", f"< {me} a", f"> {me} A", f"< {me} b", f"> {me} B")
    ] == (lines[:5])
    assert lines[5].startswith(f"00:00:00 - {me} ")
    assert lines[5].endswith("2 in, 2 out")


@each_engine
async def test_what_a_schema_reads_is_shown_as_it_was_read(engine):
    """The handler has what it is annotated with."""
    lines = []

    @penstock.on_message(codec="json-lines")
    def add(message: list[int]) -> int:
        return sum(message)

    teller = Teller(lines.append, colour=False)
    async with penstock.serve(add, engine=engine, bind="tcp://127.0.0.1:0", observers=[teller]) as server:
        async with await penstock.connect(server.addresses[0], codec="json-lines") as conn:
            assert 6 == await conn.request([1, 2, 3])

    assert ["< [1, 2, 3]", "> 6"] == [f"{line.split()[1]} {line.split(' ', 3)[3]}" for line in lines[1:3]]


def test_what_a_peer_sends_cannot_move_the_cursor_and_is_cut():
    """On one line, whatever it is."""
    lines = []
    teller = Teller(lines.append, colour=True, now=lambda: time.gmtime(0))
    teller.message("peer", b"\x1b[2J" + b"x" * 500, received=True)
    teller.message("peer", "\n" * 500, received=False)

    assert lines[0].startswith("\x1b[36m00:00:00 < peer \\x1b[2Jxxx")
    assert all(line.count("\x1b") == 2 and "\n" not in line for line in lines)
    assert all(len(line) < MOST_BYTES + 60 for line in lines)


async def test_a_datagram_has_a_line():
    """It is no connection."""
    lines = []
    teller = Teller(lines.append, colour=False)
    async with penstock.serve(shout, engine="pure", bind="udp://127.0.0.1:0", observers=[teller]) as server:
        async with await penstock.connect(server.addresses[0]) as conn:
            assert b"A" == await asyncio.wait_for(conn.request(b"a"), 20)

    assert [1] == [len(lines)]
    assert lines[0].endswith("a datagram of 1 bytes")
