"""A handler in a thread outlives its server: `on_close` still comes after it, on every engine."""

import threading

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.core.service import callbacks


@pytest.mark.engines("pure", "uvloop", "native", "attached", "blocking")
def test_on_close_follows_a_handler_that_outlives_its_server(serve, engine):
    """Once, after the handler has returned, though the server's threads take no further work by then."""
    calls, entered, release, closed = [], threading.Event(), threading.Event(), threading.Event()

    class Slow(penstock.Handler):
        def on_message(self, conn, message):
            entered.set()
            release.wait(20)
            calls.append("message")

        def on_close(self, conn, reason):
            calls.append(reason)
            closed.set()

    class Release:
        def observe(self, event):
            if event.name is EventName.STOPPED:
                peer.close()
                release.set()

    service = callbacks(Slow, name="slow", codec="lines")
    timeouts = Timeouts(drain_s=0.01)
    with serve(service, model="threads", timeouts=timeouts, observers=[Release()]) as server:
        peer = server.dial()
        peer.sendall(b"a\n")
        assert entered.wait(20)

    assert closed.wait(20)
    assert ["message", "drain_timeout"] == calls
