"""What each worker has of its own: its memory, its age, what outlives its connections. The others go on."""

import os
import re
import signal
import socket

import pytest

from penstock.config import WorkersConfig
from penstock.control.client import Control
from penstock.control.messages import Status
from penstock.testing.peers import reset
from penstock.workers.member import JITTER, _own_bounds

from .conftest import answer, ask, pause

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="workers are a thing of Unix")

MIB = 2**20

GROWING = """\
import asyncio, os
import penstock
from penstock.server.memory import resident_bytes

held = []

@penstock.on_message(codec="lines")
def grow(message):
    if message.startswith(b"to "):
        held.append(b"x" * max(0, int(message[3:]) - resident_bytes()))
    return f"{os.getpid()} {message.decode()}".encode()

@penstock.on_connection(codec="lines")
async def stay(conn):
    await conn.send(b"%d" % os.getpid())
    try:
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        open(f"cancelled-{conn.id}", "w").close()
        raise
"""


@pytest.fixture
def directory(tmp_path):
    """A directory with services that use what is bounded."""
    (tmp_path / "growing.py").write_text(GROWING)
    return tmp_path


def asked(served):
    """Ask on a connection of its own; return the process that has answered, None where it was refused."""
    with socket.socket() as peer:
        peer.settimeout(40)
        try:
            peer.connect(served.address)
            found = ask(peer)
        except ConnectionError:
            return None
    return int(found.split()[0]) if found else None


def test_a_worker_that_has_used_its_memory_refuses_and_the_others_go_on(supervise):
    """`--memory-limit`, a number of bytes: each process is held to it. Whoever is there already is served."""
    limit_bytes = 240 * MIB
    served = supervise("growing:grow", "--memory-limit", str(limit_bytes), "--no-access-log")
    peers = served.connect_to_each(2)
    (full, first), (other, second) = peers.items()
    assert f"{full} to " in ask(first, b"to %d" % int(0.925 * limit_bytes))
    served.said("also refusing new connections")
    found = {asked(served) for _ in range(60)}

    assert {None, other} == found
    assert [f"{full} still", f"{other} still"] == [ask(peer, b"still") for peer in (first, second)]
    for peer in peers.values():
        peer.close()
    assert 0 == served.stop()


def test_a_worker_that_has_grown_is_replaced_and_the_others_stay(supervise):
    """`--max-worker-memory`: its successor serves before it drains, so that nobody is refused."""
    limit_bytes = 150 * MIB
    served = supervise("growing:grow", "--max-worker-memory", str(limit_bytes))
    peers = served.connect_to_each(2)
    (full, first), (other, second) = peers.items()
    ask(first, b"to %d" % int((1 + JITTER) * limit_bytes + 8 * MIB))
    replaced, _ = served.said_in_any_order("is replaced for its memory", "draining")

    assert f"process {full}" in replaced
    assert "" == answer(first)
    assert None not in {asked(served) for _ in range(20)}
    assert f"{other} still" == ask(second, b"still")
    for peer in peers.values():
        peer.close()
    assert 0 == served.stop()


def test_workers_are_replaced_for_their_age(supervise):
    """`--max-worker-age`: each of them, and nobody is refused meanwhile."""
    served = supervise("growing:grow", "--max-worker-age", "2s")
    replaced = {}  # by slot: a successor may come to its age before the other slot's first worker does
    while len(replaced) < 2:
        slot, pid = re.search(r"worker (\d+)\b.* process (\d+)", served.said("is replaced for its age")).groups()
        replaced.setdefault(slot, int(pid))
    while served.children() & {*replaced.values()}:
        assert served.process.poll() is None
        pause()

    assert {"1", "2"} == {*replaced}
    assert None not in {asked(served) for _ in range(20)}
    assert 0 == served.stop()


def test_each_worker_has_bounds_of_its_own():
    """Up to a tenth above what is configured, so that those which began together do not leave together."""
    config = WorkersConfig(count=4, max_connections=1000, max_memory_bytes=MIB)
    bounds = [_own_bounds(config) for _ in range(100)]

    assert {("connections", "memory")} == {tuple(each) for each in bounds}
    for name, bound in (("connections", 1000), ("memory", MIB)):
        found = {each[name] for each in bounds}
        assert len(found) > 50
        assert bound <= min(found)
        assert max(found) <= (1 + JITTER) * bound


def test_what_outlives_its_connection_is_bounded_in_each_worker(supervise):
    """`--max-orphans`: only their own process can cancel handlers, so that it is the number of each."""
    served = supervise("growing:stay", "--max-orphans", "1", "--control", "c.sock")
    by_worker = {}
    while len(by_worker) < 2 or min(map(len, by_worker.values())) < 2:
        peer = served.connect()
        by_worker.setdefault(answer(peer), []).append(peer)
    peers = [peer for each in by_worker.values() for peer in each]
    for peer in peers:
        reset(peer)
    while len(cancelled := [each for each in os.listdir(served.directory) if "cancelled-" in each]) < len(peers) - 2:
        assert served.process.poll() is None
        pause()
    with Control(str(served.directory / "c.sock"), 20) as control:
        while (left := control.ask(Status())[0]["services"]["stay"]["orphans"]) > 2:
            pass
        assert 2 == left
    (served.directory / "go").touch()

    assert len(peers) - 2 == len(cancelled)
    assert 0 == served.stop()
