"""Addresses that newer code no longer has: no peer waits there for a worker that accepts nobody."""

import os
import signal
import socket
import time

import pytest

from penstock.testing.peers import connect

from .conftest import PATIENCE_S, answer, pause

FIRST = """\
import asyncio, os
import penstock

app = penstock.App("two")

@app.on_message(codec="lines", bind="tcp://127.0.0.1:0")
async def first(message):
    if message == b"wait":
        open(f"waits-{os.getpid()}", "w").close()
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
    return b"%d" % os.getpid()
"""

BOTH = f"""{FIRST}
@app.on_message(codec="lines", bind=["tcp://127.0.0.1:0", "unix:second.sock"])
def second(message):
    return b"%d" % os.getpid()
"""


def await_refusal(family, address):
    """Return once who connects is refused."""
    until = time.monotonic() + PATIENCE_S
    while True:
        with socket.socket(family) as peer:
            peer.settimeout(PATIENCE_S)
            try:
                connect(peer, address)
            except (ConnectionRefusedError, FileNotFoundError):
                return
        assert time.monotonic() < until, f"{address} is listened on still"
        pause()


def begin_work(fleet, count):
    """Have a message at work in each of so many workers, which drain until there is a file ``go``."""
    peers = fleet.connect_to_each(count)
    for peer in peers.values():
        peer.sendall(b"wait\n")
    fleet.await_work(*peers)
    return peers


def end_work(fleet, peers):
    """Have each of them answered, by the worker that has it."""
    (fleet.directory / "go").touch()
    for pid, peer in peers.items():
        with peer:
            assert str(pid) == answer(peer)


def await_refusals(fleet, addresses):
    """Return once who connects to any of the addresses of `second` is refused."""
    host, port = addresses[1].removeprefix("tcp://").split(":")
    await_refusal(socket.AF_INET, (host, int(port)))
    await_refusal(socket.AF_UNIX, str(fleet.directory / "second.sock"))


@pytest.mark.parametrize("workers", [1, 2])
def test_who_connects_to_an_address_that_a_roll_leaves_is_refused_while_the_workers_before_drain(
    directory, supervise, workers
):
    """Also that of the last worker which had it, or of the only one, and that which all share."""
    (directory / "app.py").write_text(BOTH)
    fleet = supervise("app:app", "--timeout-drain", "60s", bind=(), workers=workers)
    peers = begin_work(fleet, workers)
    (directory / "app.py").write_text(FIRST)
    fleet.tell(signal.SIGHUP)
    fleet.said("of generation 1 serve")
    await_refusals(fleet, fleet.facts["addresses"])

    end_work(fleet, peers)


def test_who_connects_to_an_address_that_another_supervisor_does_not_have_is_refused(directory, supervise):
    """SIGUSR2: the new supervisor tells the old one what its workers are to close."""
    (directory / "app.py").write_text(BOTH)
    fleet = supervise("app:app", "--timeout-drain", "60s", "--pid-file", "pid", bind=())
    addresses = fleet.facts["addresses"]
    peers = begin_work(fleet, 2)
    (directory / "app.py").write_text(FIRST)
    fleet.tell(signal.SIGUSR2)
    fleet.await_ready()
    await_refusals(fleet, addresses)

    end_work(fleet, peers)
    os.kill(int((directory / "pid").read_text()), signal.SIGTERM)
    fleet.rest()
