"""What the processes of a server with workers have open: no program that one of them starts has any of it."""

import contextlib
import json
import os
import signal
import socket
import sys
from collections import Counter

import pytest

from .conftest import PATIENCE_S, answer, ask, pause, pid_of

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fdinfo"), reason="this system does not show descriptors")

# Each of these, said on a connection, has the worker make a child that has every descriptor that it can have.
APP = '''
import json, os, signal, subprocess, sys
import penstock

SHOWS = """
import json, os
names = {int(each): os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd") if
         os.path.exists(f"/proc/self/fd/{each}")}
print(json.dumps(sorted(name for number, name in names.items() if number > 2)))
"""

class Answers(penstock.Handler):
    def on_takeover(self, conn, state):
        """Go on."""

    def on_message(self, conn, message):
        if message == b"spawn":
            return subprocess.run([sys.executable, "-c", SHOWS], close_fds=False, capture_output=True).stdout.strip()
        if message == b"fork":
            child = os.fork()
            if child == 0:
                while True:
                    signal.pause()
            return str(child).encode()
        if message == b"close":
            conn.close()
        return f"{os.getpid()}".encode()

answers = penstock.as_service(Answers, codec="lines")
'''


def inheritable(pid):
    """What a process has open that a program it starts would have as well, beside the standard streams."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            with open(f"/proc/{pid}/fdinfo/{name}") as file:
                flags = int(next(line for line in file if line.startswith("flags:")).split()[1], 8)
            leads_to = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:  # closed meanwhile
            continue
        if int(name) > 2 and not flags & os.O_CLOEXEC:
            found.append(leads_to)
    return found


def kinds(pid):
    """How many descriptors of each kind a process has."""
    found = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found[os.readlink(f"/proc/{pid}/fd/{name}").partition(":")[0]] += 1
    return found


@pytest.fixture
def served(supervise, directory):
    """A function that starts two workers on several addresses, with a control socket and a file of the number."""
    (directory / "app.py").write_text(APP)

    def start(*arguments):
        bind = ("tcp://127.0.0.1:0", f"unix:{directory}/s", "udp://127.0.0.1:0")
        ours = ("--control", str(directory / "ctl"), "--pid-file", str(directory / "pid"))
        return supervise("app:answers", *ours, *arguments, bind=bind)

    return start


@pytest.mark.parametrize("way", [("--engine", "native"), ("--engine", "pure"), ("--engine", "blocking")], ids=" ".join)
def test_no_process_of_a_server_with_workers_has_anything_that_a_program_would_inherit(served, directory, way):
    """Listeners, connections, cells, channels, pipes, the control socket and those who speak to it, the number's file;
    and what moves with a roll."""
    server = served(*way)
    peers = server.connect_to_each(2)
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(directory / "ctl"))
        before = [inheritable(pid) for pid in (server.process.pid, *server.children())]
        assert all(kinds(pid)["socket"] >= 4 for pid in peers), "listeners, a channel, a peer"
        server.tell(signal.SIGHUP)
        server.said("reloaded: ")
        while server.children() & peers.keys():  # until they have drained they may still accept
            pause()
        later = server.connect_to_each(2)
        shown = [json.loads(ask(peer, b"spawn")) for peer in later.values()]
        after = [inheritable(pid) for pid in (server.process.pid, *server.children())]
    for peer in (*peers.values(), *later.values()):
        peer.close()

    assert [[]] * 3 == before
    assert [[]] * len(after) == after
    assert [[]] * 2 == [[name for name in names if not name.startswith("/proc/")] for names in shown]
    assert 0 == server.stop()


@pytest.mark.parametrize("engine", ["native", "pure", "blocking"])
def test_a_child_that_a_handler_forks_keeps_no_end_from_a_peer(served, engine):
    """Though it has a copy of every descriptor of its worker: of one that is closed, and of one that the end closes."""
    server = served("--engine", engine)
    with server.connect() as closed, server.connect() as stays:
        pid_of(closed), pid_of(stays)
        children = []
        try:
            for peer in (closed, stays):
                children.append(int(ask(peer, b"fork")))  # noqa: PERF401
            closed.sendall(b"close\n")
            answer(closed)
            assert b"" == closed.recv(1)
            server.tell(signal.SIGTERM)
            assert b"" == stays.recv(1)
            stays.close()
            assert 0 == server.process.wait(PATIENCE_S)
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
        server.rest()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")
def test_nor_has_what_forks_the_processes_of_connections(launch, directory):
    """With workers, each of which has one, and without."""
    (directory / "app.py").write_text(APP)
    server = launch("app:answers", "--model", "process")
    server.await_ready()
    with server.connect() as peer:
        peer.sendall(b"spawn\n")
        shown = json.loads(answer(peer))
        family = [server.process.pid, *server.descendants()]
        found = [inheritable(pid) for pid in family]

    assert len(family) >= 6, "a supervisor, two workers, what forks for each, a process of a connection"
    assert [[]] * len(family) == found
    assert [] == [name for name in shown if not name.startswith("/proc/")]
    assert 0 == server.stop()
