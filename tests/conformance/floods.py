"""A flood of messages to a peer that does not read: how it begins, what of it arrives, what was counted as dropped."""

import threading

from penstock.config import Limits
from penstock.testing.peers import PATIENCE_S

KIB = 1024
COUNT = 2000
SIZE = 1000  # of a message, framing included: 2 MB in all
LIMITS = Limits(write_high_bytes=64 * KIB, write_low_bytes=16 * KIB, write_max_bytes=256 * KIB)


def message(number):
    return b"%0*d" % (SIZE - 1, number)


def arrived(peer):
    """The numbers of all messages until EOF, in order; each is whole."""
    if peer.type.name == "SOCK_SEQPACKET":
        found = []
        while record := peer.recv(4 * SIZE):
            found.append(record)
    else:
        received = bytearray()
        while data := peer.recv(1 << 20):
            received += data
        assert received.endswith(b"\n")
        found = received.split(b"\n")[:-1]
    assert {SIZE - 1} == {len(each) for each in found}
    return [int(each) for each in found]


def dropped(server):
    """How many messages the events say were given up, by policy."""
    server.call(lambda: None)
    return dict(server.server.stats.messages_dropped)


class Flood:
    """React to a message by posting COUNT others, each by ``post(conn, number)``; then close."""

    def __init__(self, post):
        self.post = post
        self.over = threading.Event()

    def __call__(self, conn, _message):
        for number in range(COUNT):
            self.post(conn, number)
        conn.close()
        self.over.set()

    def watch(self, server, peer):
        """Have it begin; return once all was posted, with what is held for the peer then."""
        peer.send(b"go\n")
        assert self.over.wait(PATIENCE_S)
        return sum(server.call(lambda: [conn.held_bytes for conn in server.server.connections]))
