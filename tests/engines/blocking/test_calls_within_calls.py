"""A signal handler, or a finaliser, calls in the middle of a call of its thread: it waits for no lock of that one."""

import itertools
import threading
from pathlib import Path

import pytest

import penstock
from penstock.core.budget import OutputBudget
from penstock.engines import blocking
from penstock.engines.blocking.poller import Poller
from penstock.engines.blocking.timers import Timers
from penstock.engines.threads import ThreadPool
from penstock.testing.thread import PATIENCE_S


def ends(call):
    """Whether a call comes back at all."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return not thread.is_alive()


class Interrupted:
    """Stands for another object, and does something first, once, when a method of it is asked for."""

    def __init__(self, other, method, act):
        self._other = other
        self._method = method
        self._acts = [act]

    def __getattr__(self, name):
        if name == self._method and self._acts:
            self._acts.pop()()
        return getattr(self._other, name)


@pytest.mark.parametrize("outer", ["wake", "close"])
@pytest.mark.parametrize("inner", ["wake", "close"])
def test_a_poller_is_woken_and_closed_while_it_is_woken_or_closed(outer, inner):
    """Both calls come back, and its descriptors are given back once."""
    poller = Poller()
    poller._waker = Interrupted(poller._waker, "set" if outer == "wake" else "close", getattr(poller, inner))

    assert ends(getattr(poller, outer))
    poller.close()


def test_a_timer_is_set_and_cancelled_while_another_one_is_set():
    """Both are in order, and the one that was cancelled is not called."""
    called = []
    timers = Timers(lambda: None)

    def interrupt():
        timers._order = itertools.count()
        timers.call_at(1.0, lambda: called.append("set meanwhile"))
        timers.call_at(1.5, lambda: called.append("cancelled")).cancel()

    def order():
        interrupt()
        yield 2

    timers._order = order()

    assert ends(lambda: timers.call_at(2.0, lambda: called.append("set")))
    timers.run_due()
    assert ["set meanwhile", "set"] == called


def test_a_timer_that_is_set_while_cancelled_ones_are_dropped_is_kept(monkeypatch):
    """Though it becomes the first one in the middle of that."""
    timers = Timers(lambda: None)
    called = []
    timers.call_at(2.0, lambda: called.append("cancelled")).cancel()
    heappop = timers.__init__.__globals__["heapq"].heappop

    def pop(heap):
        monkeypatch.undo()
        timers.call_at(1.0, lambda: called.append("set meanwhile"))
        return heappop(heap)

    monkeypatch.setattr("penstock.engines.blocking.timers.heapq.heappop", pop)

    assert ends(timers.timeout_s)
    timers.run_due()
    assert ["set meanwhile"] == called


def test_a_job_is_submitted_while_another_one_is(monkeypatch):
    """Both are done."""
    done = []
    threads = ThreadPool(2, "penstock-test")
    threads._jobs = Interrupted(threads._jobs, "put", lambda: threads.do(done.append, "meanwhile"))
    try:
        assert ends(lambda: threads.do(done.append, "first"))
    finally:
        threads.end(PATIENCE_S)
    assert {"meanwhile", "first"} == set(done)


def test_a_connection_is_ended_while_what_it_owes_is_counted(pair):
    """Nothing is owed by it after that, whatever the call that was interrupted knew."""
    conn, _ = pair()
    budget = OutputBudget(1 << 20)
    conn._context.budget = Interrupted(budget, "owe", conn.abort)

    def owe():
        with conn._lock:
            conn._owe(100)

    assert ends(owe)
    assert 0 == budget.used_bytes


def test_the_server_stops_while_its_sessions_are_looked_at(serve):
    """And they end."""

    @penstock.on_message(codec="raw", sessions=True)
    def echo(message):
        return message

    with serve(echo, bind="udp://127.0.0.1:0") as server:
        engine = server.server._at_work

        def stop():
            with engine._sessions_lock:
                engine.suspend()
                engine.stop()

        assert ends(stop)


def test_no_lock_of_the_engine_is_one_that_its_own_thread_waits_for():
    """`threading.Lock` is: a signal handler that meets it in the call that it interrupts waits for ever."""
    sources = Path(blocking.__file__).parent.glob("*.py")

    assert [] == [source.name for source in sources if "threading.Lock" in source.read_text()]
