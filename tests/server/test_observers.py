"""Who is told of what: one event after the other, or how many there were where nobody wants more."""

import logging
import socket

import pytest

import penstock
from penstock.core.events import DatagramHandled, Stopped
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


@pytest.fixture
def service():
    return penstock.on_message(codec="raw")(lambda message: message)


def test_datagrams_are_only_counted_where_nobody_wants_more(service):
    """The server's own observers: its counts, and its log above DEBUG."""
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
