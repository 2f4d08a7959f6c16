"""Waiting until the peer has read, without sending: what those do who `post`."""

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
