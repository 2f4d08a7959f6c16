"""A peer that has yet to show who it is: an absolute deadline, and a limit of its own at the gate (T-36, T-25)."""

import asyncio
import contextlib
import socket

import pytest

import penstock
from penstock.config import GateConfig, Timeouts
from penstock.core.counts import Counts
from penstock.core.service import callbacks
from penstock.errors import LocalProtocolError
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_exactly, read_to_end, reset

NEVER = Timeouts(
    first_message_s=None, idle_s=None, message_s=None, write_s=None, lifetime_s=None, drain_s=10.0, linger_s=None
)
TICK = 0.25


class Login(penstock.Handler):
    """``who?`` - ``me`` - ``welcome``, and then an echo."""

    def on_connect(self, conn):
        conn.begin_handshake()
        conn.begin_handshake()
        conn.post(b"who?")

    def on_message(self, conn, message):
        if message == b"me":
            conn.end_handshake()
            conn.end_handshake()
            return b"welcome"
        if message == b"patience":
            conn.set_timeouts(handshake_s=None)
        if message == b"haste":
            conn.set_timeouts(handshake_s=4.0)
        if message == b"bye":
            conn.close()
            return None
        if message == b"again":
            conn.begin_handshake()
        return message


class AsyncLogin(Login):
    async def on_connect(self, conn):
        await asyncio.sleep(0)
        super().on_connect(conn)


def conversation(conn):
    login = Login()
    login.on_connect(conn)
    for message in conn:
        if (reply := login.on_message(conn, message)) is not None:
            conn.send(reply)


async def async_conversation(conn):
    login = Login()
    login.on_connect(conn)
    async for message in conn:
        if (reply := login.on_message(conn, message)) is not None:
            await conn.send(reply)


FORMS = {
    "callbacks": ("loop", callbacks(Login, name="login")),
    "threads": ("threads", callbacks(Login, name="login")),
    "async-callbacks": ("loop", callbacks(AsyncLogin, name="login")),
    "conversation": ("loop", penstock.on_connection(async_conversation)),
    "def-conversation": ("loop", penstock.on_connection(conversation)),
}


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=FORMS)
def login(request, serve, engine, clock):
    """A function that serves the login in one form of a handler."""
    model, service = FORMS[request.param]
    if (engine.name == "blocking") != (request.param == "def-conversation") and request.param != "callbacks":
        pytest.skip("this engine has no such form")

    def start(timeouts, **gate):
        return serve(service, clock=clock, model=model, timeouts=timeouts, threads=40, gate=GateConfig(**gate))

    return start


def advance(server, seconds):
    """Move the server's clock, and let the server see what came of it."""
    server.call(lambda: server.server._clock.advance(seconds))
    for _ in range(20):
        server.call(lambda: None)


def say(peer, line, answer):
    peer.sendall(line + b"\n")
    assert answer + b"\n" == read_exactly(peer, len(answer) + 1)


def call(server):
    """Connect, and wait for the handshake to have begun."""
    peer = server.dial()
    assert b"who?\n" == read_exactly(peer, 5)
    return peer


def is_cut(peer):
    """The peer was reset; what had been sent before may have gone with it."""
    try:
        read_to_end(peer)
    except ConnectionResetError:
        return True
    return False


def is_refused(server):
    """The next peer is reset at the door, perhaps before its connect has returned."""
    try:
        with server.dial() as peer:
            return is_cut(peer)
    except ConnectionResetError:
        return True


def test_who_has_not_shown_who_it_is_is_cut_at_handshake_s(login):
    """To the tick, and whatever it says meanwhile: no byte moves that."""
    with login(NEVER.merged(handshake_s=8.0)) as server, call(server) as peer:
        for _ in range(3):
            advance(server, 2.0)
            say(peer, b"hello?", b"hello?")
        advance(server, 2.0 - TICK)
        assert [] == server.record.reasons
        advance(server, TICK)

        assert is_cut(peer)
        assert ["handshake_timeout"] == server.reasons(1)
        assert 0 == server.server.gate.handshakes


def test_who_has_is_not(login):
    """Nor while it has nothing to say later; and who is asked again has so long again."""
    with login(NEVER.merged(handshake_s=8.0)) as server, call(server) as peer:
        advance(server, 8.0 - TICK)
        say(peer, b"me", b"welcome")
        advance(server, 1000.0)
        say(peer, b"again", b"again")
        advance(server, 8.0 - TICK)
        assert [] == server.record.reasons
        advance(server, TICK)

        assert is_cut(peer)
        assert ["handshake_timeout"] == server.reasons(1)


@pytest.mark.parametrize(("word", "seconds"), [(b"haste", 4.0), (b"patience", None)])
def test_each_connection_may_have_a_time_of_its_own(login, word, seconds):
    """Counted from where the handshake began, not from the call; None is for ever."""
    with login(NEVER.merged(handshake_s=8.0)) as server, call(server) as peer:
        advance(server, 2.0)
        say(peer, word, word)
        if seconds is None:
            advance(server, 1000.0)
            say(peer, b"me", b"welcome")
            return
        advance(server, seconds - 2.0 - TICK)
        assert [] == server.record.reasons
        advance(server, TICK)

        assert is_cut(peer)
        assert ["handshake_timeout"] == server.reasons(1)


def test_nothing_else_is_held_against_it_until_then_and_everything_afterwards(login):
    """Neither silence nor half a message; the idle timeout counts again once it is known."""
    with login(NEVER.merged(handshake_s=16.0, first_message_s=1.0, idle_s=4.0, message_s=2.0)) as server:
        with call(server) as peer:
            advance(server, 8.0)
            peer.sendall(b"m")
            advance(server, 6.0)
            say(peer, b"e", b"welcome")
            silent_s = 0.0
            while not server.call(lambda: next(conn.close_reason for conn in server.server.connections)):
                advance(server, TICK)
                silent_s += TICK

            assert b"" == read_to_end(peer)
        assert ["idle_timeout"] == server.reasons(1)
        assert silent_s >= 4.0


def dismissed(server, peer):
    peer.sendall(b"bye\n")
    assert b"" == read_to_end(peer)


LEAVING = {
    "logs in": lambda server, peer: say(peer, b"me", b"welcome"),
    "ends": lambda server, peer: peer.close(),
    "is reset": lambda server, peer: reset(peer),
    "is closed": dismissed,
    "is late": lambda server, peer: advance(server, 8.0 - TICK),
}


@pytest.mark.parametrize("way", LEAVING)
def test_so_many_may_be_in_it_at_once_and_the_next_when_one_is_no_longer(login, way):
    """However it came out of it; who is known takes none of these places."""
    with login(NEVER.merged(handshake_s=8.0), max_handshakes=2) as server:
        known = call(server)
        say(known, b"me", b"welcome")
        first = call(server)
        advance(server, TICK)
        second = call(server)
        assert is_refused(server)
        server.wait_until(lambda it: it.stats.refused["handshakes"] == 1)
        say(known, b"hello", b"hello")
        LEAVING[way](server, first)
        server.wait_until(lambda it: it.gate.handshakes == 1)
        third = call(server)

        assert 2 == server.server.gate.handshakes
        for peer in (known, first, second, third):
            peer.close()
        server.wait_connections(0)
        assert 0 == server.server.gate.handshakes


@pytest.mark.uncipherable("who is not accepted has no handshake")
@pytest.mark.engines("pure", "native", "attached", "eager", "eager-native")
@pytest.mark.parametrize("kind", ["callbacks", "conversation"])
def test_of_a_rush_exactly_so_many_are_in_it(serve, engine, kind, figure):
    """T-25: who begins it first of all is counted before more are accepted than there is room for: overshoot 0."""
    limit, rush = 4, 80
    with serve(FORMS[kind][1], timeouts=NEVER, gate=GateConfig(max_handshakes=limit)) as server:
        with contextlib.ExitStack() as peers:
            server.call(server.server.suspend)
            for _ in range(rush):
                peers.enter_context(server.dial())
            server.call(server.server.resume)
            server.wait_until(lambda it: it.stats.accepted + it.stats.refused.total() == rush)
            server.wait_until(lambda it: it.gate.handshakes == it.stats.accepted)
            most = server.server.stats.accepted
        server.wait_connections(0)
    figure(f"T-25 {engine.label}, {kind}: {rush} at once where {limit} handshakes may be: overshoot {most - limit}")

    assert limit == most


@pytest.mark.uncipherable("who is not accepted has no handshake")
def test_who_waits_for_it_in_the_backlog_comes_in_at_once(login):
    """When somebody is known, or has left; nobody is lost."""
    with login(NEVER.merged(handshake_s=8.0), max_handshakes=1, on_refusal=("handshakes=wait",)) as server:
        first, waiting = call(server), [server.dial() for _ in range(3)]
        for peer in waiting:
            say(first, b"me", b"welcome")
            first.close()
            first = peer
            assert b"who?\n" == read_exactly(first, 5)
        first.close()
        server.wait_connections(0)

        assert 0 == server.server.stats.refused.total()
        assert ["peer_closed"] * 4 == list(server.reasons(4))


def test_a_crowd_that_never_shows_who_it_is_keeps_nobody_out_for_long(login, engine, request, figure):
    """Nine tenths of the places are for those who do, and the other tenth is free again at the deadline."""
    handshakes = 4
    with login(NEVER.merged(handshake_s=8.0), max_connections=40) as server:
        crowd = [call(server) for _ in range(handshakes)]
        turned_away = sum(is_refused(server) for _ in range(20))
        advance(server, 8.0 - TICK)
        before = len(server.record.reasons)
        advance(server, TICK)
        gone = len(server.reasons(handshakes))
        with call(server) as peer:
            say(peer, b"me", b"welcome")
        figure(
            f"T-36 {engine.label}: {handshakes + 20} peers that never show who they are, room for 40: "
            f"{turned_away} reset, {before} gone before their deadline, {gone} at it, and the next one is welcome"
        )
        for each in crowd:
            each.close()

    assert (20, 0, handshakes) == (turned_away, before, gone)


@pytest.mark.uncipherable("who is not accepted has no handshake")
@pytest.mark.parametrize("transport", ["unix", "unix+seqpacket"])
def test_it_holds_on_unix_sockets(serve, engine, clock, tmp_path, transport):
    """One place where it is enforced for streams, and one for records."""
    service = callbacks(Login, name="login")
    bind = (f"{transport}:{tmp_path}/s",)
    gate = GateConfig(max_handshakes=1)
    with serve(service, clock=clock, bind=bind, timeouts=NEVER.merged(handshake_s=8.0), gate=gate) as server:
        with server.dial() as peer:
            assert peer.recv(100) in (b"who?\n", b"who?")
            with server.dial() as other:
                assert b"" == other.recv(100)
            advance(server, 8.0)
            assert ["handshake_timeout"] == server.reasons(1)


def test_a_datagram_has_none(serve, engine):
    """It is from whoever it says it is from, and there is nothing to wait for."""
    raised = []

    @penstock.on_message
    def handle(conn, message):
        conn.end_handshake()
        try:
            conn.begin_handshake()
        except LocalProtocolError as error:
            raised.append(str(error))
        return message

    with serve(handle, bind=("udp://127.0.0.1:0",)) as server, server.dial() as peer:
        peer.send(b"x")
        assert b"x" == peer.recv(100)

    assert ["only a connection of a server has a handshake"] == raised
    assert socket.SOCK_DGRAM == peer.type


@pytest.mark.parametrize("meanwhile", ["begin_handshake", "end_handshake", "abort"])
@pytest.mark.parametrize("moment", ["begin_handshake", "end_handshake"])
def test_what_a_signal_handler_does_while_one_is_counted_is_counted_once(serve, monkeypatch, moment, meanwhile):
    """It may run at any call, and do to the connection what anybody may: no place is lost, and none is given twice."""
    conns, count = [], getattr(Counts, moment)

    def interrupted(counts):
        if conns:
            getattr(conns.pop(), meanwhile)()
        count(counts)

    @penstock.on_message(codec="lines")
    def handle(conn, message):
        conns.append(conn)
        conn.begin_handshake()
        conn.end_handshake()
        conns.clear()
        conn.close()

    monkeypatch.setattr(Counts, moment, interrupted)
    with serve(handle) as server:
        with server.dial() as peer:
            peer.sendall(b"a line\n")
            with contextlib.suppress(ConnectionResetError):
                read_to_end(peer)
        server.wait_closed(1)

        assert 0 == server.server.gate.handshakes == server.server.gate.open


@pytest.mark.parametrize("fails", [False, True], ids=["given back", "not given back"])
def test_a_handshake_that_a_signal_handler_begins_while_a_place_is_given_back_has_one(serve, monkeypatch, fails):
    """Also where that place could not be given back: there was no memory, say. No other one is lost for it."""
    conns, found, count = [], [], Counts.end_handshake

    def interrupted(counts):
        if conns:
            conns.pop().begin_handshake()
            if fails:
                raise MemoryError
        count(counts)

    @penstock.on_message(codec="lines")
    def handle(conn, message):
        conn.begin_handshake()
        conns.append(conn)
        with contextlib.suppress(MemoryError):
            conn.end_handshake()
        found.append(conn.server.gate.handshakes)
        conn.close()

    monkeypatch.setattr(Counts, "end_handshake", interrupted)
    with serve(handle) as server:
        with server.dial() as peer:
            peer.sendall(b"a line\n")
            with contextlib.suppress(ConnectionResetError):
                read_to_end(peer)
        server.wait_closed(1)

        assert ([1], 0) == (found, server.server.gate.handshakes)
