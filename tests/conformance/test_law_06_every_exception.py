"""Law 6 for whatever can be raised: out of every callback, with the peer there, gone or reset, on every engine.

SystemExit and KeyboardInterrupt raised by a handler are failures of that handler, like any other exception: its
connection ends, all others go on.
"""

import asyncio
import contextlib
import logging
import queue
import socket
import ssl

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.core.service import callbacks
from penstock.testing.peers import PATIENCE_S, read_to_end, reset

from .raising import NAMES, PEERS, RAISING, act, kind_of


def talk(server, peer, word):
    """Send what has the handler raise, with more behind it; return what the peer sees if it stays."""
    with server.dial() as sock:
        sock.sendall(b"a\n" + word.encode() + b"\nb\nc\n")
        if peer == "there":
            return read_to_end(sock)
        sock.sendall(b"d\n" * 200)
        if peer == "gone":
            sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                read_to_end(sock)
        else:
            reset(sock)
    return None


def check_all(server, expect):
    """Have every exception raised, to every peer; another connection is served after each."""
    with server.dial() as other:
        count = 0
        for word in RAISING:
            for peer in PEERS:
                seen = talk(server, peer, word)
                count += 1
                server.wait_closed(count)
                if peer == "there" and expect is not None:
                    assert expect == seen
                other.sendall(b"still here?\n")
                assert b"still here?\n" == other.recv(100)
        failures = [kind_of(error) for error in server.record.failures]
        for word in RAISING:
            assert NAMES[word] in failures
    return failures


@pytest.fixture
def entries(caplog):
    """The log's entries about failed handlers."""
    return lambda: [entry for entry in caplog.records if entry.getMessage().startswith("handler failed")]


@pytest.fixture(autouse=True)
def every_failure_is_logged(monkeypatch):
    monkeypatch.setattr("penstock.telemetry.log.LINES_PER_SECOND", 1000)


def test_whatever_a_handler_of_messages_raises_ends_its_connection_alone(serve, form, entries):
    """The replies before it arrive, the reason is handler_error; the log names the type and the place."""

    def react(_conn, message):
        act(message.decode())
        return message

    with serve(react, fails=None) as server:
        check_all(server, b"a\n")
        reasons = server.record.reasons

    assert len(RAISING) <= reasons.count("handler_error")
    logged = [logging.Formatter().format(entry) for entry in entries()]
    for word in RAISING:
        name = NAMES[word]
        assert any(name in text and __file__ in text for text in logged), name


@pytest.mark.engines("pure", "uvloop", "native", "attached", "blocking")
@pytest.mark.parametrize("model", ["loop", "threads"])
@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
@pytest.mark.parametrize("where", ["on_connect", "on_timeout", "on_close"])
def test_whatever_a_callback_raises_ends_its_connection_alone(serve, engine, where, is_async, model):
    """One report for each, one closed event for each, and all others are served."""
    if is_async and (model == "threads" or engine.name == "blocking"):
        pytest.skip("coroutines have no threads")
    words = iter([word for word in RAISING for _ in PEERS])
    began = []
    connected = queue.SimpleQueue()

    class Callbacks(penstock.Handler):
        def on_connect(self, conn):
            began.append(conn)
            self.word = "" if len(began) == 1 else next(words)
            connected.put(conn)
            if where == "on_connect":
                act(self.word)
            if where == "on_timeout" and self.word:
                conn.set_timeouts(idle_s=0.02)  # a thread that does not wait yet is not told

        def on_message(self, conn, message):
            return message

        def on_timeout(self, conn, which):
            if where == "on_timeout":
                act(self.word)

        def on_close(self, conn, reason):
            if where == "on_close":
                act(self.word)

    class AsyncCallbacks(Callbacks):
        async def on_connect(self, conn):
            await asyncio.sleep(0)
            Callbacks.on_connect(self, conn)

        async def on_timeout(self, conn, which):
            await asyncio.sleep(0)
            Callbacks.on_timeout(self, conn, which)

        async def on_close(self, conn, reason):
            await asyncio.sleep(0)
            Callbacks.on_close(self, conn, reason)

    service = callbacks(AsyncCallbacks if is_async else Callbacks, name="failing", codec="lines")
    with serve(service, model=model, fails=None, timeouts=Timeouts(drain_s=10.0)) as server, server.dial() as other:
        connected.get(timeout=PATIENCE_S)
        other.sendall(b"still here?\n")
        assert b"still here?\n" == other.recv(100)
        count = 0
        for _ in RAISING:
            for peer in PEERS:
                with contextlib.suppress(ConnectionError), server.dial() as sock:
                    # Where each has a thread, one that was reset before its thread began is never connected.
                    connected.get(timeout=PATIENCE_S)
                    if where == "on_timeout":
                        read_to_end(sock)
                    elif peer == "reset":
                        reset(sock)
                    elif peer == "gone":
                        sock.sendall(b"a\n")
                        sock.shutdown(socket.SHUT_WR)
                        read_to_end(sock)
                    else:
                        sock.sendall(b"a\n")
                        sock.recv(100)
                count += 1
                server.wait_closed(count)
                other.sendall(b"still here?\n")
                assert b"still here?\n" == other.recv(100)
        # A thread may be at work for a peer that is gone already.
        server.wait_until(lambda _: len(server.record.failures) >= len(RAISING) * len(PEERS))
        failures = [kind_of(error) for error in server.record.failures]

    for word in RAISING:
        assert NAMES[word] in failures


@pytest.mark.engines("pure", "uvloop", "native", "attached", "blocking")
@pytest.mark.parametrize("model", ["loop", "threads", "one-at-a-time"])
def test_whatever_the_factory_of_callbacks_raises_refuses_that_connection(serve, engine, model):
    """The handler cannot be made: its peer is let go of, and the next one is served."""
    words = iter(RAISING)

    class Callbacks(penstock.Handler):
        def __init__(self):
            act(next(words, ""))

        def on_message(self, conn, message):
            return message

    service = callbacks(Callbacks, name="failing", codec="lines")
    with serve(service, model=model, fails=None) as server:
        for _ in RAISING:
            # Over TLS there is no handshake with it.
            with contextlib.suppress(ConnectionError, ssl.SSLEOFError), server.dial() as sock:
                read_to_end(sock)
        with server.dial() as sock:
            sock.sendall(b"a\n")
            assert b"a\n" == sock.recv(100)
        server.wait_until(lambda server: server.stats.handler_errors >= len(RAISING))
        failures = [kind_of(error) for error in server.record.failures]

    for word in RAISING:
        assert NAMES[word] in failures


@pytest.mark.engines("pure", "uvloop", "native", "attached", "blocking")
@pytest.mark.parametrize("model", ["loop", "threads"])
@pytest.mark.parametrize("shape", ["def", "async", "callbacks"])
def test_whatever_a_handler_of_datagrams_raises_ends_its_datagram_alone(serve, engine, model, shape):
    """The next datagram is answered."""
    if shape == "async" and (model == "threads" or engine.name == "blocking"):
        pytest.skip("coroutines have no threads")

    class Callbacks(penstock.Handler):
        def on_message(self, conn, message):
            act(message.decode())
            return message

    @penstock.on_message(codec="raw")
    def handle(message):
        act(message.decode())
        return message

    @penstock.on_message(codec="raw")
    async def handle_async(message):
        await asyncio.sleep(0)
        act(message.decode())
        return message

    service = {
        "def": handle,
        "async": handle_async,
        "callbacks": callbacks(Callbacks, name="failing", codec="raw"),
    }[shape]
    with serve(service, model=model, fails=None, bind="udp://127.0.0.1:0") as server, server.dial() as sock:
        for word in RAISING:
            sock.send(word.encode())
            sock.send(b"still here?")
            assert b"still here?" == sock.recv(100)
        server.wait_until(lambda server: server.stats.datagrams >= 2 * len(RAISING))
        failures = [kind_of(error) for error in server.record.failures]
        handled = len(server.record.of(EventName.DATAGRAM))

    assert 2 * len(RAISING) == handled
    for word in RAISING:
        assert NAMES[word] in failures


@pytest.mark.engines("pure", "uvloop", "native", "attached", "eager", "eager-native")
@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"])
@pytest.mark.parametrize("shape", ["message", "callbacks"])
def test_a_handler_that_cancels_its_own_task_has_failed(serve, engine, shape, bind):
    """Nobody else has: the peer's connection or datagram ends with that, and others are served."""

    async def act(message):
        if message.strip() == b"cancel":
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        return message

    @penstock.on_message(codec="lines")
    async def handle(message):
        return await act(message)

    class Callbacks(penstock.Handler):
        async def on_message(self, conn, message):
            return await act(message)

    service = handle if shape == "message" else callbacks(Callbacks, name="cancels", codec="lines")
    with serve(service, bind=bind, fails=1) as server:
        with server.dial() as sock:
            sock.send(b"cancel\n")
            server.wait_until(lambda server: server.stats.handler_errors)
        with server.dial() as sock:
            sock.send(b"still here?\n")
            assert b"still here?" == sock.recv(100).strip()

        assert ["CancelledError"] == [kind_of(error) for error in server.record.failures]


@pytest.mark.engines("pure", "uvloop", "native", "attached", "eager", "eager-native")
def test_a_conversation_that_cancels_itself_and_returns_has_failed(serve, engine):
    """Before it could meet that: its task is cancelled, and did not come to its end."""

    @penstock.on_connection(codec="lines")
    async def converse(conn):
        await conn.receive()
        asyncio.current_task().cancel()

    with serve(converse, fails=1) as server, server.dial() as sock:
        sock.sendall(b"a\n")

        assert b"" == read_to_end(sock)
        assert ["handler_error"] == server.reasons(1)
        assert ["CancelledError"] == [kind_of(error) for error in server.record.failures]
