"""A codec that a user wrote is honoured wherever TCP cuts the bytes, in whatever form a handler is written."""

import pytest

from penstock.codecs import NEED_DATA, LengthPrefixed, Lines
from penstock.testing.peers import read_exactly, read_to_end


class Exclaiming(Lines):
    """Overrides ``encode`` alone."""

    def encode(self, message):
        return message + b"!\n"


class Shouting(Lines):
    """Overrides ``decode`` alone."""

    def decode(self, buffer):
        message = super().decode(buffer)
        return message if message is NEED_DATA else message.upper()


class Counting(LengthPrefixed):
    """Overrides both."""

    def decode(self, buffer):
        message = super().decode(buffer)
        return message if message is NEED_DATA else message[::-1]

    def encode(self, message):
        return super().encode(b"%d " % len(message) + message)


OWN = [
    (Exclaiming(), [b"ab\n", b"c\n"], [b"ab!\n", b"c!\n"]),
    (Shouting(), [b"ab\n", b"c\n"], [b"AB\n", b"C\n"]),
    (Counting(size=1), [b"\2ab", b"\1c"], [b"\0042 ba", b"\0031 c"]),
]


@pytest.mark.parametrize("glued", [True, False], ids=["glued", "apart"])
@pytest.mark.parametrize(("codec", "frames", "answers"), OWN, ids=lambda it: type(it).__name__)
def test_what_a_subclass_overrides_is_honoured(serve, form, codec, frames, answers, glued):
    """One frame at a time and several in one read: the same."""
    with serve(lambda _conn, message: message, codec=codec) as server, server.dial() as peer:
        if glued:
            peer.sendall(b"".join(frames))
            peer.shutdown(1)
            came = [read_to_end(peer)]
        else:
            came = []
            for frame, answer in zip(frames, answers, strict=True):
                peer.sendall(frame)
                came.append(read_exactly(peer, len(answer)))

        assert b"".join(answers) == b"".join(came)


@pytest.mark.forms(lambda form: not form.is_conversation)
def test_what_a_subclass_overrides_is_honoured_in_datagrams(serve, form):
    """Framing and all: its own `decode` and `encode` are what a datagram is read and written by."""
    with serve(lambda _conn, message: message, codec=Shouting(), bind="udp://127.0.0.1:0") as server:
        with server.dial() as peer:
            peer.send(b"ab\n")

            assert b"AB\n" == peer.recv(100)
