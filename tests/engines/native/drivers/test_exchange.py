"""What a task awaits of its connection, where the codec is not compiled."""

import struct

import pytest

import penstock
from penstock.codecs import NEED_DATA, Codec
from penstock.core.service import callbacks
from penstock.engines.native.engine import new_event_loop
from penstock.testing.peers import read_exactly
from penstock.testing.served import served

asked = []


class Prefixed(Codec):
    """A length in two bytes before each message; it notes how much it was shown."""

    name = "prefixed"

    def decode(self, buffer):
        asked.append(len(buffer))
        if len(buffer) < 2 or len(buffer) < 2 + (size := struct.unpack_from("!H", buffer)[0]):
            return NEED_DATA
        message = bytes(buffer[2 : 2 + size])
        del buffer[: 2 + size]
        return message

    def decode_many(self, data, limit):
        return [], 0  # `decode` is to look

    def encode(self, message):
        return struct.pack("!H", len(message)) + message


async def answer(message):
    return message


async def converse(conn):
    async for message in conn:
        await conn.send(message)


class Called(penstock.Handler):
    async def on_message(self, conn, message):
        return message


SERVICES = {
    "message": penstock.on_message(codec=Prefixed())(answer),
    "iteration": penstock.on_connection(codec=Prefixed())(converse),
    "callbacks": callbacks(Called, name="called", codec=Prefixed()),
}


@pytest.fixture(autouse=True)
def nothing_asked():
    """Each test begins with nothing asked."""
    asked.clear()


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_codec_is_asked_once_for_what_was_read(service):
    """A frame that is not whole yet is looked at once for each time that more of it has come."""
    wire = Prefixed().encode(b"x" * 30)
    with served(service, engine="native", loop_factory=new_event_loop) as server, server.dial() as peer:
        server.wait_until(lambda it: len(it.connections) == 1)
        for end in (10, 20, 30):
            peer.sendall(wire[end - 10 : end])
            server.wait_until(lambda it, end=end: it.connections[0].bytes_in == end)
        before = list(asked)
        peer.sendall(wire[30:])
        whole = read_exactly(peer, len(wire))

    assert [10, 20, 30] == before
    assert wire == whole
