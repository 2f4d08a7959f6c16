"""Law 2 for a handler that is close to the limit of recursion when it ends its connection, another one, or the server.

What it calls fails at some step of the end. The end is carried out all the same, or has not begun.
"""

import contextlib
import inspect
import sys

import pytest

import penstock
from penstock.config import Timeouts
from penstock.testing.peers import read_to_end

DEPTHS = range(45)  # below the limit: from where nothing can be called up to where all can
WAYS = {
    "abort": lambda conn: conn.abort(),
    "close": lambda conn: conn.close(),
    "send EOF": lambda conn: conn.send_eof(),
    "handshake": lambda conn: (conn.begin_handshake(), conn.end_handshake()),
    "no more patience": lambda conn: conn.set_timeouts(idle_s=0.001),
}
MUCH = b"x" * 300_000  # more than the high watermark, and than the kernel takes at once


ENGINES = ("pure", "uvloop", "native", "attached", "blocking")


def at_depth(call, depth):
    """Call so that ``depth`` more calls are within the limit."""

    def down(left):
        if left > 0:
            down(left - 1)
        else:
            call()

    with contextlib.suppress(RecursionError, penstock.PenstockError):
        down(sys.getrecursionlimit() - len(inspect.stack(0)) - depth)


@contextlib.contextmanager
def cut_off():
    """Pass over what a peer meets whose connection is cut off, but for a time that is up: it meets the cut at once."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError:
        pass


def talk(server, word):
    with cut_off(), server.dial() as peer:
        peer.sendall(word.encode() + b"\n")
        peer.shutdown(1)
        read_to_end(peer)


@pytest.mark.tapped
@pytest.mark.engines(*ENGINES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.forms(lambda form: form.has_conn and not form.in_threads)
def test_a_connection_ends_that_is_ended_close_to_the_limit(serve, form, way):
    """Exactly one closed event for each, and the server stops."""

    def react(conn, message):
        at_depth(lambda: WAYS[way](conn), int(message))

    with serve(react, fails=None) as server:
        for depth in DEPTHS:
            talk(server, str(depth))
        server.wait_connections(0)


@pytest.mark.engines(*ENGINES)
@pytest.mark.parametrize("way", ["abort", "close"])
@pytest.mark.forms(lambda form: form.has_conn and not form.in_threads)
def test_it_ends_like_that_in_a_process_that_has_forked(serve, form, way, monkeypatch):
    """There a connection is shut down before its descriptor is closed, and no other one is left open."""
    monkeypatch.setattr("penstock.engines.forked._forked", True)

    def react(conn, message):
        at_depth(lambda: WAYS[way](conn), int(message))

    with serve(react, fails=None) as server:
        for depth in DEPTHS:
            talk(server, str(depth))
        server.wait_connections(0)


@pytest.mark.engines(*ENGINES)
@pytest.mark.parametrize(("act", "what"), [("post", b"posted"), ("try_send", MUCH), ("post_frame", MUCH)])
@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "async-connection", "def-connection"))
def test_what_is_posted_close_to_the_limit_is_sent_whole_or_not_at_all(serve, engine, form, act, what):
    """What comes before and after it is not touched; or the connection ends, and its peer sees that it was cut."""
    if engine.label == "uvloop" and what is MUCH:
        pytest.skip("uvloop's transports lose count of what they have written, close to the limit")

    def react(conn, message):
        if message == b"go on":
            return b"went on"
        conn.post(b"before")
        at_depth(lambda: getattr(conn, act)(what + b"\n" if act == "post_frame" else what), int(message))
        conn.post(b"after")
        return b"reply"

    allowed = [[b"before", *posted, b"after", b"reply", b"went on", b""] for posted in ([], [what])]
    with serve(react, fails=None) as server:
        for count, depth in enumerate(DEPTHS, 1):
            with cut_off(), server.dial() as peer:  # maybe before it ends
                peer.sendall(b"%d\ngo on\n" % depth)
                peer.shutdown(1)
                seen = read_to_end(peer)
                assert seen.split(b"\n") in allowed or server.reasons(count)[-1] == "handler_error", depth
            server.wait_closed(count)
        # A record is missing, without which none that follows can be deciphered; or there was no stack to say that.
        cut = {"tls_error", "aborted"} if engine.ciphered else set()
        assert set(server.record.reasons) <= {"peer_closed", "handler_error", "done", *cut}


@pytest.mark.tapped
@pytest.mark.ciphered
@pytest.mark.engines(*ENGINES)
@pytest.mark.parametrize("way", ["abort", "close"])
@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "async-connection"))
def test_another_connection_ends_that_is_ended_close_to_the_limit(serve, engine, form, way):
    """The other one ends when its peer leaves, if it was not ended before; so does the one that did it."""
    others = []

    def react(conn, message):
        if message == b"other":
            others.append(conn)
            return message
        at_depth(lambda: WAYS[way](others[-1]), int(message))
        return None

    with serve(react, fails=None) as server:
        for depth in DEPTHS:
            with cut_off(), server.dial() as other:
                other.sendall(b"other\n")
                assert b"other\n" == other.recv(100)
                talk(server, str(depth))
                other.shutdown(1)
                read_to_end(other)
        server.wait_connections(0)


@pytest.mark.engines(*ENGINES)
@pytest.mark.parametrize("ending", ["begin_stop", "begin_drain"])
def test_a_server_stops_that_is_ended_close_to_the_limit(serve, engine, ending):
    """Whatever of it failed is done later, or has not begun and can be called again."""
    servers = []

    @penstock.on_message
    def handle(conn, message):
        at_depth(getattr(servers[-1], ending), int(message))

    for depth in range(0, 45, 3):
        with serve(handle, fails=None, timeouts=Timeouts(drain_s=0.5)) as server, server.dial() as idle:
            servers.append(server.server)
            server.wait_connections(1)
            talk(server, str(depth))
            idle.close()
