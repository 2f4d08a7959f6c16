"""Law 5: EOF ends one direction only (T-06, the combinations without TLS)."""

import socket
import threading

import pytest

import penstock
from penstock.core.events import EventName
from penstock.core.service import callbacks
from penstock.testing.peers import read_to_end

pytestmark = pytest.mark.tapped

BIG = 20_000  # bytes of reply for each line: many of them fill every buffer on the way


@pytest.mark.parametrize(
    "lines",
    [pytest.param(0, id="nothing"), pytest.param(1, id="one"), pytest.param(1000, id="many")],
)
@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_a_peer_that_ends_its_side_is_still_answered(serve, form, tmp_path, lines, transport):
    """Everything sent before the EOF is answered; then the server ends its side too."""
    bind = "tcp://127.0.0.1:0" if transport == "tcp" else f"unix://{tmp_path}/s"
    wire = b"".join(b"%d\n" % number for number in range(lines))
    with serve(lambda _conn, message: message, bind=bind) as server, server.dial() as peer:
        peer.sendall(wire)
        peer.shutdown(socket.SHUT_WR)

        assert wire == read_to_end(peer)
        assert ["peer_closed"] == server.reasons(1)


def test_eof_while_output_is_stalled(serve, form):
    """A peer that sends much, ends its side and only then reads gets every reply once, and one end."""
    with serve(lambda _conn, message: message * BIG, codec="lines:max=1MiB") as server:
        server.shrink_send_buffers(8192)
        with server.dial(receive_buffer_bytes=8192) as peer:
            peer.sendall(b"x\n" * 50)
            peer.shutdown(socket.SHUT_WR)
            answer = read_to_end(peer)

        assert (b"x" * BIG + b"\n") * 50 == answer
        assert ["peer_closed"] == server.reasons(1)


@pytest.mark.forms(lambda form: form.has_conn)
def test_a_server_that_ends_its_side_goes_on_receiving(serve, form):
    """After send_eof the peer sees EOF; its messages are still handled, and nothing can be sent any more."""
    handled = []
    refused = []

    def react(conn, message):
        handled.append(message)
        if message == b"first":
            conn.post(b"last word")
            conn.send_eof()
            conn.send_eof()
        else:
            with pytest.raises(penstock.ClosedError) as caught:
                conn.post(b"too late")
            refused.append(caught.value)

    with serve(react) as server, server.dial() as peer:
        peer.sendall(b"first\n")
        assert b"last word\n" == read_to_end(peer, stays=True)
        peer.sendall(b"second\n")
        peer.sendall(b"third\n")
        peer.shutdown(socket.SHUT_WR)
        reasons = server.reasons(1)

    assert ([b"first", b"second", b"third"], 2) == (handled, len(refused))
    assert ["peer_closed"] == reasons


@pytest.mark.forms(lambda form: form.has_conn)
def test_both_sides_end_at_once(serve, form):
    """EOF from both sides, in either order, is one end."""

    def react(conn, message):
        conn.send_eof()

    with serve(react) as server, server.dial() as peer:
        peer.sendall(b"first\nsecond\n")
        peer.shutdown(socket.SHUT_WR)

        assert b"" == read_to_end(peer)
        assert ["peer_closed"] == server.reasons(1)


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
@pytest.mark.engines("pure", "uvloop", "blocking", "native")
def test_a_server_that_ends_its_side_first_of_all(serve, engine, is_async):
    """send_eof in on_connect: the peer sees EOF before it said anything, and is heard."""
    if is_async and engine.name == "blocking":
        pytest.skip("coroutines need a loop")
    heard = threading.Event()

    class Callbacks(penstock.Handler):
        def on_connect(self, conn):
            conn.send_eof()

        def on_message(self, conn, message):
            heard.set()

    class AsyncCallbacks(Callbacks):
        async def on_connect(self, conn):
            super().on_connect(conn)

    with serve(callbacks(AsyncCallbacks if is_async else Callbacks, name="listener")) as server:
        with server.dial() as peer:
            assert b"" == read_to_end(peer, stays=True)
            peer.sendall(b"hello\n")
            assert heard.wait(20)
        assert ["peer_closed"] == server.reasons(1)


def test_an_end_before_there_is_a_link_comes_after_what_was_posted(serve):
    """An observer posts and ends our direction as soon as it hears of a connection: its message comes, then EOF."""
    with serve(penstock.on_message(lambda message: message, name="ended")) as server:
        record, seen = server.record, server.record.observe

        def observe(event):
            seen(event)
            if event.name is EventName.ACCEPTED:
                event.connection.post(b"hi")
                event.connection.send_eof()

        record.observe = observe
        with server.dial() as peer:
            assert b"hi\n" == read_to_end(peer)
        assert ["peer_closed"] == server.reasons(1)


@pytest.mark.parametrize("codec", ["lines", "lines:unterminated=deliver"])
def test_a_last_line_without_its_end(serve, form, codec):
    """Refused as truncated, or delivered and answered, as the codec was asked to."""
    deliver = codec.endswith("deliver")
    with serve(lambda _conn, message: b"<" + message + b">", codec=codec) as server, server.dial() as peer:
        peer.sendall(b"one\ntwo")
        peer.shutdown(socket.SHUT_WR)

        assert (b"<one>\n<two>\n" if deliver else b"<one>\n") == read_to_end(peer)
        assert ["peer_closed" if deliver else "truncated"] == server.reasons(1)
