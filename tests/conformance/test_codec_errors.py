"""A codec that fails, or breaks its contract: one reason, one entry, its own connection alone, on every engine."""

import asyncio

import pytest

import penstock
from penstock.codecs import NEED_DATA, Codec, JsonLines, Lines
from penstock.config import Limits
from penstock.core.events import EventName
from penstock.errors import CodecError
from penstock.testing.peers import read_to_end
from penstock.units import Rate


class Own(Codec[bytes]):
    """Lines, until one says what to do wrong."""

    name = "own"

    def decode(self, buffer):
        end = buffer.find(b"\n")
        if end < 0:
            return NEED_DATA
        message = bytes(buffer[:end])
        if message == b"index":
            return message[99]
        if message == b"local":
            raise penstock.LocalProtocolError("said of what was received")
        if message != b"nothing":
            del buffer[: end + 1]
        return message

    def encode(self, message):
        if message == b"write":
            return message[99]
        if message == b"text":
            return "text"
        return message + b"\n"

    def finish(self, buffer):
        if buffer == b"rest":
            return buffer[99]
        return super().finish(buffer)


class NotExceptionError(BaseException):
    """No `Exception`."""


class Gives(Lines):
    """Raises, at what it reads or at the rest, what is not its own failure."""

    def __init__(self, error, method):
        super().__init__()
        self.error, self.method = error, method

    def decode(self, buffer):
        if self.method == "decode" and b"bad" in buffer:
            raise self.error
        return super().decode(buffer)

    def decode_many(self, data, limit):
        if self.method == "decode" and b"bad" in data:
            raise self.error
        return super().decode_many(data, limit)

    def finish(self, buffer):
        if self.method == "finish":
            raise self.error
        return super().finish(buffer)


class NoPair(Lines):
    """Its batch form returns no pair."""

    def decode_many(self, data, limit):
        return None if b"bad" in data else super().decode_many(data, limit)


class NoPlace(Lines):
    """Its batch form gives messages and takes nothing."""

    def decode_many(self, data, limit):
        return ([b"bad"], 0) if b"bad" in data else super().decode_many(data, limit)


# The codec, what is sent beside ``a\n``, the method that fails, what it says.
INPUT = [
    (Own(), b"index\n", "decode", "raised IndexError: index out of range"),
    (Own(), b"local\n", "decode", "raised LocalProtocolError: said of what was received"),
    (Own(), b"nothing\n", "decode", "returned "),
    (NoPair(), b"bad\n", "decode_many", "raised TypeError: cannot unpack non-iterable NoneType object"),
    (NoPlace(), b"bad\n", "decode_many", "returned messages and says that they took 0 bytes"),
]
OUTPUT = [
    (Own(), b"write\n", "encode", "raised IndexError: index out of range"),
    (Own(), b"text\n", "encode", "returned str where bytes are sent"),
]


# One form of each driver: what the others differ in is no matter of codecs.
each_driver = pytest.mark.forms(
    lambda form: form.label in ("def-message", "async-message", "async-connection", "def-connection", "threads-message")
)


def echo(_conn, message):
    return message


def reported(server):
    """What was said of codecs that failed."""
    return [event.error for event in server.record.of(EventName.CODEC_FAILED)]


@each_driver
@pytest.mark.parametrize(("codec", "bad", "method", "problem"), INPUT + OUTPUT, ids=lambda it: str(it)[:16])
def test_a_codec_that_fails_ends_its_connection_alone(serve, form, codec, bad, method, problem):
    """What was answered before arrives, then EOF; the reason is ``codec_error``, counted and reported once."""
    with serve(echo, codec=codec) as server, server.dial() as other:
        other.sendall(b"1\n")
        assert b"1\n" == other.recv(100)
        with server.dial() as peer:
            peer.sendall(b"a\n")
            assert b"a\n" == peer.recv(100)
            peer.sendall(bad)
            assert b"" == read_to_end(peer)
        assert ["codec_error"] == server.reasons(1)

        other.sendall(b"2\n")
        assert b"2\n" == other.recv(100)
        other.close()
        (error,) = reported(server)
        assert isinstance(error, CodecError)
        assert error.method in (method, method.removesuffix("_many"), f"{method}_many")
        assert problem in error.problem
        assert problem.startswith("raised") or "base.py:" in error.problem or "test_codec_errors.py:" in error.problem
        assert (1, 0) == (server.server.stats.codec_errors, server.server.stats.handler_errors)
        assert ("raised" in problem) == (error.__cause__ is not None)


@each_driver
@pytest.mark.parametrize(("codec", "bad"), [(codec, bad) for codec, bad, *_ in OUTPUT], ids=lambda it: str(it)[:16])
def test_what_was_answered_before_it_in_one_read_arrives(serve, form, codec, bad):
    """A reply that the codec fails at takes no other with it."""
    with serve(echo, codec=codec) as server, server.dial() as peer:
        peer.sendall(b"a\nb\n" + bad + b"c\n")

        assert b"a\nb\n" == read_to_end(peer)
        assert ["codec_error"] == server.reasons(1)
        assert 1 == len(reported(server))


@each_driver
def test_a_codec_that_fails_at_eof_is_told_apart_from_a_truncated_stream(serve, form):
    """`finish` is the codec's as well."""
    with serve(echo, codec=Own()) as server, server.dial() as peer:
        peer.sendall(b"a\nrest")
        peer.shutdown(1)

        assert b"a\n" == read_to_end(peer)
        assert ["codec_error"] == server.reasons(1)
        assert ["finish"] == [error.method for error in reported(server)]


@each_driver
@pytest.mark.parametrize("method", ["decode", "finish"])
@pytest.mark.parametrize("kind", [MemoryError, SystemExit, NotExceptionError])
def test_what_is_no_failure_of_a_codec_is_reported_as_a_handlers(serve, form, kind, method):
    """A lack of memory, and what is no `Exception`: told of once, the reason ``handler_error``; never the network's."""
    with serve(echo, codec=Gives(kind("boom"), method), fails=1) as server, server.dial() as peer:
        peer.sendall(b"a\n")
        assert b"a\n" == peer.recv(100)
        if method == "decode":
            peer.sendall(b"bad\n")
        else:
            peer.shutdown(1)

        assert b"" == read_to_end(peer)
        assert ["handler_error"] == server.reasons(1)
        assert [kind] == [type(error) for error in server.record.failures]


@pytest.mark.forms(lambda form: form.label == "def-message")
@pytest.mark.parametrize("kind", [MemoryError, SystemExit, NotExceptionError])
def test_nor_is_it_the_networks_where_it_is_a_message_too_many(serve, form, kind):
    """A message over the rate is cut only to know that it is there."""
    limits = Limits(max_message_rate=Rate(1, 3600.0), on_message_rate="close")
    with serve(echo, codec=Gives(kind("boom"), "decode"), limits=limits, fails=1) as server, server.dial() as peer:
        peer.sendall(b"a\n")
        assert b"a\n" == peer.recv(100)
        peer.sendall(b"bad\n")

        assert b"" == read_to_end(peer)
        assert ["handler_error"] == server.reasons(1)


@each_driver
def test_what_a_type_of_the_users_raises_is_the_codecs_too(serve, form):
    """In the codecs of objects as well, whose compiled framing calls the same code."""
    import msgspec

    class Point(msgspec.Struct):
        x: int

        def __post_init__(self):
            if self.x < 0:
                raise LookupError(self.x)

    with serve(lambda _conn, point: point, codec=JsonLines(type=Point)) as server, server.dial() as peer:
        peer.sendall(b'{"x":1}\n{"x":-1}\n')

        assert b'{"x":1}\n' == read_to_end(peer)
        assert ["codec_error"] == server.reasons(1)
        assert [LookupError] == [type(error.__cause__) for error in reported(server)]


@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "async-callbacks", "threads-callbacks"))
def test_a_handler_that_catches_it_goes_on(serve, form):
    """A message that the codec fails to write is not sent, and the connection is as it was."""

    def react(conn, message):
        if message == b"write":
            try:
                conn.post(message)
            except CodecError as error:
                return error.method.encode()
        return message

    with serve(react, codec=Own()) as server, server.dial() as peer:
        peer.sendall(b"write\nb\n")
        peer.shutdown(1)

        assert b"encode\nb\n" == read_to_end(peer)
        assert ["peer_closed"] == server.reasons(1)


@pytest.mark.forms(lambda form: form.label in ("def-message", "def-callbacks", "async-message", "threads-message"))
@pytest.mark.parametrize("bad", [b"index\n", b"nothing\n", b"write\n", b"text\n"])
def test_a_datagram_that_the_codec_fails_at_is_dropped(serve, form, bad):
    """Reported once; the next one is answered."""
    with serve(echo, codec=Own(), bind="udp://127.0.0.1:0") as server, server.dial() as peer:
        peer.send(bad)
        server.wait_until(lambda it: it.stats.codec_errors == 1)
        peer.send(b"a\n")

        assert b"a\n" == peer.recv(100)
        assert 1 == len(reported(server))
        assert (0, bad in (b"index\n", b"nothing\n")) == (
            server.server.stats.handler_errors,
            server.server.stats.datagrams_dropped["codec_error"] == 1,
        )


@pytest.mark.forms(lambda form: form.label in ("def-message", "def-callbacks", "async-message", "threads-message"))
@pytest.mark.parametrize("kind", [MemoryError, SystemExit, NotExceptionError])
def test_a_datagram_at_which_a_codec_does_not_fail_as_codecs_do_is_dropped(serve, form, kind):
    """Told of once, as a handler's failure, and counted; what reads the datagrams goes on."""
    with serve(echo, codec=Gives(kind("boom"), "decode"), bind="udp://127.0.0.1:0", fails=2) as server:
        with server.dial() as peer:
            for _ in range(2):
                peer.send(b"bad\n")
                peer.send(b"a\n")
                assert b"a\n" == peer.recv(100)
        server.wait_until(lambda it: it.stats.datagrams_dropped["handler_error"] == 2)

        assert [kind, kind] == [type(error) for error in server.record.failures]


@pytest.mark.forms(lambda form: form.label in ("def-message", "async-connection"))
@pytest.mark.parametrize("bad", [b"index\n", b"write\n", b"text\n"])
def test_a_record_that_the_codec_fails_at_ends_its_connection(serve, form, bad, tmp_path):
    """On a seqpacket socket, where the forms for datagrams are used."""
    with serve(echo, codec=Own(), bind=f"unix+seqpacket:{tmp_path}/s") as server, server.dial() as peer:
        peer.sendall(b"a\n")
        assert b"a\n" == peer.recv(100)
        peer.sendall(bad)

        assert b"" == read_to_end(peer)
        assert ["codec_error"] == server.reasons(1)
        assert 1 == len(reported(server))


@pytest.mark.uncipherable("its client speaks in clear")
@pytest.mark.parametrize("bad", [b"index", b"nothing"])
def test_a_client_is_told(serve, engine, bad):
    """Its connection ends for that reason; the error says which method it was."""

    async def ask(address):
        conn = await penstock.connect(address, codec=Own())
        await conn.send(bad)
        with pytest.raises(CodecError, match=r"^decode.* of the codec own"):
            await conn.receive()
        return await conn.wait_closed()

    with serve(penstock.on_message(codec="lines")(lambda message: message)) as server:
        with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
            assert "codec_error" == runner.run(asyncio.wait_for(ask(server.address), 10))
        with penstock.connect_sync(server.address, codec=Own()) as conn:
            conn.send(bad)
            with pytest.raises(CodecError, match=r"^decode.* of the codec own"):
                conn.receive()
            assert "codec_error" == conn.wait_closed()
