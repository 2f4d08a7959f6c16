"""Sessions: the datagrams of one sender are one connection, on every engine and in every form of a handler."""

import asyncio
import contextlib
import dataclasses
import socket
import threading
from math import inf

import pytest

import penstock
from penstock.config import GateConfig, Limits, OverloadConfig, Timeouts
from penstock.core.gate import Gate
from penstock.groups import Group
from penstock.testing.clock import ManualClock
from penstock.testing.engines import LOOPS

BINDS = ["udp://127.0.0.1:0", "udp://[::1]:0", "udp://0.0.0.0:0", "unix+dgram://{}/s"]
UDP = BINDS[0]
NONE = Timeouts(
    first_message_s=None, idle_s=60.0, message_s=None, write_s=None, lifetime_s=None, drain_s=10.0, linger_s=None
)
# One of each driver; that every form is served is one test's.
DRIVEN = ("def-message-conn", "async-connection", "threads-callbacks", "def-connection")
HAS_CONN = pytest.mark.forms(lambda form: form.label in DRIVEN)


@pytest.fixture
def keep(serve, request):
    """Serve sessions: ``react`` in the test's form, or a service."""
    form = request.getfixturevalue("form") if "form" in request.fixturenames else None

    def start(target, **options):
        if form is not None:
            target = form.make(target, options.pop("codec", "lines"))
            options.setdefault("model", form.model)
        service = dataclasses.replace(target, sessions=True, datagram=None)
        options.setdefault("timeouts", NONE)
        return serve(service, bind=options.pop("bind", UDP), **options)

    return start


def counts(conn, message):
    """Say how many messages of this connection there were."""
    conn.state = (conn.state or 0) + 1
    return b"%d %s" % (conn.state, message)


def ask(peer, message):
    peer.send(message)
    return peer.recv(2000)


def dropped(server, reason):
    """Wait until a datagram was dropped for a reason."""
    server.wait_until(lambda each: each.stats.datagrams_dropped.get(reason, 0) > 0)


def advance(server, engine, clock, seconds):
    """Move time where the engine takes it, once every handler waits for its peer."""
    if engine.name == "blocking":
        server.wait_until(lambda each: all(conn._idle_since < inf for conn in each.connections))
        clock.advance(seconds)
    else:
        server.call(lambda: clock.advance(seconds))


@pytest.mark.forms(lambda form: form.has_conn)
@pytest.mark.parametrize("bind", BINDS, ids=["udp4", "udp6", "any", "unix"])
def test_each_sender_has_a_connection_whose_state_lasts(keep, form, bind, tmp_path):
    """Messages are counted by sender; an empty datagram is one; the server shows a connection for each."""
    if bind != UDP and form.label not in DRIVEN[:2]:
        pytest.skip("what a form does with a sender has nothing to do with the sender's family")
    with keep(counts, bind=bind.format(tmp_path)) as server:
        with server.dial() as one, server.dial() as two:
            for number, payload in enumerate((b"a", b"", b"two\nlines", b"x" * 1000), 1):
                assert b"%d %s" % (number, payload) == ask(one, payload)
                assert b"%d %s!" % (number, payload) == ask(two, payload + b"!")
        open_now = server.call(lambda: [(conn.messages_in, conn.is_datagram) for conn in server.server.connections])

    assert [(4, False)] * 2 == open_now
    assert ["drained"] * 2 == server.record.reasons


@HAS_CONN
def test_a_silent_session_ends_whatever_it_is_sent_and_another_begins(keep, form, engine):
    """Sending to a peer proves nothing about it. What it sends later is the first message of a new session."""
    clock, conns = ManualClock(), []

    def react(conn, message):
        conns.append(conn)
        return counts(conn, message)

    with keep(react, clock=clock) as server, server.dial() as peer:
        assert b"1 a" == ask(peer, b"a")
        advance(server, engine, clock, 40.0)
        server.call(lambda: conns[0].post(b"news"))
        assert b"news" == peer.recv(100)
        advance(server, engine, clock, 20.5)
        assert ["idle_timeout"] == list(server.reasons(1))
        assert b"1 b" == ask(peer, b"b")


@HAS_CONN
def test_a_datagram_in_time_keeps_the_session(keep, form, engine):
    """Each one moves the end: it is silence that ends."""
    clock = ManualClock()
    with keep(counts, clock=clock) as server, server.dial() as peer:
        for number in range(1, 5):
            assert b"%d x" % number == ask(peer, b"x")
            advance(server, engine, clock, 50.0)


@pytest.mark.engines(*LOOPS)
@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "async-connection"))
def test_what_the_kernel_has_is_read_before_a_session_ends_for_silence(keep, form):
    """Law 11, of a socket that is everybody's: what came in time may be behind the datagrams of others."""
    clock = ManualClock()
    with keep(counts, clock=clock) as server, server.dial() as peer, server.dial() as other:
        ask(peer, b"a")
        ask(other, b"a")

        def late():
            """Hold the loop, as an engine that does not run for a while."""
            for _ in range(100):
                other.send(b"flood")
            peer.send(b"in time")
            clock.advance(61.0)

        server.call(late)

        assert b"2 in time" == peer.recv(100)
        assert [] == server.record.reasons


@pytest.mark.engines("blocking")
def test_what_the_kernel_has_is_read_before_a_session_ends_for_silence_on_threads(keep):
    """The same, where one thread reads and another tells the time."""
    clock = ManualClock()
    with keep(penstock.on_message(counts), clock=clock) as server, server.dial() as peer:
        ask(peer, b"a")
        peer.send(b"in time")
        clock.advance(61.0)

        assert b"2 in time" == peer.recv(100)
        assert [] == server.record.reasons


@HAS_CONN
@pytest.mark.parametrize("how", ["close", "abort", "send_eof"])
def test_a_session_that_its_handler_ends_is_over_at_once(keep, form, how):
    """There is no EOF to wait for; the next datagram begins another session."""

    def react(conn, message):
        if message == b"end":
            getattr(conn, how)()
            return None
        return counts(conn, message)

    with keep(react) as server, server.dial() as peer:
        assert b"1 a" == ask(peer, b"a")
        peer.send(b"end")
        server.wait_closed(1)
        assert b"1 b" == ask(peer, b"b")
    assert {"close": "done", "abort": "aborted", "send_eof": "peer_closed"}[how] == server.record.reasons[0]


def callbacks_that(calls):
    """A class of callbacks that notes what it is called with."""

    class Kept(penstock.Handler):
        sessions = True

        def on_connect(self, conn):
            calls.append("connect")

        def on_message(self, conn, message):
            calls.append(message)
            return message

        def on_timeout(self, conn, which):
            calls.append(which.name)
            conn.post(b"late")

        def on_drain(self, conn):
            calls.append("drain")
            conn.post(b"bye")

        def on_close(self, conn, reason):
            calls.append(str(reason))

    return penstock.as_service(Kept)


def test_callbacks_are_those_of_a_connection(serve, engine):
    """A class says by itself that it keeps sessions; it is told of the silence, and may have a last word."""
    calls, clock = [], ManualClock()
    with serve(callbacks_that(calls), bind=UDP, clock=clock, timeouts=NONE) as server, server.dial() as peer:
        ask(peer, b"one")
        ask(peer, b"two")
        advance(server, engine, clock, 61.0)
        assert b"late" == peer.recv(100)
        server.wait_closed(1)

    assert ["connect", b"one", b"two", "IDLE", "idle_timeout"] == calls


def test_a_drain_tells_each_session_and_its_last_word_arrives(serve, engine):
    """Law 10."""
    calls = []
    with serve(callbacks_that(calls), bind=UDP, timeouts=NONE) as server, server.dial() as one, server.dial() as two:
        ask(one, b"hello")
        ask(two, b"hello")
        server.drain()

        assert [b"bye", b"bye"] == [one.recv(100), two.recv(100)]
    assert {"drain": 2, "drained": 2} == {call: calls.count(call) for call in ("drain", "drained")}


def test_a_drain_that_is_spread_tells_sessions_at_once(serve, engine):
    """Nothing more is read, so there is nothing to wait for: the clock does not move here."""
    calls, clock = [], ManualClock()
    spread = NONE.merged(drain_spread_s=5.0)
    with serve(callbacks_that(calls), bind=UDP, clock=clock, timeouts=spread) as server, server.dial() as peer:
        ask(peer, b"hello")
        server.call(server.server.begin_drain)

        assert b"bye" == peer.recv(100)


@HAS_CONN
def test_at_the_limit_who_was_heard_once_gives_way(keep, form):
    """A forged sender has said one thing and displaces nobody who has said two; those are displaced by nobody."""
    gate = GateConfig(max_sessions=2)
    with keep(counts, gate=gate) as server, contextlib.ExitStack() as peers:
        regular, forged, newcomer, late = [peers.enter_context(server.dial()) for _ in range(4)]
        for message in (b"a", b"b"):
            ask(regular, message)
        ask(forged, b"a")
        assert b"1 a" == ask(newcomer, b"a")
        assert ["overload"] == list(server.reasons(1))
        ask(newcomer, b"b")
        late.send(b"a")
        dropped(server, "sessions")
        assert b"3 c" == ask(regular, b"c")
        assert 2 == len(server.call(lambda: list(server.server.connections)))
        assert 1 == server.call(lambda: server.server.gate.refused["sessions"])


@HAS_CONN
def test_the_gate_counts_sessions_as_connections(keep, form):
    """Of one address no more than may be; the place of one that has ended is free."""
    with keep(counts, gate=GateConfig(max_per_peer=1)) as server, server.dial() as one, server.dial() as two:
        ask(one, b"a")
        two.send(b"a")
        dropped(server, "per_peer")
        server.call(lambda: [conn.close() for conn in server.server.connections])
        server.wait_closed(1)
        assert b"1 b" == ask(two, b"b")


@HAS_CONN
def test_a_stranger_is_sent_no_more_than_a_multiple_until_it_has_shown_who_it_is(keep, form, monkeypatch):
    """`end_handshake` says so: until then its address may be forged, and what is sent there hit somebody else."""
    monkeypatch.setattr(Gate, "is_local", staticmethod(lambda peer: False))

    def react(conn, message):
        if message == b"login":
            conn.begin_handshake()
        elif message == b"cookie":
            conn.end_handshake()
        return bytes(400) if message.startswith(b"large") else b"ok"

    with keep(react, codec="raw") as server, server.dial() as peer:
        assert b"ok" == ask(peer, b"login")
        peer.send(b"large")
        dropped(server, "amplification")
        assert b"ok" == ask(peer, b"cookie")
        assert bytes(400) == ask(peer, b"large")


@pytest.mark.parametrize("kind", ["async", "def"])
def test_a_handler_that_does_not_receive_holds_so_much_and_no_more(serve, engine, kind):
    """Datagrams beyond that are dropped and counted, and the session goes on."""
    if (kind == "def") != (engine.name == "blocking"):
        pytest.skip("another engine's")
    released = threading.Event()
    got = []

    async def converse(conn):
        await asyncio.get_running_loop().run_in_executor(None, released.wait)
        async for message in conn:
            got.append(message)
            await conn.send(message[:1])

    def hold(conn):
        released.wait()
        for message in conn:
            got.append(message)
            conn.send(message[:1])

    service = penstock.on_connection(codec="raw", sessions=True)(converse if kind == "async" else hold)
    with serve(service, bind=UDP, limits=Limits(read_bytes=4096), timeouts=NONE) as server, server.dial() as peer:
        for _ in range(300):
            peer.send(bytes(200))
        dropped(server, "session_not_read")
        server.wait_until(lambda each: sum(each.stats.datagrams_dropped.values()) > 100)
        released.set()
        assert b"\0" == peer.recv(100)
        server.wait_until(lambda each: sum(each.stats.datagrams_dropped.values()) + len(got) == 300)
        while True:  # its answers, up to that of the last one
            peer.send(b"last")
            if peer.recv(100) == b"l" or b"last" in got:
                break

    assert len(got) < 200


@HAS_CONN
def test_a_datagram_that_cannot_be_decoded_is_dropped_and_the_session_goes_on(keep, form):
    """Nobody ends another one's session with a forged one. It is counted."""

    def react(conn, message):
        conn.state = (conn.state or 0) + 1
        return {"count": conn.state}

    with keep(react, codec="json-lines") as server, server.dial() as peer:
        assert b'{"count":1}' == ask(peer, b'{"a":1}').strip()
        peer.send(b"{no json")
        server.wait_until(lambda each: each.stats.bad_messages == 1)
        assert b'{"count":2}' == ask(peer, b'{"a":1}').strip()


@pytest.mark.engines(*LOOPS)
def test_a_group_reaches_sessions(serve):
    """They join as connections do, and are gone from it when they end."""
    room = Group("room")

    @penstock.on_message(codec="lines", sessions=True)
    def say(conn, message):
        if conn.state is None:
            conn.state = room.join(conn)
        room.publish(message)

    with serve(say, bind=UDP, timeouts=NONE) as server, server.dial() as one, server.dial() as two:
        assert b"a" == ask(one, b"a")
        assert [b"b", b"b"] == [ask(two, b"b"), one.recv(100)]
        server.call(lambda: [conn.close() for conn in server.server.connections])
        server.wait_closed(2)
        assert 0 == server.call(lambda: len(room))


@pytest.mark.engines(*LOOPS)
def test_a_session_is_asked_and_its_reply_is_no_message(serve):
    """`request` in the order of datagrams."""

    @penstock.on_connection(codec="lines", sessions=True)
    async def ask_back(conn):
        async for message in conn:
            answer = await conn.request(b"who?", timeout_s=10)
            await conn.send(message + b" from " + answer)

    with serve(ask_back, bind=UDP, timeouts=NONE) as server, server.dial() as peer:
        assert b"who?" == ask(peer, b"hello")
        assert b"hello from me" == ask(peer, b"me")


@HAS_CONN
def test_while_the_server_is_suspended_sessions_go_on_and_no_new_one_begins(keep, form):
    """As connections do, whose newcomers wait in the backlog; a datagram cannot wait apart from the others."""
    with keep(counts) as server, server.dial() as one, server.dial() as two:
        ask(one, b"a")
        server.call(server.server.suspend)
        assert b"2 b" == ask(one, b"b")
        two.send(b"a")
        dropped(server, "suspended")
        server.call(server.server.resume)
        assert b"1 b" == ask(two, b"b")


def test_an_unnamed_unix_sender_has_no_session(serve, engine, tmp_path):
    """Nobody could tell it from another one, and it cannot be answered."""
    path = str(tmp_path / "s")
    service = penstock.on_message(codec="lines", sessions=True)(lambda message: message)
    with serve(service, bind=f"unix+dgram:{path}", timeouts=NONE) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"hello", path)
            dropped(server, "unnamed_peer")
        assert 0 == server.call(lambda: len(server.server.connections))


def test_sessions_without_an_end_are_refused_at_the_start():
    """Each sender that was ever heard would be kept for ever."""
    service = penstock.on_message(codec="lines", sessions=True)(lambda message: message)

    with pytest.raises(penstock.ConfigurationError, match="timeout_idle cannot be none"):
        penstock.serve(service, bind=UDP, timeouts=Timeouts(idle_s=None)).check()


def test_a_conversation_without_sessions_has_no_use_for_datagrams():
    """The error says how to have them."""

    @penstock.on_connection(codec="lines")
    async def talk(conn):
        await conn.receive()

    with pytest.raises(penstock.ConfigurationError, match="sessions=True"):
        penstock.serve(talk, bind=UDP).check()


def test_many_forged_senders_hold_no_more_than_the_limit(serve, engine):
    """Each has a session for as long as no other one wants its place; nothing else grows."""
    if engine.name == "blocking":
        pytest.skip("each takes a thread: there it is the threads that are bounded")
    service = penstock.on_message(codec="lines", sessions=True)(lambda message: message)
    overload = OverloadConfig()
    with serve(service, bind=UDP, gate=GateConfig(max_sessions=20), overload=overload, timeouts=NONE) as server:
        regular = server.dial()
        with regular, contextlib.ExitStack() as peers:
            ask(regular, b"a")
            ask(regular, b"b")
            for _ in range(200):
                peer = peers.enter_context(server.dial())
                assert b"x" == ask(peer, b"x")
            assert 20 == server.call(lambda: len(server.server.connections))
            assert b"c" == ask(regular, b"c")
        assert 181 == server.call(lambda: server.server.stats.closed["overload"])
