"""What was awaited of a connection has ended: it is a coroutine that has, to all who close it or throw into it."""

import pytest

import penstock
from penstock.testing.peers import read_to_end

pytestmark = pytest.mark.engines("pure", "uvloop", "native", "attached")

AWAITABLES = {
    "receive": lambda conn: conn.receive(),
    "iterate": lambda conn: conn.__anext__(),
    "receive_exactly": lambda conn: conn.receive_exactly(2),
    "receive_exactly up to": lambda conn: conn.receive_exactly(2, max_bytes=2),
    "receive_exactly nothing": lambda conn: conn.receive_exactly(0),
    "receive_until": lambda conn: conn.receive_until(b";"),
    "send": lambda conn: conn.send(b"sent"),
    "send_raw": lambda conn: conn.send_raw(b"sent"),
    "request": lambda conn: conn.request(b"asked"),
    "wait_writable": lambda conn: conn.wait_writable(),
}


@pytest.mark.parametrize("what", AWAITABLES)
def test_what_has_ended_is_closed_in_vain_and_not_thrown_into(serve, what):
    """The connection is as it was; what was received since by another is not given back."""

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        ended = AWAITABLES[what](conn)
        await ended
        ended.close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            ended.throw(ZeroDivisionError())
        ended.close()
        await conn.receive_until(b"last")
        await conn.send(b"over")

    with serve(handler) as server, server.dial() as peer:
        peer.sendall(b"ab;\nmore\nlast")

        assert read_to_end(peer).endswith(b"over\n")


@pytest.mark.parametrize("what", ["receive", "iterate", "receive_exactly", "receive_until"])
def test_what_was_never_awaited_is_closed_and_takes_nothing(serve, what):
    """Nor does what was thrown into before; a wait of somebody else goes on."""

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        first, second = AWAITABLES[what](conn), AWAITABLES[what](conn)
        first.close()
        with pytest.raises(ZeroDivisionError):
            second.throw(ZeroDivisionError())
        await conn.send(await conn.receive())

    with serve(handler) as server, server.dial() as peer:
        peer.sendall(b"ab;\n")

        assert b"ab;\n" == read_to_end(peer)
