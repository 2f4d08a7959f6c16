"""Law 13: a deadline that passes while a callback is at work is told once that has returned, whoever calls it."""

import asyncio
import socket
import threading

import pytest

import penstock
from penstock.config import Timeouts
from penstock.testing.clock import ManualClock
from penstock.testing.peers import PATIENCE_S, read_to_end

NEVER = Timeouts(
    first_message_s=None, idle_s=None, message_s=None, write_s=None, lifetime_s=None, drain_s=8.0, linger_s=1.0
)
CALLBACKS = pytest.mark.forms(lambda form: "callbacks" in form.label)
PLACES = pytest.mark.parametrize(
    ("where", "deadline"),
    [("on_connect", "idle_s"), ("on_connect", "lifetime_s"), ("on_message", "lifetime_s")],
    ids=["on_connect-idle", "on_connect-lifetime", "on_message-lifetime"],
)
REASONS = {"idle_s": "idle_timeout", "lifetime_s": "lifetime"}


class Work:
    """Callbacks of which one is at work when the clock moves; what was called, in order.

    A ``def`` callback on a loop holds the loop: it moves the clock itself.
    """

    def __init__(self, form, engine, where, ends=lambda conn: None):
        self.clock = ManualClock()
        self.calls = []
        self.pushed = form.label == "def-callbacks" and engine.name != "blocking"
        self._begun, self._released = threading.Event(), threading.Event()
        self._waiting = None
        work = self

        def now(name):
            work.calls.append(name)
            work._begun.set()

        def hold(conn, name):
            now(name)
            if work.pushed:
                work.clock.advance(4.0)
            else:
                assert work._released.wait(PATIENCE_S)
            ends(conn)

        async def hold_async(conn, name):
            work._waiting = asyncio.Event()
            now(name)
            await work._waiting.wait()
            ends(conn)

        class Callbacks(penstock.Handler):
            def on_connect(self, conn):
                if where == "on_connect":
                    hold(conn, "on_connect")

            def on_message(self, conn, message):
                if where == "on_message":
                    hold(conn, message)
                else:
                    work.calls.append(message)
                return message

            def on_timeout(self, conn, which):
                work.calls.append(f"on_timeout {which.value}")
                conn.post(b"bye")

            def on_close(self, conn, reason):
                work.calls.append(f"on_close {reason}")

        class AsyncCallbacks(Callbacks):
            async def on_connect(self, conn):
                if where == "on_connect":
                    await hold_async(conn, "on_connect")

            async def on_message(self, conn, message):
                if where == "on_message":
                    await hold_async(conn, message)
                else:
                    work.calls.append(message)
                return message

        self.callbacks = AsyncCallbacks if form.label == "async-callbacks" else Callbacks
        self.service = penstock.core.service.callbacks(self.callbacks, name="work", codec="lines")

    def passes(self, server):
        """Let a deadline pass while the callback is at work, and have it return."""
        assert self._begun.wait(PATIENCE_S)
        if not self.pushed:
            server.call(lambda: self.clock.advance(4.0))
            assert not any(str(call).startswith("on_timeout") for call in self.calls)
        self.returns(server)

    def returns(self, server):
        """Have the callback return."""
        self._released.set()
        if self._waiting is not None:
            server.call(self._waiting.set)


@CALLBACKS
@PLACES
def test_it_is_told_when_the_callback_has_returned(serve, form, engine, where, deadline):
    """The reply comes before the last word, nothing after it is handled, and the deadline is the reason."""
    work = Work(form, engine, where)
    timeouts = NEVER.merged(**{deadline: 4.0})
    with serve(work.service, model=form.model, clock=work.clock, timeouts=timeouts) as server:
        with server.dial() as peer:
            if where == "on_message":
                peer.sendall(b"one\n" if work.pushed else b"one\ntwo\n")
            work.passes(server)

            assert (b"one\nbye\n" if where == "on_message" else b"bye\n") == read_to_end(peer)
        assert [REASONS[deadline]] == server.reasons(1)

    first = b"one" if where == "on_message" else where
    assert [first, f"on_timeout {REASONS[deadline]}", f"on_close {REASONS[deadline]}"] == work.calls


@CALLBACKS
@PLACES
def test_one_that_closes_by_itself_is_taken_at_its_word(serve, form, engine, where, deadline):
    """No timeout is told of after it."""
    work = Work(form, engine, where, ends=lambda conn: conn.close())
    timeouts = NEVER.merged(**{deadline: 4.0})
    with serve(work.service, model=form.model, clock=work.clock, timeouts=timeouts) as server:
        with server.dial() as peer:
            peer.sendall(b"one\n")
            work.passes(server)

            assert (b"one\n" if where == "on_message" else b"") == read_to_end(peer)
        server.reasons(1)

    assert not any(str(call).startswith("on_timeout") for call in work.calls)


@CALLBACKS
@PLACES
def test_after_one_that_fails_nothing_but_on_close_is_called(serve, form, engine, where, deadline):
    """Its failure is told of."""

    def fail(_conn):
        raise ValueError("out of luck")

    work = Work(form, engine, where, ends=fail)
    timeouts = NEVER.merged(**{deadline: 4.0})
    with serve(work.service, model=form.model, clock=work.clock, timeouts=timeouts, fails=1) as server:
        with server.dial() as peer:
            peer.sendall(b"one\n")
            work.passes(server)

            assert b"" == read_to_end(peer)
        (reason,) = server.reasons(1)

    assert [b"one" if where == "on_message" else where, f"on_close {reason}"] == work.calls


@CALLBACKS
def test_an_idle_connection_is_asked_about_when_the_callback_has_returned(serve, form, engine):
    """And stays, where `on_idle` says so."""
    work = Work(form, engine, "on_connect")

    def on_idle(self, conn):
        work.calls.append("on_idle")
        conn.post(b"still there?")
        return True

    async def on_idle_async(self, conn):
        return on_idle(self, conn)

    work.callbacks.on_idle = on_idle_async if form.label == "async-callbacks" else on_idle
    with serve(work.service, model=form.model, clock=work.clock, timeouts=NEVER.merged(idle_s=4.0)) as server:
        with server.dial() as peer, peer.makefile("rb") as lines:
            work.passes(server)
            assert b"still there?\n" == lines.readline()
            peer.sendall(b"one\n")

            assert b"one\n" == lines.readline()
        assert ["peer_closed"] == server.reasons(1)

    assert ["on_connect", "on_idle", b"one", "on_close peer_closed"] == work.calls


@pytest.mark.forms(lambda form: "callbacks" in form.label and form.label != "def-callbacks")
def test_one_that_stays_at_work_for_as_long_again_is_not_asked_about(serve, form, engine):
    """A callback that waits for ever keeps no idle connection: its time to finish begins then."""
    work = Work(form, engine, "on_connect")
    work.callbacks.on_idle = lambda self, conn: pytest.fail("nobody is to be asked")
    with serve(work.service, model=form.model, clock=work.clock, timeouts=NEVER.merged(idle_s=4.0)) as server:
        with server.dial() as peer:
            assert work._begun.wait(PATIENCE_S)
            for _ in range(2):
                server.call(lambda: work.clock.advance(4.0))
            (conn,) = server.server.connections
            assert "idle_timeout" == server.call(lambda: conn.close_reason)
            work.returns(server)

            assert b"bye\n" == read_to_end(peer)
        assert ["idle_timeout"] == server.reasons(1)

    assert ["on_connect", "on_timeout idle_timeout", "on_close idle_timeout"] == work.calls


@CALLBACKS
@pytest.mark.parametrize("deadline", ["idle_s", "lifetime_s"])
def test_after_on_eof_no_deadline_is_told_of(serve, form, engine, deadline):
    """A connection that waits for a background task has had its last word; `on_close` has the reason."""
    clock, calls, waiting = ManualClock(), [], threading.Event()

    class Callbacks(penstock.Handler):
        def on_message(self, conn, message):
            conn.task(self.never(), finish=True)
            return message

        async def never(self):
            waiting.set()
            await asyncio.Event().wait()

        def on_eof(self, conn):
            calls.append("on_eof")

        def on_timeout(self, conn, which):
            calls.append("on_timeout")

        def on_close(self, conn, reason):
            calls.append(f"on_close {reason}")

    service = penstock.core.service.callbacks(Callbacks, name="owes", codec="lines")
    with serve(service, model=form.model, clock=clock, timeouts=NEVER.merged(**{deadline: 4.0})) as server:
        with server.dial() as peer:
            peer.sendall(b"one\n")
            peer.shutdown(socket.SHUT_WR)
            assert waiting.wait(PATIENCE_S)
            while not server.call(lambda: all(conn._rare.waits_for_tasks for conn in server.server.connections)):
                pass  # no event tells of it
            server.call(lambda: clock.advance(4.0))

            assert b"one\n" == read_to_end(peer)
        assert [REASONS[deadline]] == server.reasons(1)

    assert ["on_eof", f"on_close {REASONS[deadline]}"] == calls
