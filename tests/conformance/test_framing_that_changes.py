"""What is taken and sent past the codec: so many bytes, all up to a delimiter, bytes as they are."""

import random
import socket

import pytest

import penstock
from penstock import errors
from penstock.codecs import Buffer, Codec, Fixed, parse_codec
from penstock.codecs.base import NEED_DATA
from penstock.core.service import callbacks
from penstock.engines.receiving import PREFETCH
from penstock.testing.peers import read_exactly, read_to_end


class OwnLines(Codec[bytes]):
    """Lines as a user's codec cuts them, one by one."""

    def decode(self, buffer: Buffer):
        end = buffer.find(b"\n")
        if end < 0:
            return NEED_DATA
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line

    def encode(self, message):
        return message + b"\n"


COMMANDS = 500  # that come together

CODECS = {
    "lines": parse_codec("lines"),
    "own": OwnLines(),
    "silence": parse_codec("lines:quiet=1h"),
    "skip": parse_codec("lines:on-oversize=skip"),
}


def memcached(conn):
    """``set N`` is followed by N bytes and a line end, ``text`` by a text up to ``.,.``; both are echoed, raw."""
    while True:
        try:
            line = yield conn.receive()
        except penstock.EndOfStreamError:
            return
        if line.startswith(b"set "):
            block = yield conn.receive_exactly(int(line[4:]))
            end = yield conn.receive_until(b"\r\n")
            yield conn.send(b"%d" % len(block) + end)
            yield conn.send_raw(block + b"|")
        elif line == b"text":
            text = yield conn.receive_until(b".,.")
            yield conn.send_raw(text + b"|")
        else:
            yield conn.send(line.upper())


def commands(seed, count=40):
    """Return a stream of commands, and what answers it."""
    chosen = random.Random(seed)
    wire, answer = b"", b""
    for _ in range(count):
        kind = chosen.choice(("set", "text", "line"))
        block = chosen.randbytes(chosen.choice((0, 1, 7, 30, 300)))
        if kind == "set":
            wire += b"set %d\n" % len(block) + block + b"\r\n"
            answer += b"%d\n" % len(block) + block + b"|"
        elif kind == "text":
            text = block.replace(b".,.", b"")
            wire += b"text\n" + text + b".,."
            answer += text + b"|"
        else:
            wire += b"line %d\n" % len(block)
            answer += b"LINE %d\n" % len(block)
    return wire, answer


@pytest.mark.parametrize("codec", CODECS)
def test_where_the_network_cuts_does_not_matter(serve, converse, codec):
    """Lines, counted blocks and delimited texts in turn: the answers are the same for every cut."""
    service = converse(memcached, CODECS[codec])
    with serve(service) as server:
        for seed in range(6):
            wire, answer = commands(seed)
            chosen = random.Random(seed)
            with server.dial() as peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                at = 0
                while at < len(wire):
                    size = chosen.choice((1, 2, 5, 40, 1000, 100_000)) if seed else len(wire)
                    peer.sendall(wire[at : at + size])
                    at += size
                peer.shutdown(socket.SHUT_WR)

                assert answer == read_to_end(peer)


def test_every_cut_of_a_short_stream(serve, converse):
    """Each place once: in a line, in a count, at the edge of a block, in the middle of a delimiter."""
    wire = b"set 3\nabc\r\nhi\ntext\nx.,y.,.set 0\n\r\nend\n"
    answer = b"3\nabc|HI\nx.,y|0\n|END\n"
    found = []
    with serve(converse(memcached)) as server:
        for cut in range(len(wire) + 1):
            with server.dial() as peer:
                peer.sendall(wire[:cut])
                peer.sendall(wire[cut:])
                peer.shutdown(socket.SHUT_WR)
                found.append(read_to_end(peer))

    assert [answer] * len(found) == found


def test_a_block_longer_than_what_is_read_at_once(serve, converse):
    """Its bytes are gathered, and the line behind it is a line again."""

    def script(conn):
        block = yield conn.receive_exactly(300_000, max_bytes=1 << 20)
        line = yield conn.receive()
        yield conn.send(b"%d %s" % (len(block), line))

    with serve(converse(script)) as server, server.dial() as peer:
        peer.sendall(b"x" * 300_000 + b"line\n")

        assert b"300000 line\n" == read_to_end(peer)


@pytest.mark.parametrize("most", [None, 50])
def test_what_is_above_the_limit_is_refused_as_a_frame_is(serve, converse, most):
    """The limit is the codec's unless it is given. Its length is the peer's, and the connection closes for it."""
    raised = []

    def script(conn):
        line = yield conn.receive()
        block = yield conn.receive_exactly(int(line), max_bytes=most)
        yield conn.send(block)
        try:
            yield conn.receive_exactly(int(line) + 1, max_bytes=most)
        except penstock.RemoteProtocolError as error:
            raised.append(str(error))

    limit = most or 100
    with serve(converse(script, "lines:max=100")) as server:
        with server.dial() as peer:
            peer.sendall(b"%d\n" % limit + b"x" * 300)
            assert b"x" * limit + b"\n" == read_to_end(peer)

        assert ["frame_too_large"] == server.reasons(1)
    assert [f"frame of {limit + 1} bytes exceeds max_frame_bytes={limit}"] == raised


def test_a_negative_count_is_the_callers_mistake(serve, converse):
    """It takes nothing, and the connection is as it was."""

    def script(conn):
        try:
            yield conn.receive_exactly(-1)
        except ValueError as error:
            yield conn.send(str(error).encode())
        line = yield conn.receive()
        yield conn.send(line)

    with serve(converse(script)) as server, server.dial() as peer:
        peer.sendall(b"still here\n")

        assert b"n must be 0 or more, not -1\nstill here\n" == read_to_end(peer)


def test_a_count_above_the_limit_that_is_let_out_closes_for_it(serve, converse):
    """Whose length is the peer's is refused as a frame of a codec would be."""

    def script(conn):
        line = yield conn.receive()
        yield conn.receive_exactly(int(line))

    with serve(converse(script)) as server:
        with server.dial() as peer:
            peer.sendall(b"99999999\n")
            assert b"" == read_to_end(peer)

        assert ["frame_too_large"] == server.reasons(1)


def test_a_delimiter_that_does_not_come_in_time_for_its_limit(serve, converse):
    """So many bytes and no delimiter: the connection closes, as for a line that is too long."""
    raised = []

    def script(conn):
        try:
            yield conn.receive_until(b"\0", 10)
        except penstock.RemoteProtocolError as error:
            raised.append(type(error))

    with serve(converse(script)) as server:
        with server.dial() as peer:
            peer.sendall(b"0123456789\0")
            assert b"" == read_to_end(peer)
        with server.dial() as peer:
            peer.sendall(b"0123456789a")
            assert b"" == read_to_end(peer)

        assert {"done": 1, "frame_too_large": 1} == {
            reason: server.reasons(2).count(reason) for reason in ("done", "frame_too_large")
        }
    assert [errors.FrameTooLongError] == raised


@pytest.mark.parametrize("how", ["exactly", "until"])
def test_an_end_in_the_middle_is_told_from_an_end(serve, converse, how):
    """EOF before the first byte is the end of the stream; EOF after it is a frame that was cut off."""
    raised = []

    def script(conn):
        try:
            yield conn.receive_exactly(5) if how == "exactly" else conn.receive_until(b";")
        except (penstock.EndOfStreamError, penstock.RemoteProtocolError) as error:
            raised.append(type(error))

    with serve(converse(script)) as server:
        for sent in (b"", b"abc"):
            with server.dial() as peer:
                peer.sendall(sent)
                peer.shutdown(socket.SHUT_WR)
                assert b"" == read_to_end(peer)
            server.wait_closed(1 + bool(sent))

        assert ["peer_closed", "truncated"] == server.reasons(2)
    assert [penstock.EndOfStreamError, errors.TruncatedError] == raised


def test_what_was_waited_for_in_vain_is_received_by_the_codec(serve, converse):
    """A wait that its time ends takes nothing: the bytes that came are the front of the next message."""

    def script(conn):
        yield conn.send(b"go")
        for _ in range(2):
            try:
                yield conn.receive_exactly(10, 0.05)
            except TimeoutError:
                yield conn.send(b"late")
            try:
                yield conn.receive_until(b"\0", None, 0.05)
            except TimeoutError:
                yield conn.send(b"late")
        line = yield conn.receive()
        yield conn.send(line)

    with serve(converse(script)) as server, server.dial() as peer:
        assert b"go\n" == read_exactly(peer, 3)
        peer.sendall(b"abc")
        assert b"late\n" * 4 == read_exactly(peer, 20)
        peer.sendall(b"d\n")

        assert b"abcd\n" == read_to_end(peer)


def test_a_peer_that_ends_its_lines_stays_one_that_does(serve, converse):
    """With a silence that ends lines: what is taken past the codec does not make silence count again."""
    lines = []

    def script(conn):
        lines.append((yield conn.receive()))
        yield conn.receive_exactly(2)
        yield conn.send(b"go")
        lines.append((yield conn.receive()))
        yield conn.send(b"done")

    with serve(converse(script, "lines:quiet=30ms")) as server, server.dial() as peer:
        peer.sendall(b"a\nxxha")
        assert b"go\n" == peer.recv(3)
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        peer.settimeout(20)
        peer.sendall(b"lf\n")
        assert b"done\n" == read_to_end(peer)

    assert [b"a", b"half"] == lines


def test_bytes_leave_between_messages_in_the_order_of_the_calls(serve, converse):
    """Framed or not, what was sent first leaves first; only bytes are sent raw."""
    refusals = []

    def script(conn):
        yield conn.receive()
        yield conn.send(b"one")
        conn.post(b"two")
        yield conn.send_raw(b"<raw>")
        yield conn.send(b"three")
        try:
            yield conn.send_raw("text")
        except TypeError as error:
            refusals.append(str(error))

    with serve(converse(script)) as server:
        with server.dial() as peer:
            peer.sendall(b"x\ny\nz\n")
            assert b"one\ntwo\n<raw>three\n" == read_to_end(peer)
        server.wait_closed(1)
        (closed,) = server.record.of(penstock.EventName.CLOSED)

        assert 4 == closed.connection.messages_out
    assert ["a frame is bytes, not str"] == refusals


@pytest.mark.ciphered
def test_each_piece_is_one_message_in_the_counts(serve, converse):
    """A block is received as a message is."""

    def script(conn):
        yield conn.receive_exactly(3)
        yield conn.receive_until(b";")
        yield conn.receive()
        yield conn.send(b"%d" % conn.messages_in)

    with serve(converse(script)) as server, server.dial() as peer:
        peer.sendall(b"abcdef;line\nmore\n")

        assert b"3\n" == read_to_end(peer)


def test_a_codec_that_is_set_cuts_what_follows_a_block(serve, converse):
    """In whatever order the two come."""

    def script(conn):
        conn.set_codec(parse_codec("netstring"))
        block = yield conn.receive_exactly(2)
        message = yield conn.receive()
        conn.set_codec(parse_codec("lines"))
        text = yield conn.receive_until(b".")
        line = yield conn.receive()
        yield conn.send(b" ".join((block, message, text, line)))

    with serve(converse(script)) as server, server.dial() as peer:
        peer.sendall(b"ab3:two,text.line\n")

        assert b"ab two text line\n" == read_to_end(peer)


@pytest.mark.engines("pure", "uvloop", "blocking")
def test_records_are_not_cut(serve, converse, tmp_path):
    """A record is one message: what is asked for by bytes is refused, and the connection is as it was."""
    refusals = []

    def script(conn):
        try:
            yield conn.receive_exactly(3)
        except penstock.LocalProtocolError as error:
            refusals.append(str(error))
        message = yield conn.receive()
        yield conn.send_raw(b"<" + message + b">")

    with serve(converse(script), bind=f"unix+seqpacket:{tmp_path}/s") as server, server.dial() as peer:
        peer.send(b"abc")

        assert b"<abc>" == peer.recv(100)
    assert ["a datagram or record is one message: it cannot be cut by bytes; use receive"] == refusals


@pytest.mark.engines("pure", "uvloop", "native")
def test_a_wait_that_is_cancelled_takes_nothing(serve, converse):
    """The next one to receive finds the bytes."""
    import asyncio

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        waiting = asyncio.ensure_future(conn.receive_exactly(100))
        await asyncio.sleep(0)
        with pytest.raises(penstock.LocalProtocolError):
            await conn.receive_until(b"x")
        await conn.send(b"go")
        while conn.bytes_in < 3:
            await asyncio.sleep(0.001)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await conn.send(await conn.receive())

    with serve(handler) as server, server.dial() as peer:
        assert b"go\n" == read_exactly(peer, 3)
        peer.sendall(b"abc\n")

        assert b"abc\n" == read_to_end(peer)


class CountedLines(OwnLines):
    """Counts what it has cut."""

    def __init__(self):
        self.cut = 0

    def decode(self, buffer: Buffer):
        line = super().decode(buffer)
        self.cut += line is not NEED_DATA
        return line


@pytest.mark.parametrize("how", ["exactly", "until", "codec"])
def test_after_a_switch_the_rest_is_not_cut_again_and_again(serve, converse, how):
    """Hundreds of commands that came together, each with a block past its line: each line is cut once.

    What is cut ahead before the first block is known of is cut in vain.
    """
    lines, blocks = CountedLines(), parse_codec("fixed:size=6")

    def script(conn):
        for _ in range(COMMANDS):
            yield conn.receive()
            if how == "codec":
                conn.set_codec(blocks)
                block = yield conn.receive()
                conn.set_codec(lines)
            else:
                block = yield conn.receive_exactly(6) if how == "exactly" else conn.receive_until(b";")
            yield conn.send_raw(block)

    with serve(converse(script, lines)) as server, server.dial() as peer:
        peer.sendall(b"set\nab\ncd;" * COMMANDS)
        peer.shutdown(socket.SHUT_WR)

        assert (b"ab\ncd" if how == "until" else b"ab\ncd;") * COMMANDS == read_to_end(peer)
    assert 0 <= lines.cut - COMMANDS <= PREFETCH


@pytest.mark.engines("pure", "uvloop", "native")
def test_callbacks_that_switch_for_each_message_have_nothing_cut_again_and_again(serve):
    """As above, where the engine calls the handler, which may cut a whole batch ahead before the first change."""
    lines, blocks = CountedLines(), parse_codec("fixed:size=6")

    class Commands(penstock.Handler):
        def on_message(self, conn, message):
            if conn.codec is lines:
                conn.set_codec(blocks)
                return None
            conn.set_codec(lines)
            return message

    with serve(callbacks(Commands, name="commands", codec=lines)) as server, server.dial() as peer:
        peer.sendall(b"set\nab\ncd;" * COMMANDS)
        peer.shutdown(socket.SHUT_WR)

        assert b"ab\ncd;\n" * COMMANDS == read_to_end(peer)
    assert 0 <= lines.cut - COMMANDS <= penstock.Limits().batch_messages


class Turns(penstock.Handler):
    """Lines and blocks of six bytes in turn; each block is answered by a reply, after one that was posted."""

    def on_message(self, conn, message):
        if isinstance(conn.codec, Fixed):
            conn.set_codec(parse_codec("lines:max=10"))
            conn.post(b"posted")
            if message == b"close;":
                conn.close()
            elif message == b"fail!;":
                raise ValueError
            return message
        conn.set_codec(Fixed(6))
        return None


@pytest.mark.engines("pure", "uvloop", "native")
@pytest.mark.parametrize(
    ("ending", "answer", "reason"),
    [
        (b"", b"", "peer_closed"),
        (b"close;set\nab.cd;", b"posted\nclose;\n", "done"),
        (b"fail!;set\nab.cd;", b"posted\n", "handler_error"),
        (b"ab.cd;a line too long\n", b"posted\nab.cd;\n", "frame_too_large"),
    ],
)
def test_a_stream_of_switches_ends_where_its_messages_say(serve, ending, answer, reason):
    """What came before is answered in order, what comes after it is not handled."""
    wire = b"set\nab.cd;" * 50 + (b"set\n" + ending if ending else b"")
    service = callbacks(Turns, name="turns", codec=parse_codec("lines:max=10"))
    with serve(service, fails=int(reason == "handler_error")) as server, server.dial() as peer:
        peer.sendall(wire)
        peer.shutdown(socket.SHUT_WR)

        assert b"posted\nab.cd;\n" * 50 + answer == read_to_end(peer)
        assert [reason] == server.reasons(1)
