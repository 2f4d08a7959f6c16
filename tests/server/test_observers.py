"""Who is told of what: one event after the other, or how many there were where nobody wants more."""

import asyncio
import contextlib
import logging
import signal
import socket

import pytest

import penstock
from penstock.core.events import CountingObserver, DatagramHandled, Stopped
from penstock.server.observers import Observers
from penstock.telemetry.log import LogObserver
from penstock.telemetry.stats import Stats
from penstock.testing.peers import PATIENCE_S
from penstock.testing.thread import ServerThread


class Recorder:
    """Keeps the events it is told of."""

    def __init__(self):
        self.events = []

    def observe(self, event, /):
        self.events.append(event)


class Failing(CountingObserver):
    """Raises whatever it is asked, or is interrupted meanwhile."""

    def __init__(self, *, interrupted=False):
        self.interrupted = interrupted

    def only_counts(self, kind):
        self.fail()

    def count(self, kind, count):
        self.fail()

    def observe(self, event, /):
        self.fail()

    def fail(self):
        if self.interrupted:
            signal.raise_signal(signal.SIGINT)
        raise ValueError("no")


@pytest.fixture
def service():
    return penstock.on_message(codec="raw")(lambda message: message)


def test_datagrams_are_only_counted_where_nobody_wants_more(service, caplog):
    """The server's own observers: its counts, and its log above DEBUG."""
    caplog.set_level(logging.INFO, logger="penstock")
    stats = Stats()
    observers = Observers(service, [stats, LogObserver(access=True)])
    assert observers.only_counts(DatagramHandled)
    assert not observers.only_counts(Stopped)
    observers.count(DatagramHandled, 3)

    assert 3 == stats.datagrams


def test_an_observer_of_the_user_is_told_of_each(service):
    """It says nothing of counts: every event is made for it, also one that is added later."""
    observers = Observers(service, [Stats()])
    observers.append(Recorder())

    assert not observers.only_counts(DatagramHandled)


class OwnStats(Stats):
    """Keeps the events it is told of, and counts them."""

    def __init__(self):
        super().__init__()
        self.events = []

    def observe(self, event, /):
        super().observe(event)
        self.events.append(event)


class OwnLog(LogObserver):
    """Keeps the events it is told of, and writes them."""

    def __init__(self):
        super().__init__(access=True)
        self.events = []

    def observe(self, event, /):
        super().observe(event)
        self.events.append(event)


@pytest.mark.parametrize("engine", ["auto", "pure"])
@pytest.mark.parametrize("kind", [OwnStats, OwnLog])
def test_an_observer_that_inherits_from_one_who_counts_is_told_of_each(service, engine, kind):
    """What it does with an event is its own matter."""
    recorder = kind()
    with ServerThread(service, bind="udp://127.0.0.1:0", engine=engine, observers=[recorder]) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE_S)
            peer.connect(("127.0.0.1", server.port))
            peer.send(b"hello")
            assert b"hello" == peer.recv(100)
        server.wait_until(lambda each: each.stats.datagrams == 1)

    assert 1 == sum(type(event) is DatagramHandled for event in recorder.events)
    assert 1 == getattr(recorder, "datagrams", 1)


def test_a_log_that_shows_everything_is_told_of_each(service, caplog):
    """At DEBUG each datagram leaves a record."""
    observers = Observers(service, [LogObserver(access=True)])
    with caplog.at_level(logging.DEBUG, logger="penstock"):
        assert not observers.only_counts(DatagramHandled)


@pytest.mark.parametrize("engine", ["auto", "pure"])
def test_a_server_counts_its_datagrams_with_and_without_observers(service, engine):
    """Those who wait for a number of datagrams hear of it either way."""
    for recorders in ([], [Recorder()]):
        with ServerThread(service, bind="udp://127.0.0.1:0", engine=engine, observers=recorders) as server:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.settimeout(PATIENCE_S)
                peer.connect(("127.0.0.1", server.port))
                for number in range(5):
                    peer.send(b"%d" % number)
                assert [b"%d" % number for number in range(5)] == [peer.recv(100) for _ in range(5)]
            server.wait_until(lambda each: each.stats.datagrams == 5)
        for recorder in recorders:
            assert 5 == sum(type(event) is DatagramHandled for event in recorder.events)


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("tell", ["count", "emit"])
def test_whatever_one_observer_raises_all_others_are_told(service, caplog, tell, interrupted):
    """It is logged as that observer's; an interrupt of the process goes on, when all were told."""
    stats = Stats()
    observers = Observers(service, [Failing(interrupted=interrupted), stats])
    outcome = pytest.raises(KeyboardInterrupt) if interrupted else contextlib.nullcontext()
    with outcome:
        if tell == "count":
            observers.count(DatagramHandled, 3)
        else:
            for _ in range(3):
                observers.emit(DatagramHandled(None, None))
    logged = [record.getMessage() for record in caplog.records]

    assert (1 if interrupted and tell == "emit" else 3) == stats.datagrams
    assert ([] if interrupted else [True]) == ["Failing" in line and DatagramHandled.name in line for line in logged]


def test_an_observer_that_cannot_say_whether_a_number_is_enough_is_told_of_each(service, caplog):
    """What it raises is logged as its own; an interrupt goes on."""
    observers = Observers(service, [Stats(), Failing()])
    enough = observers.only_counts(DatagramHandled)
    interrupted = Observers(service, [Failing(interrupted=True)])
    with pytest.raises(KeyboardInterrupt):
        interrupted.only_counts(DatagramHandled)

    assert not enough
    assert [True] == ["Failing" in record.getMessage() for record in caplog.records]


def test_those_who_wait_for_a_number_hear_of_it_though_an_observer_fails(service):
    """The fact is looked at again after each batch, whoever raises."""
    stats = Stats()

    async def main():
        observers = Observers(service, [stats, Failing()])
        asyncio.get_running_loop().call_soon(observers.count, DatagramHandled, 3)
        await observers.wait_until(lambda: stats.datagrams == 3)

    asyncio.run(asyncio.wait_for(main(), PATIENCE_S))

    assert 3 == stats.datagrams
