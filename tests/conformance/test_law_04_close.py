"""Law 4: close flushes what was queued, even with unread input; abort does not, and the peer sees a reset."""

import socket
import threading

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.service import callbacks
from penstock.testing.peers import read_to_end

pytestmark = [pytest.mark.tapped, pytest.mark.ciphered]

REPLY = b"r" * 300_000


def close_after_first(conn, message):
    conn.close()
    return REPLY


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_the_last_reply_arrives_although_input_is_unread(serve, form, tmp_path, transport):
    """A peer that pipelines megabytes and reads only then gets the whole reply and EOF, and no reset before it."""
    bind = "tcp://127.0.0.1:0" if transport == "tcp" else f"unix://{tmp_path}/s"
    handled = []

    def react(conn, message):
        handled.append(message)
        return close_after_first(conn, message)

    with serve(react, codec="lines:max=1MiB", bind=bind) as server:
        with server.dial() as peer:
            sender = threading.Thread(target=peer.sendall, args=(b"first\n" + (b"x" * 999 + b"\n") * 5000,))
            sender.start()
            answer = read_to_end(peer, stays=True)
            sender.join()

        assert REPLY + b"\n" == answer
        assert [b"first"] == handled
        assert ["done"] == server.reasons(1)


@pytest.mark.engines("pure", "uvloop", "native")
def test_the_last_message_of_a_conversation_arrives_although_input_is_unread(serve, engine):
    """A coroutine that returns while the peer's input piles up has said its last word."""

    @penstock.on_connection(codec="lines:max=1MiB")
    async def handler(conn):
        await conn.receive()
        await conn.send(REPLY)

    with serve(handler) as server:
        with server.dial() as peer:
            sender = threading.Thread(target=peer.sendall, args=(b"first\n" + (b"x" * 999 + b"\n") * 5000,))
            sender.start()
            answer = read_to_end(peer, stays=True)
            sender.join()

        assert REPLY + b"\n" == answer
        assert ["done"] == server.reasons(1)


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
@pytest.mark.engines("pure", "uvloop", "blocking", "native")
def test_close_in_on_connect_sends_what_was_posted_and_handles_nothing(serve, engine, is_async):
    """A server that speaks and leaves at once is heard, whatever the peer was saying meanwhile."""
    if is_async and engine.name == "blocking":
        pytest.skip("coroutines need a loop")
    handled = []

    class Callbacks(penstock.Handler):
        def on_connect(self, conn):
            conn.post(b"hello")
            conn.post(b"goodbye")
            conn.close()
            conn.close()

        def on_message(self, conn, message):
            handled.append(message)

    class AsyncCallbacks(Callbacks):
        async def on_connect(self, conn):
            super().on_connect(conn)

    with serve(callbacks(AsyncCallbacks if is_async else Callbacks, name="short", codec="lines")) as server:
        with server.dial() as peer:
            peer.sendall(b"first\n")

            assert b"hello\ngoodbye\n" == read_to_end(peer)
        assert ["done"] == server.reasons(1)
    assert [] == handled


@pytest.mark.forms(lambda form: form.has_conn)
def test_abort_is_a_reset_and_sends_nothing_more(serve, form):
    """What was queued in the same call does not arrive, and the peer is not led to take the cut for an end."""

    def react(conn, message):
        conn.abort()
        conn.abort()

    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"a\n")

            with pytest.raises(ConnectionResetError):
                read_to_end(peer)
        assert ["aborted"] == server.reasons(1)


@pytest.mark.forms(lambda form: form.has_conn)
@pytest.mark.uncipherable("close_notify is an end, and an abort sends none")
def test_abort_on_a_unix_socket_is_an_end(serve, form, tmp_path):
    """Unix sockets have no reset to send: the peer sees EOF, or a reset when its own input was unread."""

    def react(conn, message):
        conn.abort()

    with serve(react, bind=f"unix://{tmp_path}/s") as server:
        with server.dial() as peer:
            peer.sendall(b"a\n")

            assert b"" == read_to_end(peer)
        assert ["aborted"] == server.reasons(1)


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_what_is_posted_or_returned_around_a_close(serve, form):
    """Posted before the close and returned after it: both arrive. Posted after it: refused."""
    refused = []

    def react(conn, message):
        conn.post(b"before")
        conn.close()
        try:
            conn.post(b"after")
        except penstock.ClosedError as error:
            refused.append(error)
        return b"returned"

    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"a\nb\n")

            assert b"before\nreturned\n" == read_to_end(peer)
        assert 1 == len(refused)
        assert ["done"] == server.reasons(1)


@pytest.mark.forms(lambda form: form.is_conversation)
def test_a_conversation_that_closed_can_neither_send_nor_receive(serve, form):
    """After close() every send, post and receive raises ClosedError."""
    refused = []

    def react(conn, message):
        conn.post(b"before")
        conn.close()
        with pytest.raises(penstock.ClosedError) as caught:
            conn.post(b"after")
        refused.append(caught.value)

    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"a\nb\n")

            assert b"before\n" == read_to_end(peer)
        assert ["done"] == server.reasons(1)  # first: the peer may see the end before the handler has returned
        assert 1 == len(refused)


@pytest.mark.engines("pure", "uvloop", "native")
def test_a_peer_that_never_ends_its_side_is_left_after_the_linger_time(serve, engine):
    """Nothing waits for ever: the discarding ends at ``linger_s``, here none at all."""

    @penstock.on_message
    def bye(conn, message):
        conn.close()
        return b"bye"

    with serve(bye, timeouts=Timeouts(linger_s=0.0)) as server, server.dial() as peer:
        peer.sendall(b"a\n")
        assert b"bye\n" == peer.recv(100)

        assert ["done"] == server.reasons(1)


def test_a_closing_server_does_not_wait_for_a_peer_that_reads_to_the_end(serve, form):
    """A peer that closes when it sees EOF is not lingered for: its connection is gone with its own EOF."""
    with serve(lambda _conn, message: message, timeouts=Timeouts(linger_s=None)) as server, server.dial() as peer:
        peer.sendall(b"a\n")
        assert b"a\n" == peer.recv(100)
        peer.shutdown(socket.SHUT_WR)
        assert b"" == peer.recv(1)

        assert ["peer_closed"] == server.reasons(1)
