"""The native engine when system calls and allocations fail, the k-th call of each kind for every k: T-78 and T-79.

However it went for the connections at hand, the process lives, a new one is served, and nothing stays open: no
descriptor, no connection, no place at the gate, no task. ``PENSTOCK_FAULTS`` is the highest k; `make faults` asks for
200.
"""

import contextlib
import operator
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.engines.native.openssl import loaded
from penstock.testing.certificates import server_certificate
from penstock.testing.ciphered import CipheredSocket
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
# Where TLS has to do something else: what it reads and sends are records, and those have an order.
FAULTS_OF_TLS = [fault for fault in FAULTS if fault[0] in ("recvfrom", "sendto")]
needs_records = pytest.mark.skipif(loaded.why_not() is not None, reason=str(loaded.why_not()))
both = pytest.mark.parametrize("kind", ["tcp", pytest.param("tls", marks=needs_records)])


def speak(address, **options):
    """Connect to an address, over TLS where that is spoken there."""
    sock = dial(address, **options)
    return CipheredSocket(sock) if address.startswith("tls:") else sock


class Faulted:
    """The server under faults, started again when it has ended."""

    def __init__(self, errors, kind="tcp", **environment):
        if kind == "tls":
            pytest.importorskip("trustme")
        self.arguments = [server_certificate()] if kind == "tls" else []
        self.errors = errors
        self.environment = {**os.environ, **environment}

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, SERVER, *self.arguments],
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
        with speak(self.addresses[index]) as sock, sock.makefile("rb") as answers:
            sock.sendall(b"open\n")
            descriptors, *others = map(int, answers.readline().split())
        return descriptors - self.descriptors, *others

    def recovers(self):
        """Whether new connections are served at every address, and nothing else is open, as soon as may be."""
        return all(self._settles(index) for index in range(len(self.addresses)))

    def _settles(self, index):
        usual = self.usual[index]
        return any(all(map(operator.le, self.asked(index), usual)) for _ in range(4000))

    def survives(self):
        """The same, where the fault may still be to come, and to meet whoever asks first."""
        try:
            return self.recovers()
        except (OSError, ValueError):
            return self.recovers()

    def stop(self):
        """Have it end as it should; return its status."""
        self.process.stdin.close()
        return self.process.wait(20)

    def reap(self):
        """Leave nothing of it, however it ended."""
        with self.process:
            self.process.kill()


@contextlib.contextmanager
def started(directory, kind="tcp", *, statuses=(0,), **environment):
    """A server under faults, from ``with`` to the end of its block, where it stops with one of these statuses."""
    with open(directory / "stderr", "w") as errors, contextlib.ExitStack() as stack:
        server = Faulted(errors, kind, **environment)
        stack.callback(server.reap)
        server.start()
        yield server
        if server.process.poll() is None:
            assert server.stop() in statuses, (directory / "stderr").read_text()


@pytest.fixture(scope="module")
def faulted(tmp_path_factory):
    with started(tmp_path_factory.mktemp("faults"), "tcp") as server:
        yield server


@pytest.fixture(scope="module")
def faulted_tls(tmp_path_factory):
    with started(tmp_path_factory.mktemp("faults"), "tls") as server:
        yield server


def starve(addresses, index, count):
    """Be a peer of one address after whose message an allocation fails, and one more of each address meanwhile."""
    with (
        contextlib.suppress(OSError),
        contextlib.ExitStack() as stack,
        speak(addresses[index]) as sock,
        sock.makefile("rb") as answers,
    ):
        sock.settimeout(1)
        sock.sendall(b"one\nnomemory %d\ntwo\n" % count)
        others = []
        for address in addresses:
            with contextlib.suppress(OSError):  # over TLS its handshake may be what has no memory
                others.append(stack.enter_context(speak(address)))
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


def work(address, begin=lambda: None):
    """Be three peers: one that ends well, one with much to read, one that resets. What becomes of them is no matter."""
    begin()
    with contextlib.suppress(OSError), speak(address) as sock, sock.makefile("rb") as answers:
        sock.settimeout(1)
        sock.sendall(b"first\none\ntwo\nthree\n")
        sock.shutdown(socket.SHUT_WR)
        answers.read()
    with (
        contextlib.suppress(OSError),
        speak(address, receive_buffer_bytes=4096) as sock,
        sock.makefile("rb") as answers,
    ):
        sock.settimeout(1)
        sock.sendall(b"big\n" * 6)
        sock.shutdown(socket.SHUT_WR)
        answers.read()
    with contextlib.suppress(OSError), speak(address) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.sendall(b"half a li")


def exchange(address, begin):
    """Be one peer that calls ``begin`` when it has had an answer, and goes on."""
    with contextlib.suppress(OSError), speak(address) as sock, sock.makefile("rb") as answers:
        sock.settimeout(1)
        sock.sendall(b"first\n")
        answers.readline()
        begin()
        sock.sendall(b"one\ntwo\n")
        answers.readline()
        sock.sendall(b"big\n" * 6)
        sock.shutdown(socket.SHUT_WR)
        answers.read()


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
    injected = fail_each(faulted, tmp_path, call, error)

    assert injected > 0
    figure(f"T-78 {call} fails with {error}: {injected} times, 0 crashes, 0 descriptors left")


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_records
@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
@pytest.mark.parametrize(("call", "error"), FAULTS_OF_TLS, ids=lambda value: value)
def test_no_failed_system_call_stops_a_server_of_tls(faulted_tls, figure, tmp_path, call, error):
    """In a handshake and between records: the same."""
    injected = fail_each(faulted_tls, tmp_path, call, error)

    assert injected > 0
    figure(f"T-78 {call} of TLS fails with {error}: {injected} times, 0 crashes, 0 descriptors left")


def fail_each(faulted, directory, call, error):
    """Let a system call fail, the first of them, the second and so on. Return how many did."""
    log = directory / "strace"
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
    return injected


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
@both
def test_no_failed_allocation_of_the_engine_stops_the_server(figure, tmp_path, kind):
    """Its blocks of input and output: a connection ends, the next one is served, no descriptor stays open."""
    injected = let_allocations_fail(tmp_path, kind, "/native/", work)

    assert injected > 0
    figure(f"T-79 allocations of the engine that failed, {kind}: {injected}, 0 crashes, 0 descriptors left")


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_records
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_no_failed_allocation_of_openssl_stops_the_server(figure, tmp_path):
    """Of records, and of the ends of both directions: the connection ends, and nothing of it is left."""
    injected = let_allocations_fail(tmp_path, "tls", "/libssl /libcrypto", exchange)
    if not injected:
        pytest.skip("OpenSSL is no library of its own here")

    figure(f"T-79 allocations of OpenSSL for records that failed: {injected}, 0 crashes, 0 descriptors left")


def let_allocations_fail(directory, kind, within, use):
    """Let an allocation fail that a library asks for: the first of them, the second and so on. Return how many did."""
    library = directory / "malloc.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    control = directory / "failing"
    control.write_bytes(bytes(4))
    environment = {"LD_PRELOAD": str(library), "FAILING_MALLOC": str(control), "FAILING_WITHIN": within}
    injected = 0
    with started(directory, kind, **environment) as faulted:
        for count in range(1, HIGHEST + 1):
            failed = [fails_at(count, control, use, address) for address in faulted.addresses]

            assert faulted.process.poll() is None, f"it ended at allocation {count}"
            assert faulted.recovers(), f"something stays open after allocation {count}"
            if not any(failed):
                break
            injected += sum(failed)
    return injected


def fails_at(count, control, use, address):
    """Let one allocation fail at most while an address is used; say whether one did."""
    with control.open("r+b", buffering=0) as file:
        use(address, lambda: os.pwrite(file.fileno(), count.to_bytes(4, sys.byteorder), 0))
        waits = int.from_bytes(os.pread(file.fileno(), 4, 0), sys.byteorder)
        os.pwrite(file.fileno(), bytes(4), 0)
    return not waits


@pytest.mark.slow
@pytest.mark.timeout(600)
@both
def test_no_failed_allocation_of_the_interpreter_stops_the_server(figure, tmp_path, kind):
    """Whatever had none: at most the connection it belongs to ends, and leaves nothing; all else goes on."""
    pytest.importorskip("_testcapi")
    with started(tmp_path, kind, statuses=AFTER_NO_MEMORY) as faulted:
        for index, address in enumerate(faulted.addresses):
            for count in range(HIGHEST_ALLOCATION + 1):
                starve(faulted.addresses, index, count)

                assert faulted.process.poll() is None, f"it ended at allocation {count} after a reply of {address}"
                assert faulted.survives(), f"something stays open after allocation {count} after a reply of {address}"
    faults = len(faulted.addresses) * (HIGHEST_ALLOCATION + 1)
    figure(f"T-79 allocations of the interpreter that failed, {kind}: {faults}, 0 crashes, 0 connections left")


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
