"""T-07: a connection cut after each byte of an exchange, politely and not, leaves nothing behind."""

import contextlib

from penstock.testing.peers import read_to_end, reset

LINE = b"abcdefg\n"
EXCHANGE = LINE * 8


def test_eof_after_each_byte(serve, form, tally):
    """FIN after byte k: every whole line before it is answered, and the reason says whether a line was cut."""
    expected = {k: (LINE * (k // 8), "truncated" if k % 8 else "peer_closed") for k in range(1, 65)}
    found = {}
    with serve(lambda _conn, message: message) as server:
        for k in range(1, 65):
            with server.dial() as peer:
                peer.sendall(EXCHANGE[:k])
                peer.shutdown(1)
                answer = read_to_end(peer)
            found[k] = (answer, server.reasons(k)[-1])
    tally("T-07 connections cut by EOF after byte k of 64, 0 unhandled, 0 descriptors left", 64)

    assert expected == found


def test_reset_after_each_byte(serve, form, tally):
    """RST after byte k, with and without reading the replies first: no handler failed, no descriptor is left."""
    with serve(lambda _conn, message: message) as server:
        for k in range(1, 65):
            peer = server.dial()
            peer.sendall(EXCHANGE[:k])
            if k % 2:
                peer.recv(1 if k >= 8 else 0)
            reset(peer)
        reasons = server.reasons(64)
    tally("T-07 connections cut by a reset after byte k of 64, 0 unhandled, 0 descriptors left", 64)

    assert {"reset"} == set(reasons)


def test_reset_on_a_unix_socket(serve, form, tmp_path):
    """A Unix peer that leaves with replies unread is gone with EOF or a reset, whichever the system saw first."""
    with serve(lambda _conn, message: message, bind=f"unix://{tmp_path}/s") as server:
        for k in range(1, 65):
            with server.dial() as peer, contextlib.suppress(OSError):
                peer.sendall(EXCHANGE[:k])
        reasons = server.reasons(64)

    assert {"reset", "peer_closed", "truncated"} >= set(reasons)


def test_reset_of_a_peer_that_does_not_read(serve, form):
    """A peer that is owed more than the kernel takes, and resets: what waited for it is dropped."""
    with serve(lambda _conn, message: message * 100, codec="lines:max=1MiB") as server:
        for _ in range(3):
            peer = server.dial(receive_buffer_bytes=4096)
            peer.sendall((b"x" * 1000 + b"\n") * 200)
            peer.recv(1)
            reset(peer)

        assert ["reset"] * 3 == server.reasons(3)
