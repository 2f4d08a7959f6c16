"""The threads in which handlers that may block are called."""

import subprocess
import sys
import threading

import pytest

from penstock.engines.threads import ThreadPool
from penstock.errors import LimitError


def test_results_and_errors_come_back():
    """What a call returns or raises, in the future it was given."""
    pool = ThreadPool(2, "test")

    assert [0, 1, 4, 9] == [future.result(20) for future in [pool.submit(pow, n, 2) for n in range(4)]]
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result(20)
    pool.end()


def test_there_are_never_more_threads_than_the_limit():
    """A third call waits until one of two threads is free; threads are used again."""
    pool = ThreadPool(2, "limited")
    gate = threading.Barrier(3)
    blocked = [pool.submit(gate.wait, 20) for _ in range(2)]
    waiting = pool.submit(threading.current_thread)
    assert not waiting.running()
    gate.wait(20)
    names = {waiting.result(20).name} | {pool.submit(threading.current_thread).result(20).name for _ in range(20)}
    for future in blocked:
        future.result(20)
    pool.end()

    assert {"limited-1", "limited-2"} >= names


def test_an_end_cancels_what_has_not_begun_and_waits_for_nothing():
    """The call that is running is left to itself; further ones are refused."""
    pool = ThreadPool(1, "over")
    entered, release = threading.Event(), threading.Event()

    def hold():
        entered.set()
        return release.wait(20)

    running, queued = pool.submit(hold), pool.submit(print)
    assert entered.wait(20)
    pool.end()

    assert queued.cancelled()
    with pytest.raises(RuntimeError, match="was ended"):
        pool.submit(print)
    release.set()
    assert running.result(20)


def test_a_stuck_thread_does_not_keep_the_process():
    """A process ends while a call that never returns is running."""
    program = """
import threading
from penstock.engines.threads import ThreadPool
entered = threading.Event()
ThreadPool(1, "stuck").submit(lambda: (entered.set(), threading.Event().wait()))
assert entered.wait(20)
"""

    assert 0 == subprocess.run([sys.executable, "-c", program], timeout=40).returncode


def test_a_thread_can_be_had_before_its_job():
    """With one reserved there is room for one job, which no other takes; with it at work there is none."""
    freed = threading.Semaphore(0)
    pool = ThreadPool(1, "reserved", freed.release)
    rooms = [pool.has_room]
    pool.reserve()
    pool.reserve()  # has it already
    rooms.append(pool.has_room)
    release = threading.Event()
    pool.do(release.wait, 20)
    rooms.append(pool.has_room)
    release.set()
    assert freed.acquire(timeout=20)
    rooms.append(pool.has_room)
    pool.end(20)

    assert [True, True, False, True] == rooms


def test_what_a_job_raises_is_reported_and_its_thread_goes_on(monkeypatch):
    """As of any thread, where nobody asks for the outcome."""
    reported = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append((args.exc_type, args.thread.name)))
    pool = ThreadPool(1, "failing")
    pool.do(divmod, 1, 0)
    name = pool.submit(threading.current_thread).result(20).name
    pool.end(20)

    assert [(ZeroDivisionError, "failing-1")] == reported
    assert "failing-1" == name


def test_the_system_without_threads_is_named(monkeypatch):
    """Nothing is taken on that no thread can do."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    pool = ThreadPool(1, "none")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for take in (pool.reserve, lambda: pool.do(print), lambda: pool.submit(print)):
        with pytest.raises(LimitError, match=r"gives no thread \(none-1\)"):
            take()

    assert pool.has_room


def test_a_system_without_further_threads_leaves_the_work_to_those_there_are(monkeypatch):
    """A job waits for one of them, as it does at the limit of the pool; only what is to begin at once is refused."""
    pool = ThreadPool(3, "few")
    entered, release = threading.Event(), threading.Event()
    running = pool.submit(lambda: (entered.set(), release.wait(20)))
    assert entered.wait(20)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = threading.Event()
    waiting = pool.submit(threading.current_thread)
    pool.do(done.set)
    with pytest.raises(LimitError, match=r"gives no thread \(few-2\)"):
        pool.reserve()
    release.set()

    assert (None, True) == running.result(20)
    assert "few-1" == waiting.result(20).name
    assert done.wait(20)
    pool.end(20)


def test_what_is_told_of_a_cancelled_call_may_ask_for_more():
    """The pool's lock is free while it cancels, and a job that comes then is done."""
    pool = ThreadPool(1, "asked")
    entered, release, asked = threading.Event(), threading.Event(), threading.Event()
    pool.do(lambda: (entered.set(), release.wait(20)))
    assert entered.wait(20)
    pool.submit(print).add_done_callback(lambda _: pool.do(asked.set))
    pool.end()
    release.set()

    assert asked.wait(20)


def test_a_call_that_is_sure_is_made_though_nobody_waits_and_the_pool_ends():
    """It cannot be cancelled, and is done after what is at work."""
    pool = ThreadPool(1, "sure")
    entered, release = threading.Event(), threading.Event()
    pool.do(lambda: (entered.set(), release.wait(20)))
    assert entered.wait(20)
    sure = pool.submit_surely(pow, 2, 3)
    assert not sure.cancel()
    pool.end()
    release.set()

    assert 8 == sure.result(20)
