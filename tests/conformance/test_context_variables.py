"""State of one peer does not reach another: each connection has context variables of its own, and keeps them."""

import contextvars
import socket

import pytest

import penstock
from penstock.core.service import callbacks
from penstock.testing.peers import PATIENCE_S, read_to_end

SAID = contextvars.ContextVar("said", default="nothing")


def ask(server, *lines):
    with server.dial() as peer:
        for line in lines:
            peer.sendall(line)
        peer.shutdown(socket.SHUT_WR)
        return read_to_end(peer)


def remember(_conn, message):
    said = SAID.get()
    SAID.set(message.decode())
    return f"{message.decode()} after {said}".encode()


def test_a_connection_keeps_its_variables_and_hands_none_on(serve, form):
    """From message to message, cut in any way; the next peer, of the same thread or loop, begins anew."""
    with serve(remember, threads=1) as server:
        answers = [ask(server, b"a\nb\n", b"c\n") for _ in range(3)]
        with server.dial() as one:
            one.settimeout(PATIENCE_S)
            one.sendall(b"first\n")
            first = one.recv(100)
            # Beside it, where another may be served at the same time.
            between = None if form.model == "threads" or "blocking" in form.engines else ask(server, b"x\n")
            one.sendall(b"second\n")
            second = one.recv(100)

    assert [b"a after nothing\nb after a\nc after b\n"] * 3 == answers
    assert between in (None, b"x after nothing\n")
    assert [b"first after nothing\n", b"second after first\n"] == [first, second]


TOKENS = []


def set_or_reset(_conn, message):
    if message == b"set":
        TOKENS.append(SAID.set("set"))
    elif message == b"reset":
        SAID.reset(TOKENS.pop())
    return SAID.get().encode()


def test_what_was_set_can_be_put_back_by_a_later_message(serve, form):
    """A token is good only in the context that it was made in: that is the connection's, in between and afterwards."""
    with serve(set_or_reset, threads=1) as server:
        for _ in range(2):
            assert b"nothing\nset\nset\nnothing\nnothing\n" == ask(server, b"look\nset\n", b"look\n", b"reset\nlook\n")


SEEN = []


class Callbacks(penstock.Handler):
    def on_connect(self, conn):
        SEEN.append(("connect", SAID.get()))
        SAID.set("connected")

    def on_message(self, conn, message):
        return remember(conn, message)

    def on_close(self, conn, reason):
        SEEN.append(("close", SAID.get()))


class AsyncCallbacks(Callbacks):
    async def on_connect(self, conn):
        super().on_connect(conn)

    async def on_message(self, conn, message):
        return remember(conn, message)

    async def on_close(self, conn, reason):
        super().on_close(conn, reason)


@pytest.mark.parametrize(("kind", "model"), [(Callbacks, "loop"), (Callbacks, "threads"), (AsyncCallbacks, "loop")])
def test_every_callback_of_a_connection_sees_them(serve, engine, kind, model):
    """What on_connect sets is there in on_message and in on_close, and nowhere else."""
    if engine.name == "blocking" and (kind, model) != (Callbacks, "loop"):
        pytest.skip("this engine has no such form")
    SEEN.clear()
    with serve(callbacks(kind, name="remember", codec="lines"), model=model, threads=1) as server:
        for count in (1, 2):
            assert b"a after connected\n" == ask(server, b"a\n")
            server.wait_closed(count)

    assert [("connect", "nothing"), ("close", "a")] * 2 == SEEN


@pytest.mark.forms(lambda form: not form.is_conversation)
def test_a_datagram_hands_none_on(serve, form):
    """Not to the next one of the same batch, either."""
    with serve(remember, bind="udp://127.0.0.1:0", threads=1) as server, server.dial() as peer:
        server.call(server.server.suspend)
        for number in range(40):
            peer.send(b"%d" % number)
        server.call(server.server.resume)
        answers = {peer.recv(100) for _ in range(40)}

    assert {b"%d after nothing" % number for number in range(40)} == answers
