"""What runs beside a handler ends with its connection, whatever the engine and the model; a failure is told once."""

import asyncio
import contextlib
import socket
import threading

import pytest

import penstock
from penstock.core.events import EventName
from penstock.testing.peers import read_to_end

WITH_CONN = pytest.mark.forms(lambda form: form.has_conn)


class Told:
    """What tasks said, in order; a test waits for it."""

    def __init__(self):
        self.words = []
        self.changed = threading.Condition()

    def say(self, word):
        with self.changed:
            self.words.append(word)
            self.changed.notify_all()

    def wait_for(self, word, count=1):
        with self.changed:
            assert self.changed.wait_for(lambda: self.words.count(word) >= count, 20), self.words


@pytest.fixture
def told():
    return Told()


def ticking(told, conn):
    """A task that lasts until it is cancelled, and takes a moment to end."""

    async def work():
        told.say("begun")
        try:
            with contextlib.suppress(penstock.ConnectionEndedError):  # a thread may have seen the peer's end already
                conn.post(b"tick")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            told.say("ended")

    return work()


@WITH_CONN
def test_a_task_runs_beside_the_handler_and_ends_with_the_connection(serve, form, told):
    """It may post while the handler waits; the server has stopped when it has ended."""

    def react(conn, message):
        if message == b"go":
            conn.task(ticking(told, conn))
        return b"done"

    with serve(react) as server:
        with server.dial() as peer, peer.makefile("rb") as lines:
            peer.sendall(b"go\n")

            assert {b"tick\n", b"done\n"} == {lines.readline(), lines.readline()}
        told.wait_for("ended")
        with server.dial() as peer:
            peer.sendall(b"go\n")
            told.wait_for("begun", 2)

    assert ["begun", "ended"] * 2 == told.words


@WITH_CONN
def test_a_failure_is_told_once_and_ends_nothing(serve, form):
    """With the connection, the task's name and the error; the connection goes on."""

    async def work():
        raise ValueError("out of luck")

    def react(conn, message):
        if message == b"go":
            conn.task(work(), name="worker")
        return message

    with serve(react) as server:
        with server.dial() as peer, peer.makefile("rb") as lines:
            peer.sendall(b"go\n")
            assert b"go\n" == lines.readline()
            server.wait_until(lambda each: each.stats.task_errors == 1)
            peer.sendall(b"on\n")
            assert b"on\n" == lines.readline()
    (event,) = server.record.of(EventName.TASK_FAILED)

    assert ("worker", "out of luck", True) == (event.task, str(event.error), event.connection is not None)


@WITH_CONN
def test_that_its_connection_has_ended_is_no_failure(serve, form, told):
    """A task that posts to a peer that is gone leaves it at that, as a handler does."""

    def react(conn, message):
        async def work():
            try:
                told.say("begun")
                await asyncio.Event().wait()
            finally:
                told.say("ended")
                conn.post(b"too late")

        conn.task(work())
        return message

    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"go\n")
            told.wait_for("begun")
        told.wait_for("ended")

    assert [] == server.record.of(EventName.TASK_FAILED)


@WITH_CONN
def test_a_connection_that_has_ended_starts_no_task(serve, form, recwarn):
    """The coroutine is closed, and no word of it is said."""
    seen = []

    async def work():
        """Never begun."""

    def react(conn, message):
        seen.append(conn)
        return message

    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"go\n")
            assert b"go\n" == peer.recv(100)
        server.wait_closed(1)
        with pytest.raises(penstock.ClosedError, match="it starts no background task"):
            server.call(lambda: seen[0].task(work()))

    assert [] == [each for each in recwarn if "never awaited" in str(each.message)]


def test_a_task_of_a_datagram_ends_with_the_server(serve, engine, told):
    """A datagram has no end of its own."""

    @penstock.on_message
    def react(conn, message):
        conn.task(ticking(told, conn))

    with serve(react, bind="udp://127.0.0.1:0") as server:
        with server.dial() as peer:
            peer.send(b"go")
            told.wait_for("begun")

    assert ["begun", "ended"] == told.words


@WITH_CONN
def test_a_task_has_the_context_of_whoever_started_it(serve, form, told):
    """Context variables, from a thread too."""
    from contextvars import ContextVar

    variable = ContextVar("variable", default="none")

    def react(conn, message):
        async def work():
            told.say(variable.get())

        variable.set(message.decode())
        conn.task(work())
        return message

    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"mine\n")
            assert b"mine\n" == peer.recv(100)
            told.wait_for("mine")


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_a_reply_that_is_owed_outlives_the_peers_half_close(serve, form):
    """The connection stays open until each task that is to finish has ended; then it closes as ever."""

    def react(conn, message):
        async def reply():
            while len(server.server.connections) != 1 or not hung_up:  # it has seen the peer's EOF before
                await asyncio.sleep(0.001)
            conn.post(message.upper())

        conn.task(reply(), finish=True)

    hung_up = []
    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"one\ntwo\n")
            peer.shutdown(socket.SHUT_WR)
            server.wait_connections(1)
            for _ in range(50):
                server.call(lambda: None)
            hung_up.append(True)

            assert {b"ONE", b"TWO"} == set(read_to_end(peer).split())
        assert ["peer_closed"] == server.reasons(1)


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_a_task_that_is_to_finish_is_no_reason_to_stay_after_a_close(serve, form, told):
    """A handler that closes is taken at its word, and a peer that is gone has nothing to wait for."""

    def react(conn, message):
        conn.task(ticking(told, conn), finish=True)
        if message == b"close":
            conn.close()

    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"close\n")
            told.wait_for("begun")
            read_to_end(peer)  # then it does not linger
            told.wait_for("ended")
        with server.dial() as peer:
            peer.sendall(b"go\n")
            told.wait_for("begun", 2)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        told.wait_for("ended", 2)

    assert [] == server.record.of(EventName.TASK_FAILED)
