"""Waiting until the peer has read, without sending: what those do who `post`."""

import asyncio

import pytest

import penstock
from penstock.errors import BrokenError, ClosedError
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_to_end, reset

pytestmark = pytest.mark.engines(*LOOPS)


def test_it_waits_until_output_is_at_its_low_watermark(serve, engine):
    """And sends nothing: no message is counted."""
    facts = []

    @penstock.on_connection(codec="raw")
    async def flood(conn):
        await conn.wait_writable()
        for _ in range(30):
            conn.post(bytes(100_000))
            await conn.wait_writable()
            facts.append((conn.output_paused, conn.queued_bytes <= 65536))
        facts.append(conn.messages_out)

    with serve(flood) as server, server.dial(receive_buffer_bytes=4096) as peer:
        server.wait_until(lambda server: any(conn.output_paused for conn in server.connections))
        assert 30 * 100_000 == len(read_to_end(peer))
        server.wait_closed(1)

    assert [(False, True)] * 30 + [30] == facts


def test_it_raises_what_sending_would(serve, engine):
    """Once this side has closed, and when the peer goes while it waits."""
    raised = []

    @penstock.on_connection(codec="raw")
    async def flood(conn):
        try:
            while True:
                conn.post(bytes(100_000))
                await conn.wait_writable()
        except BrokenError as error:
            raised.append(str(error.reason))
        try:
            await conn.wait_writable()
        except BrokenError as error:
            raised.append(str(error.reason))

    @penstock.on_connection(codec="raw")
    async def closed(conn):
        conn.close()
        with pytest.raises(ClosedError):
            await conn.wait_writable()

    with serve(flood) as server:
        peer = server.dial(receive_buffer_bytes=4096)
        server.wait_until(lambda server: any(conn.output_paused for conn in server.connections))
        reset(peer)
        server.wait_closed(1)
    with serve(closed) as server, server.dial() as peer:
        assert b"" == read_to_end(peer)

    assert ["reset", "reset"] == raised


SIZE = 8_000_000


@pytest.mark.parametrize("how", ["send_eof", "close", "abort"])
def test_whoever_waits_is_told_that_this_side_has_ended(serve, engine, how):
    """At once, while the peer has read nothing: what waits for room to send would wait for nothing."""
    told = []

    @penstock.on_connection(codec="raw")
    async def handle(conn):
        conn.post(bytes(SIZE))
        async with asyncio.TaskGroup() as group:
            for wait in (conn.wait_writable, lambda: conn.send(b"more")):
                group.create_task(note(wait))
            await asyncio.sleep(0)
            getattr(conn, how)()

    async def note(wait):
        try:
            await wait()
        except ClosedError:
            told.append(how)

    with serve(handle, write_max=2 * SIZE) as server:
        with server.dial(receive_buffer_bytes=4096) as peer:
            server.wait_until(lambda _: len(told) == 2)
            if how == "abort":
                with pytest.raises(ConnectionResetError):
                    read_to_end(peer)
            else:
                assert SIZE == len(read_to_end(peer))
        server.wait_closed(1)

    assert [how, how] == told


def test_one_that_is_cancelled_waits_no_more_and_the_others_do(serve, engine):
    """Nothing else has happened: the peer reads all of it."""
    facts = []

    @penstock.on_connection(codec="raw")
    async def handle(conn):
        conn.post(bytes(SIZE))
        tasks = [asyncio.create_task(conn.wait_writable()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        facts.append([task.cancelled() for task in tasks])
        await asyncio.gather(tasks[0], tasks[2])
        facts.append(conn.output_paused)

    with serve(handle, write_max=2 * SIZE) as server, server.dial(receive_buffer_bytes=4096) as peer:
        server.wait_until(lambda _: facts)
        assert SIZE == len(read_to_end(peer))
        server.wait_closed(1)

    assert [[False, True, False], False] == facts
