"""Law 1: messages in order, one at a time; replies in the order of their messages; whatever way the bytes are cut."""

import random
import threading

import pytest

from penstock.testing.peers import read_to_end

pytestmark = pytest.mark.tapped

MESSAGES = [b"", b"a", b"bc" * 40, "zażółć 🦆".encode(), b"x" * 5000, b"", b"last"]
WIRE = b"".join(message + b"\n" for message in MESSAGES)


def echo(_conn, message):
    return b"<" + message + b">"


EXPECTED = b"".join(b"<" + message + b">\n" for message in MESSAGES)


def pieces_of(wire, sizes):
    at = 0
    while at < len(wire):
        size = next(sizes)
        yield wire[at : at + size]
        at += size


def forever(value):
    while True:
        yield value


def random_sizes(seed):
    generator = random.Random(seed)
    while True:
        yield generator.choice((1, 2, 3, 7, 50, 1000, 4096))


def talk(server, pieces):
    """Send the pieces, each in a segment of its own as far as one can have it, then EOF; return all that comes back."""
    with server.dial() as peer:
        for piece in pieces:
            peer.sendall(piece)
        peer.shutdown(1)
        return read_to_end(peer)


def test_where_the_network_cuts_the_bytes_does_not_matter(serve, form):
    """One byte at a time, a few, all at once, or as chance has it: the same replies in the same order."""
    with serve(echo) as server:
        answers = {
            "at once": talk(server, [WIRE]),
            "997 bytes": talk(server, pieces_of(WIRE, forever(997))),
            "seed 1": talk(server, pieces_of(WIRE, random_sizes(1))),
            "seed 2": talk(server, pieces_of(WIRE, random_sizes(2))),
            "two halves": talk(server, pieces_of(WIRE, forever(len(WIRE) // 2 + 1))),
        }

        assert dict.fromkeys(answers, EXPECTED) == answers


@pytest.mark.parametrize("count", [1, 2, 64, 65, 256, 257, 1000])
def test_pipelined_messages_are_answered_in_order(serve, form, count):
    """T-05: k frames in one segment, in k segments, and byte by byte give the same replies."""
    wire = b"".join(b"%d\n" % number for number in range(count))
    expected = b"".join(b"<%d>\n" % number for number in range(count))
    frames = [b"%d\n" % number for number in range(count)]
    with serve(echo) as server:
        one_segment = talk(server, [wire])
        segment_each = talk(server, frames)
        byte_each = talk(server, pieces_of(wire, forever(1))) if count <= 256 else expected

    assert [expected] * 3 == [one_segment, segment_each, byte_each]


def test_messages_of_one_connection_never_overlap(serve, form):
    """While one message of a connection is handled, no other one of it is, in whatever threads handlers run."""
    guard = threading.Lock()
    overlaps = []

    def react(_conn, message):
        if not guard.acquire(blocking=False):
            overlaps.append(message)
            return message
        try:
            return message
        finally:
            guard.release()

    wire = b"".join(b"%d\n" % number for number in range(500))
    with serve(react) as server:
        answer = talk(server, pieces_of(wire, random_sizes(3)))

    assert (wire, []) == (answer, overlaps)


def test_several_connections_do_not_mix(serve, form):
    """Each of many connections gets its own replies, whole and in order, while all of them talk."""
    with serve(echo) as server:
        peers = [server.dial() for _ in range(20)]
        for number in range(50):
            for index, peer in enumerate(peers):
                peer.sendall(b"%d of %d\n" % (number, index))
        answers = []
        for peer in peers:
            peer.shutdown(1)
            answers.append(read_to_end(peer))
            peer.close()

    expected = [b"".join(b"<%d of %d>\n" % (number, index) for number in range(50)) for index in range(20)]
    assert expected == answers
