"""Law 12 for handlers written for something else: no awaits that do not wait keep the loop from its turn."""

import asyncio
import contextlib
import threading

import pytest

import penstock
from penstock.adapters import service_of
from penstock.core.turns import MOST_IN_A_ROW
from penstock.testing.engines import LOOPS
from penstock.testing.peers import PATIENCE_S, reset

pytestmark = pytest.mark.engines(*LOOPS)

HELD = 100 * MOST_IN_A_ROW  # whoever has done as much has held the loop
SENT = b"x" * 20_000  # more than may be received in a row, a byte at a time


async def in_a_row(do):
    """Do something again and again until the loop has had its turn; return how often it was done."""
    turned = []
    asyncio.get_running_loop().call_soon(turned.append, True)
    count = 0
    while not turned and count < HELD:
        count += 1
        with contextlib.suppress(OSError, EOFError, penstock.PenstockError, ValueError, *_of_anyio()):
            await do()
    return count


def _of_anyio():
    try:
        import anyio
    except ImportError:
        return ()
    return (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)


async def write_and_drain(writer):
    writer.write(b"tick")
    await writer.drain()


OF_STREAMS = {
    "drain": lambda reader, writer: write_and_drain(writer),
    "read": lambda reader, writer: reader.read(1),
    "readexactly": lambda reader, writer: reader.readexactly(1),
    "readline": lambda reader, writer: reader.readline(),
    "readuntil": lambda reader, writer: reader.readuntil(b"x"),
}


@pytest.mark.parametrize("end", ["open", "eof", "reset"])
@pytest.mark.parametrize("name", OF_STREAMS)
def test_a_callback_of_streams_lets_the_loop_turn(serve, engine, name, end):
    """While there is something to read, at its end, and when its peer has gone."""
    if end == "open" and name == "readline":
        pytest.skip("it waits")
    counts = []
    asked, gone, done = threading.Event(), threading.Event(), threading.Event()

    async def callback(reader, writer):
        await reader.readexactly(2)
        if end == "open" and name != "drain":
            await reader.readexactly(1)
        elif end == "eof":
            await reader.read()
        asked.set()
        while not gone.is_set():
            await asyncio.sleep(0)
        counts.append(await in_a_row(lambda: OF_STREAMS[name](reader, writer)))
        done.set()

    with serve(service_of(callback, kind="streams")) as server, server.dial() as peer:
        peer.sendall(b"go" + SENT)
        if end == "eof":
            peer.shutdown(1)
        assert asked.wait(PATIENCE_S)
        if end == "reset":
            reset(peer)
        gone.set()
        assert done.wait(PATIENCE_S)

    assert MOST_IN_A_ROW + 2 >= counts[0]


OF_ANYIO = {
    "send": lambda stream: stream.send(b"tick"),
    "receive": lambda stream: stream.receive(1),
    "receive_some": lambda stream: stream.receive_some(1),
    "wait_send_all_might_not_block": lambda stream: stream.wait_send_all_might_not_block(),
}


@pytest.mark.parametrize("end", ["open", "eof", "reset", "closed"])
@pytest.mark.parametrize("name", OF_ANYIO)
def test_a_function_of_a_stream_lets_the_loop_turn(serve, engine, name, end):
    """Likewise of a stream of anyio's; also one that was closed here."""
    pytest.importorskip("anyio")
    counts = []
    asked, gone, done = threading.Event(), threading.Event(), threading.Event()

    async def function(stream):
        assert b"go" == await stream.receive(2)
        if end == "eof":
            while await stream.receive_some(100):
                pass
        elif end == "closed":
            await stream.aclose()
        asked.set()
        while not gone.is_set():
            await asyncio.sleep(0)
        counts.append(await in_a_row(lambda: OF_ANYIO[name](stream)))
        done.set()

    with serve(service_of(function, kind="stream")) as server, server.dial() as peer:
        peer.sendall(b"go" + SENT)
        if end == "eof":
            peer.shutdown(1)
        assert asked.wait(PATIENCE_S)
        if end == "reset":
            reset(peer)
        gone.set()
        assert done.wait(PATIENCE_S)

    assert MOST_IN_A_ROW + 2 >= counts[0]
