"""T-06: twelve ways to end one direction and not the other. Those with TLS are for when there is TLS."""

import itertools
import socket

import pytest

import penstock
from penstock.testing.peers import dial, read_to_end

BIG = 20_000  # bytes of reply to a line
LINES = 500  # so many of them fill every buffer on the way

CASES = list(enumerate(itertools.product(["peer", "server", "both"], ["tcp", "unix"], [1, LINES]), start=1))


@pytest.mark.parametrize(
    ("number", "first", "transport", "lines"),
    [(number, *case) for number, case in CASES],
    ids=[f"{number:02}-{first}-{transport}-{lines}" for number, (first, transport, lines) in CASES],
)
def test_one_direction_ends_and_the_other_does_not(
    serve, opened, tmp_path, number, first, transport, lines, engine, figure
):
    """Who ended its own direction still hears everything; the other one still says everything; then it is one end."""
    heard = []

    class Callbacks(penstock.Handler):
        def on_message(self, conn, message):
            heard.append(message)
            if len(heard) <= lines:
                conn.post(message * BIG)
            if len(heard) == lines and first != "peer":
                conn.send_eof()

    bind = "tcp://127.0.0.1:0" if transport == "tcp" else f"unix:{tmp_path}/s"
    with serve(penstock.as_service(Callbacks, codec="lines:max=1MiB"), bind=bind) as server:
        sock = dial(server.address, receive_buffer_bytes=8192)
        opened.append(sock)
        sock.sendall(b"x\n" * lines)
        if first != "server":
            sock.shutdown(socket.SHUT_WR)
        answer = read_to_end(sock, stays=first == "server")
        if first == "server":
            sock.sendall(b"y\n" * 3)
            sock.shutdown(socket.SHUT_WR)
        reasons = server.reasons(1)
    told = {"peer": "the peer ends its side", "server": "the server ends its side", "both": "both do"}[first]
    figure(f"T-06 {number:02} {engine.label} {transport}: {told}, {len(answer):,} bytes owed: all there, {reasons[0]}")

    assert (b"x" * BIG + b"\n") * lines == answer
    assert [b"x"] * lines + [b"y"] * (3 if first == "server" else 0) == heard
    assert ["peer_closed"] == reasons
