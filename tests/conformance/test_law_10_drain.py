"""Law 10: draining stops accepting and reading; what was received whole is answered; then the connection closes."""

import asyncio
import threading

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_to_end


def test_idle_connections_are_closed_at_once(serve, form):
    """A connection between two messages, one that never sent any, and one with half a message: all drained."""
    with serve(lambda _conn, message: message) as server:
        peers = [server.dial() for _ in range(3)]
        peers[1].sendall(b"hello\n")
        assert b"hello\n" == peers[1].recv(100)
        peers[2].sendall(b"hello\nhal")
        assert b"hello\n" == peers[2].recv(100)
        server.wait_connections(3)
        server.call(server.server.begin_drain)
        for peer in peers:
            assert b"" == read_to_end(peer)
            peer.close()

        assert ["drained"] * 3 == server.reasons(3)


def test_a_drain_may_be_spread_over_a_time(serve, form):
    """Nobody new is let in; each connection is served as ever until its turn comes, at random; then it is drained."""
    clock = ManualClock()
    timeouts = Timeouts(drain_s=10.0, drain_spread_s=4.0, first_message_s=None, idle_s=None)
    with serve(lambda _conn, message: message, clock=clock, timeouts=timeouts) as server:
        peers = [server.dial() for _ in range(4)]
        for begins in (lambda: None, server.server.begin_drain):
            server.call(begins)
            for peer in peers:
                peer.sendall(b"hello\n")
                assert b"hello\n" == peer.recv(100)
        server.call(lambda: clock.advance(2.0))
        server.call(server.server.begin_drain)  # it goes on as it began
        server.call(lambda: clock.advance(2.1))
        for peer in peers:
            assert b"" == read_to_end(peer)
            peer.close()

        assert ["drained"] * 4 == server.reasons(4)


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_a_connection_that_is_leaving_goes_on_leaving(serve, form):
    """A drain in the middle of a lingering close neither cuts it nor keeps it from seeing the peer's EOF."""

    def react(conn, message):
        conn.close()
        return b"bye"

    with serve(react, timeouts=Timeouts(linger_s=None)) as server:
        with server.dial() as peer:
            peer.sendall(b"hello\n" + b"x" * 100_000)
            assert b"bye\n" == read_to_end(peer)
            server.call(server.server.begin_drain)
        assert ["done"] == server.reasons(1)


def test_a_drain_refuses_new_connections(serve, form):
    """Once it is over nobody listens."""
    with serve(lambda _conn, message: message) as server:
        server.drain()

        with pytest.raises(ConnectionRefusedError):
            server.dial()


@pytest.mark.engines("pure", "uvloop", "native")
@pytest.mark.parametrize("kind", ["message", "connection"])
def test_a_coroutine_finishes_what_it_received(serve, engine, kind):
    """The message at hand and those received with it are answered; the reply leaves before the connection does."""
    entered = threading.Event()
    leave = asyncio.Event()

    async def answer(message):
        entered.set()
        await leave.wait()
        return message

    @penstock.on_message
    async def messages(message):
        return await answer(message)

    @penstock.on_connection
    async def conversation(conn):
        async for message in conn:
            await conn.send(await answer(message))
        await conn.send(b"bye")

    with serve(messages if kind == "message" else conversation) as server, server.dial() as peer:
        peer.sendall(b"1\n2\n3\npart")
        assert entered.wait(20)
        server.call(server.server.begin_drain)
        server.call(leave.set)

        assert b"1\n2\n3\n" + (b"bye\n" if kind == "connection" else b"") == read_to_end(peer)
        peer.close()
        assert ["drained"] == server.reasons(1)


@pytest.mark.engines("pure", "uvloop", "native")
@pytest.mark.parametrize("kind", ["message", "connection", "threads"])
def test_what_is_not_done_at_the_deadline_is_cut(serve, engine, kind):
    """Exactly at ``drain_s`` on the engine's clock, once, with its own reason; nobody waits for a stuck thread."""
    clock = ManualClock()
    entered = threading.Event()
    never = asyncio.Event()
    release = threading.Event()

    @penstock.on_message
    async def messages(message):
        entered.set()
        await never.wait()

    @penstock.on_connection
    async def conversation(conn):
        await conn.receive()
        entered.set()
        await never.wait()

    @penstock.on_message
    def stuck(conn, message):
        entered.set()
        release.wait(20)

    service = {"message": messages, "connection": conversation, "threads": stuck}[kind]
    model = "threads" if kind == "threads" else "loop"
    with serve(service, model=model, clock=clock, timeouts=Timeouts(drain_s=8.0)) as server, server.dial() as peer:
        peer.sendall(b"1\n2\n")
        assert entered.wait(20)
        server.call(server.server.begin_drain)
        server.call(lambda: clock.advance(7.75))
        assert [] == server.record.of(EventName.CLOSED)
        server.call(lambda: clock.advance(0.25))
        server.wait(server.server.wait_stopped())
        release.set()

        with pytest.raises(ConnectionResetError):
            read_to_end(peer)
        assert ["drain_timeout"] == server.reasons(1)


@pytest.mark.parametrize("kind", ["connection", "threads"])
def test_a_handler_that_only_sends_can_ask_whether_the_server_drains(serve, engine, kind):
    """``conn.draining`` is False before the drain and True from its beginning, for whoever never receives."""
    leave = threading.Event()

    @penstock.on_connection
    async def pushes(conn):
        await conn.send(str(conn.draining).encode())
        await asyncio.to_thread(leave.wait, 20)
        await conn.send(str(conn.draining).encode())

    @penstock.on_connection
    def pushes_in_a_thread(conn):
        conn.send(str(conn.draining).encode())
        leave.wait(20)
        conn.send(str(conn.draining).encode())

    @penstock.on_message
    def in_the_pool(conn, _message):
        conn.post(str(conn.draining).encode())
        leave.wait(20)
        return str(conn.draining).encode()

    if engine.name == "blocking":
        if kind == "threads":
            pytest.skip("every handler of the blocking engine has a thread")
        service, model = pushes_in_a_thread, "loop"
    else:
        service, model = (in_the_pool, "threads") if kind == "threads" else (pushes, "loop")
    with serve(service, model=model) as server, server.dial() as peer:
        peer.sendall(b"begin\n")
        assert b"False\n" == peer.recv(100)
        server.call(server.server.begin_drain)
        leave.set()

        assert b"True\n" == read_to_end(peer)
        peer.close()
        assert ["drained"] == server.reasons(1)


@pytest.mark.uncipherable("who is not accepted has no handshake")
def test_suspended_connections_wait_in_the_backlog(serve, form):
    """While suspended, nobody new is served and those that are there go on; on resume all are served."""
    with serve(lambda _conn, message: message) as server, server.dial() as early:
        early.sendall(b"1\n")
        assert b"1\n" == early.recv(100)
        server.call(server.server.suspend)
        server.call(server.server.suspend)
        late = [server.dial() for _ in range(3)]
        for peer in late:
            peer.sendall(b"late\n")
        for number in range(20):
            early.sendall(b"%d\n" % number)
            assert b"%d\n" % number == early.recv(100)
        assert 1 == server.server.stats.accepted

        server.call(server.server.resume)
        server.call(server.server.resume)

        for peer in late:
            assert b"late\n" == peer.recv(100)
            peer.close()
        early.close()
        assert ["peer_closed"] * 4 == server.reasons(4)


@pytest.mark.uncipherable("who is not accepted has no handshake")
def test_one_at_a_time_serves_all_in_turn(serve, form):
    """The others wait in the backlog, with what they said; each is served once, in the order of their connecting."""
    if form.model != "loop":
        pytest.skip("one model at a time")
    with serve(lambda _conn, message: message, model="one-at-a-time") as server:
        peers = [server.dial() for _ in range(4)]
        for number, peer in enumerate(peers):
            peer.sendall(b"hello %d\n" % number)
        for number, peer in enumerate(peers):
            assert b"hello %d\n" % number == peer.recv(100)
            peer.sendall(b"again\n")
            assert b"again\n" == peer.recv(100)
            assert number + 1 == server.server.stats.accepted
            peer.close()
        assert ["peer_closed"] * 4 == server.reasons(4)


@pytest.mark.engines("pure", "uvloop", "native")
@pytest.mark.parametrize("takes_connection", [False, True])
def test_stuck_threads_do_not_keep_a_server_from_stopping(serve, engine, takes_connection):
    """Handlers hold every thread of the pool; those that wait for one are given up a second after the deadline."""
    clock = ManualClock()
    entered = threading.Event()
    release = threading.Event()

    def stuck(message):
        entered.set()
        release.wait(20)

    @penstock.on_message
    def stuck_with_connection(conn, message):
        stuck(message)

    service = stuck_with_connection if takes_connection else penstock.on_message(stuck)
    options = {"model": "threads", "threads": 1, "clock": clock, "timeouts": Timeouts(drain_s=8.0)}
    with serve(service, **options) as server:
        peers = [server.dial() for _ in range(3)]
        for peer in peers:
            peer.sendall(b"hello\n")
        assert entered.wait(20)
        server.wait_connections(3)
        server.call(server.server.begin_drain)
        for seconds in (8.0, 1.0, 1.0):
            server.call(lambda seconds=seconds: clock.advance(seconds))
            for _ in range(20):
                server.call(lambda: None)
        server.wait(server.server.wait_stopped())
        release.set()
        for peer in peers:
            peer.close()

        assert 3 == len(server.reasons(3))
