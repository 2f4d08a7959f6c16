"""A connection that ends while code of the user's runs in the middle of it: in a codec, an observer, a finaliser.

Each point is reached on a connection of its own, which is ended there in every way there is. Whatever comes of it, law
2 holds, the next connection is served, and the server stops; under a sanitizer, nothing that was let go of is used.
"""

import asyncio
import contextlib
import socket
import threading

import pytest

import penstock
from penstock.codecs import NEED_DATA, Codec, Lines
from penstock.core.events import EventName
from penstock.core.service import callbacks
from penstock.testing.peers import read_to_end

# -- the ways to end a connection --------------------------------------------------------------------------------------


def _switch_twice(conn):
    conn.set_codec(Lines())
    conn.set_codec(Marked(Hook()))


def _switch_and_abort(conn):
    conn.set_codec(Lines())
    conn.abort()


WAYS = {
    "abort": lambda conn: conn.abort(),
    "close": lambda conn: conn.close(),
    "send EOF": lambda conn: conn.send_eof(),
    "switch": lambda conn: conn.set_codec(Lines()),
    "switch twice": _switch_twice,
    "switch and abort": _switch_and_abort,
    "close and abort": lambda conn: (conn.close(), conn.abort()),
    "no more patience": lambda conn: (
        conn.set_timeouts(idle_s=0.001, lifetime_s=0.001),
        conn.set_limits(write_high_bytes=1, write_low_bytes=0),
    ),
    "handshake": lambda conn: (conn.begin_handshake(), conn.abort(), conn.end_handshake()),
}
SERVER_WAYS = ("begin_stop", "begin_drain")


class Hook:
    """What is done where code of the user's runs: once."""

    def __init__(self):
        self.act = None
        self.reached = threading.Event()

    def __call__(self, conn=None):
        act, self.act = self.act, None
        if act is not None:
            self.reached.set()
            with contextlib.suppress(penstock.PenstockError):
                act(conn)


# -- where code of the user's runs -------------------------------------------------------------------------------------


class Message(bytes):
    """A message that calls when it is let go of."""

    hook = None

    def __del__(self):
        if self.hook is not None:
            self.hook()


class Marked(Codec[bytes]):
    """Lines, with a call at one of the codec's steps."""

    name = "marked"

    def __init__(self, hook, point=""):
        self.hook = hook
        self.point = point

    def decode(self, buffer):
        if self.point == "decode":
            self.hook()
        end = buffer.find(b"\n")
        if end < 0:
            return NEED_DATA
        message = Message(buffer[:end])
        if self.point == "message":
            message.hook = self.hook
        del buffer[: end + 1]
        if self.point == "decoded":
            self.hook()
        return message

    def encode(self, message):
        if self.point == "encode":
            self.hook()
        return bytes(message) + b"\n"

    def finish(self, buffer):
        if self.point == "finish":
            self.hook()
        return super().finish(buffer)

    def __del__(self):
        if self.point == "codec":
            self.hook()


class Watcher:
    """An observer that calls at one of the events."""

    def __init__(self, hook, point):
        self.hook = hook
        self.point = point

    def observe(self, event):
        if event.name == self.point:
            self.hook(event.connection)


CODEC_POINTS = ("decode", "decoded", "encode", "finish", "message", "codec")
EVENT_POINTS = (EventName.ACCEPTED, EventName.CLOSED, EventName.HANDLER_FAILED)
POINTS = (*CODEC_POINTS, *EVENT_POINTS, "react", "again")


def talk(peer):
    """Say what reaches every point, in pieces, and read until the connection has ended."""
    with contextlib.suppress(OSError):
        peer.sendall(b"a\nb\nc\nswi")
        peer.sendall(b"tch\nd\ne")
        peer.sendall(b"\nf\ng")
        peer.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        read_to_end(peer)


@pytest.mark.forms(lambda form: form.has_conn)
@pytest.mark.parametrize("point", POINTS)
def test_a_connection_may_end_wherever_code_of_the_users_runs(serve, engine, form, point):
    """Every way to end it, at every point: one closed event, the next connection is served, the server stops."""
    hook = Hook()

    def codec():
        return Marked(hook, point)

    def react(conn, message):
        if point in ("react", "again"):
            hook(conn)
        if message == b"switch":
            conn.set_codec(codec())  # which asks the codec before once more for what was cut ahead
        if message == b"d" and point == "codec":
            conn.set_codec(Lines())  # nobody holds the one that was made for it any more
        if message == b"e" and point == EventName.HANDLER_FAILED:
            raise ValueError("on purpose")
        return message

    def serve_all(ways):
        with serve(react, codec=codec(), fails=None) as server:
            server.server._observers.append(Watcher(hook, point))
            for way in ways:
                hook.act = way_of(server, way)
                with contextlib.suppress(OSError), server.dial() as peer:
                    talk(peer)
            if ways is WAYS:
                hook.act = None
                with server.dial() as peer:
                    peer.sendall(b"hello\n")
                    assert b"hello\n" == peer.recv(100)

    def way_of(server, way):
        loop = server._loop

        def end(conn):
            if way in SERVER_WAYS:
                on_the_loop(getattr(server.server, way))
            elif conn is not None:
                end_each([conn])
            elif engine.name == "blocking":
                end_each(list(server.server.connections))
            else:
                on_the_loop(lambda: end_each(list(server.server.connections)))

        def end_each(connections):
            for conn in connections:
                for _ in range(2 if point == "again" else 1):
                    with contextlib.suppress(penstock.PenstockError):
                        WAYS[way](conn)

        def on_the_loop(act):
            if threading.current_thread().name == "penstock-server":
                act()
            else:
                loop.call_soon_threadsafe(act)

        return end

    serve_all(WAYS)
    for way in SERVER_WAYS:
        serve_all([way])

    assert hook.reached.is_set()


# -- in a callback -----------------------------------------------------------------------------------------------------

CALLBACKS = (
    "on_connect",
    "on_message",
    "on_eof",
    "on_drain",
    "on_idle",
    "on_timeout",
    "on_protocol_error",
    "on_bad_message",
    "on_close",
)
CALLBACK_WAYS = WAYS | {
    "another handler": lambda conn: conn.set_handler(penstock.Handler()),
    "a task": lambda conn: (conn.task(asyncio.sleep(0), finish=True), conn.abort()),
    "TLS": lambda conn: (conn.start_tls(), conn.abort()),
}


def class_of(where, ways, is_async):
    """Make a class whose callback ends each connection in another way."""

    class Ending(penstock.Handler):
        def __init__(self):
            self.way = next(ways, None)

        def on_connect(self, conn):
            if self.way is None:  # the one that comes afterwards
                conn.set_timeouts(idle_s=None)

        def on_message(self, conn, message):
            return message

        def end(self, conn):
            way, self.way = self.way, None
            if way is not None:
                with contextlib.suppress(penstock.PenstockError):
                    way(conn)

    before = getattr(Ending, where, None)

    def ends(self, conn, *args):
        self.end(conn)
        return before(self, conn, *args) if where == "on_message" else None

    async def ends_async(self, conn, *args):
        await asyncio.sleep(0)
        result = ends(self, conn, *args)
        await asyncio.sleep(0)
        return result

    setattr(Ending, where, ends_async if is_async and where != "on_bad_message" else ends)
    return Ending


@pytest.mark.parametrize("kind", ["def", "async", "threads"])
@pytest.mark.parametrize("where", CALLBACKS)
def test_a_connection_may_end_in_every_callback(serve, engine, where, kind):
    """In every way there is: one closed event for each, the next one is served, and the server stops."""
    if engine.name == "blocking" and kind != "def":
        pytest.skip("this engine has no such form")
    made = class_of(where, iter(CALLBACK_WAYS.values()), kind == "async")
    codec = {"on_protocol_error": "lines:max=8", "on_bad_message": "json-lines"}.get(where, "lines")
    times = penstock.Timeouts(drain_s=10.0, idle_s=0.5 if where in ("on_idle", "on_timeout") else None)
    options = {"model": "threads", "threads": 2 * len(CALLBACK_WAYS)} if kind == "threads" else {}
    service = callbacks(made, name="ending", codec=codec)
    with serve(service, timeouts=times, fails=None, **options) as server:
        with contextlib.ExitStack() as peers:
            socks = []
            for _ in CALLBACK_WAYS:
                with contextlib.suppress(ConnectionError):  # one that is reset at once may be so before it is told
                    socks.append(peers.enter_context(server.dial()))
            server.wait_until(lambda _: len(server.record.of(EventName.ACCEPTED)) == len(CALLBACK_WAYS))
            if where == "on_drain":
                server.call(server.server.begin_drain)
            for sock in socks:
                with contextlib.suppress(OSError):
                    if where not in ("on_drain", "on_idle", "on_timeout"):
                        sock.sendall(b"[no json, and too long\n" if ":" in codec or codec == "json-lines" else b"a\n")
                        sock.shutdown(socket.SHUT_WR)
            for sock in socks:
                with contextlib.suppress(OSError):
                    read_to_end(sock)
        server.reasons(len(CALLBACK_WAYS))
        if where != "on_drain":
            with server.dial() as sock:
                sock.sendall(b"1\n")
                assert b"1\n" == sock.recv(100)
