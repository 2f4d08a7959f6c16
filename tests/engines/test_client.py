"""`Engine.connect`: one call makes a client's connection of a connected socket, on every engine and for every kind."""

import asyncio
import socket
from dataclasses import replace

import pytest

from penstock.address import Peer, parse_address
from penstock.codecs.registry import parse_codec
from penstock.config import Limits, Timeouts
from penstock.engines.client import ClientConnection, ClientPlan, SyncConnection
from penstock.engines.registry import ENGINES, of_loop
from penstock.testing.engines import ALL_ENGINES

KINDS = {
    "unix:s": socket.SOCK_STREAM,
    "unix+seqpacket:s": socket.SOCK_SEQPACKET,
    "unix+dgram:s": socket.SOCK_DGRAM,
}
engines = pytest.mark.parametrize("engine", ALL_ENGINES, ids=lambda engine: engine.label)
addresses = pytest.mark.parametrize("address", KINDS)


def plan_of(address):
    return ClientPlan(
        codec=parse_codec("raw"),
        peer=Peer("", socket.AF_UNIX),
        local=parse_address(address),
        timeouts=Timeouts(),
        limits=Limits(),
    )


def exchanged(engine, sock, plan):
    """Connect a client of this engine, send a message and receive one; return that, and what the connection is."""
    if engine.name == "blocking":
        with ENGINES["blocking"]().connect(sock, plan) as conn:
            conn.send(b"ask")
            return conn.receive(20), type(conn)

    async def exchange():
        async with await of_loop(asyncio.get_running_loop()).connect(sock, plan) as conn:
            await conn.send(b"ask")
            return await conn.receive(20), type(conn)

    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        return runner.run(exchange())


@engines
@addresses
def test_a_connected_socket_becomes_a_connection(engine, address):
    """Streams, records and datagrams alike; the connection owns the socket."""
    if engine.missing:
        pytest.skip(engine.missing)
    sock, far = socket.socketpair(socket.AF_UNIX, KINDS[address])
    with far:
        sock.setblocking(False)
        far.send(b"answer")
        if KINDS[address] != socket.SOCK_DGRAM:
            far.shutdown(socket.SHUT_WR)  # else a closing connection waits for it
        message, kind = exchanged(engine, sock, plan_of(address))

        assert b"answer" == message
        assert b"ask" == far.recv(100)
    assert -1 == sock.fileno()
    promised = SyncConnection if engine.name == "blocking" else ClientConnection
    assert issubclass(kind, promised) or address == "unix+dgram:s"


@engines
@addresses
def test_the_socket_of_a_connection_that_cannot_be_made_is_closed(engine, address):
    """Nothing is left open, whatever fails and wherever."""
    if engine.missing:
        pytest.skip(engine.missing)
    sock, far = socket.socketpair(socket.AF_UNIX, KINDS[address])
    plan = replace(plan_of(address), clock=object())  # which tells no time
    with far:
        sock.setblocking(False)
        with pytest.raises(AttributeError):
            exchanged(engine, sock, plan)

    assert -1 == sock.fileno()
