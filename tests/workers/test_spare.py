"""The spare one: a process that has imported what every worker needs takes the place of one that ends by itself."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from penstock.workers.process import Interpreter
from penstock.workers.spare import Spares

from .conftest import PATIENCE_S, ask

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="workers are a thing of Unix")

# Says that it waits, and waits. A real one says it in the same words.
WAITING = """\
import os, socket
sock = socket.socket(fileno=int(os.environ["PENSTOCK_WORKER_CHANNEL"]))
if "PENSTOCK_WORKER_WAITS" in os.environ:
    sock.sendall(b"{}\\n")
sock.recv(1)
"""


@pytest.fixture
def started():
    """Every interpreter that was started."""
    return []


@pytest.fixture
async def spares(started):
    """Of interpreters that wait for their end."""

    def start(*, waits=False):
        command = [sys.executable, "-S", "-E", "-c", WAITING]
        started.append(Interpreter(command, environ=os.environ, cwd=None, waits=waits))
        return started[-1]

    yield Spares(start)
    for each in started:
        each.sock.close()
        each.process.kill()
        each.process.wait(PATIENCE_S)


async def over(spares):
    """Wait until those that were ended are gone."""
    while not spares.are_over:
        spares.look()
        await asyncio.sleep(0.01)


async def test_the_one_that_waits_is_the_next_worker_and_there_is_one_at_a_time(spares, started):
    """After it another one is kept only when that is asked for."""
    spares.keep(0)
    spares.keep(0)
    assert [spares.take(0)] == started

    assert spares.are_over
    assert spares.take(0) is started[1]
    assert 2 == len(started)


async def test_one_of_another_generation_is_no_worker(spares, started):
    """It may have imported older code. It ends, whether it is asked for or replaced."""
    spares.keep(0)
    taken = spares.take(1)
    assert [False, True] == [each is taken for each in started]
    spares.keep(1)
    spares.keep(2)

    assert started[-1] is spares.take(2)
    await over(spares)
    assert [-signal.SIGKILL, None, -signal.SIGKILL, None] == [each.process.poll() for each in started]


async def test_one_that_has_ended_is_none(spares, started):
    """Whatever has ended it, a new one is taken instead; nor is it replaced by itself."""
    spares.keep(0)
    started[0].process.kill()
    started[0].process.wait(PATIENCE_S)
    spares.look()
    assert spares.are_over

    assert spares.take(0) is started[1]


async def test_a_system_that_gives_no_process_has_no_spare_one():
    """No worker is missing: it is not told of as an error. A worker that is asked for is."""

    def start(*, waits=False):
        raise BlockingIOError("no process")

    spares = Spares(start)
    spares.keep(0)

    assert spares.are_over
    with pytest.raises(BlockingIOError):
        spares.take(0)


def waiting(served):
    """Wait until there is a spare one that has imported all; return its process."""
    return int(served.said("a spare worker waits").rpartition(" ")[2])


def test_a_worker_that_is_killed_is_replaced_by_the_one_that_waits(supervise):
    """It serves the code as it is now, and the next one waits. At the end there is neither."""
    served = supervise("app:who", "--log-level", "debug", spare=True, workers=1)
    app = served.directory / "app.py"
    app.write_text(app.read_text().replace('VERSION = "one"', 'VERSION = "newer"'))
    for _ in range(2):
        spare = waiting(served)
        with served.connect() as peer:
            os.kill(int(ask(peer).split()[0]), signal.SIGKILL)
        assert f"{spare} newer hello" == served.ask()

    assert 0 == served.stop()
    assert "Traceback" not in served.rest()


def test_a_roll_has_another_one(supervise):
    """What waits may have imported older code of the server's."""
    served = supervise("app:who", "--log-level", "debug", spare=True, workers=1)
    before = waiting(served)
    served.tell(signal.SIGHUP)
    served.said("reloaded: ")
    after = waiting(served)

    assert before not in served.children()
    with served.connect() as peer:
        worker = int(ask(peer).split()[0])
        os.kill(worker, signal.SIGKILL)
    assert before != worker
    assert f"{after} one hello" == served.ask()
    assert 0 == served.stop()


def test_a_roll_that_is_given_up_has_one_for_the_workers_that_stay(supervise):
    """The one that waited was of no use for the newer code; there is another one, of the generation that goes on."""
    served = supervise("app:who", "--log-level", "debug", spare=True, workers=1)
    before = waiting(served)
    app = served.directory / "app.py"
    code = app.read_text()
    app.write_text("def who(:\n")
    served.tell(signal.SIGHUP)
    served.said("the new code is not served")
    after = waiting(served)
    assert " one still" in served.ask(b"still")
    app.write_text(code.replace('VERSION = "one"', 'VERSION = "newer"'))
    with served.connect() as peer:
        os.kill(int(ask(peer).split()[0]), signal.SIGKILL)

    assert before != after
    assert f"{after} newer hello" == served.ask()
    assert 0 == served.stop()


def test_the_next_supervisor_has_one_of_its_own(supervise):
    """SIGUSR2: that of the first one ends with it, and is no worker of either."""
    served = supervise("app:who", "--log-level", "debug", spare=True, workers=1)
    waiting(served)
    served.tell(signal.SIGUSR2)
    served.await_ready()
    assert 0 == served.process.wait(PATIENCE_S)
    spare = waiting(served)
    with served.connect() as peer:
        os.kill(int(ask(peer).split()[0]), signal.SIGKILL)

    assert f"{spare} one hello" == served.ask()
    os.kill(served.facts["pid"], signal.SIGTERM)
    assert "Traceback" not in served.rest()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_supervisor_that_ends_leaves_no_spare_one(supervise, number):
    """In whatever way, and nothing is said of it."""
    served = supervise("app:who", "--log-level", "debug", spare=True, workers=1)
    waiting(served)
    served.tell(number)
    served.process.wait(PATIENCE_S)
    log = served.rest()

    assert [] == served.left()
    assert "Traceback" not in log
    assert "supervisor is gone" not in log


MODULES = """\
import sys
import penstock

def ours():
    return {name for name in sys.modules if name.startswith("penstock")}

@penstock.on_message(codec="lines")
def modules(message):
    return " ".join(ours()).encode()
"""

AHEAD = """\
import penstock.cli.main, penstock.cli.serve, penstock.workers.member
from penstock.workers.ahead import import_ahead
from modules import ours
import sys

import_ahead(sys.argv[1])
print(*ours())
"""


@pytest.mark.parametrize("engine", ["auto", "pure", "blocking"])
def test_what_a_worker_imports_the_spare_one_has_imported(supervise, directory, engine):
    """All of the server: what is left of a worker's start is the user's."""
    (directory / "modules.py").write_text(MODULES)
    served = supervise("modules:modules", "--engine", engine, workers=1)
    found = served.ask()
    command = [sys.executable, "-c", AHEAD, engine]
    ahead = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=PATIENCE_S, check=True)

    assert set() == {*found.split()} - {*ahead.stdout.split()}
    assert 0 == served.stop()
