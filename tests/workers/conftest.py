"""A server with workers as its user has it: a supervisor in a session of its own, and what it and its workers say."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.testing.peers import connect

from ..combinations import ENGINE, leave_to_combinations

HERE = Path(__file__).parent


# Supervisors and workers are the same for every engine. What an engine does where one worker ends and another begins
# (`tests/conformance`) is tried there on each; here, with processes, on one, and on the others in make combinations.
def is_one_of_many(item, params):
    """Say whether a test is left to make combinations."""
    return item.path.is_relative_to(HERE) and params.get("engine", ENGINE) != ENGINE


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    leave_to_combinations(items, is_one_of_many)


# A worker answers with its process, the version of the code it has, and the message.
APP = '''\
import asyncio, os, time
import penstock

VERSION = "one"  # of another length in newer code: Python takes it for the same within a second

@penstock.on_message(codec="lines")
def who(message):
    if message == b"hold":
        time.sleep(600)
    return f"{os.getpid()} {VERSION} {message.decode()}".encode()

def wait(message):
    """Say that this message is at work; return whether it is to wait still."""
    if message == b"wait":
        open(f"waits-{os.getpid()}", "w").close()
        return not os.path.exists("go")

@penstock.on_message(codec="lines")
async def late(message):
    """Answer once there is a file called ``go``."""
    while wait(message):
        await asyncio.sleep(0.01)
    return f"{os.getpid()} {VERSION} {message.decode()}".encode()

@penstock.on_message(codec="lines")
def late_in_thread(message):
    while wait(message):
        time.sleep(0.01)
    return f"{os.getpid()} {VERSION} {message.decode()}".encode()
'''

PATIENCE_S = 40


class Supervised:
    """A supervisor in a session of its own, with its workers.

    Attributes:
        process: The supervisor.
        facts: What it printed when it was ready.
        directory: Where its code is.
    """

    def __init__(self, process, directory):
        self.process = process
        self.directory = directory
        self.facts = {}
        self._log = b""
        self._seen = 0

    @property
    def address(self):
        """Its first address, for `socket.create_connection`."""
        host, _, port = self.facts["addresses"][0].partition("://")[2].partition("?")[0].rpartition(":")
        return host.strip("[]"), int(port)

    def await_ready(self):
        """Wait until it serves."""
        line = self.process.stdout.readline()
        assert line, f"it ended with {self.process.wait(PATIENCE_S)}: {self.rest()}"
        self.facts = json.loads(line)

    def connect(self):
        """Connect to its first address."""
        sock = socket.socket(socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET)
        sock.settimeout(PATIENCE_S)
        try:
            connect(sock, self.address)
        except BaseException:
            sock.close()
            raise
        return sock

    def ask(self, message=b"hello"):
        """Ask on a connection of its own; return what came."""
        with self.connect() as peer:
            return ask(peer, message)

    def connect_to_each(self, count):
        """Connect until ``count`` workers have answered; return a connection of each by its process."""
        found = {}
        while len(found) < count:
            peer = self.connect()
            pid = pid_of(peer)
            if pid in found:
                peer.close()
            else:
                found[pid] = peer
        return found

    def said(self, text):
        """Wait for the next line of the log that holds ``text``, and return it; those before it are passed over."""
        return self.said_in_any_order(text)[0]

    def said_in_any_order(self, *texts):
        """Wait until each of these was in a line of the log, and return the lines.

        What several processes say has no order: one that speaks later may be heard first.
        """
        found = {}
        while missing := [text for text in texts if text not in found]:
            end = self._log.find(b"\n", self._seen)
            if end < 0:
                assert self._read(), f"it ended and never said {missing}: {self._log.decode()}"
                continue
            line = self._log[self._seen : end].decode()
            self._seen = end + 1
            found.update((text, line) for text in missing if text in line)
        return [found[text] for text in texts]

    def rest(self):
        """Wait until no process has its log open, that is until each of them is gone; return all that was said."""
        while self._read():
            pass
        return self._log.decode()

    def _read(self):
        assert select.select([self.process.stderr], [], [], PATIENCE_S)[0], f"nothing more came: {self._log.decode()}"
        data = os.read(self.process.stderr.fileno(), 65536)
        self._log += data
        return bool(data)

    def tell(self, number):
        """Send the supervisor a signal."""
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """Send the supervisor a signal; return its exit status once every process is gone."""
        self.tell(number)
        status = self.process.wait(PATIENCE_S)
        self.rest()
        return status

    def children(self):
        """Return the supervisor's workers that have not been waited for."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return {int(pid) for pid in file.read().split()}

    def descendants(self):
        """Return every process that has come of it and has not ended."""
        found, left = [], [self.process.pid]
        while left:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                for task in os.listdir(f"/proc/{(parent := left.pop())}/task"):
                    with open(f"/proc/{parent}/task/{task}/children") as file:
                        left += (children := [int(pid) for pid in file.read().split()])
                        found += children
        return found

    def await_work(self, *pids):
        """Wait until each of these workers has a message at work, of those that `late` answers late."""
        while not all((self.directory / f"waits-{pid}").exists() for pid in pids):
            assert self.process.poll() is None
            pause()

    def left(self):
        """Return the processes of its session, without those that end now: their files close before they are gone."""
        found = [int(pid) for pid in os.listdir("/proc") if pid.isdecimal() and _session(pid) == self.process.pid]
        return [pid for pid in found if not _ends(pid)]


def _ends(pid):
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], PATIENCE_S)[0])
    finally:
        os.close(process)


def _session(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
        return int(fields[3]) if fields[0] != "Z" else 0
    return 0


def pause():
    """Leave the machine to others between two looks at a fact that nothing tells of."""
    time.sleep(0.01)


def ask(peer, message=b"hello"):
    """Send a line; return the answer without its end, empty when there was none."""
    peer.sendall(message + b"\n")
    return answer(peer)


def answer(peer):
    """Return the next line that comes, without its end; empty when there is none."""
    data = b""
    while not data.endswith(b"\n"):
        more = peer.recv(4096)
        if not more:
            break
        data += more
    return data.rstrip(b"\n").decode()


def await_answer(peer, message, expected):
    """Ask until that is the answer."""
    until = time.monotonic() + PATIENCE_S
    while (found := ask(peer, message)) != expected:
        assert time.monotonic() < until, f"{message!r} is answered {found!r}, and was to be {expected!r}"


def halt(pid):
    """Stop a process, as by SIGSTOP; return once none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    tasks = f"/proc/{pid}/task"
    while any(_state(f"{tasks}/{task}") != "T" for task in os.listdir(tasks)):
        pause()


def _state(task):
    with open(f"{task}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def pid_of(peer):
    """Return the process that serves a connection."""
    return int(ask(peer).split()[0])


@pytest.fixture
def directory(tmp_path):
    """A directory with a module of services, ``app.py``."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def launch(directory):
    """A function that starts ``penstock serve`` under a supervisor, and does not wait until it is ready.

    Without a spare worker, unless ``spare`` asks for one: the supervisor's children are its workers. At the end of the
    test nothing of it may be left.
    """
    kept = ("PATH", "PYTHONPATH", "HOME")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    launched = []
    with contextlib.ExitStack() as stack:

        def start(*arguments, bind=("tcp://127.0.0.1:0",), workers=2, spare=False, env=None, **options):
            binds = [word for each in bind for word in ("--bind", each)]
            number = [] if workers is None else ["--workers", str(workers)]
            number += [] if spare else ["--no-spare-worker"]
            command = [sys.executable, "-m", "penstock", "serve", *arguments, *number, *binds, "--print-ready"]
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environ | (env or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                **options,
            )
            stack.enter_context(process.stdout)
            stack.enter_context(process.stderr)
            launched.append(Supervised(process, directory))
            return launched[-1]

        yield start
        for each in launched:
            if each.process.poll() is None:
                each.process.kill()  # its workers notice
                each.process.wait(PATIENCE_S)
                each.rest()
            left = each.left()
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            assert not left


@pytest.fixture
def supervise(launch):
    """As `launch`; returns once it serves."""

    def start(*arguments, **options):
        supervised = launch(*arguments, **options)
        supervised.await_ready()
        return supervised

    return start
