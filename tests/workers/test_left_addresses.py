"""Addresses that newer code no longer has: no peer waits there for a worker that accepts nobody."""

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
@app.on_message(codec="lines", bind="tcp://127.0.0.1:0")
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


@pytest.mark.parametrize("workers", [1, 2])
def test_who_connects_to_an_address_that_a_roll_leaves_is_refused_while_the_workers_before_drain(
    directory, supervise, workers
):
    """Also that of the last worker which had it, or of the only one."""
    (directory / "app.py").write_text(BOTH)
    fleet = supervise("app:app", "--timeout-drain", "60s", bind=(), workers=workers)
    peers = begin_work(fleet, workers)
    (directory / "app.py").write_text(FIRST)
    fleet.tell(signal.SIGHUP)
    fleet.said("of generation 1 serve")
    host, port = fleet.facts["addresses"][1].removeprefix("tcp://").split(":")
    await_refusal(socket.AF_INET, (host, int(port)))

    end_work(fleet, peers)
