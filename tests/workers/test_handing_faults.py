"""Handovers in which something fails: whatever it is, each connection has one worker that goes on with it."""

import asyncio
import os
import socket
import sys
import threading
import time
from types import SimpleNamespace

import pytest

import penstock
from penstock.core.events import HandlerFailed
from penstock.core.handover.snapshot import decoded, encoded
from penstock.engines.registry import native_missing
from penstock.testing.peers import dial
from penstock.testing.thread import ServerThread
from penstock.workers import handing, late
from penstock.workers.channel import Channel
from penstock.workers.messages import (
    HANDOVER_S,
    FromNewWorker,
    FromOldWorker,
    Go,
    Offer,
    Over,
    Rest,
    Started,
    Taken,
)

from ..descriptors import none_left_open
from .conftest import PATIENCE_S

ENGINES = [
    "pure",
    pytest.param("native", marks=pytest.mark.skipif(bool(native_missing()), reason="not built")),
]
pytestmark = pytest.mark.parametrize("engine", ENGINES)


class Counting(penstock.Handler):
    count = 0

    def on_message(self, conn, message):
        self.count += 1
        return b"%d %s" % (self.count, message)

    def on_handover(self, conn):
        return self.count

    def on_takeover(self, conn, state: int):
        self.count = state


def serving(engine, handler=Counting, **options):
    return ServerThread(handler, codec="lines", engine=engine, **options)


def ask(peer, message):
    peer.sendall(message + b"\n")
    return peer.recv(100)


def hand_over(one, two, **options):
    """Hand all connections over; return how many have moved, once both ends are done."""
    ours, theirs = socket.socketpair()
    left, arrived = threading.Event(), threading.Event()
    two.call(lambda: handing.Arrivals(theirs, [two.server], arrived.set))
    departure = one.call(lambda: handing.Departure(ours, [one.server], left.set, **options))
    assert left.wait(PATIENCE_S)
    assert arrived.wait(PATIENCE_S)
    return departure.moved


class OldWorker:
    """Offers the one connection of a server by hand to `Arrivals` of another one."""

    def __init__(self, one, two):
        ours, theirs = socket.socketpair()
        self.over = threading.Event()
        two.call(lambda: handing.Arrivals(theirs, [two.server], self.over.set))
        ours.settimeout(PATIENCE_S)
        self.channel = Channel(ours, FromNewWorker)
        self.conn, data = one.call(lambda: self.hold(one.server))
        self.channel.send(Offer(at=time.monotonic(), snapshots=[data]), [self.conn.fileno()])

    @staticmethod
    def hold(server):
        [conn] = server.connections
        return conn, encoded(conn.hold(server.mover))


def test_a_server_that_drains_takes_nobody_over(engine):
    """Nobody would tell such a connection to drain: it would be cut at the deadline. It stays where it is."""
    with serving(engine) as one, serving(engine) as two, dial(one.address) as peer, dial(two.address) as other:
        assert [b"1 a\n", b"1 b\n"] == [ask(peer, b"a"), ask(other, b"b")]
        two.call(lambda: [conn.task(asyncio.sleep(600)) for conn in two.server.connections])
        other.shutdown(socket.SHUT_WR)  # closes only when the task has ended
        two.call(two.server.begin_drain)

        assert 0 == hand_over(one, two)
        assert b"2 c\n" == ask(peer, b"c")
        two.call(two.server.begin_stop)


class Failing(Counting):
    def on_takeover(self, conn, state: int):
        if state == 2:
            sys.exit(3)
        if state == 3:
            raise asyncio.CancelledError
        super().on_takeover(conn, state)


def test_what_a_handler_raises_costs_its_own_connection_only(engine):
    """SystemExit and CancelledError too: the others move, and no descriptor stays behind."""
    with serving(engine, Failing) as one, serving(engine, Failing) as two:
        peers = [dial(one.address) for _ in range(4)]
        for at, peer in enumerate(peers):
            for _ in range(1, at + 2):
                ask(peer, b"a")
        assert 2 == hand_over(one, two)
        assert [b"2 b\n", b"3 b\n", b"4 b\n", b"5 b\n"] == [ask(peer, b"b") for peer in peers]
        assert [2, 2] == [each.call(lambda each=each: len(each.server.connections)) for each in (one, two)]
        for peer in peers:
            peer.close()


def test_limits_that_do_not_suit_the_new_configuration_keep_one_connection_where_it_is(engine):
    """Its own low watermark is over the high one there. The batch goes on without it."""
    with serving(engine) as one, serving(engine, write_high=32768) as two:
        peers = [dial(one.address) for _ in range(3)]
        for peer in peers:
            ask(peer, b"a")
        one.call(lambda: list(one.server.connections)[1].set_limits(write_low_bytes=60_000))
        with none_left_open():  # each end of the channel is closed, and each connection has one descriptor, as before
            assert 2 == hand_over(one, two)
            assert [b"2 b\n"] * 3 == [ask(peer, b"b") for peer in peers]
        for peer in peers:
            peer.close()


def test_an_option_of_another_version_is_passed_over(engine):
    """As the design says: readers skip what they do not know."""
    with serving(engine) as one, serving(engine) as two, dial(one.address) as peer:
        ask(peer, b"a")
        old = OldWorker.__new__(OldWorker)
        conn, data = one.call(lambda: old.hold(one.server))
        told = decoded(data)
        told.timeouts["tea_s"] = 3.0
        told.limits["cups"] = 2
        arrival = two.server.mover.arrival(told, 0.0)
        one.call(conn.stay)

        assert two.server.config.timeouts.idle_s == arrival.timeouts.idle_s


def test_what_fails_for_one_connection_in_the_old_worker_leaves_the_others_moving(engine, monkeypatch):
    """That one stays, and answers."""
    calls = []

    def encode(snapshot):
        calls.append(snapshot.id)
        if len(calls) == 2:
            raise RuntimeError("cannot be told")
        return encoded(snapshot)

    monkeypatch.setattr(handing, "encoded", encode)
    with serving(engine) as one, serving(engine) as two:
        peers = [dial(one.address) for _ in range(3)]
        for peer in peers:
            ask(peer, b"a")
        assert 2 == hand_over(one, two)
        assert [b"2 b\n"] * 3 == [ask(peer, b"b") for peer in peers]
        for peer in peers:
            peer.close()


def test_an_offer_that_the_system_refuses_leaves_all_connections_here(engine, monkeypatch):
    """No memory, too many descriptors on their way: they are held no longer, and the other end is told."""

    def refuse(sock, data, descriptors):
        raise OSError(109, "Too many references: cannot splice")

    monkeypatch.setattr(socket, "send_fds", refuse)
    with serving(engine) as one, serving(engine) as two, dial(one.address) as peer:
        ask(peer, b"a")
        assert 0 == hand_over(one, two)
        assert b"2 b\n" == ask(peer, b"b")


class Successor:
    """Takes the connections of a server over by hand: it makes none of them."""

    def __init__(self, server, **options):
        ours, theirs = socket.socketpair()
        theirs.settimeout(PATIENCE_S)
        self.over = threading.Event()
        self.channel = Channel(theirs, FromOldWorker)
        self.departure = server.call(lambda: handing.Departure(ours, [server.server], self.over.set, **options))
        offer, self.descriptors = self.channel.receive()
        self.channel.send(Taken(ids=[decoded(data).id for data in offer.snapshots], pid=4711))
        self.go, _ = self.channel.receive()
        assert isinstance(self.go, Go)

    def end(self):
        self.channel.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


def test_a_successor_that_does_not_say_that_it_has_begun_is_ended(engine, monkeypatch):
    """It may have begun, so nobody else can go on before it has ended. Then its last words say who has them."""
    monkeypatch.setattr(handing, "BEGIN_S", 0.05)
    ended = []
    told = threading.Event()
    with serving(engine) as one, dial(one.address) as peer:
        ask(peer, b"a")
        successor = Successor(one, end_process=lambda pid: (ended.append(pid), told.set()))
        assert told.wait(PATIENCE_S)
        successor.end()
        assert successor.over.wait(PATIENCE_S)

        assert [4711] == ended
        assert b"2 b\n" == ask(peer, b"b")


def test_what_was_sent_after_go_follows_in_pieces(engine, monkeypatch):
    """More than a message may have passes, however much it is."""
    monkeypatch.setattr(handing, "PIECE_BYTES", 1000)
    with serving(engine) as one, dial(one.address) as peer:
        ask(peer, b"a")
        successor = Successor(one)
        frames = b"".join(b"%d\n" % number for number in range(1000))
        one.call(lambda: [conn.post_frame(frames) for conn in one.server.connections])
        successor.channel.send(Started())
        rests = []
        while not isinstance(said := successor.channel.receive()[0], Over):
            rests.append(said)
        successor.end()

        assert frames == b"".join(rest.data for rest in rests)
        assert {True} == {len(rest.data) <= 1000 for rest in rests}
        assert [True] * (len(rests) - 1) + [False] == [rest.more for rest in rests]


def test_pieces_are_sent_once_they_are_whole(engine):
    """A worker that dies in between leaves no half of a frame."""
    with serving(engine) as one, serving(engine) as two, dial(one.address) as peer:
        ask(peer, b"a")
        old = OldWorker(one, two)
        number = old.conn.id
        assert [number] == old.channel.receive()[0].ids
        old.channel.send(Go(ids=[number]))
        assert isinstance(old.channel.receive()[0], Started)
        one.call(old.conn.move_on)
        for rest in (Rest(id=number, data=b"la", more=True), Rest(id=number, data=b"te\n")):
            old.channel.send(rest)
        assert b"late\n" == peer.recv(5, socket.MSG_WAITALL)
        old.channel.send(Rest(id=number, data=b"cu", more=True))
        old.channel.close()
        assert old.over.wait(PATIENCE_S)

        assert b"2 b\n" == ask(peer, b"b")


def test_a_server_that_is_stopped_leaves_what_it_has_not_begun_to_the_old_worker(engine):
    """No `on_close` for it, no end for its peer; the answer to *go* is the end of the channel."""
    with serving(engine) as one, serving(engine) as two, dial(one.address) as peer:
        ask(peer, b"a")
        old = OldWorker(one, two)
        assert [old.conn.id] == old.channel.receive()[0].ids
        assert 1 == two.call(lambda: len(two.server.connections))
        two.call(two.server.begin_stop)
        assert 0 == two.call(lambda: len(two.server.connections))
        old.channel.send(Go(ids=[old.conn.id]))
        assert old.channel.receive() is None
        assert old.over.wait(PATIENCE_S)
        one.call(old.conn.stay)

        assert b"2 b\n" == ask(peer, b"b")
        old.channel.close()


def test_a_handover_has_a_time_of_its_own(engine, monkeypatch):
    """After it what is left drains: on_takeover that takes long does not keep an old worker for ever."""
    monkeypatch.setattr(handing, "HANDOVER_S", -1.0)
    with serving(engine) as one, serving(engine) as two, dial(one.address) as peer:
        ask(peer, b"a")

        assert 0 == hand_over(one, two)
        assert b"2 b\n" == ask(peer, b"b")


@pytest.mark.parametrize(
    ("hands_over_at", "since_s", "expected"),
    [(None, 20.0, True), (0.0, 20.0, False), (0.0, 20.0 + HANDOVER_S + late.BATCH_S, True)],
)
def test_the_time_of_a_drain_begins_after_the_handover(engine, hands_over_at, since_s, expected):
    """A worker that hands over is not taken for one that does not end."""
    worker = SimpleNamespace(is_stopping=False, ready=SimpleNamespace(drain_s=10.0), hands_over_at=hands_over_at)

    assert expected == late._is_overdue(worker, since_s)


def test_a_hanging_successor_does_not_keep_a_reset_from_the_peer(engine, monkeypatch):
    """It has a copy of the descriptor: closing the one here alone would tell nobody."""
    monkeypatch.setattr(handing, "BEGIN_S", 600.0)
    with serving(engine) as one, dial(one.address) as peer:
        ask(peer, b"a")
        ours, theirs = socket.socketpair()
        monkeypatch.setattr(handing, "ANSWER_S", 0.01)
        over = threading.Event()
        one.call(lambda: handing.Departure(ours, [one.server], over.set))
        channel = Channel(theirs, FromOldWorker)
        _, descriptors = channel.receive()
        assert over.wait(PATIENCE_S)
        one.call(lambda: [conn.abort() for conn in one.server.connections])
        peer.settimeout(PATIENCE_S)
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
        channel.close()
        for descriptor in descriptors:
            os.close(descriptor)


class Events:
    def __init__(self):
        self.failures = []

    def observe(self, event):
        if isinstance(event, HandlerFailed):
            self.failures.append((event.connection, str(event.error)))


def test_a_handler_that_cannot_be_made_in_the_new_worker_is_reported(engine):
    """And its connection stays where it is."""
    threads = []

    class Choosy(Counting):
        def __init__(self):
            if threading.current_thread() in threads:
                raise RuntimeError("not here")

    events = Events()
    with serving(engine, Choosy) as one, serving(engine, Choosy, observers=[events]) as two, dial(one.address) as peer:
        threads.append(two.call(threading.current_thread))
        ask(peer, b"a")
        assert 0 == hand_over(one, two)

        assert [(None, "not here")] == events.failures
        assert b"2 b\n" == ask(peer, b"b")
