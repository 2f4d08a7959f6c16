"""A server of threads: its pool, its end, its clock, its refusals."""

import contextlib
import threading

import pytest

import penstock
from penstock.core.events import EventName
from penstock.engines.blocking.serving import ServedConnection
from penstock.testing.clock import ManualClock
from penstock.testing.peers import dial, read_to_end
from penstock.testing.thread import PATIENCE_S


@penstock.on_connection
def echo(conn):
    for message in conn:
        conn.send(message)


class SignallingClock(ManualClock):
    """Says when a timer has been set for an instant."""

    def __init__(self):
        super().__init__()
        self._set = threading.Condition()
        self._instants = []

    def call_at(self, when, callback, /):
        timer = super().call_at(when, callback)
        with self._set:
            self._instants.append(when)
            self._set.notify_all()
        return timer

    def wait_set(self, when):
        with self._set:
            assert self._set.wait_for(lambda: when in self._instants, PATIENCE_S), self._instants


def test_at_the_bound_of_the_pool_the_others_wait_in_the_backlog(serve):
    """Two threads serve two connections; the third is served when one of them has left."""
    with serve(echo, threads=2) as server, dial(server.address) as second:
        with dial(server.address) as first:
            for peer in (first, second):
                peer.sendall(b"x\n")
                assert b"x\n" == peer.recv(10)
            third = dial(server.address)
            third.sendall(b"third\n")
            second.sendall(b"still\n")
            assert b"still\n" == second.recv(10)

            assert 2 == server.server.stats.accepted
        with third:
            assert b"third\n" == third.recv(10)


def test_a_handful_of_silent_peers_holds_nobody_up(serve):
    """Each of them has a thread: there are more by default than a pool for handlers would have."""
    with serve(echo) as server, contextlib.ExitStack() as peers:
        for _ in range(64):
            peers.enter_context(dial(server.address))
        with dial(server.address) as late:
            late.sendall(b"hello\n")

            assert b"hello\n" == late.recv(10)
        assert 256 == server.server.threads


def test_a_connection_that_cannot_be_made_keeps_no_place(serve, monkeypatch):
    """Without memory for it its peer is turned away, once it was told; the next one is served."""
    made = []

    class Failing(ServedConnection):
        def begin(self):
            made.append(self)
            if len(made) == 1:
                raise MemoryError
            super().begin()

    monkeypatch.setattr("penstock.engines.blocking.server.ServedConnection", Failing)
    with serve(echo) as server:
        with dial(server.address) as first:
            assert b"" == read_to_end(first)
        with dial(server.address) as second:
            second.sendall(b"x\n")
            assert b"x\n" == second.recv(10)
            assert 1 == server.server.gate.open

    assert (1, 1) == (server.server.stats.accepted, server.server.stats.handler_errors)


def test_a_receive_that_waits_is_told_the_time(serve):
    """timeout_s counts on the server's clock."""
    clock = SignallingClock()

    @penstock.on_connection
    def patient(conn):
        try:
            conn.receive(timeout_s=5.0)
        except TimeoutError:
            conn.send(b"time out")

    with serve(patient, clock=clock) as server, dial(server.address) as peer:
        clock.wait_set(1005.0)
        server.call(lambda: clock.advance(5.0))

        assert b"time out\n" == read_to_end(peer)


def test_a_handler_that_does_not_return_keeps_nobody(serve):
    """Its connection is cut at once; the server stops without it, and the connection has one end all the same."""
    release = threading.Event()
    entered = threading.Event()

    @penstock.on_message
    def stuck(message):
        entered.set()
        release.wait()
        return message

    with serve(stuck) as server, dial(server.address) as peer:
        peer.sendall(b"x\n")
        assert entered.wait(PATIENCE_S)
        server.wait(server.server.stop())

        with pytest.raises(ConnectionResetError):
            peer.recv(1)
        assert {"stopped": 1} == server.server.stats.closed
        release.set()


def test_events_are_told_one_at_a_time(serve):
    """An observer needs no lock, however many threads there are."""
    inside = threading.Lock()
    overlaps = []

    class Observer:
        def observe(self, event):
            if event.name in (EventName.ACCEPTED, EventName.CLOSED):
                if not inside.acquire(blocking=False):
                    overlaps.append(event)
                else:
                    inside.release()

    with serve(echo, observers=[Observer()], threads=8) as server:
        peers = [dial(server.address) for _ in range(8)]
        for peer in peers:
            peer.close()
        server.wait_closed(8)

    assert [] == overlaps


def test_coroutines_are_refused_in_one_sentence(serve):
    """There is no loop to run them."""

    @penstock.on_message
    async def handler(message):
        return message

    with pytest.raises(penstock.ConfigurationError, match="handler is async, which needs a loop; use --engine pure"):
        serve(handler).__enter__()


def test_a_handler_class_that_cannot_be_made_ends_one_connection(serve):
    """The others go on, and it is reported once."""
    made = []

    class Fragile(penstock.Handler):
        def __init__(self):
            made.append(self)
            if len(made) == 1:
                raise RuntimeError("not the first")

        def on_message(self, conn, message):
            return message

    with serve(Fragile) as server:
        with dial(server.address) as peer:
            assert b"" == read_to_end(peer)
        with dial(server.address) as peer:
            peer.sendall(b"second\n")
            assert b"second\n" == peer.recv(100)
        server.wait_closed(2)

    assert 1 == server.server.stats.handler_errors


@pytest.mark.parametrize("name", ["penstock-watchdog", "penstock-echo-keeper"])
async def test_a_server_for_which_there_is_no_thread_leaves_nothing(monkeypatch, name):
    """No descriptor, and nobody whom its gate tells of room."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    server = penstock.serve(echo, bind="tcp://127.0.0.1:0", engine="blocking")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(penstock.LimitError, match=name):
        await server.start()

    assert [] == server.gate._watchers
