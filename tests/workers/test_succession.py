"""What goes on when supervisors change: a service manager is told, the control socket answers, logs are written."""

import asyncio
import json
import os
import queue
import signal
import socket
import sys
import threading

import pytest

from penstock.control.client import Control
from penstock.control.messages import Limits, Status
from penstock.errors import ConnectError
from penstock.workers.introductions import Introductions
from penstock.workers.keeper import Keeper
from penstock.workers.succession import Successor

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="workers are a thing of Unix")


def succeeded(served):
    """Have another supervisor take over, and wait until the first one has ended; return the process of the new one."""
    served.tell(signal.SIGUSR2)
    facts = json.loads(served.process.stdout.readline())
    assert 0 == served.process.wait(40)
    return facts["pid"]


def end(served, pid):
    """End the new supervisor."""
    os.kill(pid, signal.SIGTERM)
    served.rest()


class Manager:
    """A service manager: it reads whatever comes at once, for the kernel keeps ten messages and no more.

    Args:
        sock: Its socket.
    """

    def __init__(self, sock):
        self.env = {"NOTIFY_SOCKET": sock.getsockname(), "WATCHDOG_USEC": "200000"}
        self._lines = queue.SimpleQueue()
        self._sock = sock
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while True:
            data, ancillary, _, _ = self._sock.recvmsg(4096, socket.CMSG_SPACE(12))
            if data == b"end":
                return
            for line in data.decode().splitlines():
                self._lines.put((line, int.from_bytes(ancillary[0][2][:4], sys.byteorder)))

    def heard(self, text):
        """Wait for a line that begins so; return it and who has sent it. Those before it are passed over."""
        while True:
            line, pid = self._lines.get(timeout=40)
            if line.startswith(text):
                return line, pid

    def end(self):
        """Read no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", self._sock.getsockname())
        self._reader.join()


@pytest.fixture
def manager(tmp_path):
    """A service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, True)
        sock.bind(str(tmp_path / "notify"))
        found = Manager(sock)
        yield found
        found.end()


@pytest.mark.skipif(sys.platform != "linux", reason="a thing of systemd")
def test_a_service_manager_is_told_of_rolls_of_the_next_supervisor_and_of_the_end(supervise, manager):
    """Each by the process that is the main one then; its signs of life go on, for they are watched."""
    served = supervise("app:who", env=manager.env)
    first = served.process.pid
    assert ("READY=1", first) == manager.heard("READY=1")
    served.tell(signal.SIGHUP)
    assert first == manager.heard("RELOADING=1")[1]
    assert first == manager.heard("READY=1")[1]

    second = succeeded(served)
    assert (f"MAINPID={second}", first) == manager.heard("MAINPID=")
    assert ("READY=1", second) == manager.heard("READY=1")
    assert ("WATCHDOG=1", second) == manager.heard("WATCHDOG=1")
    os.kill(second, signal.SIGTERM)
    assert ("STOPPING=1", second) == manager.heard("STOPPING=1")
    served.rest()


async def test_what_watches_the_first_supervisor_by_its_number_watches_the_next_one(monkeypatch):
    """systemd says WATCHDOG_PID: with the number of another process its signs of life would be given up."""
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    monkeypatch.setenv("WATCHDOG_USEC", "7")
    found = []
    code = "import os, sys; sys.exit(('WATCHDOG_PID' in os.environ) * 2 + ('WATCHDOG_USEC' in os.environ))"
    command = [sys.executable, "-c", code]
    successor = Successor(
        command, None, Keeper(), {}, 0, introductions=Introductions(), took_over=lambda: None, failed=found.append
    )
    while not found:
        successor.look()
        await asyncio.sleep(0.01)

    assert [1] == found


def test_the_next_supervisor_answers_on_the_same_control_socket(supervise, directory):
    """Once the one before has ended; it is another server, which goes by its configuration."""
    path = str(directory / "c.sock")
    served = supervise("app:who", "--control", "c.sock", "--max-per-peer", "7")
    with Control(path, 20) as control:
        control.ask(Limits(set={"max_per_peer": "3"}))
        assert served.process.pid == control.ask(Status())[0]["pid"]
    second = succeeded(served)

    while True:
        try:
            control = Control(path, 20)
        except ConnectError:  # it looks now and then whether the path is free
            continue
        break
    with control:
        status = control.ask(Status())[0]
        limit = control.ask(Limits())[0]["who"]["max_per_peer"]
    assert (second, 2, "7") == (status["pid"], status["workers"], limit)
    end(served, second)
    assert not os.path.exists(path)


def test_each_worker_opens_its_log_files_again(supervise, directory):
    """SIGUSR1 to the supervisor: what comes then is in new files of the same names."""
    (directory / "logging.toml").write_text(
        """
        [handlers.file]
        class = "logging.FileHandler"
        filename = "server.log"
        [root]
        level = "INFO"
        handlers = ["file"]
        """
    )
    log = directory / "server.log"
    served = supervise("app:who", "--log-config", "logging.toml")
    log.rename(directory / "server.log.1")
    served.tell(signal.SIGUSR1)
    while not log.exists() or log.read_text().count("log files opened again: 1") < 2:
        served.ask()
    assert 0 == served.stop()

    assert 2 == log.read_text().count("draining")
