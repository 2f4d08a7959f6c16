"""What was cut and not received is given back to the codec that is set next, whoever was cancelled meanwhile."""

import asyncio
import contextlib

import pytest

import penstock
from penstock.codecs import Lines, Text


@pytest.mark.parametrize("options", [{}, {"on_oversize": "skip"}], ids=["batches", "singly"])
@pytest.mark.parametrize("cut", range(5))
async def test_a_message_whose_receiver_was_cancelled_as_it_came_is_not_lost(peer, tools, cut, options):
    """Whether it came at once or in two pieces, it is received with the codec that is set then."""
    conn = await penstock.connect(peer.address, codec=Lines(**options))
    async with conn:
        sock = await peer.accept()
        receiving = asyncio.create_task(conn.receive())
        await tools.turns(3)
        if cut:
            sock.send(b"two\n"[:cut])
            await tools.until(lambda: conn.bytes_in == cut)
        if cut < 4:
            sock.send(b"two\n"[cut:])
        while conn.bytes_in < 4:  # not a turn more, so that the task has not gone on
            asyncio.get_running_loop().call_soon(lambda: conn.bytes_in < 4 or receiving.cancel())
            await asyncio.sleep(0)
        receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            assert b"two" == await receiving
            sock.send(b"two\n")  # it was faster
        conn.set_codec(Text())

        assert "two" == await conn.receive(20)
        sock.close()  # so that the client does not linger
