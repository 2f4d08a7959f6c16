"""A service with ``workers=1``: one worker has it, whatever becomes of that."""

import os
import select
import signal
import socket
import threading
import time

import pytest

from .conftest import PATIENCE_S, answer, ask, pause

pytestmark = pytest.mark.timeout(180)  # up to nine interpreters start, one after the other

APP = """\
import os
import penstock

app = penstock.App("fleet")
PID = b"%d" % os.getpid()

@app.on_message(codec="lines", bind="tcp://127.0.0.1:0", workers=1)
def admin(message):
    return PID

@app.on_message(codec="lines", bind="tcp://127.0.0.1:0")
def who(message):
    return PID
"""


@pytest.fixture
def fleet(directory, supervise):
    """Two workers, of which one has the service ``admin``, the first address."""
    (directory / "app.py").write_text(APP)
    return supervise("app:app", "--timeout-drain", "5s", "--pid-file", "pid", "--log-level", "debug", bind=())


def listening(port):
    """Return how many sockets listen on a port."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return sum(row[1] == f"0100007F:{port:04X}" and row[3] == "0A" for row in rows)


class Asking(threading.Thread):
    """Asks all the time, on a connection of its own each time, until it is to end; it says what went wrong."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet = fleet
        self.by = set()
        self.problem = None
        self._ends = threading.Event()

    def run(self):
        try:
            while not self._ends.is_set():
                self.by.add(self.fleet.ask())
                pause()
        except OSError as error:
            self.problem = error

    def end(self):
        """End; return what went wrong."""
        self._ends.set()
        self.join(PATIENCE_S)
        assert not self.is_alive(), "who asked last is not answered"
        return self.problem


def await_workers(fleet, count):
    """Wait until there are so many: those that were replaced, or that are too many, accept nobody any more."""
    until = time.monotonic() + PATIENCE_S
    while (found := len(fleet.children())) != count:
        assert time.monotonic() < until, f"there are {found}"
        pause()


def kill(pid):
    """End a process, and return once it is gone: it accepts nobody any more."""
    process = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([process], [], [], PATIENCE_S)[0]
    os.close(process)


def test_one_worker_has_it_through_rolls_other_numbers_of_workers_and_kill_minus_nine(fleet):
    """No moment without a worker that accepts; and no other worker ever opens a listener of it."""
    asking = Asking(fleet)
    asking.start()
    for number, said, count in (
        (signal.SIGHUP, "workers of generation 1 serve", 2),
        (signal.SIGTTIN, "worker 3 serves", 3),
        (signal.SIGTTOU, "", 2),
        (signal.SIGHUP, "workers of generation 2 serve", 2),
    ):
        fleet.tell(number)
        if said:
            fleet.said(said)
        await_workers(fleet, count)

    assert (None, 1) == (asking.end(), listening(fleet.address[1]))
    assert "" not in asking.by
    found = {int(fleet.ask()) for _ in range(20)}
    assert 1 == len(found)
    killed = found.pop()
    kill(killed)
    with socket.create_connection(fleet.address, timeout=PATIENCE_S) as peer:
        answered = int(ask(peer))

    assert killed != answered, "what is queued for a worker that was killed is the next one's"
    assert answered in fleet.children()


ELSEWHERE = """\
import asyncio, os
import penstock

app = penstock.App("ticks")

async def tick():
    while True:
        app.group("all").publish(b"%d" % os.getpid())
        await asyncio.sleep(0.05)

@app.lifespan
async def life():
    app.task(tick())
    yield

@app.on_connection(codec="lines", bind="tcp://127.0.0.1:0", workers=1)
async def hears(conn):
    async with app.group("all").join(conn):
        await conn.wait_closed()
"""


def test_a_worker_that_has_none_of_the_services_has_the_groups_of_all(directory, supervise):
    """What its background tasks publish comes to the members."""
    (directory / "app.py").write_text(ELSEWHERE)
    fleet = supervise("app:app", "--timeout-drain", "5s", bind=())
    heard = set()
    until = time.monotonic() + PATIENCE_S
    with fleet.connect() as peer:
        while len(heard) < 2:
            heard.update(map(int, answer(peer).split()))
            assert time.monotonic() < until, f"heard of {heard} only"

    assert fleet.children() == heard


def test_the_next_supervisor_has_one_worker_have_it(fleet):
    """SIGUSR2: the worker that the new supervisor has for it listens on the same socket."""
    asking = Asking(fleet)
    asking.start()
    first = fleet.ask()
    fleet.tell(signal.SIGUSR2)
    fleet.await_ready()
    until = time.monotonic() + PATIENCE_S
    while first in (found := {fleet.ask() for _ in range(5)}):
        assert time.monotonic() < until

    assert (None, 1, 1) == (asking.end(), listening(fleet.address[1]), len(found))
    assert "" not in asking.by
    os.kill(int((fleet.directory / "pid").read_text()), signal.SIGTERM)
    fleet.rest()


def test_a_service_that_comes_to_have_one_worker_leaves_no_listener_that_nobody_accepts_from(directory, supervise):
    """A roll that takes it from the others, and one that gives it back: who connects is served all the time."""
    (directory / "app.py").write_text(APP.replace(", workers=1", ""))
    fleet = supervise("app:app", "--timeout-drain", "5s", bind=())
    asking = Asking(fleet)
    asking.start()
    found = [listening(fleet.address[1])]
    for number, code in enumerate((APP, APP.replace(", workers=1", "")), 1):
        (directory / "app.py").write_text(code + "#" * number)  # of another length: Python takes it for the same else
        fleet.tell(signal.SIGHUP)
        fleet.said(f"workers of generation {number} serve")
        until = time.monotonic() + PATIENCE_S
        while (count := listening(fleet.address[1])) != (1 if number == 1 else 2):
            assert time.monotonic() < until
            pause()
        found.append(count)

    assert (None, [2, 1, 2]) == (asking.end(), found)
    assert "" not in asking.by
