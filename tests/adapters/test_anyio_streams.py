"""Coroutine functions of a stream, as anyio and trio have them, are served unchanged."""

import socket

import pytest

from penstock.adapters import service_of
from penstock.errors import ApplicationError
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_exactly, read_to_end, reset

anyio = pytest.importorskip("anyio")
from anyio.streams.buffered import BufferedByteReceiveStream  # noqa: E402

pytestmark = pytest.mark.engines(*LOOPS)


async def handle(client):
    """As in the documentation of anyio; its listener is told of it by the name of its kind."""
    async with client:
        name = await client.receive(1024)
        await client.send(b"Hello, %s\n" % name)


@pytest.mark.ciphered
def test_the_listener_of_the_documentation_answers(serve, engine):
    """The block closes the stream, and the answer arrives."""
    with serve(service_of(handle, kind="stream")) as server, server.dial() as peer:
        peer.sendall(b"Ada")

        assert b"Hello, Ada\n" == read_to_end(peer)


def test_the_echo_server_of_trios_tutorial_answers(serve, engine):
    """By the names that trio has; EOF ends the loop."""

    async def echo_server(server_stream):
        async for data in server_stream:
            await server_stream.send_all(data)

    with serve(echo_server) as server, server.dial() as peer:
        peer.sendall(b"hello")
        assert b"hello" == read_exactly(peer, 5)
        peer.shutdown(socket.SHUT_WR)
        assert b"" == read_to_end(peer)


def test_a_stream_has_what_anyio_builds_on(serve, engine):
    """Its attributes, buffers over it, cancellation that loses nothing, both ends of EOF."""
    seen = []

    async def whole(stream):
        with anyio.move_on_after(0):
            await stream.receive()
        buffered = BufferedByteReceiveStream(stream)
        seen.append(await buffered.receive_until(b"\n", 100))
        seen.append(await buffered.receive_exactly(3))
        attribute = anyio.abc.SocketAttribute
        seen.append((stream.extra(attribute.remote_address), stream.extra(attribute.local_port)))
        await stream.wait_send_all_might_not_block()
        await stream.send_eof()
        seen.append(await stream.receive_some(2))
        seen.append(await stream.receive_some())
        seen.append(await stream.receive_some())
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        await stream.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"x")

    with serve(whole) as server, server.dial() as peer:
        name, port = peer.getsockname(), server.port
        peer.sendall(b"line\nabc")
        assert b"" == peer.recv(10)
        peer.sendall(b"rest")
        peer.shutdown(socket.SHUT_WR)
        server.wait_closed(1)

    assert [b"line", b"abc", (name, port), b"re", b"st", b""] == seen


def test_a_peer_that_resets_is_a_broken_resource(serve, engine):
    """One that is not caught is no failure of the handler."""
    caught = []

    async def reads(stream):
        await stream.send(await stream.receive())
        try:
            await stream.receive()
        except anyio.BrokenResourceError:
            caught.append(1)
            raise

    with serve(reads) as server:
        peer = server.dial()
        peer.sendall(b"x")
        read_exactly(peer, 1)
        reset(peer)
        assert ["reset"] == list(server.reasons(1))

    assert [1] == caught


def test_one_that_is_def_is_refused():
    """A stream is awaited."""

    def plain(stream):
        """Never called."""

    with pytest.raises(ApplicationError, match="plain is def: a handler of a stream is async def"):
        service_of(plain, kind="stream")
