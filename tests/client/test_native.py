"""A client in a loop of the compiled engine."""

import asyncio

import pytest

import penstock
from penstock.client import ClientTimeouts
from penstock.engines.client import ClientConnection

client = pytest.importorskip("penstock.engines.native.drivers.client")
pytestmark = pytest.mark.asyncio(loop_factories=["native"])


async def test_its_connections_are_compiled_where_they_are_streams(serve, tmp_path):
    """TCP and Unix are; records and datagrams are the pure engine's, as in a server."""
    shout = penstock.on_message(codec="lines")(bytes.upper)
    made = {}
    for bind in ("tcp://127.0.0.1:0", f"unix:{tmp_path}/s", f"unix+seqpacket:{tmp_path}/q", f"unix+dgram:{tmp_path}/d"):
        server = serve(shout, bind=bind)
        async with await penstock.connect(server.address) as conn:
            made[bind.partition(":")[0]] = type(conn) is client.ClientConversation
            assert b"X" == await conn.request(b"x", 20)

    assert {"tcp": True, "unix": True, "unix+seqpacket": False, "unix+dgram": False} == made


async def test_it_passes_for_the_other_one(shout):
    """Those who keep connections need not know which they have."""
    async with await penstock.connect(shout.address) as conn:
        is_one = isinstance(conn, ClientConnection)

    assert is_one


@pytest.mark.parametrize("codec", ["lines", "delimited:delimiter=\n"], ids=["compiled", "python"])
async def test_a_request_that_finds_the_output_full_waits_for_its_turn(peer, codec):
    """Then it is sent, and its reply is the next message."""
    conn = await penstock.connect(peer.address, codec=codec)
    far = await peer.accept()
    loop = asyncio.get_running_loop()
    line = b"x" * 60_000
    posted = 0
    while conn.can_write:
        conn.post(line)
        posted += 1
    asking = asyncio.create_task(conn.request(b"and now?"))
    left = posted * (len(line) + 1) + len(b"and now?\n")
    data = b""
    while left:
        data = await loop.sock_recv(far, min(left, 1 << 20))
        left -= len(data)
    await loop.sock_sendall(far, b"yes\n")
    reply = await asking
    conn.abort()
    await conn.wait_closed()

    assert data.endswith(b"and now?\n")
    assert b"yes" == reply


async def test_the_deadline_for_everything_ends_it(peer):
    """And says so, with its phase, to whoever asks next."""
    conn = await penstock.connect(peer.address, timeouts=ClientTimeouts(total_s=0.02))
    with pytest.raises(penstock.TimedOutError) as waiting:
        await conn.receive()
    with pytest.raises(penstock.TimedOutError) as sending:
        await conn.send(b"x")
    await conn.wait_closed()

    assert ["total", "total"] == [waiting.value.phase, sending.value.phase]
