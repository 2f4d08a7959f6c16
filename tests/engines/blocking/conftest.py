"""Servers on the blocking engine that leave no thread and no descriptor behind, and connections without a server."""

import contextlib
import gc
import socket
import threading

import pytest

from penstock.address import parse_address
from penstock.codecs.registry import parse_codec
from penstock.config import Limits, Timeouts
from penstock.engines.alarms import ClockAlarms
from penstock.engines.blocking.connection import ThreadConnection
from penstock.engines.blocking.guarding import ThreadContext
from penstock.engines.blocking.poller import Poller
from penstock.engines.blocking.timers import Timers
from penstock.engines.listener import peer_of
from penstock.testing.thread import PATIENCE_S, ServerThread

from ...descriptors import none_left_open


def threads_of_servers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("penstock-")]


@pytest.fixture(autouse=True)
def no_leaks():
    """Each test ends with no more threads and descriptors than it began with."""
    gc.collect()
    before = set(threads_of_servers())
    with none_left_open():
        yield
        for thread in set(threads_of_servers()) - before:
            thread.join(PATIENCE_S)

            assert not thread.is_alive(), thread.name


@pytest.fixture
def serve():
    """Serve on the blocking engine, from ``with`` to the end of its block."""

    def start(target, **options):
        options.setdefault("timeouts", Timeouts(drain_s=10.0))
        return ServerThread(target, engine="blocking", **options)

    return start


@pytest.fixture
def pair():
    """A connection without a server, and the plain socket at its other end; both are closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def make(codec="lines", *, limits=None, timeouts=None, kind=socket.SOCK_STREAM):
            near, far = socket.socketpair(socket.AF_UNIX, kind)
            far.settimeout(PATIENCE_S)
            near.setblocking(False)
            poller = Poller()
            timers = Timers(poller.wake)
            context = ThreadContext(
                clock=timers,
                alarms=ClockAlarms(timers),
                timeouts=timeouts or Timeouts(),
                limits=limits or Limits(),
                report=lambda events: events.clear(),
                timers=timers,
            )
            conn = ThreadConnection(
                context,
                near,
                poller,
                parse_codec(codec),
                peer=peer_of(near, ""),
                local=parse_address("unix:@pair"),
                records=kind == socket.SOCK_SEQPACKET,
            )
            stack.callback(conn.abort)
            stack.callback(far.close)
            return conn, far

        yield make
