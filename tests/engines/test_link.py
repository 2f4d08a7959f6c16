"""Layers over links: all bytes pass them, on every engine, at both ends."""

import asyncio
import socket

import pytest

import penstock
from penstock.address import Peer, parse_address
from penstock.codecs.registry import parse_codec
from penstock.config import Limits, Timeouts
from penstock.engines.client import ClientPlan
from penstock.engines.listener import Listener
from penstock.engines.registry import ENGINES, of_loop
from penstock.testing.engines import ALL_ENGINES
from penstock.testing.layers import Cipher, listener_with
from penstock.testing.served import served

engines = pytest.mark.parametrize("engine", ALL_ENGINES, ids=lambda engine: engine.label)
CODECS = ["lines:max=1MiB", "delimited:delimiter=\n,max=1MiB"]
LONG = bytes(range(97, 123)) * 5_000  # more than is copied together with other replies


@engines
@pytest.mark.parametrize("codec", CODECS, ids=["compiled", "python"])
def test_what_a_server_sends_and_receives_passes_its_layer(engine, codec, monkeypatch, tmp_path):
    """Short replies that leave together and long ones, a half-close, the end: on the wire nothing is as it was."""
    if engine.missing:
        pytest.skip(engine.missing)
    monkeypatch.setattr("penstock.server.sockets.Listener", listener_with(Listener, Cipher))
    service = penstock.on_message(codec=codec)(bytes.upper)
    lines = [b"one", b"two", LONG, b"three"]
    with (
        served(service, engine=engine.name, bind=f"unix:{tmp_path}/s", loop_factory=engine.loop_factory) as server,
        server.dial() as peer,
    ):
        peer.sendall(Cipher.of(b"".join(line + b"\n" for line in lines)))
        peer.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: peer.recv(1 << 16), b""))
        reasons = list(server.reasons(1))

    assert [line.upper() for line in lines] == Cipher.of(received).splitlines()
    assert ["peer_closed"] == reasons


@engines
@pytest.mark.parametrize("kind", ["unix:s", "unix+seqpacket:s"])
def test_what_a_client_sends_and_receives_passes_its_layer(engine, kind):
    """The same layer, on the other side."""
    if engine.missing:
        pytest.skip(engine.missing)
    records = kind.startswith("unix+seqpacket")
    sock, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if records else socket.SOCK_STREAM)
    plan = ClientPlan(
        codec=parse_codec("raw"),
        peer=Peer("", socket.AF_UNIX),
        local=parse_address(kind),
        timeouts=Timeouts(),
        limits=Limits(),
        layer=Cipher,
    )
    with far:
        sock.setblocking(False)
        far.send(Cipher.of(b"answer"))
        far.shutdown(socket.SHUT_WR)  # else a closing connection waits for it
        message = exchanged(engine, sock, plan)
        asked = far.recv(100)

    assert b"answer" == message
    assert b"ask" == Cipher.of(asked)


def exchanged(engine, sock, plan):
    if engine.name == "blocking":
        with ENGINES["blocking"]().connect(sock, plan) as conn:
            conn.send(b"ask")
            return conn.receive(20)

    async def exchange():
        async with await of_loop(asyncio.get_running_loop()).connect(sock, plan) as conn:
            await conn.send(b"ask")
            return await conn.receive(20)

    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        return runner.run(exchange())
