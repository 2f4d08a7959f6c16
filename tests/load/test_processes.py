"""A load of several processes: what they saw together, and how they end."""

import contextlib
import os
import signal
import threading

import pytest

from penstock.errors import PenstockError
from penstock.load.pace import Pace
from penstock.load.processes import run_in_processes

from .conftest import echo, load_of, order_of


def run_together(engine, address, processes, on_interval=lambda seen: None, **asked):
    """Run a load in processes, and return what they measured."""
    return run_in_processes(order_of(engine, load_of(address, **asked)), processes, on_interval)


@pytest.mark.parametrize("pace", [None, Pace(400, 400)], ids=["closed", "open"])
def test_together_they_send_what_one_would(engine, peer, pace):
    """The requests and the connections are shared out, the replies added up."""
    seen = run_together(engine, peer(echo), 3, connections=4, count=50, pace=pace)

    assert (50, {}, 3) == (seen.latency.count, seen.errors, seen.processes)
    assert (300, 300, engine == "native") == (seen.bytes_out, seen.bytes_in, seen.compiled)
    assert 50 == sum(each.replies for each in seen.intervals)


def test_more_processes_than_requests(engine, peer):
    """Some have nothing to do."""
    seen = run_together(engine, peer(echo), 4, connections=4, count=2)

    assert (2, {}) == (seen.latency.count, seen.errors)


def test_errors_of_all_are_added_up_by_kind(engine, peer):
    """As in one."""

    def leave(conn):
        conn.recv(4096)

    seen = run_together(engine, peer(leave), 2, connections=2, count=4)

    assert (0, {"closed by the peer": 4}) == (seen.latency.count, seen.errors)


def test_an_interruption_of_the_parent_alone_reaches_all(engine, peer):
    """As of `kill -INT`: each says what it has seen so far."""
    interrupted = []

    def interrupt(seen):
        if seen.replies and not interrupted:
            interrupted.append(seen)
            os.kill(os.getpid(), signal.SIGINT)

    seen = run_together(engine, peer(echo), 2, interrupt, connections=2, duration_s=60.0)

    assert seen.interrupted
    assert seen.latency.count >= interrupted[0].replies > 0


def test_where_an_interruption_is_ignored_the_load_goes_on(engine, peer):
    """As of a script's background job, which a terminal's Ctrl-C is not meant for: neither parent nor children end."""
    interrupted = []

    def interrupt(_seen):
        for process in (os.getpid(), *children_of(os.getpid())):
            os.kill(process, signal.SIGINT)
            interrupted.append(process)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pace = Pace(400, 400)
        seen = run_together(engine, peer(echo), 2, interrupt, connections=2, count=200, pace=pace)
        kept = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)

    assert len(interrupted) > 2
    assert (False, 200, signal.SIG_IGN) == (seen.interrupted, seen.latency.count, kept)


def test_a_process_that_dies_ends_the_load(engine, peer):
    """What the others saw would not be the whole."""
    here = os.getpid()
    once = threading.Lock()

    def handle(conn):
        # The peer is in this process, its clients are children. Who is killed may leave with a reset.
        with contextlib.suppress(ConnectionError):
            while data := conn.recv(4096):
                if once.acquire(blocking=False):
                    for child in children_of(here):
                        os.kill(child, signal.SIGKILL)
                conn.sendall(data)

    with pytest.raises(PenstockError, match="a process of the load has died"):
        run_together(engine, peer(handle), 2, connections=2, duration_s=60.0)


def children_of(parent):
    """Return the numbers of the children of a process."""
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        return [int(number) for number in file.read().split()]
