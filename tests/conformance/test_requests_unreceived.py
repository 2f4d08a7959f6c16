"""A reply comes though nobody receives, however long it is: what waits to be received is bounded apart from it."""

import asyncio
import threading

import pytest

import penstock
from penstock.codecs import Lines
from penstock.core.service import callbacks
from penstock.testing.peers import read_exactly

READ_BYTES = 4096
LONG = b"=1 " + b"x" * 100_000
KINDS = ("conversation", "message", "callbacks", "threads")

pytestmark = pytest.mark.engines("pure", "native", "uvloop", "attached")


class Numbered(Lines):
    """``?7 what`` asks, ``=7 what`` answers, anything else is a message of its own."""

    def request_id(self, message):
        return int(message.split()[0][1:]) if message.startswith(b"?") else None

    def reply_id(self, message):
        return int(message.split()[0][1:]) if message.startswith(b"=") else None


class Asker:
    """What asks, in a handler of each kind: for ``go``, after `ready`. None receives before it has its reply."""

    def __init__(self):
        self.sizes = []
        self.others = []
        self.changed = threading.Condition()
        self.asked = threading.Event()
        self.began = threading.Event()
        self.ready = lambda conn: None

    def note(self, sizes, value):
        with self.changed:
            sizes.append(value)
            self.changed.notify_all()

    def wait_for(self, values, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(values) >= count, 20), (self.sizes, self.others)
        return values

    async def ask(self, conn):
        await self.ready(conn)
        reply = await conn.request(b"?1 who")
        self.note(self.sizes, len(reply))
        self.asked.set()

    def take(self, message):
        self.note(self.others, len(message))

    def service(self, kind, codec):
        if kind == "conversation":

            async def converse(conn):
                assert await conn.receive() == b"go"
                await self.ask(conn)
                async for message in conn:
                    self.take(message)

            return penstock.on_connection(codec=codec)(converse)
        if kind == "threads":

            def handle(conn, message):
                if message != b"go":
                    self.take(message)
                    return
                conn.task(self.ask(conn))
                assert self.asked.wait(20)

            return penstock.on_message(codec=codec, blocking=True)(handle)

        async def on_message(conn, message):
            if message == b"go":
                await self.ask(conn)
            else:
                self.take(message)

        if kind == "message":
            return penstock.on_message(codec=codec)(on_message)

        class Callbacks(penstock.Handler):
            async def on_message(self, conn, message):
                await on_message(conn, message)

        return callbacks(Callbacks, name="callbacks", codec=codec)


@pytest.fixture
def asker():
    return Asker()


def codec_of(ids):
    codec = Numbered if ids else Lines
    return codec(max_frame_bytes=1 << 20)


async def at_once(conn):
    """Ask at once."""


@pytest.mark.parametrize("ids", [True, False], ids=["ids", "order"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_may_be_longer_than_what_is_read_ahead(serve, engine, asker, kind, ids):
    """It comes, and so does what follows it."""
    asker.ready = at_once
    limits = penstock.Limits(read_bytes=READ_BYTES)
    with serve(asker.service(kind, codec_of(ids)), limits=limits) as server, server.dial() as peer:
        peer.sendall(b"go\n")
        assert b"?1 who\n" == read_exactly(peer, 7)
        peer.sendall(LONG + b"\nnext\n")

        assert [len(LONG)] == asker.wait_for(asker.sizes, 1)
        assert [4] == asker.wait_for(asker.others, 1)


@pytest.mark.parametrize("ids", [True, False], ids=["ids", "order"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_that_began_before_it_was_asked_for_is_read_on(serve, engine, asker, kind, ids):
    """Reading had stopped for it, as nobody received; it goes on when the peer is asked."""

    async def when_reading_has_stopped(conn):
        while conn.bytes_in <= len(b"go\n") + READ_BYTES:
            await asyncio.sleep(0)

    asker.ready = when_reading_has_stopped
    limits = penstock.Limits(read_bytes=READ_BYTES)
    with serve(asker.service(kind, codec_of(ids)), limits=limits) as server, server.dial() as peer:
        peer.sendall(b"go\n" + LONG[:60_000])
        assert b"?1 who\n" == read_exactly(peer, 7)
        peer.sendall(LONG[60_000:] + b"\nnext\n")

        assert [len(LONG)] == asker.wait_for(asker.sizes, 1)
        assert [4] == asker.wait_for(asker.others, 1)
