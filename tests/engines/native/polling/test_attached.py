"""The engine beside loops that are not its own: asyncio's, which is the reference, and uvloop's."""

import asyncio
import socket

import pytest

import penstock
from penstock import Timeouts
from penstock.testing.peers import dial, read_to_end

LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=LOOPS)
def run(request):
    """A function that runs a coroutine in a new loop of one kind."""
    is_uvloop = request.param == "uvloop"
    factory = pytest.importorskip("uvloop").new_event_loop if is_uvloop else asyncio.SelectorEventLoop

    def run(main):
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)

    return run


def serve(service, **options):
    return penstock.serve(service, bind="tcp://127.0.0.1:0", engine="native", **options)


def exchanged(address, data, *, end=True):
    """Send, be it the end, and read to the end."""
    with dial(address) as sock:
        sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        return read_to_end(sock)


@penstock.on_message
def by_function(message: bytes) -> bytes:
    return message.upper()


@penstock.on_message
async def by_coroutine(message: bytes) -> bytes:
    await asyncio.sleep(0)
    return message.upper()


@penstock.on_connection
async def by_conversation(conn: penstock.Connection[bytes]) -> None:
    async for message in conn:
        await asyncio.sleep(0.001)
        await conn.send(message.upper())


SERVICES = [by_function, by_coroutine, by_conversation]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_messages_are_answered_in_order(run, service):
    """However many, and however they were cut."""
    lines = b"".join(b"line %d\n" % number for number in range(2000))

    async def main():
        async with serve(service) as server:
            return await asyncio.gather(
                *(asyncio.to_thread(exchanged, server.addresses[0], lines) for _ in range(3)),
            ), server.engine_name

    assert ([lines.upper()] * 3, "native") == run(main())


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_idle_are_let_go(run, service):
    """A deadline of the engine's wheel wakes a loop that has nothing else to do."""

    async def main():
        async with serve(service, timeouts=Timeouts(idle_s=0.5)) as server:
            answer = await asyncio.to_thread(exchanged, server.addresses[0], b"one\n", end=False)
            await server.wait_connections(0)
            return answer, dict(server.stats.closed)

    assert (b"ONE\n", {"idle_timeout": 1}) == run(main())


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_drain_answers_what_was_received(run, service):
    """Then the peer meets the end of the stream, and the loop is left alone."""

    async def main():
        loop = asyncio.get_running_loop()
        async with serve(service) as server:
            with dial(server.addresses[0]) as sock:
                sock.sendall(b"one\n")
                first = await loop.run_in_executor(None, sock.recv, 100)
                server.begin_drain()
                rest = await loop.run_in_executor(None, read_to_end, sock)
                await server.wait_stopped()
            return first, rest, dict(server.stats.closed)

    assert (b"ONE\n", b"", {"drained": 1}) == run(main())


def test_a_close_from_elsewhere_takes_effect_at_once(run):
    """A timer of the loop's, not the engine, sends and closes, or aborts: the set is looked at soon."""
    connections = {}

    @penstock.on_message
    def keep(conn, message):
        connections[message] = conn
        return message

    async def main():
        loop = asyncio.get_running_loop()
        async with serve(keep) as server:
            with dial(server.addresses[0]) as one, dial(server.addresses[0]) as other:
                for sock, name in ((one, b"one\n"), (other, b"other\n")):
                    sock.sendall(name)
                    await loop.run_in_executor(None, sock.recv, 100)
                loop.call_later(0.001, lambda: (connections[b"one"].post(b"last"), connections[b"one"].close()))
                loop.call_later(0.001, connections[b"other"].abort)
                answer = await loop.run_in_executor(None, read_to_end, one)
                with pytest.raises(ConnectionResetError):
                    await loop.run_in_executor(None, read_to_end, other)
            await server.wait_connections(0)
            return answer, sorted(server.stats.closed)

    assert (b"last\n", ["aborted", "done"]) == run(main())


def test_a_handler_that_fails_ends_its_own_connection(run):
    """The others, and the loop, go on."""

    @penstock.on_message
    def divide(message: bytes) -> bytes:
        return b"%d" % (10 // int(message))

    async def main():
        async with serve(divide) as server:
            failed = await asyncio.to_thread(exchanged, server.addresses[0], b"5\n0\n2\n")
            served = await asyncio.to_thread(exchanged, server.addresses[0], b"5\n2\n")
            return failed, served, server.stats.handler_errors

    assert (b"2\n", b"2\n5\n", 1) == run(main())
