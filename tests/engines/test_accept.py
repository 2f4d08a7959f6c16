"""The acceptor: what accept(2) says, and what peers are told when no descriptor is left."""

import errno
import socket

import pytest

from penstock.address import Peer, parse_address
from penstock.config import Action
from penstock.core.events import EventName
from penstock.core.gate import Gate
from penstock.core.rules import Rules
from penstock.engines.accept import ACCEPT_BACKOFF_S, Acceptor, Backlog, turn_away
from penstock.engines.listener import Listener
from penstock.reasons import Refusal
from penstock.testing.clock import ManualClock
from penstock.units import Rate

from ..descriptors import none_left_open


class Setting:
    """An acceptor at a listener of its own, at a time that is told."""

    def __init__(self, rules=None):
        self.clock = ManualClock(100.0)
        self.events = []
        self.acceptor = Acceptor(Gate(rules), self.clock, self.events.append)
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.setblocking(False)
        address = parse_address(f"tcp://127.0.0.1:{self.sock.getsockname()[1]}")
        self.listener = Listener(self.sock, address, address, 16)

    def peer(self):
        return socket.create_connection(self.sock.getsockname(), timeout=20)

    def admit(self):
        sock, name = self.sock.accept()
        return sock, self.acceptor.admit(sock, name, self.listener)

    def close(self):
        self.acceptor.close()
        self.sock.close()


@pytest.fixture
def setting():
    made = []

    def make(rules=None):
        made.append(Setting(rules))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_trouble_is_told_once_and_once_more_when_it_is_over(setting, number):
    """A hundred failures are an episode: its beginning is marked, its end has their number and how long it took."""
    it = setting()
    for _ in range(100):
        it.acceptor.failed(OSError(number, "no"), it.listener)
        it.clock.advance(0.1)
    with it.peer():
        it.clock.advance(1.0)
        sock, peer = it.admit()
        sock.close()
    names = [event.name for event in it.events]
    firsts = [event.first for event in it.events if event.name is EventName.ACCEPT_FAILED]

    assert peer is not None
    assert [True] + [False] * 99 == firsts
    assert EventName.ACCEPT_RECOVERED is names[-1]
    assert 100 == it.events[-1].failures
    assert pytest.approx(9.9) == it.events[-1].duration_s


def test_who_waits_when_no_descriptor_is_left_is_told_with_the_spare_one(setting):
    """And the spare one is there again afterwards."""
    it = setting()
    with none_left_open(), it.peer() as first, it.peer() as second:
        it.acceptor.failed(OSError(errno.EMFILE, "no"), it.listener)

        for sock in (first, second):
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
    assert {Refusal.DESCRIPTORS: 2} == it.acceptor.gate.refused
    assert it.acceptor._spare is not None


def test_with_wait_those_without_a_descriptor_stay_in_the_backlog(setting):
    """They are served when there is one again."""
    it = setting(Rules(actions={Refusal.DESCRIPTORS: Action.WAIT}))
    with it.peer():
        it.acceptor.failed(OSError(errno.EMFILE, "no"), it.listener)
        sock, peer = it.admit()
        sock.close()

    assert peer is not None
    assert 0 == it.acceptor.gate.refused.total()


def test_other_trouble_costs_nobody_a_connection(setting):
    """Without memory for a socket, resetting those that wait would need one as well."""
    it = setting()
    with it.peer():
        it.acceptor.failed(OSError(errno.ENOBUFS, "no"), it.listener)
        sock, peer = it.admit()
        sock.close()

    assert peer is not None


@pytest.mark.parametrize("early", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_refusal_s_text_arrives_although_the_peer_spoke_first(setting, early):
    """Input that nobody reads would turn the close into a reset, which overtakes the text."""
    it = setting()
    with it.peer() as sock:
        sock.sendall(early)
        accepted, _ = it.sock.accept()
        accepted.setblocking(False)
        turn_away(accepted, Action.CLOSE, b"no room\n")

        assert b"no room\n" == sock.recv(100)
        assert b"" == sock.recv(100)


def test_turning_away_never_raises_and_always_closes(setting):
    """The peer may be gone, in any way."""
    it = setting()
    for action in (Action.RESET, Action.CLOSE):
        sock = it.peer()
        accepted, _ = it.sock.accept()
        accepted.setblocking(False)
        sock.close()
        turn_away(accepted, action, b"bye\n")

        assert -1 == accepted.fileno()


def test_the_spare_descriptor_is_closed_once_whatever_fails_in_between(setting):
    """Its number is another file's by then, which is not the acceptor's to close."""
    it = setting()
    spare = it.acceptor._spare

    def without_memory(event):
        if event.name is EventName.REFUSED:
            raise MemoryError

    it.acceptor._emit = without_memory
    with it.peer():
        with pytest.raises(MemoryError):
            it.acceptor.failed(OSError(errno.EMFILE, "no"), it.listener)
        with socket.socket() as other:
            assert spare in (it.acceptor._spare, other.fileno())
            it.acceptor._emit = it.events.append
            it.acceptor.failed(OSError(errno.EMFILE, "no"), it.listener)

            assert [socket.SOCK_STREAM] == [other.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)]


PEER = Peer(("127.0.0.1", 1), socket.AF_INET)


class NoMemoryAt:
    """A clock without memory for one of the next timers."""

    def __init__(self, clock, count):
        self.time = clock.time
        self._clock = clock
        self.left = count

    def call_at(self, when, callback):
        self.left -= 1
        if self.left == 0:
            raise MemoryError
        return self._clock.call_at(when, callback)


class Polled(Backlog):
    """A backlog that notes whether its listener is polled, and has no memory for some beginnings of that."""

    unpolled = 0  # so many attempts fail

    def _poll(self, wanted):
        if wanted and not self._polling and self.unpolled:
            self.unpolled -= 1
            raise MemoryError
        self._polling = wanted

    def _begin(self, sock, peer):
        sock.close()

    def state(self):
        return self._polling, self._failing


# The gate is open at first, closed for a second after one connection, and says when it opens again.
ONE_A_SECOND = Rules(accept_rate=Rate(1), actions={Refusal.RATE: Action.WAIT})


def accepting(it, count=0):
    """A backlog at the acceptor, started, whose clock has no memory at the ``count``-th timer."""
    it.acceptor.clock = NoMemoryAt(it.clock, count)
    backlog = Polled(it.acceptor, it.listener)
    backlog.start()
    return backlog


def test_a_listener_is_polled_until_there_is_a_timer_that_has_it_polled_again(setting):
    """The gate closes, and the system has no memory to wait until it opens: whoever comes then asks again."""
    it = setting(ONE_A_SECOND)
    backlog = accepting(it, 1)
    with it.peer(), it.peer():
        with pytest.raises(MemoryError):
            for _ in range(3):
                backlog.accept()
        polled = backlog.state()
        backlog.accept()  # as its poller does: it is readable still
        waits = backlog.state(), it.clock.pending
        it.clock.advance(1.0)

        assert ((True, False), ((False, False), 1)) == (polled, waits)
        assert (True, False) == backlog.state()


def test_a_back_off_without_memory_for_its_timer_is_none(setting):
    """Else the listener would be left alone for good: `wake` does not look at one that backs off."""
    it = setting()
    backlog = accepting(it, 1)
    with pytest.raises(MemoryError):
        backlog.failed(OSError(errno.ENOBUFS, "no"))
    polled = backlog.state()
    backlog.failed(OSError(errno.ENOBUFS, "no"))
    backs_off = backlog.state()
    it.clock.advance(ACCEPT_BACKOFF_S)

    assert ((True, False), (False, True), (True, False)) == (polled, backs_off, backlog.state())


def test_who_cannot_be_polled_when_the_gate_opens_looks_again_soon(setting):
    """Who has left may have been the last: nobody else has it look again."""
    it = setting(Rules(max_connections=1, actions={Refusal.LIMIT: Action.WAIT}))
    backlog = accepting(it)
    it.acceptor.gate.watch(it.acceptor.wake)
    with it.peer(), it.peer():
        for _ in range(2):
            backlog.accept()
        full = backlog.state(), it.clock.pending
        backlog.unpolled = 3
        it.acceptor.leave(PEER)
        left = backlog.state(), it.clock.pending
        it.clock.advance(4 * ACCEPT_BACKOFF_S)

        assert (((False, False), 0), ((False, False), 1)) == (full, left)
        assert ((True, False), 0) == (backlog.state(), it.clock.pending)
