"""The control socket of a supervisor, and what its workers answer over it."""

import os
import signal
import socket
import time

import pytest

from penstock.control.client import Control
from penstock.control.messages import Connections, Drain, Kick, Limits, Reload, Scale, Status, Workers

# A worker begins with the command line of its supervisor, which is that of a process of its own.
pytestmark = pytest.mark.from_nothing


def until(ask, fact):
    """Ask until a fact is there, for thirty seconds at most."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if fact(found := ask()):
            return found
    raise AssertionError(f"it never came about: {found}")


def serving(control, count):
    """Wait until so many workers serve; return their processes."""

    def ask():
        return [each["pid"] for each in control.ask(Workers())[0]["workers"] if each["state"] == "serving"]

    return until(ask, lambda found: len(found) == count)


def test_a_supervisor_speaks_for_all_of_its_workers(serve, directory):
    """Counts are added up, a connection is found where it is, what is set holds for a worker that comes later, too."""
    served = serve("app:shout", "--workers", "2", "--control", "c.sock")
    host, port = served.address.removeprefix("tcp://").split(":")
    with Control(str(directory / "c.sock"), 30) as control:
        first = serving(control, 2)
        peers = [socket.create_connection((host, int(port)), timeout=20) for _ in range(8)]
        for peer in peers:
            peer.sendall(b"a\n")
            assert b"A\n" == peer.recv(100)
        found = control.ask(Status())[0]
        assert ("shout", 8, 8, 2) == (
            *(found["name"], found["connections"], found["services"]["shout"]["messages_in"]),
            found["workers"],
        )
        found, rows = control.ask(Connections(limit=5))
        assert (8, 5, True) == (found["total"], len(rows), {row["worker"] for row in rows} <= set(first))
        me = f"127.0.0.1:{peers[0].getsockname()[1]}"
        assert 1 == control.ask(Kick(peer=me))[0]["kicked"]
        assert b"" == peers[0].recv(100)
        for peer in peers:
            peer.close()
        control.ask(Limits(set={"max_per_peer": "7"}))
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        until(lambda: serving(control, 2), lambda found: not set(found) & set(first))
        until(lambda: control.ask(Limits())[0]["shout"]["max_per_peer"], lambda found: found == "7")
        assert {"workers": 3} == control.ask(Scale(workers=3))[0]
        second = serving(control, 3)
        control.ask(Drain(worker=second[0]))
        until(lambda: serving(control, 3), lambda found: second[0] not in found)
        assert control.ask(Reload())[0]["reloaded"].endswith("workers of generation 1 serve")
        control.ask(Drain())
        control.wait_end()

    assert 0 == served.process.wait(20)
    assert not (directory / "c.sock").exists()
