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


NAMES = ("on_connect", "on_message", "on_eof", "on_drain", "on_idle", "on_timeout", "on_protocol_error", "on_close")
# What each is called after, by the way a connection goes.
PATHS = {
    "eof": ("on_connect", "on_message", "on_eof", "on_close"),
    "drain": ("on_connect", "on_message", "on_drain", "on_close"),
    "idle": ("on_connect", "on_message", "on_idle", "on_timeout", "on_close"),
    "protocol error": ("on_connect", "on_message", "on_protocol_error", "on_close"),
    "bad message": ("on_connect", "on_message", "on_bad_message", "on_message", "on_eof", "on_close"),
}


def class_that_notes(seen, *, is_async, answers_bad_messages, idle_s):
    """Make a class all of whose callbacks note what they see, and set their own name; a message sets the idle time."""

    class Noting(penstock.Handler):
        pass

    def method(name):
        def call(_self, conn, *args):
            seen.append((name, SAID.get()))
            SAID.set(name)
            if name == "on_message" and idle_s is not None:
                conn.set_timeouts(idle_s=idle_s)
            return args[0] if name == "on_message" else None

        async def call_async(self, conn, *args):
            return call(self, conn, *args)

        return call_async if is_async and name != "on_bad_message" else call

    for name in (*NAMES, *(["on_bad_message"] if answers_bad_messages else [])):
        setattr(Noting, name, method(name))
    return Noting


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["def", "async", "threads"])
def test_each_callback_there_is_sees_what_the_one_before_it_set(serve, engine, kind, path):
    """Whatever it is about: they are one connection's, and have one context."""
    if engine.name == "blocking" and kind != "def":
        pytest.skip("this engine has no such form")
    seen = []
    made = class_that_notes(
        seen,
        is_async=kind == "async",
        answers_bad_messages=path == "bad message",
        idle_s=0.05 if path == "idle" else None,
    )
    codec = {"protocol error": "lines:max=8", "bad message": "json-lines"}.get(path, "lines")
    options = {"model": "threads", "threads": 1} if kind == "threads" else {}
    times = penstock.Timeouts(drain_s=10.0, idle_s=None)
    with serve(callbacks(made, name="noting", codec=codec), timeouts=times, **options) as server, server.dial() as peer:
        peer.settimeout(PATIENCE_S)
        peer.sendall(b"1\n")
        assert b"1\n" == peer.recv(100)
        if path == "drain":
            server.call(server.server.begin_drain)
        elif path == "protocol error":
            peer.sendall(b"much too long\n")
        elif path != "idle":
            peer.sendall(b"[no json\n2\n" if path == "bad message" else b"")
            peer.shutdown(socket.SHUT_WR)
        read_to_end(peer)
        server.wait_closed(1)

    names = PATHS[path]
    assert list(zip(names, ("nothing", *names), strict=False)) == seen


@pytest.mark.parametrize("kind", ["def", "async", "threads"])
@pytest.mark.parametrize("takes_conn", [True, False], ids=["conn", "message"])
def test_a_function_that_answers_bad_messages_sees_them_too(serve, engine, kind, takes_conn):
    """It is called for the connection, between its messages."""
    if engine.name == "blocking" and kind != "def":
        pytest.skip("this engine has no such form")

    def answer_bad(_conn, _error):
        return remember(None, b"bad")

    def answer(message):
        return remember(None, message.encode()).decode()

    def handle(_conn, message):
        return answer(message)

    async def handle_async(_conn, message):
        return answer(message)

    async def answer_async(message):
        return answer(message)

    handlers = (handle_async, answer_async) if kind == "async" else (handle, answer)
    service = penstock.on_message(codec="json-lines", blocking=kind == "threads", on_bad_message=_as_json(answer_bad))(
        handlers[0 if takes_conn else 1]
    )
    with serve(service, threads=1) as server:
        for _ in range(2):
            said = ask(server, b'"one"\n[no json\n', b'"two"\n')

            assert b'"one after nothing"\n"bad after one"\n"two after bad"\n' == said


def _as_json(function):
    return lambda conn, error: function(conn, error).decode()


@pytest.mark.parametrize("kind", ["def", "async", "threads"])
def test_a_background_task_begins_with_them_and_keeps_its_own(serve, engine, kind):
    """What a task of the connection's sets is its own: it is a task as any other."""
    if engine.name == "blocking" and kind != "def":
        pytest.skip("this engine has no such form")
    seen = []

    async def work(conn):
        seen.append(SAID.get())
        SAID.set("task")
        conn.post(b"done")

    def handle(conn, message):
        if message == b"go":
            SAID.set("handler")
            conn.task(work(conn))
            return None
        return SAID.get().encode()

    async def handle_async(conn, message):
        return handle(conn, message)

    service = penstock.on_message(codec="lines", blocking=kind == "threads")(
        handle_async if kind == "async" else handle
    )
    with serve(service) as server, server.dial() as peer:
        peer.settimeout(PATIENCE_S)
        peer.sendall(b"go\n")
        assert b"done\n" == peer.recv(100)
        peer.sendall(b"look\n")

        assert b"handler\n" == peer.recv(100)
    assert ["handler"] == seen


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
