"""Signals at any moment while peers make as much noise as they can. T-55, T-58."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from penstock.testing.peers import PATIENCE_S

ROUNDS = 4
SEED = 20261121
# Nothing cut, or something cut at the second signal.
ENDED = {0, 7}


@pytest.fixture
def noise():
    """A function that makes noise at a Unix socket from a thread, until nobody listens there any more."""
    threads = []

    def work(address):
        while True:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(PATIENCE_S)
                try:
                    sock.connect(address)
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    sock.sendall(b"a line\n" * 500)
                    sock.recv(100)
                    sock.sendall(b"half a line")

    def make(address):
        threads.append(threading.Thread(target=work, args=(address,)))
        threads[-1].start()

    yield make
    for thread in threads:
        thread.join()


@pytest.mark.engines("pure", "blocking", "native")
@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGINT", "SIGTERM"]], ids="+".join)
def test_a_signal_at_any_moment_ends_the_server_and_leaves_nothing(start, noise, tmp_path, signals, engine, figure):
    """From the first moment it serves on: an exit status that says how, no traceback, no socket file."""
    delays = random.Random(SEED)
    statuses, said = [], ""
    for _ in range(ROUNDS):
        path = tmp_path / "s"
        server = start("--timeout-drain", "5s", target="echo", bind=f"unix:{path}")
        for _ in range(2):
            noise(server.address)
        for name in signals:
            time.sleep(delays.random() / 20)
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, getattr(signal, name))
        statuses.append(server.popen.wait(PATIENCE_S))
        said += server.log.read_text()
        assert not path.exists()
    figure(f"T-58 {engine.label}: {' and '.join(signals)} under load {ROUNDS} times: exit {sorted(set(statuses))}")

    assert ENDED >= set(statuses)
    assert "Traceback" not in said


# -- ends that something holds -----------------------------------------------------------------------------------------

# What every one of these programs begins with: the last resort comes soon, and what was heard is a file.
BEGINNING = """
import asyncio, os, pathlib, sys, threading, penstock
import penstock.server.last_resort, penstock.server.process
{loop}
penstock.server.last_resort.LAST_RESORT_S = 0.2

def note(name):
    pathlib.Path(name).touch()

class Noted(penstock.server.process.EndSignals):
    def _hear(self, number, frame):
        super()._hear(number, frame)
        note(f"heard{{self._heard}}")

penstock.server.process.EndSignals = Noted

"""

SPINS = """
@penstock.on_message(codec="lines"{options})
def handler(message):
    note("entered")
    while True:
        pass
"""

HOLDS = {
    # A handler that prints, into a pipe that nobody reads.
    "print": """
@penstock.on_message(codec="lines")
def handler(message):
    note("entered")
    reading, writing = os.pipe()
    while True:
        os.write(writing, b"x" * 65536)
""",
    "spin": SPINS.format(options=""),
    "spin in a thread": SPINS.format(options=", blocking=True"),
    "swallows cancellation": """
@penstock.on_connection(codec="lines")
async def handler(conn):
    note("entered")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
""",
    "executor": """
@penstock.on_message(codec="lines")
async def handler(message):
    note("entered")
    await asyncio.to_thread(threading.Event().wait)
""",
    "observer": """
class Observer:
    def observe(self, event, /):
        if event.name == "closed":
            note("entered")
            threading.Event().wait()

server_init = penstock.server.process.Server.__init__

def init(self, *args, observers=(), **options):
    server_init(self, *args, observers=[Observer()], **options)

penstock.server.process.Server.__init__ = init

@penstock.on_message(codec="lines")
def handler(conn, message):
    conn.close()
""",
}
NEEDS_LOOP = {"swallows cancellation", "executor"}


def wait_for_file(path, popen):
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert popen.poll() is None, "it has ended"
        assert time.monotonic() < deadline, path.name
        time.sleep(0.001)


@pytest.mark.engines("pure", "uvloop", "blocking", "native")
@pytest.mark.parametrize("hold", HOLDS)
def test_the_second_signal_ends_what_the_first_one_cannot(start, tmp_path, engine, hold):
    """Whatever is held: status 7, the socket file is gone, and a line says why; the first one is heard and waits."""
    if engine.name == "blocking" and hold in NEEDS_LOOP:
        pytest.skip("coroutines need a loop")
    loop = "sys.modules['uvloop'] = None" if engine.label == "pure" else ""
    (tmp_path / "app.py").write_text(BEGINNING.format(loop=loop) + HOLDS[hold])
    path = tmp_path / "s"
    server = start("--timeout-drain", "none", target="app:handler", bind=f"unix:{path}")
    with server.connect() as sock:
        sock.sendall(b"a line\n")
        wait_for_file(tmp_path / "entered", server.popen)
        for number in (1, 2):
            os.kill(server.pid, signal.SIGTERM)
            if number == 1:
                wait_for_file(tmp_path / "heard1", server.popen)
        status = server.popen.wait(PATIENCE_S)

    assert (7, False) == (status, path.exists())


@pytest.mark.engines("pure", "blocking", "native")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_between_bind_and_ready_drains(tmp_path, engine, number):
    """Whoever waits for the socket's file and then stops the server comes in between: status 0, and no file."""
    path = tmp_path / "s"
    command = [sys.executable, "-m", "penstock", "serve", "echo", "--engine", engine.name, "--bind", f"unix:{path}"]
    statuses = []
    for _ in range(ROUNDS):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as popen:
            wait_for_file(path, popen)
            popen.send_signal(getattr(signal, number))
            statuses.append(popen.wait(PATIENCE_S))

        assert not path.exists()

    assert [0] * ROUNDS == statuses


@pytest.mark.parametrize("way", [(), ("--workers", "2"), ("--reload",), ("--model", "process")], ids=" ".join)
def test_a_signal_before_it_listens_leaves_no_file_of_its_number(tmp_path, way):
    """As soon as the file is there somebody may see it, and stop what has made it: it goes."""
    path = tmp_path / "pid"
    command = [sys.executable, "-m", "penstock", "serve", "echo", *way, "--bind", f"unix:{tmp_path}/s"]
    statuses = set()
    for _ in range(ROUNDS):
        with subprocess.Popen([*command, "--pid-file", path], stderr=subprocess.DEVNULL, cwd=tmp_path) as popen:
            wait_for_file(path, popen)
            popen.send_signal(signal.SIGTERM)
            statuses.add(popen.wait(PATIENCE_S))

        assert not path.exists()
    assert {0, 130} >= statuses


@pytest.mark.engines("pure", "blocking", "native")
def test_networks_that_cannot_be_read_hold_no_end(start, tmp_path, engine):
    """The file became a pipe into which nobody writes: one signal is enough."""
    networks = tmp_path / "deny"
    networks.write_text("192.0.2.0/24\n")
    server = start("--deny", f"@{networks}", target="echo")
    networks.unlink()
    os.mkfifo(networks)
    deadline, writing = time.monotonic() + PATIENCE_S, None
    while writing is None:  # until somebody has it open to read
        assert time.monotonic() < deadline
        with contextlib.suppress(OSError):
            writing = os.open(networks, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    os.kill(server.pid, signal.SIGTERM)
    status = server.popen.wait(PATIENCE_S)
    os.close(writing)

    assert 0 == status
