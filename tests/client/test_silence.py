"""Clients of every kind whose codec takes silence for the end of a message: servers that end none are understood."""

import socket
import threading

import pytest

import penstock
from penstock.codecs import NEED_DATA, Delimited, Gap, Lines, Text

PATIENCE_S = 20
QUIET_S = 0.05
CODECS = [
    (Lines(quiet_s=QUIET_S), b"hello\r", b"hello"),
    (Text(quiet_s=QUIET_S), b"hello", "hello"),
    (Delimited(b"\r\n", quiet_s=QUIET_S), b"hello", b"hello"),
    (Gap(quiet_s=QUIET_S), b"he\nllo", b"he\nllo"),
]


class Acknowledged(Gap):
    """An exclamation mark is a message by itself; what follows has its end by silence, every time."""

    name = "acknowledged"

    def decode(self, buffer):
        if not buffer.startswith(b"!"):
            return NEED_DATA
        del buffer[:1]
        return b"!"


@pytest.fixture
def naive():
    """A server that says its bytes for each read, and at once where it ``greets``; it ends nothing."""
    servers = []

    def start(said, *, greets=True):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(PATIENCE_S)

        def serve():
            with listener, listener.accept()[0] as peer:
                peer.settimeout(PATIENCE_S)
                if greets:
                    peer.sendall(said)
                while peer.recv(1024):
                    peer.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        servers.append(thread)
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for thread in servers:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.mark.parametrize(("codec", "said", "message"), CODECS, ids=lambda value: getattr(value, "name", ""))
async def test_connect(naive, codec, said, message):
    """What came before somebody waited, what is waited for, and what a request is answered with."""
    async with await penstock.connect(naive(said), codec=codec) as conn:
        assert message == await conn.receive()
        await conn.send(message)
        assert message == await conn.receive(timeout_s=PATIENCE_S)
        assert message == await conn.request(message)


@pytest.mark.parametrize(("codec", "said", "message"), CODECS, ids=lambda value: getattr(value, "name", ""))
def test_connect_sync(naive, codec, said, message):
    """The same, in a thread that waits on its socket."""
    with penstock.connect_sync(naive(said), codec=codec) as conn:
        assert message == conn.receive()
        conn.send(message)
        assert message == conn.receive(timeout_s=PATIENCE_S)
        assert message == conn.request(message)


async def test_iteration(naive):
    """`async for` is told of silences as `receive` is."""
    async with await penstock.connect(naive(b"hello", greets=False), codec=Gap(quiet_s=QUIET_S)) as conn:
        got = []
        await conn.send(b"one")
        async for message in conn:
            got.append(message)
            if len(got) == 3:
                break
            await conn.send(b"next")

    assert [b"hello"] * 3 == got


async def test_what_comes_together_with_a_whole_message_has_its_end_by_silence(naive):
    """Be the next message waited for at once, or later."""
    async with await penstock.connect(naive(b"!hello", greets=False), codec=Acknowledged(quiet_s=QUIET_S)) as conn:
        got = [await conn.request(b"one"), await conn.receive()]
        await conn.send(b"two")
        got += [await conn.receive(), await conn.receive(timeout_s=PATIENCE_S)]

    assert [b"!", b"hello"] * 2 == got


async def test_a_wait_that_is_given_up_puts_the_silence_off_no_further(naive):
    """Whoever asks every moment is told all the same."""
    async with await penstock.connect(naive(b"hello"), codec=Lines(quiet_s=QUIET_S)) as conn:
        message = None
        while message is None:
            try:
                message = await conn.receive(timeout_s=QUIET_S / 5)
            except TimeoutError:
                continue

    assert b"hello" == message


async def test_client(naive):
    """A client that keeps its connection is answered, again and again."""
    async with penstock.Client(naive(b"hello", greets=False), codec=Gap(quiet_s=QUIET_S)) as client:
        assert [b"hello"] * 2 == [await client.request(b"one"), await client.request(b"two")]
