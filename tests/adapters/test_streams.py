"""Callbacks of `asyncio.start_server` are served unchanged."""

import asyncio
import contextlib
import gc
import socket

import pytest

from penstock.adapters import service_of
from penstock.errors import ApplicationError
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_exactly, read_to_end, reset

SIZE = 8_000_000

pytestmark = pytest.mark.engines(*LOOPS)


async def handle_echo(reader, writer):
    """As in the documentation of asyncio."""
    data = await reader.read(100)
    message = data.decode()
    addr = writer.get_extra_info("peername")
    writer.write(f"{addr[0]} {message!r}".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@pytest.mark.ciphered
def test_the_echo_server_of_the_documentation_answers(serve, engine):
    """It closes, and its answer arrives."""
    with serve(handle_echo) as server, server.dial() as peer:
        peer.sendall(b"Hello World!")

        assert b"127.0.0.1 'Hello World!'" == read_to_end(peer)


@pytest.mark.ciphered
def test_a_reader_reads_in_every_way(serve, engine):
    """Wherever the network has cut the bytes; EOF ends each."""
    seen = []

    async def handle(reader, writer):
        seen.append(await reader.readline())
        seen.append(await reader.readexactly(5))
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"go")
        seen.append([line async for line in reader])
        seen.append((await reader.read(10), reader.at_eof()))
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(1)
        writer.write(b"end")
        writer.close()

    with serve(handle) as server, server.dial() as peer:
        peer.sendall(b"one\ntwo")
        peer.sendall(b"..GET\r")
        peer.sendall(b"\n\r\n")
        assert b"go" == read_exactly(peer, 2)
        peer.sendall(b"a\nb\nrest")
        peer.shutdown(socket.SHUT_WR)
        assert b"end" == read_to_end(peer)

    assert [b"one\n", b"two..", b"GET\r\n\r\n", [b"a\n", b"b\n", b"rest"], (b"", True)] == seen


def test_a_line_without_an_end_meets_the_readers_limit(serve, engine):
    """As asyncio has it, with its default of 64 KiB."""

    async def handle(reader, writer):
        with pytest.raises(ValueError, match="limit"):
            await reader.readline()
        writer.write(b"too long")
        writer.close()

    with serve(handle) as server, server.dial() as peer:
        peer.sendall(bytes(200_000))

        assert b"too long" == read_to_end(peer)


def test_only_one_coroutine_reads_at_a_time(serve, engine):
    """As asyncio has it."""
    errors = []

    async def handle(reader, writer):
        first = asyncio.create_task(reader.read(1))
        await asyncio.sleep(0)
        try:
            await reader.read(1)
        except RuntimeError as error:
            errors.append(str(error))
        writer.write(await first)
        writer.close()

    with serve(handle) as server, server.dial() as peer:
        server.wait_until(lambda _: errors)
        peer.sendall(b"x")
        assert b"x" == read_to_end(peer)

    assert ["read() called while another coroutine is already waiting for incoming data"] == errors


def test_a_callback_may_keep_the_writer_and_return(serve, engine):
    """The connection is open until the last reference is gone, or the writer is closed."""
    writers = []

    def keep(reader, writer):
        writers.append(writer)

    with serve(keep) as server, server.dial() as peer, server.dial() as other:
        server.wait_until(lambda _: len(writers) == 2)
        for writer in writers:
            server.call(lambda writer=writer: writer.write(b"hello"))
        assert [b"hello"] * 2 == [read_exactly(peer, 5), read_exactly(other, 5)]
        server.call(writers.pop(0).close)
        writer = None
        server.call(writers.clear)
        server.call(gc.collect)
        assert [b"", b""] == [read_to_end(peer), read_to_end(other)]


def test_a_callback_that_forgets_to_close_closes(serve, engine):
    """What it wrote arrives."""

    async def forget(reader, writer):
        writer.write(await reader.readline())

    with serve(forget) as server, server.dial() as peer:
        peer.sendall(b"hello\n")

        assert b"hello\n" == read_to_end(peer)


def test_drain_waits_for_a_peer_that_does_not_read(serve, engine):
    """And all that was written arrives."""
    drained = []

    async def flood(reader, writer):
        for number in range(100):
            writer.write(bytes(100_000))
            await writer.drain()
            drained.append(number)
        writer.close()

    with serve(flood) as server, server.dial(receive_buffer_bytes=4096) as peer:
        server.wait_until(lambda server: any(conn.output_paused for conn in server.connections))
        assert len(drained) < 100
        assert 100 * 100_000 == len(read_to_end(peer))


@pytest.mark.parametrize("how", ["write_eof", "close"])
def test_drain_waits_for_what_is_left_after_the_end(serve, engine, how):
    """As asyncio has it: there is no error while the peer reads. Once all is over there is one."""
    course = []

    async def handle(reader, writer):
        writer.write(bytes(SIZE))
        getattr(writer, how)()
        course.append("ended")
        await writer.drain()
        course.append("drained")
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        course.append("over")

    with serve(handle, write_max=2 * SIZE) as server:
        with server.dial(receive_buffer_bytes=4096) as peer:
            server.wait_until(lambda _: course)
            assert ["ended"] == course
            assert SIZE == len(read_to_end(peer))
            server.wait_until(lambda _: "drained" in course)
        server.wait_closed(1)

    assert ["ended", "drained", "over"] == course


def test_drain_fails_where_the_peer_goes_before_all_was_sent(serve, engine):
    """Though this side had ended its direction before."""
    course = []

    async def handle(reader, writer):
        writer.write(bytes(SIZE))
        writer.write_eof()
        course.append("ended")
        try:
            await writer.drain()
        except ConnectionResetError:
            course.append("reset")

    with serve(handle, write_max=2 * SIZE) as server:
        peer = server.dial(receive_buffer_bytes=4096)
        server.wait_until(lambda _: course)
        reset(peer)
        server.wait_closed(1)

    assert "ended" == course[0]
    assert ["reset"] == course[1:]


def test_a_peer_that_resets_is_a_connection_error(serve, engine):
    """One that is not caught is no failure of the handler."""
    caught = []

    async def handle(reader, writer):
        writer.write(await reader.readline())
        try:
            await reader.readline()
        except ConnectionResetError:
            caught.append(writer.is_closing())
            with contextlib.suppress(ConnectionResetError):
                await writer.drain()
            raise

    with serve(handle) as server:
        peer = server.dial()
        peer.sendall(b"x\n")
        read_exactly(peer, 2)
        reset(peer)
        assert ["reset"] == list(server.reasons(1))

    assert [True] == caught


def test_what_fails_in_a_callback_ends_its_connection_alone(serve, engine):
    """The log has it once."""

    async def fail(reader, writer):
        writer.write(b"before")
        raise ValueError(await reader.readline())

    with serve(fail, fails=1) as server, server.dial() as peer:
        peer.sendall(b"bad\n")
        assert b"before" == read_to_end(peer)
        assert ["handler_error"] == list(server.reasons(1))


def test_a_draining_server_is_the_end_of_the_stream(serve, engine):
    """A callback that reads comes to its end."""
    begun = []

    async def handle(reader, writer):
        begun.append(1)
        writer.write(await reader.read() + b"bye")
        writer.close()

    with serve(handle) as server, server.dial() as peer:
        server.wait_until(lambda _: begun)
        server.wait(_begin_drain(server.server))

        assert b"bye" == read_to_end(peer)


async def _begin_drain(server):
    server.begin_drain()


def test_a_callback_of_another_shape_is_refused():
    """It could not be called."""

    async def handle(reader):
        """Never called."""

    with pytest.raises(ApplicationError, match=r"a callback of streams takes \(reader, writer\)"):
        service_of(handle, kind="streams")
