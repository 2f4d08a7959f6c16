"""A connection changes its codec and its handler while it lives, and not a byte is lost on the way."""

import socket

import pytest

import penstock
from penstock.codecs import parse_codec
from penstock.core.service import callbacks
from penstock.testing.peers import read_to_end

NETSTRING = parse_codec("netstring")
LINES = parse_codec("lines")
WIRE = b"one\nswitch\n3:two,5:a\nb\nc,6:switch,back\nend\n"
ANSWER = b"one\n6:switch,3:two,5:a\nb\nc,switch\nback\nend\n"


def switching(conn, message):
    """Echo; ``switch`` is answered, and what follows is read, in the other codec."""
    if message == b"switch":
        conn.set_codec(NETSTRING if conn.codec.name == "lines" else LINES)
    return message


@pytest.mark.forms(lambda form: form.has_conn)
def test_every_split_of_a_stream_of_two_codecs(serve, form, tally):
    """Wherever the network cuts it, the bytes after the message at hand belong to the new codec."""
    found = []
    cuts = range(len(WIRE) + 1)
    with serve(switching) as server:
        for cut in cuts:
            with server.dial() as peer:
                peer.sendall(WIRE[:cut])
                peer.sendall(WIRE[cut:])
                peer.shutdown(socket.SHUT_WR)
                found.append(read_to_end(peer))
        with server.dial() as peer:
            for index in range(len(WIRE)):
                peer.sendall(WIRE[index : index + 1])
            peer.shutdown(socket.SHUT_WR)
            found.append(read_to_end(peer))
    tally("splits of a stream of two codecs, 0 bytes lost", len(found))

    assert [ANSWER] * len(found) == found


@pytest.mark.forms(lambda form: form.has_conn)
def test_a_switch_in_a_long_batch(serve, form):
    """Hundreds of messages read at once, of which one in the middle changes the codec."""
    wire = b"a\n" * 300 + b"switch\n" + b"1:b," * 300 + b"6:switch," + b"c\n" * 300
    answer = b"a\n" * 300 + b"6:switch," + b"1:b," * 300 + b"switch\n" + b"c\n" * 300
    with serve(switching) as server, server.dial() as peer:
        peer.sendall(wire)
        peer.shutdown(socket.SHUT_WR)

        assert answer == read_to_end(peer)


@pytest.mark.forms(lambda form: form.has_conn)
def test_what_is_posted_around_a_switch(serve, form):
    """Each message leaves in the codec that was set when it was posted."""

    def react(conn, message):
        conn.post(b"before")
        conn.set_codec(NETSTRING)
        conn.post(b"after\nwards")
        return message

    with serve(react) as server, server.dial() as peer:
        peer.sendall(b"x\n")
        peer.shutdown(socket.SHUT_WR)

        assert b"before\n11:after\nwards,1:x," == read_to_end(peer)


@pytest.mark.forms(lambda form: form.has_conn)
def test_a_switch_to_a_codec_that_refuses_what_follows(serve, form):
    """What the new codec refuses closes the connection for its reason; what came before it was answered."""
    with serve(switching) as server:
        with server.dial() as peer:
            peer.sendall(b"one\nswitch\nthis is no netstring\n")

            assert b"one\n6:switch," == read_to_end(peer)
        assert ["bad_length"] == server.reasons(1)


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
@pytest.mark.parametrize("model", ["loop", "threads"])
@pytest.mark.engines("pure", "uvloop", "native")
def test_another_handler_takes_over(serve, engine, is_async, model):
    """From the next message on, in the middle of a batch too; its on_connect is not called, its on_close is."""
    if is_async and model == "threads":
        pytest.skip("coroutines have no threads")
    calls = []

    class Second(penstock.Handler):
        def on_connect(self, conn):
            calls.append("second on_connect")

        def on_message(self, conn, message):
            return b"second " + message

        def on_close(self, conn, reason):
            calls.append("second on_close")

    class First(penstock.Handler):
        def on_message(self, conn, message):
            if message == b"3":
                conn.set_handler(Second())
            return b"first " + message

        def on_close(self, conn, reason):
            calls.append("first on_close")

    class AsyncFirst(First):
        async def on_message(self, conn, message):
            return super().on_message(conn, message)

    with serve(callbacks(AsyncFirst if is_async else First, name="two"), model=model) as server:
        with server.dial() as peer:
            peer.sendall(b"1\n2\n3\n4\n5\nha")
            peer.sendall(b"lf\n")
            peer.shutdown(socket.SHUT_WR)

            assert b"first 1\nfirst 2\nfirst 3\nsecond 4\nsecond 5\nsecond half\n" == read_to_end(peer)
        server.wait_closed(1)
    assert ["second on_close"] == calls


@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "async-message-conn", "async-connection"))
def test_only_callbacks_can_be_exchanged(serve, form):
    """A function decides itself what to call next: set_handler says so."""
    errors = []

    def react(conn, message):
        try:
            conn.set_handler(penstock.Handler())
        except penstock.LocalProtocolError as error:
            errors.append(error)
        return message

    with serve(react) as server, server.dial() as peer:
        peer.sendall(b"a\n")
        assert b"a\n" == peer.recv(10)

    assert 1 == len(errors)
