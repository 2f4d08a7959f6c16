"""Attacks, each bounded in count, on loopback alone, against every engine that asks the gate.

Engines and servers come from `penstock.testing`, as in the conformance suite: whatever an attack is about, each
connection that was accepted has exactly one end, no handler failed that should not, and no descriptor is left.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.testing import fixtures
from penstock.testing.peers import PATIENCE_S
from penstock.testing.peers import connect as connect_socket

from ..combinations import ENGINE, leave_to_combinations

shared_serve = fixtures.serve
pytest_configure = fixtures.pytest_configure

# An engine joins when it asks the gate: docs/design/gate.md.
GATED = ("pure", "uvloop", "blocking", "native")
# Servers of these are processes of their own. What is attacked is the process, or its addresses, more than its engine:
# one engine is enough beside make combinations.
OF_PROCESSES = ("test_descriptors", "test_ipv6", "test_signals")


def is_one_of_many(item, params):
    """Say whether a test is left to make combinations."""
    engine = params.get("engine", ENGINE)
    of_processes = item.path.parent.name == "attacks" and item.path.stem in OF_PROCESSES
    return of_processes and getattr(engine, "label", engine) != ENGINE


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    leave_to_combinations(items, is_one_of_many)


def pytest_generate_tests(metafunc):
    fixtures.on_engines(metafunc, GATED)


@pytest.fixture
def opened():
    """Sockets that are closed when the server's block ends, or the test."""
    socks = []
    yield socks
    for sock in socks:
        sock.close()


@pytest.fixture
def serve(shared_serve, opened, engine):
    """As in the conformance suite; the peers leave before the server drains.

    An engine of threads is given as many as there are peers: how long one waits for a thread is no matter of attacks.
    """

    @contextlib.contextmanager
    def start(*args, **options):
        if engine.name == "blocking":
            options.setdefault("threads", 1024)
        with shared_serve(*args, **options) as server:
            try:
                yield server
            finally:
                for sock in opened:
                    sock.close()
                opened.clear()

    return start


@pytest.fixture
def dial_from(opened):
    """Connect to a server's first address from an address of 127.0.0.0/8."""

    def connect(server, source="127.0.0.1"):
        sock = socket.socket()
        opened.append(sock)
        sock.settimeout(PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        sock.bind((source, 0))
        connect_socket(sock, ("127.0.0.1", server.port))
        return sock

    return connect


@dataclass(frozen=True)
class ServerProcess:
    """``penstock serve`` in a process of its own.

    Attributes:
        popen: What was started: the server, or what it runs under.
        pid: The server's.
        address: What ``socket.connect`` takes.
        log: The file that its standard error goes to.
    """

    popen: subprocess.Popen
    pid: int
    address: tuple[str, int] | str
    log: Path

    @property
    def cpu_seconds(self):
        """User and system time of the server so far."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def descriptors(self):
        """How many descriptors the server has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def connect(self):
        """Connect; return the socket."""
        sock = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        sock.settimeout(PATIENCE_S)
        try:
            connect_socket(sock, self.address)
        except BaseException:
            sock.close()
            raise
        return sock

    def connect_when_it_answers(self):
        """Connect anew until the server answers: it needs the moment in which it notices that others have left."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            sock = self.connect()
            if ask(sock) is not None:
                return sock
            sock.close()
            assert time.monotonic() < deadline, "the server did not recover"

    def logged(self, text):
        """Wait until the log has ``text``; return its lines."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in (said := self.log.read_text()):
            assert time.monotonic() < deadline, said
            time.sleep(0.01)  # a file has no event that says it grew
        return said.splitlines()

    def beside(self, program, *arguments):
        """Run a Python program in the server's network; return what it says, read as JSON."""
        enter = ["nsenter", "--net", "--target", str(self.pid), sys.executable]
        done = subprocess.run([*enter, "-c", program, *arguments], capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stderr
        return json.loads(done.stdout)

    def end(self, number=signal.SIGTERM):
        """Send a signal; return the exit status."""
        os.kill(self.pid, number)
        return self.popen.wait(PATIENCE_S)


@pytest.fixture
def start(tmp_path, engine):
    """A function that starts ``penstock serve`` on the test's engine, perhaps under another command.

    What is left of it at the end of the test is killed: that it ends by itself is for the test to see.
    """
    running = []

    def run(*options, target="echo", bind="tcp://127.0.0.1:0", under=(), **popen_options):
        log = tmp_path / f"log{len(running)}"
        if engine.name == "blocking":
            options = ("--threads", "1024", *options)
        with open(log, "wb") as file:
            serve = [sys.executable, "-m", "penstock", "serve", target, "--engine", engine.name, "--bind", bind]
            popen = subprocess.Popen(
                [*under, *serve, "--print-ready", "--no-access-log", *options],
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=tmp_path,
                **popen_options,
            )
        running.append((popen, popen.pid))
        line = popen.stdout.readline()
        assert line, log.read_text()
        ready = json.loads(line)
        running[-1] = (popen, ready["pid"])
        scheme, _, rest = ready["addresses"][0].partition("://")
        host, _, port = rest.rpartition(":")
        address = rest if scheme.startswith("unix") else (host, int(port))
        return ServerProcess(popen, ready["pid"], address, log)

    yield run
    for popen, pid in running:
        if popen.poll() is None:
            os.kill(pid, signal.SIGKILL)
        popen.wait(PATIENCE_S)
        popen.stdout.close()


def cpu_clock(pid):
    """The clock of a process's CPU time, to the nanosecond, for ``time.clock_gettime``: see clock_getcpuclockid(3)."""
    return ~pid << 3 | 2


# Whenever a line comes it does for a slice of time what busy clients do, and says the 99th percentile of how long they
# wait for an answer, by the server's CPU time: what it does for others meanwhile, not what else the machine does. Where
# that takes nearly all of it, the slice is as long as two answers to each.
BUSY_CLIENT = """
import functools, select, socket, sys, time
port, count, slice_s, clock_id = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
line, poll = b"x" * 31 + b"\\n", select.epoll()
clock, wall = functools.partial(time.clock_gettime, clock_id), time.perf_counter
socks, sent = {}, {}
for _ in range(count):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    poll.register(sock, select.EPOLLIN)
    socks[sock.fileno()] = sock
    sent[sock.fileno()] = None
    sock.send(line)
for _ in sys.stdin:
    latencies, end = [], wall() + slice_s
    sent = dict.fromkeys(sent)  # what was sent before the pause tells nothing
    while wall() < end or len(latencies) < 2 * count:
        for fd, _ in poll.poll(1):
            assert socks[fd].recv(100) == line
            now = clock()
            if sent[fd] is not None:
                latencies.append(now - sent[fd])
            sent[fd] = now
            socks[fd].send(line)
    latencies.sort()
    print(latencies[len(latencies) * 99 // 100], flush=True)
"""


class Crowd:
    """A process that does what its program does, a slice at a time."""

    def __init__(self, program, *args):
        command = [sys.executable, "-S", "-c", program, *map(str, args)]
        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def begin(self, word=""):
        self.popen.stdin.write(f"{word}\n")

    def found(self):
        return float(self.popen.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.popen.stdin.close()  # the end of its input is its own
        self.popen.wait(PATIENCE_S)
        self.popen.stdout.close()


@pytest.fixture
def strace(tmp_path):
    """A function that says how to run a command under strace(1) with its arguments; the test skips where it cannot."""
    trial = ["strace", "-f", "--seccomp-bpf", "-o", str(tmp_path / "trial"), "true"]
    try:
        done = subprocess.run(trial, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    if done.returncode:
        pytest.skip(f"strace cannot trace here: {done.stderr.strip()}")
    return lambda *options: ["strace", "-f", "--seccomp-bpf", "-o", str(tmp_path / "trace"), *options]


@pytest.fixture
def namespace():
    """A function that says how to run a command in a network of its own, which the shell commands that it is given set
    up; the test skips where that may not be.
    """
    if not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("unshare or ip is not installed")

    def under(set_up):
        trial = subprocess.run(["unshare", "--net", "sh", "-c", set_up], capture_output=True, text=True, check=False)
        if trial.returncode:
            pytest.skip(f"no such network can be made here: {trial.stderr.strip()}")
        return ["unshare", "--net", "sh", "-c", f'{set_up} && exec "$0" "$@"']

    return under


@pytest.fixture
def until():
    """Wait for a fact about a server that no event tells of."""

    def wait(server, fact):
        deadline = time.monotonic() + PATIENCE_S
        while not server.call(lambda: fact(server.server)):
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.002)  # the server's thread has better things to do than to answer this

    return wait


def ask(sock, line=b"ping\n"):
    """Send a line; return what comes back, as many bytes as were sent, or None if the peer reset or closed."""
    try:
        sock.sendall(line)
        received = b""
        while len(received) < len(line):
            data = sock.recv(65536)
            if not data:
                return None
            received += data
    except ConnectionError:
        return None
    return received


def fate(sock):
    """Say what a peer sees that says nothing: ``reset``, or the bytes before EOF."""
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        return "reset"
    return received


def resident_bytes():
    """How much memory this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def tools():
    """The functions above."""
    return sys.modules[__name__]
