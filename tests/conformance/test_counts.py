"""What every connection says of itself: since when it is open, what went through it, what waits, whose it is."""

import socket

import pytest

import penstock
from penstock.codecs import Fixed


def shout(_conn, message):
    return message.upper()


def read_to_end(peer):
    while peer.recv(1 << 16):
        pass


def ended(server):
    """The one connection there was, after its end."""
    server.wait_closed(1)
    (closed,) = server.record.of(penstock.EventName.CLOSED)
    return closed.connection


def test_messages_are_counted_in_and_out(serve, engine, form):
    """As many as came and as many as were answered, wherever the network cut them."""
    with serve(shout, codec="lines") as server:
        with server.dial() as peer:
            peer.sendall(b"a\nb")
            assert b"A\n" == peer.recv(2)
            peer.sendall(b"\nc\n")
            peer.shutdown(socket.SHUT_WR)
            read_to_end(peer)
        conn = ended(server)

        assert (3, 3) == (conn.messages_in, conn.messages_out)
        assert (6, 6, 0) == (conn.bytes_in, conn.bytes_out, conn.queued_bytes)


def test_what_is_left_at_the_end_of_the_stream_is_a_message_too(serve, engine, form):
    """A line without its end is delivered where the codec says so, and counted."""
    with serve(lambda _conn, _message: None, codec="lines:unterminated=deliver") as server:
        with server.dial() as peer:
            peer.sendall(b"a\nb")
            peer.shutdown(socket.SHUT_WR)
            read_to_end(peer)
        conn = ended(server)

        assert (2, 0) == (conn.messages_in, conn.messages_out)


@pytest.mark.forms(lambda form: form.has_conn)
def test_what_is_cut_again_with_another_codec_is_counted_once(serve, engine, form):
    """Messages that were cut ahead of a switch are given back, and are no messages."""

    def switch(conn, message):
        if message == b"switch":
            conn.set_codec(Fixed(2))

    with serve(switch, codec="lines") as server:
        with server.dial() as peer:
            peer.sendall(b"a\nswitch\nb\nc\nd\n")
            peer.shutdown(socket.SHUT_WR)
            read_to_end(peer)

        assert 5 == ended(server).messages_in


@pytest.mark.forms(lambda form: form.has_conn)
def test_a_connection_knows_its_server_and_since_when_it_is_open(serve, engine, form):
    """On the engine's clock, so that its age is a difference."""
    seen = []

    def look(conn, message):
        seen.append((conn.server, conn.opened_at))
        return message

    with serve(look, codec="lines") as server:
        with server.dial() as peer:
            peer.sendall(b"a\n")
            assert b"a\n" == peer.recv(100)
            (conn,) = server.call(lambda: list(server.server.connections))

            assert [(server.server, conn.opened_at)] == seen


def test_what_the_peer_does_not_read_is_queued(serve, engine):
    """Until the kernel takes it; it is counted as sent from the moment it was taken."""
    size, count, seen = 1 << 20, 16, []

    @penstock.on_message(codec="lines:max=1MiB")
    def flood(conn, message):
        if message == b"go":
            for _ in range(count):
                conn.post(b"x" * size)
        seen.append((conn.messages_out, conn.queued_bytes > 0))
        return b"."

    with serve(flood, limits=penstock.Limits(write_max_bytes=64 << 20, write_high_bytes=32 << 20)) as server:
        with server.dial() as peer:
            for question, answers_bytes in ((b"go\n", count * (size + 1) + 2), (b"and now\n", 2)):
                peer.sendall(question)
                got = 0
                while got < answers_bytes:
                    got += len(peer.recv(1 << 20))

    assert [(count, True), (count + 1, False)] == seen


def test_a_datagram_is_one_message_with_its_answers(serve, engine):
    """It keeps nothing, and knows whose it is."""
    seen = []

    @penstock.on_message(codec="lines")
    def twice(conn, message):
        conn.post(message)
        seen.append((conn.messages_in, conn.messages_out, conn.queued_bytes, conn.server, type(conn.opened_at)))
        return message

    with serve(twice, bind="udp://127.0.0.1:0") as server:
        with server.dial() as peer:
            peer.send(b"a")
            assert [b"a", b"a"] == [peer.recv(10), peer.recv(10)]

        assert [(1, 1, 0, server.server, float)] == seen


def test_the_server_counts_the_messages_of_all_who_are_there_and_were_there(serve, engine, tmp_path):
    """Streams, records and datagrams; the same before and after a connection has ended, and after the server has."""

    @penstock.on_message(codec="lines")
    def echo(message):
        return message

    binds = ["tcp://127.0.0.1:0", f"unix+seqpacket:{tmp_path}/s", "udp://127.0.0.1:0"]
    with serve(echo, bind=binds) as server:
        for index, question in enumerate((b"a\nb\n", b"a", b"a")):
            with server.dial(index) as peer:
                peer.send(question)
                got = b""
                while len(got) < len(question):
                    got += peer.recv(100)
        server.wait_closed(2)
        with server.dial() as peer:
            peer.send(b"c\n")
            assert b"c\n" == peer.recv(10)
    server = server.server

    assert (5, 5) == (server.messages_in, server.messages_out)
