"""Law 2: every accepted connection gets one ``closed`` event with one reason, the first cause, after its handler ended.

That there is exactly one is asserted by ``serve`` after every test of this suite.
"""

import asyncio
import contextlib
import threading

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.core.service import callbacks
from penstock.testing.peers import read_to_end, reset


def react(conn, message):
    match message:
        case b"close":
            conn.close()
        case b"abort":
            conn.abort()
        case b"close, abort":
            conn.close()
            conn.abort()
        case b"abort, close":
            conn.abort()
            conn.close()
        case b"close, raise":
            conn.close()
            raise RuntimeError("after the close")
        case b"raise":
            raise RuntimeError("on purpose")
        case _:
            return message
    return None


@pytest.mark.parametrize(
    ("word", "reason", "fails"),
    [
        (b"close", "done", 0),
        (b"abort", "aborted", 0),
        (b"close, abort", "aborted", 0),
        (b"abort, close", "aborted", 0),
        (b"close, raise", "handler_error", 1),
        (b"raise", "handler_error", 1),
    ],
)
@pytest.mark.forms(lambda form: form.has_conn)
def test_what_the_handler_did_first_is_the_reason(serve, form, word, reason, fails):
    """A close waits for its handler's return, so an abort inside the same call comes before it."""
    if form.is_conversation and word in (b"close, abort", b"close, raise"):
        reason = "done"  # nobody returns from anything: the close is done at once
    with serve(react, fails=fails) as server:
        with server.dial() as peer:
            peer.sendall(word + b"\n")
            with contextlib.suppress(ConnectionResetError):
                read_to_end(peer)

        assert [reason] == server.reasons(1)


def test_a_peer_that_ends_between_messages_has_closed(serve, form):
    """EOF after a whole message, and with no message at all, is nobody's fault."""
    with serve(lambda _conn, message: message) as server:
        for sent in (b"", b"a\n", b"a\nb\n"):
            with server.dial() as peer:
                peer.sendall(sent)
                peer.shutdown(1)

                assert sent == read_to_end(peer)
        assert ["peer_closed"] * 3 == server.reasons(3)


def test_a_peer_that_ends_inside_a_message_has_truncated_it(serve, form):
    """The messages before it are answered; the cut one is not delivered."""
    with serve(lambda _conn, message: message) as server, server.dial() as peer:
        peer.sendall(b"whole\nhal")
        peer.shutdown(1)

        assert b"whole\n" == read_to_end(peer)
        assert ["truncated"] == server.reasons(1)


def test_a_reset_is_a_reset(serve, form):
    """A peer that resets after its last reply leaves with that reason, and no handler failed."""
    with serve(lambda _conn, message: message) as server:
        peer = server.dial()
        peer.sendall(b"a\n")
        assert b"a\n" == peer.recv(100)
        reset(peer)

        assert ["reset"] == server.reasons(1)


def test_stopping_the_server_is_the_reason_of_all(serve, form):
    """``begin_stop`` aborts every connection: the peers see a reset."""
    with serve(lambda _conn, message: message) as server:
        peers = [server.dial() for _ in range(3)]
        server.wait_connections(3)
        server.call(server.server.begin_stop)

        assert ["stopped"] * 3 == server.reasons(3)
        for peer in peers:
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
            peer.close()


@pytest.mark.engines("pure", "uvloop", "native")
@pytest.mark.parametrize("how", ["reset", "stop", "eof"])
def test_a_coroutine_is_ended_before_its_connection_is(serve, engine, how):
    """The ``closed`` event comes after the handler, even when the transport went long before."""
    order = []
    entered = threading.Event()
    leave = asyncio.Event()

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        try:
            await conn.receive()
            entered.set()
            await leave.wait()
        finally:
            order.append("handler ended")

    with serve(handler) as server:
        peer = server.dial()
        peer.sendall(b"a\n")
        assert entered.wait(20)
        (conn,) = server.server.connections
        if how == "reset":
            reset(peer)
            server.wait(conn.wait_closed())
        elif how == "eof":
            peer.close()
        if how == "stop":
            server.call(server.server.begin_stop)  # which cancels it
            peer.close()
        else:
            assert [] == server.record.of(EventName.CLOSED)
            server.call(leave.set)
        reasons = server.reasons(1)

    assert ["handler ended"] == order
    assert [{"reset": "reset", "stop": "stopped", "eof": "peer_closed"}[how]] == reasons


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
@pytest.mark.parametrize("model", ["loop", "threads"])
@pytest.mark.engines("pure", "uvloop", "native")
def test_on_close_is_called_once_with_the_reason_before_the_event(serve, engine, is_async, model):
    """Every way to end reaches on_close, after which nothing can be sent."""
    if is_async and model == "threads":
        pytest.skip("coroutines have no threads")
    calls = []

    class Callbacks(penstock.Handler):
        def on_message(self, conn, message):
            return react(conn, message)

        def on_close(self, conn, reason):
            with pytest.raises(penstock.PenstockError):
                conn.post(b"too late")
            calls.append((str(reason), len(server.record.of(EventName.CLOSED))))

    class AsyncCallbacks(Callbacks):
        async def on_close(self, conn, reason):
            await asyncio.sleep(0)
            super().on_close(conn, reason)

    kind = AsyncCallbacks if is_async else Callbacks
    service = callbacks(kind, name="closing", codec="lines")
    with serve(service, model=model, fails=1) as server:
        for count, word in enumerate((b"close", b"abort", b"raise", b"hello"), 1):
            with server.dial() as peer:
                peer.sendall(word + b"\n")
                if word == b"hello":
                    peer.shutdown(1)
                with contextlib.suppress(ConnectionResetError):
                    read_to_end(peer)
            server.wait_closed(count)

    assert [("done", 0), ("aborted", 1), ("handler_error", 2), ("peer_closed", 3)] == calls


@pytest.mark.engines("pure", "uvloop", "native")
@pytest.mark.parametrize("ending", ["begin_stop", "begin_drain"])
@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
def test_a_server_that_ends_while_it_accepts_ends_all_it_took(serve, engine, ending, is_async):
    """An observer that ends the server at the ``accepted`` event meets connections that have no transport yet."""

    @penstock.on_message
    def echo(message):
        return message

    @penstock.on_message
    async def echo_async(message):
        return message

    class Ender:
        def observe(self, event):
            if event.name is EventName.ACCEPTED:
                getattr(server.server, ending)()

    with serve(echo_async if is_async else echo, timeouts=Timeouts(drain_s=None)) as server:
        server.server._observers.append(Ender())
        with contextlib.suppress(ConnectionResetError), server.dial() as peer:
            read_to_end(peer)
        reasons = server.reasons(1)
        server.wait(server.server.wait_stopped())

    assert [{"begin_stop": "stopped", "begin_drain": "drained"}[ending]] == reasons


@pytest.mark.engines("pure", "uvloop", "native")
@pytest.mark.parametrize("kind", ["message", "connection", "callbacks"])
def test_stopping_twice_at_once_ends_each_connection_once(serve, engine, kind):
    """A coroutine that is cancelled before its first step, or during on_close, still gives its connection back."""

    class Callbacks(penstock.Handler):
        async def on_close(self, conn, reason):
            await asyncio.sleep(0)

    async def message(message):
        return message

    async def connection(conn):
        async for _ in conn:
            pass

    make = {
        "message": lambda: penstock.on_message(message),
        "connection": lambda: penstock.on_connection(connection),
        "callbacks": lambda: callbacks(Callbacks, name="callbacks"),
    }[kind]

    with serve(make()) as server:
        peers = [server.dial() for _ in range(3)]
        server.wait_connections(3)

        def stop_twice():
            server.server.begin_stop()
            server.server.begin_stop()

        server.call(stop_twice)
        server.call(server.server.begin_stop)
        server.wait(server.server.wait_stopped())
        for peer in peers:
            peer.close()
        assert ["stopped"] * 3 == server.reasons(3)
