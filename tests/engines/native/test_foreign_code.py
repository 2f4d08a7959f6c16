"""Code of the user's that runs while a message is read or written, and what it may do to the connection."""

import asyncio
import gc

import msgspec
import pytest

import penstock
from penstock.codecs import NEED_DATA, JsonLines, Msgpack, Resp, Struct, parse_codec
from penstock.engines.native.engine import new_event_loop
from penstock.engines.native.framing.choice import Cutter

run_while_read = []


class Checked(msgspec.Struct):
    """A type that does something when a message of it is read."""

    x: int

    def __post_init__(self):
        for call in run_while_read:
            call()


@pytest.fixture
def while_read():
    """A list of what `Checked` does."""
    yield run_while_read
    run_while_read.clear()


@pytest.fixture
def collecting():
    """Let a function be called whenever the collector may run; it does at every chance."""
    thresholds = gc.get_threshold()

    def begin(call):
        gc.callbacks.append(lambda phase, info: call())
        gc.set_threshold(1, 1, 1)

    yield begin
    gc.set_threshold(*thresholds)
    gc.callbacks.clear()


@pytest.mark.parametrize("kind", [JsonLines, Msgpack])
def test_a_connection_closed_while_its_message_is_read_has_no_message(kind, while_read):
    """Its input is gone; the message is not handled."""
    codec = kind(type=Checked)
    cutter = Cutter(codec)
    wire = codec.encode(Checked(1))
    cutter.feed(wire[:3])
    first = cutter.cut()
    cutter.settle()
    cutter.feed(wire[3:] + wire)
    while_read.append(cutter.clear)

    assert [NEED_DATA, NEED_DATA] == [first, cutter.cut()]
    assert 0 == cutter.held


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize(
    "wire",
    [
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"*2\r\n:1\r\n*1\r\n%1\r\n+a\r\n~1\r\n:7\r\n",
        b"*1\r\n>0\r\n",
        b"|1\r\n+a\r\n*0\r\n*1\r\n,nan\r\n",
        b"SET 'a b' c\r\n",
    ],
)
def test_a_collection_that_closes_the_connection_leaves_no_pointer_behind(wire, pieces, collecting):
    """Whenever the collector runs while a value is made, the input it is made from may be let go of."""
    cutter = Cutter(Resp(inline=True))
    half = len(wire) // pieces
    received = bytearray(wire * 2)
    collecting(cutter.clear)
    for data in (received[:half], received[half:]):
        cutter.feed(data)
        try:
            while cutter.cut() is not NEED_DATA:
                pass
        except penstock.RemoteProtocolError:
            pass
        cutter.settle()

    assert cutter.held in (0, len(wire), 2 * len(wire))


def serve(service, codec, *messages):
    """Send each message over a connection of its own; return the reply, or None where the connection was ended."""

    async def main():
        async with penstock.serve(service, bind="tcp://127.0.0.1:0", engine="native") as server:

            async def ask(message):
                async with await penstock.connect(server.addresses[0], codec=codec) as conn:
                    await conn.send(message)
                    try:
                        return [await conn.receive(), await conn.receive()]
                    except penstock.ConnectionEndedError:
                        return None

            return [await ask(message) for message in messages]

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())


# A handler that is called for each message has begun with the first one: there to close waits for its return.
@pytest.mark.parametrize(("form", "how"), [("message", "abort"), ("connection", "abort"), ("connection", "close")])
def test_a_message_that_ends_its_own_connection_is_not_handled(form, how, while_read):
    """The next connection is served."""
    connections = []
    handled = []
    codec = JsonLines(type=Checked)

    @penstock.on_connection(codec=codec)
    async def by_connection(conn):
        connections.append(conn)
        async for message in conn:
            handled.append(message.x)
            await conn.send(message)
            await conn.send(message)

    class ByMessage(penstock.Handler):
        def on_connect(self, conn):
            connections.append(conn)

        def on_message(self, conn, message):
            handled.append(message.x)
            conn.post(message)
            return message

    def end():
        if len(connections) == 1:
            getattr(connections[0], how)()

    while_read.append(end)
    service = by_connection if form == "connection" else penstock.as_service(ByMessage, codec=codec)
    replies = serve(service, "json-lines", {"x": 1}, {"x": 2})

    assert [None, [{"x": 2}, {"x": 2}]] == replies
    assert 1 not in handled


class Posting:
    """A number that posts another when it is written."""

    __hash__ = None

    def __init__(self, conn):
        self.conn = conn

    def __index__(self):
        conn, self.conn = self.conn, None
        if conn is not None:
            conn.post((7,))
        return 8

    def __eq__(self, other):
        return other == 8


def test_a_message_that_posts_another_while_it_is_written_follows_it():
    """No frame is torn, and none is counted twice."""

    @penstock.on_message(codec=Struct(">H"))
    def reply(conn, message):
        return (Posting(conn),)

    assert [[(7,), (8,)]] * 2 == serve(reply, parse_codec("struct:format=>H"), (1,), (2,))
