"""Sessions that cannot be begun, or end meanwhile: no count and no place is lost, and no datagram without a word."""

import threading
from collections import OrderedDict

import pytest

import penstock
from penstock.config import GateConfig, Timeouts
from penstock.core.sessions import Credit
from penstock.engines.blocking.serving import ServedConnection
from penstock.engines.blocking.sessions import SessionThread, SharedSocket
from penstock.engines.endpoint import READS_PER_TURN
from penstock.engines.loop.stream import StreamConnection
from penstock.testing.clock import ManualClock

UDP = "udp://127.0.0.1:0"
IDLE = Timeouts(idle_s=60.0, first_message_s=None)
PATIENCE_S = 10.0


@penstock.on_message(codec="raw", sessions=True)
def echo(conn, message):
    return message


def ask(peer, message):
    peer.send(message)
    return peer.recv(100)


def dropped(server, reason, count):
    """Wait until so many datagrams were dropped for a reason."""
    server.wait_until(lambda each: each.stats.datagrams_dropped.get(reason, 0) >= count)


def failing(function, times):
    """Return a function that has no memory so many times, then does what it should."""
    left = [None] * times

    def fail(*args, **options):
        if left:
            left.pop()
            raise MemoryError
        return function(*args, **options)

    return fail


def fail_in_the_books(monkeypatch):
    class Books(OrderedDict):
        pass

    Books.__setitem__ = failing(OrderedDict.__setitem__, 3)
    monkeypatch.setattr("penstock.core.sessions.OrderedDict", Books)


def fail_at_the_link(monkeypatch):
    make = failing(Credit, 3)
    for engine in ("blocking", "loop"):
        monkeypatch.setattr(f"penstock.engines.{engine}.sessions.Credit", make)


@pytest.mark.parametrize("fail", [fail_in_the_books, fail_at_the_link])
def test_a_session_that_cannot_be_begun_takes_no_place(serve, monkeypatch, fail):
    """Of the sessions, of the gate, or of its sender: the next datagram begins one."""
    fail(monkeypatch)
    gate = GateConfig(max_sessions=2, max_per_peer=2)
    with serve(echo, bind=UDP, gate=gate, fails=3, timeouts=IDLE) as server, server.dial() as one:
        for count in (1, 2, 3):
            one.send(b"lost")
            dropped(server, "handler_error", count)
        with server.dial() as two:
            answers = [ask(peer, message) for message in (b"a", b"b") for peer in (one, two)]
            counts = server.call(lambda: (server.server.gate.open, len(server.server.connections)))

    assert [b"a", b"a", b"b", b"b"] == answers
    assert (2, 2) == counts


def test_a_newcomer_to_whom_another_one_cannot_give_way_takes_no_place(serve, engine, monkeypatch):
    """Its datagram is lost, and the next one finds a place."""
    kind = ServedConnection if engine.name == "blocking" else StreamConnection
    cut = kind.cut
    monkeypatch.setattr(kind, "cut", failing(cut, 1))
    gate = GateConfig(max_sessions=1, max_connections=2)
    with serve(echo, bind=UDP, gate=gate, fails=1, timeouts=IDLE) as server, server.dial() as one:
        ask(one, b"a")
        with server.dial() as two:
            two.send(b"lost")
            dropped(server, "handler_error", 1)

            assert 1 == server.call(lambda: server.server.gate.open)
            assert b"b" == ask(two, b"b")


@pytest.mark.engines("blocking")
def test_listeners_on_threads_of_their_own_begin_no_session_too_many(serve, monkeypatch):
    """Both have a newcomer at the same moment: the one that comes second displaces the one that came first."""
    both_are_there = threading.Barrier(2, timeout=PATIENCE_S)

    def meet(**options):
        both_are_there.wait()
        return Credit(**options)

    monkeypatch.setattr("penstock.engines.blocking.sessions.Credit", meet)
    with serve(echo, bind=[UDP, UDP], gate=GateConfig(max_sessions=1), timeouts=IDLE) as server:
        with server.dial(0) as one, server.dial(1) as two:
            one.send(b"a")
            two.send(b"a")

            assert ["overload"] == list(server.reasons(1))
            server.wait_connections(1)  # the other one is there a moment later


@pytest.mark.engines("blocking")
def test_a_datagram_that_comes_as_its_session_ends_is_counted(serve, monkeypatch):
    """It was put where no thread takes it any more."""
    put, conns = SharedSocket.put, []

    def end_before(self, data):
        if data == b"late":
            ends = threading.Thread(target=conns[0].abort)
            ends.start()
            ends.join(0.2)  # it is over by then, or waits for the datagram to be put
        return put(self, data)

    @penstock.on_message(codec="raw", sessions=True)
    def note(conn, message):
        conns.append(conn)
        return message

    monkeypatch.setattr(SharedSocket, "put", end_before)
    with serve(note, bind=UDP, timeouts=IDLE) as server, server.dial() as peer:
        ask(peer, b"a")
        peer.send(b"late")
        server.wait_closed(1)
        dropped(server, "session_not_read", 1)


@pytest.mark.engines("blocking")
def test_a_flood_from_elsewhere_puts_no_deadline_off(serve, monkeypatch):
    """What has come by now is read before a session ends for silence; not all that comes as long as it comes."""
    read, reads, untold = SessionThread.read, [], []

    def flooded(self):
        read(self)
        if not self._to_decide or len(reads) > 1000:
            return 0
        reads.append(None)
        untold.append(len(self._dropped))
        self.drop("flood")
        return READS_PER_TURN

    clock = ManualClock()
    monkeypatch.setattr(SessionThread, "read", flooded)
    with serve(echo, bind=UDP, clock=clock, timeouts=IDLE) as server, server.dial() as peer:
        ask(peer, b"a")
        server.wait_until(lambda each: all(conn._idle_since < float("inf") for conn in each.connections))
        clock.advance(61.0)

        assert ["idle_timeout"] == list(server.reasons(1))
    assert 0 < len(reads) < 1000
    assert 1 >= max(untold)
