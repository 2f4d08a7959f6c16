"""A message that cannot be decoded while the next one can: the service decides what becomes of its connection."""

import asyncio
import socket
import time

import pytest

import penstock
from penstock.config import Limits
from penstock.core.events import EventName
from penstock.errors import BadPayloadError
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_to_end
from penstock.units import Rate

GOOD_AND_BAD = b'"one"\n{]\n"two"\n"unfinished\n"three"\n'


def made(form, on_bad_message, react=lambda message: message):
    """A service of every form that echoes JSON."""
    codec = "json-lines"
    if "callbacks" in form.label:

        class Def(penstock.Handler):
            def on_message(self, conn, message):
                return react(message)

        class Async(penstock.Handler):
            async def on_message(self, conn, message):
                await asyncio.sleep(0)
                return react(message)

        kind = Async if form.label == "async-callbacks" else Def
        if callable(on_bad_message):
            kind = type("Told", (kind,), {"on_bad_message": lambda _self, conn, error: on_bad_message(conn, error)})
            return penstock.as_service(kind, codec=codec)
        return penstock.core.service.callbacks(kind, name="made", codec=codec, on_bad_message=on_bad_message)
    if form.label == "def-connection":

        def handle(conn):
            for message in conn:
                conn.send(react(message))

        return penstock.on_connection(codec=codec, on_bad_message=on_bad_message)(handle)
    if form.label == "async-connection":

        async def converse(conn):
            async for message in conn:
                await conn.send(react(message))

        return penstock.on_connection(codec=codec, on_bad_message=on_bad_message)(converse)
    if form.label.startswith("async"):

        async def wait(conn, message):
            await asyncio.sleep(0)
            return react(message)

        async def alone(message):
            return react(message)

        return penstock.on_message(codec=codec, on_bad_message=on_bad_message)(wait if form.has_conn else alone)
    function = (lambda conn, message: react(message)) if form.has_conn else react
    return penstock.on_message(codec=codec, on_bad_message=on_bad_message)(function)


def ask(server, data):
    with server.dial() as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        return read_to_end(peer)


def test_by_default_the_connection_closes(serve, form):
    """With the reason that the codec gives; nothing after the bad one is looked at."""
    with serve(made(form, "close"), model=form.model) as server:
        assert b'"one"\n' == ask(server, GOOD_AND_BAD)
        assert ["bad_payload"] == server.reasons(1)

    assert [] == server.record.of(EventName.BAD_MESSAGE)


def test_a_service_may_skip_them(serve, form):
    """All the others are answered, in order; each that is skipped is counted."""
    with serve(made(form, "skip"), model=form.model) as server:
        assert b'"one"\n"two"\n"three"\n' == ask(server, GOOD_AND_BAD)
        server.reasons(1)
        assert 2 == server.server.stats.bad_messages

    assert [BadPayloadError] * 2 == [type(event.error) for event in server.record.of(EventName.BAD_MESSAGE)]
    assert [] == server.record.of(EventName.PROTOCOL_ERROR)


def test_a_service_may_answer_them(serve, form):
    """In the place that the reply would have had; None is no answer."""
    seen = []

    def answer(conn, error):
        seen.append((conn.peer is not None, type(error)))
        return {"bad": len(seen)} if len(seen) == 1 else None

    with serve(made(form, answer), model=form.model) as server:
        assert b'"one"\n{"bad":1}\n"two"\n"three"\n' == ask(server, GOOD_AND_BAD)
        server.reasons(1)

    assert [(True, BadPayloadError)] * 2 == seen


@pytest.mark.parametrize(("action", "answer"), [("skip", b'"one"\n"two"\n"three"\n'), ("close", b'"one"\n')])
def test_who_serves_it_may_decide_otherwise(serve, form, action, answer):
    """The option goes before what the service says, be it a function."""
    own = (lambda conn, error: "never asked") if action == "skip" else "skip"
    with serve(made(form, own), model=form.model, bad_messages=action) as server:
        assert answer == ask(server, GOOD_AND_BAD)
        server.reasons(1)


def test_one_that_closes_is_taken_at_its_word(serve, form):
    """What it returns still goes out; nothing more is looked at."""

    def answer(conn, error):
        conn.close(detail="no JSON")

    with serve(made(form, answer), model=form.model) as server:
        assert b'"one"\n' == ask(server, GOOD_AND_BAD)
        server.reasons(1)
    (event,) = server.record.of(EventName.CLOSED)

    assert "no JSON" == event.detail


def test_one_that_fails_ends_its_connection(serve, form):
    """As any handler."""

    def answer(conn, error):
        raise ValueError("out of luck")

    with serve(made(form, answer), model=form.model, fails=1) as server:
        assert b'"one"\n' == ask(server, GOOD_AND_BAD)
        assert ["handler_error"] == server.reasons(1)


@pytest.mark.parametrize("cut", range(1, len(GOOD_AND_BAD), 4))
@pytest.mark.forms(lambda form: form.label in ("def-message", "async-connection", "def-connection"))
def test_how_the_stream_is_cut_changes_nothing(serve, form, cut):
    """A bad line may come in parts, as may the good ones around it."""
    with serve(made(form, "skip"), model=form.model) as server:
        with server.dial() as peer:
            peer.sendall(GOOD_AND_BAD[:cut])
            until = time.monotonic() + 10
            while server.call(lambda: [conn.bytes_in for conn in server.server.connections]) != [cut]:
                assert time.monotonic() < until
            peer.sendall(GOOD_AND_BAD[cut:])
            peer.shutdown(socket.SHUT_WR)

            assert b'"one"\n"two"\n"three"\n' == read_to_end(peer)


@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message", "async-connection", "def-connection"))
def test_broken_framing_closes_in_any_case(serve, form):
    """Where the next frame begins is not known."""
    with serve(made(form, "skip"), model=form.model) as server:
        assert b'"one"\n' == ask(server, b'"one"\n{]"unfinished')
        assert ["truncated"] == server.reasons(1)


@pytest.mark.engines(*LOOPS)
@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message", "async-connection"))
def test_bad_messages_leave_others_their_turn(serve, form, engine):
    """They count as those that are handled: at most ``batch_messages`` of them come before another's turn."""
    order = []

    def answer(conn, error):
        order.append("bad")

    def react(message):
        if message == "first":
            other.sendall(b'"other"\n')
            order.clear()
        order.append(message)
        return message

    with serve(made(form, answer, react), limits=Limits(batch_messages=16)) as server:
        with server.dial() as firehose, server.dial() as other:
            firehose.sendall(b'"first"\n' + b"{]\n" * 3000)
            assert b'"other"\n' == other.recv(100)

    assert 20 >= order.index("other")


@pytest.mark.forms(lambda form: form.label in ("def-message", "async-connection"))
def test_bad_messages_count_against_the_rate(serve, form):
    """A peer that may send so many messages may send no more bad ones."""
    with serve(made(form, "skip"), limits=Limits(max_message_rate=Rate(2, 1.0), on_message_rate="close")) as server:
        assert b"" == ask(server, b"{]\n" * 50)
        assert ["message_rate"] == server.reasons(1)


@pytest.mark.engines(*LOOPS)
def test_after_a_change_of_codecs_they_are_skipped_as_before(serve, engine):
    """What the new codec refuses is passed over, too."""

    async def switch(conn):
        await conn.receive()
        conn.set_codec(penstock.codecs.JsonLines())
        async for message in conn:
            await conn.send(message)

    with serve(penstock.on_connection(codec="lines", on_bad_message="skip")(switch)) as server:
        assert b'"one"\n"two"\n"three"\n' == ask(server, b"JSON\n" + GOOD_AND_BAD)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("drop", "on_bad_message is 'drop': close, skip, or a function \\(conn, error\\)"),
        (lambda error: None, "on_bad_message takes \\(conn, error\\)"),
    ],
)
def test_what_is_no_answer_is_refused_when_the_service_is_made(wrong, problem):
    """In one line that says what is expected."""
    with pytest.raises(penstock.ApplicationError, match=problem):
        penstock.on_message(codec="json-lines", on_bad_message=wrong)(lambda message: message)


def test_a_coroutine_function_is_no_answer():
    """It is called where messages are cut, and nothing there waits."""

    async def answer(conn, error):
        """Never called."""

    with pytest.raises(penstock.ApplicationError, match="answer is async"):
        penstock.on_message(codec="json-lines", on_bad_message=answer)(lambda message: message)
