"""A reader gives what asyncio's own would, however the network cuts the bytes, whatever is asked for."""

import asyncio
import contextlib
import gc
import random
import socket
import threading
import weakref

import pytest

from penstock.testing.engines import LOOPS
from penstock.testing.peers import PATIENCE_S, read_exactly, read_to_end

pytestmark = pytest.mark.engines(*LOOPS)

LIMIT = 64 * 1024


def sent_and_asked(seed):
    """What a peer sends, in its pieces, and what a callback asks for: by the names of a reader's methods."""
    chance = random.Random(seed)
    words = [chance.choice([b"a", b"bc" * 9, b"\n", b"\r\n", b"\r", b"d" * 300, b"--end--"]) for _ in range(300)]
    data = b"".join(words) + (b"x" * (LIMIT + 5) + b"\n" if seed % 3 == 0 else b"") + b"tail"
    cuts = sorted(chance.sample(range(len(data)), 12))
    pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    asked = chance.choices(
        [("readline",), ("readexactly", 7), ("readexactly", 700), ("readuntil",), ("readuntil", b"\r\n"),
         ("readuntil", b"--end--"), ("readexactly", 0), ("read", 0), ("readuntil", b""), ("readexactly", -1)], k=120
    )  # fmt: skip
    return pieces, [*asked, ("read", -1), ("readline",), ("readexactly", 1), ("read", 5)]


async def ask(reader, asked):
    """Ask a reader for each in turn; return what it has given, or how it has refused."""
    given = []
    for name, *arguments in asked:
        try:
            given.append(await getattr(reader, name)(*arguments))
        except asyncio.IncompleteReadError as error:
            given.append(("incomplete", error.partial, error.expected))
        except (ValueError, asyncio.LimitOverrunError) as error:
            given.append((type(error).__name__, str(error).partition(" ")[0]))
    return [*given, reader.at_eof()]


def given_by_asyncio(pieces, asked):
    """What asyncio's own gives, all of it being there."""

    async def main():
        reader = asyncio.StreamReader(limit=LIMIT)
        for piece in pieces:
            reader.feed_data(piece)
        reader.feed_eof()
        return await ask(reader, asked)

    return asyncio.run(main())


@pytest.mark.ciphered
def test_a_reader_gives_what_asyncios_gives(serve, engine):
    """Lines, exact numbers of bytes, separators of any length, too long ones, the rest, and what is after the end."""
    seeds = range(12)
    expected = [given_by_asyncio(*sent_and_asked(seed)) for seed in seeds]
    actual, turn = [], iter(seeds)

    async def callback(reader, writer):
        actual.append(await ask(reader, sent_and_asked(next(turn))[1]))
        writer.close()

    with serve(callback) as server:
        for seed in seeds:
            with server.dial() as peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for piece in sent_and_asked(seed)[0]:
                    peer.sendall(piece)
                peer.shutdown(socket.SHUT_WR)
                assert b"" == read_to_end(peer)

    for wanted, given in zip(expected, actual, strict=True):
        assert wanted == given


@pytest.mark.parametrize("begun", [b"", b"begun "], ids=["nothing", "a part"])
def test_a_read_that_is_given_up_loses_nothing(serve, engine, begun):
    """What has come of it is there for the next one, as it is in asyncio: `asyncio.wait_for` may be used on each."""
    lines, waits = [], threading.Event()

    async def callback(reader, writer):
        for _ in range(3):
            if begun:
                writer.write(b"begin\n")
                while not reader._buffer.endswith(begun):  # those who look into it find all that has come
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.001):
                            await reader.readuntil(b"never")
            task = asyncio.ensure_future(reader.readline())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            writer.write(b"ready\n")
            lines.append(await reader.readline())
        waits.set()
        writer.close()

    with serve(callback) as server, server.dial() as peer:
        for number in range(3):
            if begun:
                assert b"begin\n" == read_exactly(peer, 6)
                peer.sendall(begun)
            assert b"ready\n" == read_exactly(peer, 6)
            peer.sendall(b"line %d\n" % number)
        assert waits.wait(PATIENCE_S)

    assert [begun + b"line %d\n" % number for number in range(3)] == lines


def test_a_reader_is_asyncios_to_those_who_look_into_it(serve, engine):
    """Its class, what it holds, its limit, an exception that is set, bytes and an end that somebody else feeds it."""
    found = []

    async def callback(reader, writer):
        found.append((isinstance(reader, asyncio.StreamReader), isinstance(writer, asyncio.StreamWriter)))
        found.append((reader.at_eof(), reader.exception(), repr(reader)))
        found.append((await reader.readline(), bytes(reader._buffer), await reader.readline()))
        reader._limit = 4
        with pytest.raises(ValueError, match="limit"):
            await reader.readline()
        found.append(await reader.readline())
        reader.feed_data(b"fed")
        reader.feed_eof()
        found.append((await reader.readline(), reader.at_eof(), await reader.read()))
        reader.set_exception(ZeroDivisionError("set"))
        for read in (reader.readline, reader.read, lambda: reader.readexactly(1), reader.readuntil, writer.drain):
            with pytest.raises(ZeroDivisionError):
                await read()
        writer.write(b"done")
        writer.close()

    with serve(callback) as server, server.dial() as peer:
        peer.sendall(b"one\ntwo\n12345\n1234\n")
        assert b"done" == read_to_end(peer)

    assert [
        (True, True),
        (False, None, "<StreamReader>"),
        (b"one\n", b"two\n12345\n1234\n", b"two\n"),
        b"1234\n",
        (b"fed", True, b""),
    ] == found


def test_reader_and_writer_go_with_their_connection(serve, engine):
    """Nothing of one that has ended waits for the collector of cycles, however the reader was used."""
    kept = []

    async def callback(reader, writer):
        kept.extend(weakref.ref(each) for each in (reader, writer))
        await reader.readline()
        await reader.readuntil(b"--")
        writer.write(b"x")
        await writer.drain()

    with serve(callback) as server:
        gc.disable()
        try:
            with server.dial() as peer:
                peer.sendall(b"line\nand more -")
                peer.sendall(b"-")
                assert b"x" == read_to_end(peer)
            server.wait_closed(1)
            server.wait_until(lambda _: [None, None] == [each() for each in kept])
        finally:
            gc.enable()


@pytest.mark.engines("native")
def test_what_is_called_for_each_message_is_a_method_of_its_very_class(serve, engine):
    """So the interpreter calls it without a look-up. An object that no connection has made is refused."""
    found = []

    async def callback(reader, writer):
        for end, names in ((reader, ("read", "readexactly", "readline", "readuntil")), (writer, ("drain", "write"))):
            kind = type(end)
            found.extend(vars(kind)[name].__objclass__ is kind for name in names)
            bare = kind.__new__(kind)
            with pytest.raises((TypeError, AttributeError)):
                getattr(bare, names[0])()
            with pytest.raises((TypeError, AttributeError)):
                getattr(bare, names[-1])(b"x")
            bare._transport = writer.transport  # what asyncio's own end asks
            with pytest.raises(TypeError, match="no subclass"):
                kind.own_methods(bytearray)
        writer.write(b"done")
        writer.close()

    with serve(callback) as server, server.dial() as peer:
        assert b"done" == read_to_end(peer)

    assert [True] * 6 == found


def test_two_tasks_share_a_reader(serve, engine):
    """Each line goes to one of them, whole and in order: one that let the loop turn finds what the other has left."""
    sent = b"".join(b"%d %s\n" % (number, b"x" * (number % 97)) for number in range(6000))
    lines = []

    async def read(reader):
        while True:
            try:
                line = await reader.readline()
            except RuntimeError:  # another one waits
                await asyncio.sleep(0)
                continue
            if not line:
                return
            lines.append(line)

    async def callback(reader, writer):
        await asyncio.gather(read(reader), read(reader), read(reader))
        writer.close()

    with serve(callback, batch_messages=1) as server, server.dial() as peer:
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        assert b"" == read_to_end(peer)

    assert sent == b"".join(lines)


def test_what_is_fed_while_a_read_waits_comes_first(serve, engine):
    """Before what the peer sends later."""
    lines = []

    async def callback(reader, writer):
        task = asyncio.ensure_future(reader.readline())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reader.feed_data(b"fed, ")
        writer.write(b"go")
        lines.append(await task)
        lines.append(await reader.readline())
        writer.close()

    with serve(callback) as server, server.dial() as peer:
        assert b"go" == read_exactly(peer, 2)
        peer.sendall(b"sent\nmore\n")
        assert b"" == read_to_end(peer)

    assert [b"fed, sent\n", b"more\n"] == lines


@pytest.mark.parametrize("method", ["read", "readexactly", "readline", "readuntil"])
def test_who_reads_while_another_one_waits_is_told_as_by_asyncio(serve, engine, method):
    """Also where the other one waits in compiled code, and this one finds something that was fed and is not enough."""
    told = []
    arguments = {"read": (-1,), "readexactly": (9,), "readuntil": (b"--",)}.get(method, ())

    async def callback(reader, writer):
        task = asyncio.ensure_future(reader.readexactly(20))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for fed in (b"", b"fed, "):
            reader.feed_data(fed)
            try:
                await getattr(reader, method)(*arguments)
            except RuntimeError as error:
                told.append(str(error))
        writer.write(b"go")
        await task
        writer.close()

    with serve(callback) as server, server.dial() as peer:
        assert b"go" == read_exactly(peer, 2)
        peer.sendall(b"sent, and more of it\n")
        assert b"" == read_to_end(peer)

    name = "readuntil" if method == "readline" else method
    assert 2 == len(told)
    assert {f"{name}() called while another coroutine is already waiting for incoming data"} >= {
        each.replace("readline()", "readuntil()") for each in told
    }


ENDS = {
    "read": lambda reader, _: reader.read(2),
    "readexactly": lambda reader, _: reader.readexactly(2),
    "readuntil": lambda reader, _: reader.readuntil(b"b"),
    "readline": lambda reader, _: reader.readline(),
    "drain": lambda _, writer: writer.drain(),
}


@pytest.mark.parametrize("what", ENDS)
def test_what_has_ended_is_closed_in_vain_and_not_thrown_into(serve, engine, what):
    """As any coroutine that has."""

    async def callback(reader, writer):
        ended = ENDS[what](reader, writer)
        await ended
        ended.close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            ended.throw(ZeroDivisionError())
        await reader.readuntil(b"last")
        writer.write(b"over")
        writer.close()

    with serve(callback) as server, server.dial() as peer:
        peer.sendall(b"ab\nlast")
        assert b"over" == read_to_end(peer)
