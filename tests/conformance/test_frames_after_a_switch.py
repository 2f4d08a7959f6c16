"""What waits behind a codec that is changed for each message stays where it is, and is judged as ever."""

import pytest

import penstock
from penstock import errors
from penstock.codecs import Buffer, Codec, parse_codec
from penstock.codecs.base import NEED_DATA
from penstock.testing.peers import read_to_end

PAIRS = 2000  # of a line and a block, that come together


class OwnLines(Codec[bytes]):
    """Lines, as a user's codec cuts them. Counts the bytes that it meets in a buffer which is not the one before."""

    name = "own"

    def __init__(self):
        self.buffer = None
        self.moved = 0

    def decode(self, buffer: Buffer):
        if buffer is not self.buffer:
            self.buffer = buffer
            self.moved += len(buffer)
        end = buffer.find(b"\n")
        if end < 0:
            return NEED_DATA
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line

    def encode(self, message):
        return message + b"\n"


class TakesFirst(OwnLines):
    """Takes a line off the buffer, and only then looks what it is."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def decode(self, buffer: Buffer):
        line = super().decode(buffer)
        if line == b"bad":
            raise self.error
        return line


def test_what_waits_is_not_moved_for_each_message(serve, converse):
    """A codec of one's own and a built-in one in turn: each message costs what it costs, however much came with it."""
    lines, blocks = OwnLines(), parse_codec("fixed:size=6")

    def script(conn):
        for _ in range(PAIRS):
            yield conn.receive()
            conn.set_codec(blocks)
            block = yield conn.receive()
            conn.set_codec(lines)
            yield conn.send_raw(block)

    sent = b"set\nab\ncd;" * PAIRS
    with serve(converse(script, lines)) as server, server.dial() as peer:
        peer.sendall(sent)

        assert b"ab\ncd;" * PAIRS == read_to_end(peer)
    assert lines.moved < 16 * len(sent)


@pytest.mark.parametrize("how", ["at first", "after a switch", "after a block"])
@pytest.mark.parametrize(
    ("error", "reason"), [(ValueError("own"), "codec_error"), (errors.BadFrameError("own"), "bad_frame")]
)
def test_a_bad_frame_that_its_codec_has_taken_off_ends_the_input(serve, converse, how, error, reason):
    """Nothing after it is looked at, whatever the codec has left of it in the buffer."""
    codec, received, raised = TakesFirst(error), [], []

    def script(conn):
        if how == "after a switch":
            yield conn.receive()
            conn.set_codec(codec)
        elif how == "after a block":
            yield conn.receive_exactly(6)
        try:
            while True:
                received.append((yield conn.receive()))
        except (penstock.RemoteProtocolError, errors.CodecError) as failure:
            raised.append(failure is error or failure.__cause__ is error)

    with serve(converse(script, "lines" if how == "after a switch" else codec)) as server:
        with server.dial() as peer:
            peer.sendall((b"" if how == "at first" else b"first\n") + b"good\nbad\nnot this\nnor this\n")
            assert b"" == read_to_end(peer)

        assert [reason] == server.reasons(1)
    assert [b"good"] == received
    assert [True] == raised
