"""What a coroutine may do with its connection: wait, give up waiting, wait twice, and outlive it."""

import asyncio
import socket
import threading

import pytest

import penstock
from penstock.testing.peers import read_to_end, reset

pytestmark = pytest.mark.engines("pure", "uvloop", "native")


def test_a_receive_that_is_cancelled_loses_nothing(serve, engine):
    """Given up any number of times, before and while bytes arrive: the messages are all there, in order."""
    received = []
    given_up = []

    @penstock.on_connection
    async def impatient(conn):
        while len(received) < 20:
            try:
                async with asyncio.timeout(0.001):
                    received.append(await conn.receive())
            except TimeoutError:
                given_up.append(1)

    with serve(impatient) as server, server.dial() as peer:
        for number in range(20):
            message = b"message %d\n" % number
            peer.sendall(message[:5])
            seen = len(given_up)
            while len(given_up) == seen and len(received) <= number:
                server.call(lambda: None)
            peer.sendall(message[5:])

        assert b"" == read_to_end(peer)
    assert [b"message %d" % number for number in range(20)] == received
    assert given_up


def test_two_receivers_are_one_too_many(serve, engine):
    """The second one is told so at once; the first goes on waiting and gets the message."""
    outcomes = []

    @penstock.on_connection
    async def twice(conn):
        first = asyncio.create_task(conn.receive())
        await asyncio.sleep(0)
        with pytest.raises(penstock.LocalProtocolError) as caught:
            await conn.receive()
        outcomes.append(str(caught.value))
        await conn.send(await first)

    with serve(twice) as server, server.dial() as peer:
        while not server.call(lambda: list(outcomes)):
            pass
        peer.sendall(b"hello\n")

        assert b"hello\n" == read_to_end(peer)
    assert 1 == len(outcomes)


@pytest.mark.parametrize("how", ["eof", "reset", "bad"])
def test_how_a_conversation_ends(serve, engine, how):
    """``async for`` ends at EOF; a reset and a broken frame are raised, each as what it is."""
    ends = []

    @penstock.on_connection(codec="netstring")
    async def listen(conn):
        try:
            async for message in conn:
                await conn.send(message)
            ends.append("end")
        except penstock.BrokenError as error:
            ends.append(str(error.reason))
            raise
        except penstock.RemoteProtocolError as error:
            ends.append(str(error.reason))
            raise

    with serve(listen) as server:
        peer = server.dial()
        peer.sendall(b"2:hi,")
        assert b"2:hi," == peer.recv(100)
        if how == "reset":
            reset(peer)
        else:
            if how == "bad":
                peer.sendall(b"x")
            peer.shutdown(socket.SHUT_WR)
            assert b"" == read_to_end(peer)
            peer.close()
        reasons = server.reasons(1)

    assert {"eof": ["end"], "reset": ["reset"], "bad": ["bad_length"]}[how] == ends
    assert [{"eof": "peer_closed", "reset": "reset", "bad": "bad_length"}[how]] == reasons


def test_after_the_end_of_the_input_one_may_still_send(serve, engine):
    """As long as one likes, and receiving says again and again that nothing will come."""

    @penstock.on_connection
    async def afterwards(conn):
        messages = [message async for message in conn]
        for _ in range(3):
            with pytest.raises(penstock.EndOfStreamError):
                await conn.receive()
            await conn.send(b"%d messages" % len(messages))
            await asyncio.sleep(0)

    with serve(afterwards) as server, server.dial() as peer:
        peer.sendall(b"1\n2\n3\n")
        peer.shutdown(socket.SHUT_WR)

        assert b"3 messages\n" * 3 == read_to_end(peer)
        assert ["peer_closed"] == server.reasons(1)


def test_a_connection_that_is_kept_after_its_end_is_of_no_use(serve, engine):
    """Another task that kept it is told what happened; it cannot be used, and nothing else comes of it."""
    kept = []

    @penstock.on_connection
    async def short(conn):
        kept.append(conn)
        await conn.send(b"bye")

    async def use():
        (conn,) = kept
        reason = await conn.wait_closed()
        for use in (conn.send(b"x"), conn.receive()):
            with pytest.raises(penstock.ConnectionEndedError):
                await use
        with pytest.raises(penstock.ConnectionEndedError):
            conn.post(b"x")
        conn.close()
        conn.abort()
        return str(reason)

    with serve(short) as server:
        with server.dial() as peer:
            assert b"bye\n" == read_to_end(peer)
        server.wait_closed(1)

        assert "done" == server.wait(use())


def test_a_task_beside_the_handler_may_send_while_it_waits(serve, engine):
    """Messages of a timer reach a peer that says nothing."""
    ticks = threading.Event()

    @penstock.on_connection
    async def clock(conn):
        async def tick():
            for number in range(3):
                await conn.send(b"tick %d" % number)
                await asyncio.sleep(0)
            ticks.set()

        task = asyncio.create_task(tick())
        async for _ in conn:
            pass
        await task

    with serve(clock) as server, server.dial() as peer:
        assert ticks.wait(20)
        peer.shutdown(socket.SHUT_WR)

        assert b"tick 0\ntick 1\ntick 2\n" == read_to_end(peer)
        assert ["peer_closed"] == server.reasons(1)


def test_a_handler_that_is_cancelled_from_within_ends_alone(serve, engine):
    """asyncio's own cancellation, raised through a handler, is a failure like any other."""

    @penstock.on_message
    async def cancelled(message):
        if message == b"cancel":
            raise asyncio.CancelledError
        return message

    with serve(cancelled, fails=1) as server, server.dial() as other:
        with server.dial() as peer:
            peer.sendall(b"cancel\n")
            assert b"" == read_to_end(peer)
        assert ["handler_error"] == server.reasons(1)
        other.sendall(b"hello\n")
        assert b"hello\n" == other.recv(100)


@pytest.mark.parametrize("what", ["receiving", "sending", "closing", "sleeping"])
def test_stopping_the_server_cancels_a_handler_wherever_it_waits(serve, engine, what):
    """Each connection is given back once, its handler's clean-up done."""
    entered = threading.Event()
    cleaned = []

    @penstock.on_connection
    async def waiting(conn):
        try:
            entered.set()
            if what == "receiving":
                await conn.receive()
            elif what == "sending":
                while True:
                    await conn.send(b"x" * 60_000)
                    await asyncio.sleep(0)
            elif what == "closing":
                conn.close()
                await asyncio.sleep(1000)
            else:
                await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            cleaned.append(what)

    with serve(waiting) as server, server.dial():
        assert entered.wait(20)
        for _ in range(20):
            server.call(lambda: None)
        server.call(server.server.begin_stop)
        server.wait(server.server.wait_stopped())

        assert ["done" if what == "closing" else "stopped"] == server.reasons(1)
    assert [what] == cleaned
