"""The laws of every engine that a peer can see, where each connection has a process: in every form of a handler."""

import asyncio
import contextlib
import os
import socket

import pytest

import penstock
from penstock.config import Limits, ServerConfig, Timeouts
from penstock.core.events import Closed
from penstock.reasons import CloseReason
from penstock.server.forking.nursery import Brood, Nursery
from penstock.server.server import Server
from penstock.server.shared import Shared

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork(2)"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def reply(conn, message):
    """What every handler here does with a message."""
    if message == b"bye":
        conn.close()
    if message == b"raise":
        raise ValueError("raised")
    return message.upper()


def called(conn, message):
    return reply(conn, message)


async def awaited(conn, message):
    await asyncio.sleep(0)
    return reply(conn, message)


def talks(conn):
    for message in conn:
        conn.send(reply(conn, message))


async def talks_on_a_loop(conn):
    async for message in conn:
        await conn.send(reply(conn, message))


class Callbacks(penstock.Handler):
    def on_message(self, conn, message):
        return reply(conn, message)


FORMS = {
    "def message": lambda **options: penstock.on_message(**options)(called),
    "async message": lambda **options: penstock.on_message(**options)(awaited),
    "def conversation": lambda **options: penstock.on_connection(**options)(talks),
    "async conversation": lambda **options: penstock.on_connection(**options)(talks_on_a_loop),
    "callbacks": lambda **options: penstock.as_service(Callbacks, **options),
}


class Seen:
    """Takes note of the connections that have ended."""

    def __init__(self):
        self.closed = []

    def observe(self, event):
        if type(event) is Closed:
            self.closed.append(event)


@pytest.fixture(params=FORMS)
def form(request):
    """How a handler is written."""
    return request.param


@pytest.fixture
def serving(form):
    """A function that serves a form of handler with processes, and yields the server and what it tells."""

    @contextlib.asynccontextmanager
    async def serve(codec="lines", **options):
        service = FORMS[form](codec=codec, name="laws")
        config = ServerConfig(bind=("tcp://127.0.0.1:0",), model="process", **options)
        nursery = Nursery.begin(lambda: Brood(service, config))
        seen = Seen()
        try:
            async with Server(service, config, observers=[seen], shared=Shared(nursery=nursery)) as server:
                yield server, seen
        finally:
            nursery.close()

    return serve


async def dial(server, receive_bytes=0):
    """Connect; let the kernel keep so much of what comes, where that is said."""
    host, _, port = server.addresses[0].partition("://")[2].rpartition(":")
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    return await asyncio.open_connection(sock=sock)


async def end(writer):
    """Close this end; the other one may have reset it."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def reasons(server, seen, count):
    """Wait until so many connections have ended; return why."""
    await server.wait_until(lambda _: len(seen.closed) >= count)
    return [event.reason for event in seen.closed]


async def test_messages_are_answered_in_order_however_they_are_cut(serving):
    """Law 1. Cut in the middle of lines, and many in one piece. What came and went is counted, and told once."""
    sent = b"".join(b"message %d\n" % number for number in range(300))
    async with serving() as (server, seen):
        reader, writer = await dial(server)
        for at in range(0, len(sent), 37):
            writer.write(sent[at : at + 37])
            await writer.drain()

        assert sent.upper() == await reader.readexactly(len(sent))
        await end(writer)
        assert [CloseReason.PEER_CLOSED] == await reasons(server, seen, 1)
    (closed,) = seen.closed
    assert (len(sent), len(sent), 300, 300) == (
        closed.bytes_in,
        closed.bytes_out,
        closed.connection.messages_in,
        closed.connection.messages_out,
    )


async def test_a_frame_that_is_too_long_ends_its_connection_alone(serving):
    """Law 3. What came before it is answered, and nothing after it is read as a message."""
    async with serving("lines:max=10") as (server, seen):
        beside, other = await dial(server)
        reader, writer = await dial(server)
        writer.write(b"one\n" + b"x" * 1000 + b"\ntwo\n")

        assert b"ONE\n" == await reader.read()
        await end(writer)
        assert [CloseReason.FRAME_TOO_LARGE] == await reasons(server, seen, 1)
        other.write(b"still\n")
        assert b"STILL\n" == await beside.readline()
        await end(other)


async def test_what_came_before_eof_is_answered(serving):
    """Law 5. A peer that has sent its last message reads its answer, and then EOF."""
    async with serving() as (server, seen):
        reader, writer = await dial(server)
        writer.write(b"one\ntwo\nthree\n")
        writer.write_eof()

        assert b"ONE\nTWO\nTHREE\n" == await reader.read()
        await end(writer)
        assert [CloseReason.PEER_CLOSED] == await reasons(server, seen, 1)


async def test_a_handler_that_closes_says_goodbye(serving):
    """Law 4. What it has sent arrives; what came after the message is not handled."""
    async with serving() as (server, seen):
        reader, writer = await dial(server)
        writer.write(b"one\nbye\ntwo\n")

        assert (await reader.read()).startswith(b"ONE\n")
        await end(writer)
        assert [CloseReason.DONE] == await reasons(server, seen, 1)


async def test_a_handler_that_raises_ends_its_connection_alone(serving):
    """Law 6. It is counted."""
    async with serving() as (server, seen):
        reader, writer = await dial(server)
        writer.write(b"one\nraise\n")

        assert b"ONE\n" == await reader.read()
        await end(writer)
        assert [CloseReason.HANDLER_ERROR] == await reasons(server, seen, 1)
        assert 1 == server.stats.handler_errors


@pytest.mark.parametrize(
    ("timeouts", "sent", "reason"),
    [
        ({"first_message_s": 0.1}, b"", CloseReason.FIRST_MESSAGE_TIMEOUT),
        ({"idle_s": 0.1}, b"one\n", CloseReason.IDLE_TIMEOUT),
        ({"message_s": 0.1}, b"one\ntw", CloseReason.MESSAGE_TIMEOUT),
        ({"lifetime_s": 0.1}, b"one\n", CloseReason.LIFETIME),
    ],
)
async def test_every_deadline_holds(serving, timeouts, sent, reason):
    """It is that of the process, and the server tells it."""
    async with serving(timeouts=Timeouts(**timeouts)) as (server, seen):
        reader, writer = await dial(server)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            await reader.read()

        await end(writer)
        assert [reason] == await reasons(server, seen, 1)


async def test_a_peer_that_does_not_read_is_ended(serving):
    """Law 7. Its output is bounded, and the time for which it may stall is the configured one."""
    limits = Limits(write_low_bytes=512, write_high_bytes=1024)

    async def writes(writer):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 8000 + b"\n")
                await writer.drain()

    async with serving(limits=limits, timeouts=Timeouts(write_s=0.1)) as (server, seen):
        _reader, writer = await dial(server, receive_bytes=4096)
        writing = asyncio.create_task(writes(writer))

        assert [CloseReason.WRITE_TIMEOUT] == await reasons(server, seen, 1)
        writing.cancel()
        writer.transport.abort()


async def test_a_drain_answers_what_has_arrived(serving):
    """Law 10."""
    async with serving() as (server, seen):
        reader, writer = await dial(server)
        writer.write(b"one\n")
        assert b"ONE\n" == await reader.readline()
        server.begin_drain()

        assert b"" == await reader.read()
        await end(writer)
        assert [CloseReason.DRAINED] == await reasons(server, seen, 1)
        await server.wait_stopped()
