"""A peer whose frame is bad is told so: the handler has a last word before its connection closes with that reason."""

import asyncio

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.errors import BrokenError, FrameTooLongError, RemoteProtocolError
from penstock.testing.clock import ManualClock
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_to_end

CODEC = "lines:max=16"
BAD = b"x" * 17 + b"\n"

CALLBACKS = ("def-callbacks", "async-callbacks", "threads-callbacks")


def speaking(said, *, is_async):
    """A Handler class that answers a bad frame, and notes what it is told."""

    class Def(penstock.Handler):
        def on_message(self, conn, message):
            return b"ok " + message

        def on_protocol_error(self, conn, error):
            said.append((type(error), conn.close_reason))
            conn.post(b"ERR")

        def on_close(self, conn, reason):
            said.append(reason)

    class Async(Def):
        async def on_protocol_error(self, conn, error):
            await asyncio.sleep(0)
            Def.on_protocol_error(self, conn, error)

    return Async if is_async else Def


@pytest.mark.forms(lambda form: form.label in CALLBACKS)
@pytest.mark.parametrize("ends", [True, False], ids=["half-closed", "open"])
def test_a_callback_answers_a_bad_frame(serve, form, ends):
    """After the replies to what came before, and before EOF; nothing after the bad frame is looked at."""
    said = []
    service = penstock.as_service(speaking(said, is_async=form.label == "async-callbacks"), codec=CODEC)
    with serve(service, model=form.model) as server:
        with server.dial() as peer:
            peer.sendall(b"one\ntwo\n" + BAD + b"three\n")
            if ends:
                peer.shutdown(1)

            assert b"ok one\nok two\nERR\n" == read_to_end(peer)
        assert ["frame_too_large"] == server.reasons(1)

    assert [(FrameTooLongError, "frame_too_large"), "frame_too_large"] == said
    assert 1 == len(server.record.of(EventName.PROTOCOL_ERROR))


@pytest.mark.forms(lambda form: form.label in CALLBACKS)
def test_a_callback_that_closes_or_fails_changes_no_reason(serve, form):
    """The first cause is the reason; a failure is told of."""

    class Failing(penstock.Handler):
        def on_protocol_error(self, conn, error):
            conn.post(b"ERR")
            conn.close(detail="bad login")
            raise ValueError("out of luck")

    with serve(penstock.as_service(Failing, codec=CODEC), model=form.model, fails=1) as server:
        with server.dial() as peer:
            peer.sendall(BAD)

            assert b"ERR\n" == read_to_end(peer)
        assert ["frame_too_large"] == server.reasons(1)
    (event,) = server.record.of(EventName.CLOSED)

    assert "bad login" == event.detail


def conversation(said, engine):
    """A conversation that answers a bad frame, and goes on to receive and to send."""

    def again(error):
        said.append((type(error).__name__, str(error)))

    def by_thread(conn):
        try:
            for message in conn:
                conn.send(b"ok " + message)
        except RemoteProtocolError as error:
            again(error)
            conn.send(b"ERR")
            try:
                conn.receive()
            except BrokenError as error:
                again(error)
            conn.send(b"bye")

    async def by_task(conn):
        try:
            async for message in conn:
                await conn.send(b"ok " + message)
        except RemoteProtocolError as error:
            again(error)
            await conn.send(b"ERR")
            try:
                await conn.receive()
            except BrokenError as error:
                again(error)
            await asyncio.sleep(0)
            await conn.send(b"bye")

    return penstock.on_connection(codec=CODEC)(by_thread if engine.name == "blocking" else by_task)


def test_a_conversation_sends_after_the_error_until_it_returns(serve, engine):
    """`receive` raises once, then says that the connection is at its end; `send` works; EOF follows its return."""
    said = []
    with serve(conversation(said, engine)) as server:
        with server.dial() as peer:
            peer.sendall(b"one\n" + BAD + b"two\n" * 1000)

            assert b"ok one\nERR\nbye\n" == read_to_end(peer)
        assert ["frame_too_large"] == server.reasons(1)

    assert ["FrameTooLongError", "BrokenError"] == [name for name, _ in said]
    assert "frame_too_large" in said[1][1]


@pytest.mark.engines(*LOOPS)
def test_a_last_word_that_never_ends_is_cut(serve, engine):
    """A handler that does not come to its end after a bad frame has ``timeouts.drain_s`` for it."""
    began = []
    clock = ManualClock()

    @penstock.on_connection(codec=CODEC)
    async def endless(conn):
        try:
            await conn.receive()
        except RemoteProtocolError:
            await conn.send(b"ERR")
            began.append(1)
            await conn.wait_closed()

    with serve(endless, clock=clock, timeouts=Timeouts(drain_s=4.0)) as server, server.dial() as peer:
        peer.sendall(BAD)
        assert b"ERR\n" == peer.recv(100)
        server.wait_until(lambda _: began)
        server.call(lambda: clock.advance(4.0))

        assert ["frame_too_large"] == server.reasons(1)


@pytest.mark.forms(lambda form: form.has_conn)
def test_what_a_handler_says_about_a_close_is_told(serve, form):
    """On one line, cut at 256 bytes; that of the first close stays."""

    def react(conn, message):
        conn.close(detail="bad login:\r\n" + "é" * 200)
        conn.close(detail="another word")

    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"go\n")
            assert b"" == read_to_end(peer)
        assert ["done"] == server.reasons(1)
    (event,) = server.record.of(EventName.CLOSED)

    assert "bad login:\\r\\n" + "é" * 121 == event.detail
    assert event.detail == event.fields()["detail"]
    assert {"done": 1} == server.server.stats.closed


@pytest.mark.forms(lambda form: form.has_conn)
def test_a_detail_is_text(serve, form):
    """Bytes of a peer are not taken for it unseen."""
    raised = []

    def react(conn, message):
        try:
            conn.close(detail=message)
        except TypeError as error:
            raised.append(str(error))
        return b"on"

    with serve(react) as server, server.dial() as peer:
        peer.sendall(b"go\n")
        assert b"on\n" == peer.recv(100)

    assert ["detail is a str, not bytes"] == raised
