"""Law 12: no sequence of awaits of ours keeps the loop from its turn, and what was lost takes nothing more."""

import asyncio
import contextlib
import socket
import struct
import threading

import pytest

import penstock
from penstock.core.events import Accepted
from penstock.core.turns import MOST_IN_A_ROW
from penstock.testing.certificates import server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.peers import PATIENCE_S, dial, read_exactly, read_to_end

# Those that run coroutines.
LOOPS = ("pure", "uvloop", "native", "attached", "eager", "eager-native")

# Far more than may be done in a row: whoever has done as much has held the loop.
HELD = 100 * MOST_IN_A_ROW


async def drop(awaitable):
    """Await, and look at nothing that comes of it."""
    with contextlib.suppress(penstock.PenstockError, StopAsyncIteration):
        await awaitable


async def in_a_row(do):
    """Do something again and again until the loop has had its turn; return how often it was done."""
    turned = []
    asyncio.get_running_loop().call_soon(turned.append, True)
    count = 0
    while not turned and count < HELD:
        count += 1
        await drop(do())
    return count


async def within(conn):
    """Enter a block that ends with the peer, and leave it at once."""
    async with conn.while_open():
        pass


SPINS = {
    "send": lambda conn: conn.send(b"tick"),
    "receive": lambda conn: conn.receive(),
    "iterate": lambda conn: conn.__anext__(),
    "request": lambda conn: conn.request(b"tick"),
    "wait_closed": lambda conn: conn.wait_closed(),
    "wait_draining": lambda conn: conn.wait_draining(),
    "wait_tls": lambda conn: conn.wait_tls(),
    "receive_exactly": lambda conn: conn.receive_exactly(1),
    "receive_exactly nothing": lambda conn: conn.receive_exactly(0),
    "receive_exactly too much": lambda conn: conn.receive_exactly(1 << 40),
    "receive_until": lambda conn: conn.receive_until(b"!"),
    "send_raw": lambda conn: conn.send_raw(b"tick"),
    "while_open": within,
    "refused": lambda conn: conn.send("a str is no message of this codec"),
}


WAITING = ("receive", "iterate", "request", "wait_closed", "wait_draining", "receive_exactly", "receive_until")


def refuse(awaitable):
    async def wait():
        with contextlib.suppress(TypeError):
            await awaitable

    return wait()


def spin(name, conn):
    """Return what to await once more."""
    return refuse(SPINS[name](conn)) if name == "refused" else SPINS[name](conn)


@pytest.mark.engines(*LOOPS)
def test_a_handler_that_only_sends_ends_with_its_peer(serve, engine):
    """Its send raises once the peer has gone; others are served meanwhile and after."""

    @penstock.on_connection(codec="lines")
    async def ticker(conn):
        if await conn.receive() == b"echo":
            await conn.send(b"echo")
            return
        while True:
            await conn.send(b"tick")

    with serve(ticker) as server:
        for linger in (False, True):
            with server.dial() as peer:
                peer.sendall(b"tick\n")
                assert peer.recv(4)
                if linger:  # a reset
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with server.dial() as other:
                other.sendall(b"echo\n")
                assert b"echo\n" == other.recv(100)

        assert ["reset", "reset"] == [reason for reason in server.reasons(4) if reason not in ("done", "peer_closed")]


@pytest.mark.engines(*LOOPS)
def test_a_handler_that_only_sends_to_one_who_reads_leaves_the_others_their_turn(serve, engine):
    """A peer that reads as fast as it is sent to never makes send() wait; others are answered, and stop() ends it."""

    @penstock.on_connection(codec="lines")
    async def ticker(conn):
        if await conn.receive() == b"echo":
            await conn.send(b"echo")
            return
        while True:
            await conn.send(b"tick" * 100)

    def read(peer):
        with contextlib.suppress(OSError):
            while peer.recv(1 << 20):
                pass

    with serve(ticker) as server, server.dial() as peer:
        peer.sendall(b"tick\n")
        reader = threading.Thread(target=read, args=[peer])
        reader.start()
        for _ in range(10):
            with server.dial() as other:
                other.sendall(b"echo\n")
                assert b"echo\n" == other.recv(100)
        server.wait(server.server.stop())
        reader.join(PATIENCE_S)

        assert not reader.is_alive()
    assert "stopped" in server.record.reasons


@pytest.mark.engines(*LOOPS)
@pytest.mark.parametrize("name", SPINS)
@pytest.mark.parametrize("end", ["open", "reset", "closed"])
def test_what_is_awaited_in_a_row_lets_the_loop_turn(serve, engine, name, end):
    """Whether it goes on at once or raises at once, and whatever the handler does with what is raised."""
    if end == "open" and name in WAITING:
        pytest.skip("it waits")
    counts = []

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        await conn.receive()
        if end == "reset":
            reset.set()
            await conn.wait_closed()
        elif end == "closed":
            conn.close()
        counts.append(await in_a_row(lambda: spin(name, conn)))
        done.set()

    reset, done = threading.Event(), threading.Event()
    with serve(handler) as server, server.dial() as peer:
        peer.sendall(b"go\n")
        if end == "reset":
            assert reset.wait(PATIENCE_S)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
        elif end == "closed":
            assert b"" == read_to_end(peer)  # so that it does not linger
        assert done.wait(PATIENCE_S)

    assert MOST_IN_A_ROW + 2 >= counts[0]


@pytest.mark.engines(*LOOPS)
def test_sending_to_many_in_turn_lets_the_loop_turn(serve, engine):
    """What may be done in a row is counted for the loop: to send to each of many once is a row as well."""
    members = []
    counts = []

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        if await conn.receive() == b"join":
            members.append(conn)
            await conn.send(b"joined")
            await conn.wait_closed()
            return
        turn = iter(members * HELD)
        counts.append(await in_a_row(lambda: next(turn).send(b"to all")))

    with serve(handler) as server, contextlib.ExitStack() as peers:
        for _ in range(20):
            peer = peers.enter_context(server.dial())
            peer.sendall(b"join\n")
            assert b"joined\n" == peer.recv(100)
        with server.dial() as speaker:
            speaker.sendall(b"speak\n")
            server.wait_until(lambda _: counts)

    assert MOST_IN_A_ROW + 2 >= counts[0]


@pytest.mark.engines(*LOOPS)
@pytest.mark.parametrize("name", ["send", "post", "try_send"])
def test_a_connection_that_was_lost_takes_nothing_more(serve, engine, name):
    """What meets the loss is the last to be taken; the next call raises, though the loop has not turned meanwhile."""
    outcomes = []

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        await conn.receive()
        asked.set()
        assert gone.wait(PATIENCE_S)  # the loop stands still: nobody has told the connection
        taken = 0
        try:
            while taken < MOST_IN_A_ROW // 2:
                if name == "send":
                    await conn.send(b"x" * 20_000)  # more than is put together with others
                else:
                    getattr(conn, name)(b"x" * 20_000)
                taken += 1
        except penstock.PenstockError as error:
            outcomes.append((taken, type(error), str(error.reason)))
            raise

    asked, gone = threading.Event(), threading.Event()
    with serve(handler) as server, server.dial() as peer:
        peer.sendall(b"go\n")
        assert asked.wait(PATIENCE_S)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        gone.set()
        assert ["reset"] == server.reasons(1)

    assert [(1, penstock.BrokenError, "reset")] == outcomes


class Early:
    """Talks to the first connection as soon as that is accepted, before it has a link."""

    def __init__(self):
        self.task = None

    def observe(self, event):
        if isinstance(event, Accepted) and self.task is None:
            self.task = asyncio.ensure_future(self.talk(event.connection))

    async def talk(self, conn):
        with contextlib.suppress(penstock.PenstockError):
            await conn.send(b"early")
            await conn.receive()


@pytest.mark.uncipherable("it speaks TLS already")
@pytest.mark.engines(*LOOPS)
def test_what_waits_for_a_connection_without_a_link_waits(serve):
    """Its TLS handshake has not begun: what was sent cannot leave yet, and others are served meanwhile."""
    pytest.importorskip("trustme")

    @penstock.on_connection(codec="lines")
    async def upper(conn):
        async for message in conn:
            await conn.send(message.upper())

    options = {"bind": "tls://127.0.0.1:0", "tls_cert": server_certificate()}
    with serve(upper, observers=[Early()], **options) as server, dial(server.address):
        with CipheredSocket(dial(server.address)) as peer:
            peer.sendall(b"line\n")

            assert b"LINE\n" == read_exactly(peer, 5)
