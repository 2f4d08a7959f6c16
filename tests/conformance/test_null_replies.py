"""None is no reply, so a reply of null has a name of its own."""

import socket

import pytest

import penstock
from penstock.testing.peers import read_to_end

NULLS = {
    "json-lines": (b"1\n2\n", [1, 2], b"null\n2\n", b"1", b"null"),
    "msgpack": (b"\x01\x02", [1, 2], b"\xc0\x02", b"\x01", b"\xc0"),
    "resp": (b":1\r\n:2\r\n", [1, 2], b"$-1\r\n:2\r\n", b":1\r\n", b"$-1\r\n"),
    "resp:protocol=3": (b":1\r\n:2\r\n", [1, 2], b"_\r\n:2\r\n", b":1\r\n", b"_\r\n"),
}


@pytest.mark.forms(lambda form: not form.is_conversation)
@pytest.mark.parametrize("codec", NULLS)
def test_a_handler_can_answer_null(serve, form, codec):
    """On a connection, among other replies of the same read."""
    wire, (first, _), answers, _, _ = NULLS[codec]
    with serve(lambda _conn, message: penstock.NULL if message == first else message, codec=codec) as server:
        with server.dial() as peer:
            peer.sendall(wire)
            peer.shutdown(socket.SHUT_WR)

            assert answers == read_to_end(peer)


@pytest.mark.forms(lambda form: form.label in ("def-message", "def-message-conn", "async-message-conn"))
@pytest.mark.parametrize("codec", NULLS)
def test_a_datagram_can_be_answered_with_null(serve, form, codec):
    """As on a connection."""
    _, _, _, question, answer = NULLS[codec]
    with serve(lambda _conn, _message: penstock.NULL, codec=codec, bind="udp://127.0.0.1:0") as server:
        with server.dial() as peer:
            peer.send(question)

            assert answer == peer.recv(100)
