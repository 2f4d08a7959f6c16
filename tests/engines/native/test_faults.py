"""The native engine when system calls and allocations fail, the k-th call of each kind for every k: T-78 and T-79.

However it went for the connections at hand, the process lives, a new one is served, and nothing stays open: no
descriptor, no connection, no place at the gate, no task. ``PENSTOCK_FAULTS`` is the highest k; `make faults` asks for
200.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.testing.peers import dial

HIGHEST = int(os.environ.get("PENSTOCK_FAULTS", "12"))
# So many allocations of the interpreter, at least: those from a reply to the end of its connection.
HIGHEST_ALLOCATION = max(HIGHEST, 40)
# CPython 3.13.0's _asyncio: its dictionary of running tasks, when it could not grow, is left with keys that are freed,
# which the collection at exit reads.
AFTER_NO_MEMORY = (0, -signal.SIGSEGV) if sys.version_info >= (3, 13) else (0,)
SERVER = Path(__file__).with_name("faults_server.py")
SHIM = Path(__file__).with_name("faults_malloc.c")
FAULTS = [
    ("recvfrom", "EINTR"),
    ("recvfrom", "EAGAIN"),
    ("recvfrom", "ENOMEM"),
    ("recvfrom", "ECONNRESET"),
    ("sendto", "EINTR"),
    ("sendto", "EAGAIN"),
    ("sendto", "ENOBUFS"),
    ("sendto", "ECONNRESET"),
    ("epoll_wait", "EINTR"),
    ("epoll_ctl", "ENOMEM"),
    ("epoll_ctl", "ENOSPC"),
    ("accept4", "EINTR"),
    ("accept4", "EAGAIN"),
    ("accept4", "ECONNABORTED"),
    ("accept4", "ENOMEM"),
    ("close", "EINTR"),
    ("close", "EIO"),
]


class Faulted:
    """The server under faults, started again when it has ended."""

    def __init__(self, errors, **environment):
        self.errors = errors
        self.environment = {**os.environ, **environment}
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=self.environment,
        )
        self.addresses = self.process.stdout.readline().split()
        # What the first connections leave for the next ones, they have from now on.
        for address in self.addresses:
            work(address)
        self.descriptors = 0
        self.usual = [min(self.asked(index) for _ in range(20)) for index in range(len(self.addresses))]

    def asked(self, index):
        """What is open, as a new connection is told: descriptors, connections, places at the gate, tasks."""
        with dial(self.addresses[index]) as sock, sock.makefile("rb") as answers:
            sock.sendall(b"open\n")
            descriptors, *others = map(int, answers.readline().split())
        return descriptors - self.descriptors, *others

    def recovers(self):
        """Whether new connections are served at every address, and nothing else is open, as soon as may be."""
        return all(self._settles(index) for index in range(len(self.addresses)))

    def _settles(self, index):
        return any(self.asked(index) <= self.usual[index] for _ in range(4000))

    def survives(self):
        """The same, where the fault may still be to come, and to meet whoever asks first."""
        try:
            return self.recovers()
        except (OSError, ValueError):
            return self.recovers()

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@pytest.fixture(scope="module")
def faulted(tmp_path_factory):
    with open(tmp_path_factory.mktemp("faults") / "stderr", "w") as errors:
        server = Faulted(errors)
        yield server
        if server.process.poll() is None:
            assert 0 == server.stop()


def starve(addresses, index, count):
    """Be a peer of one address after whose message an allocation fails, and one more of each address meanwhile."""
    with contextlib.suppress(OSError), dial(addresses[index]) as sock, sock.makefile("rb") as answers:
        sock.settimeout(1)
        sock.sendall(b"one\nnomemory %d\ntwo\n" % count)
        others = [dial(address) for address in addresses]
        for other in others:
            other.sendall(b"one\ntwo\n")
        sock.shutdown(socket.SHUT_WR)
        answers.read()
        for resets, other in enumerate(others):
            with contextlib.suppress(OSError), other:
                other.settimeout(1)
                if resets % 2:
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                else:
                    other.shutdown(socket.SHUT_WR)
                    other.recv(1000)


def work(address):
    """Be three peers: one that ends well, one with much to read, one that resets. What becomes of them is no matter."""
    with contextlib.suppress(OSError), dial(address) as sock, sock.makefile("rb") as answers:
        sock.settimeout(1)
        sock.sendall(b"first\none\ntwo\nthree\n")
        sock.shutdown(socket.SHUT_WR)
        answers.read()
    with contextlib.suppress(OSError), dial(address, receive_buffer_bytes=4096) as sock, sock.makefile("rb") as answers:
        sock.settimeout(1)
        sock.sendall(b"big\n" * 6)
        sock.shutdown(socket.SHUT_WR)
        answers.read()
    with contextlib.suppress(OSError), dial(address) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.sendall(b"half a li")


@contextlib.contextmanager
def failing(process, call, error, count, log):
    """Let the ``count``-th call fail, as counted from here."""
    strace = subprocess.Popen(
        [
            "strace",
            *("-f", "-p", str(process.pid), "-o", log, "-e", f"trace={call}"),
            *("-e", f"inject={call}:error={error}:when={count}"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    said = strace.stderr.readline()
    try:
        if "attached" not in said:
            pytest.skip(f"strace cannot be used here: {said.strip()}")
        yield
    finally:
        strace.terminate()
        strace.communicate()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
@pytest.mark.parametrize(("call", "error"), FAULTS, ids=lambda value: value)
def test_no_failed_system_call_stops_the_server(faulted, figure, tmp_path, call, error):
    """It goes on serving, and closes what it opened; a close that did not happen leaves its own descriptor open."""
    log = tmp_path / "strace"
    injected = 0
    for count in range(1, HIGHEST + 1):
        with failing(faulted.process, call, error, count, str(log)):
            for address in faulted.addresses:
                work(address)
        happened = log.read_text().count("(INJECTED)")
        leaked = happened if call == "close" else 0

        assert faulted.process.poll() is None, f"it ended at the {count}. {call}"
        faulted.descriptors += leaked
        assert faulted.recovers(), f"something stays open after the {count}. {call}"
        injected += happened
        if not happened:
            break

    assert injected > 0
    figure(f"T-78 {call} fails with {error}: {injected} times, 0 crashes, 0 descriptors left")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_no_failed_allocation_of_the_engine_stops_the_server(figure, tmp_path):
    """Its blocks of input and output: a connection ends, the next one is served, no descriptor stays open."""
    library = tmp_path / "malloc.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    control = tmp_path / "failing"
    control.write_bytes(bytes(4))
    with open(tmp_path / "stderr", "w") as errors:
        faulted = Faulted(errors, LD_PRELOAD=str(library), FAILING_MALLOC=str(control))
    injected = 0
    for count in range(1, HIGHEST + 1):
        with control.open("r+b", buffering=0) as file:
            file.write(count.to_bytes(4, sys.byteorder))
            for address in faulted.addresses:
                work(address)
            file.seek(0)
            waits = int.from_bytes(file.read(4), sys.byteorder)
            file.seek(0)
            file.write(bytes(4))

        assert faulted.process.poll() is None, f"it ended at allocation {count}"
        assert faulted.recovers(), f"something stays open after allocation {count}"
        if waits:
            break
        injected += 1

    assert 0 == faulted.stop()
    assert injected > 0
    figure(f"T-79 allocations of the engine that failed: {injected}, 0 crashes, 0 descriptors left")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_failed_allocation_of_the_interpreter_stops_the_server(figure, tmp_path):
    """Whatever had none: at most the connection it belongs to ends, and leaves nothing; all else goes on."""
    pytest.importorskip("_testcapi")
    with open(tmp_path / "stderr", "w") as errors:
        faulted = Faulted(errors)
    for index, address in enumerate(faulted.addresses):
        for count in range(HIGHEST_ALLOCATION + 1):
            starve(faulted.addresses, index, count)

            assert faulted.process.poll() is None, f"it ended at allocation {count} after a reply of {address}"
            assert faulted.survives(), f"something stays open after allocation {count} after a reply of {address}"

    assert faulted.stop() in AFTER_NO_MEMORY
    faults = len(faulted.addresses) * (HIGHEST_ALLOCATION + 1)
    figure(f"T-79 allocations of the interpreter that failed: {faults}, 0 crashes, 0 connections left")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_no_failed_allocation_of_a_load_crashes_it(faulted, figure, tmp_path):
    """`penstock bench` in compiled code: it says what it lacked, and what is loaded goes on serving."""
    library = tmp_path / "malloc.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    control = tmp_path / "failing"
    environment = {**os.environ, "LD_PRELOAD": str(library), "FAILING_MALLOC": str(control)}
    command = [
        sys.executable,
        "-m",
        "penstock",
        "bench",
        faulted.addresses[0],
        "--codec",
        "lines",
        "--engine",
        "native",
    ]
    load = ["-c", "3", "--depth", "9", "-n", "100", "--size", "40KiB"]
    injected = 0
    for count in range(1, HIGHEST + 1):
        control.write_bytes(count.to_bytes(4, sys.byteorder))
        done = subprocess.run([*command, *load], env=environment, capture_output=True, text=True, timeout=60)
        if int.from_bytes(control.read_bytes(), sys.byteorder):
            break

        assert 1 == done.returncode, done.stderr
        assert done.stderr.startswith("penstock: error: unexpected MemoryError"), done.stderr
        injected += 1

    assert injected > 0
    assert faulted.recovers()
    figure(f"T-79 allocations of a load that failed: {injected}, each told, 0 crashes")
