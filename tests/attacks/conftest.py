"""Attacks, each bounded in count, on loopback alone, against every engine that asks the gate.

Engines and servers come from the fixtures of the conformance suite: whatever an attack is about, each connection that
was accepted has exactly one end, no handler failed that should not, and no descriptor is left.
"""

import contextlib
import importlib.util
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from penstock.testing.peers import PATIENCE_S

_PATH = Path(__file__).parent.parent / "conformance" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("attacks_shared_fixtures", _PATH)
shared = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(shared)

shared_serve = shared.serve
pytest_configure = shared.pytest_configure

# An engine joins when it asks the gate: docs/design/gate.md.
GATED = ("pure", "uvloop", "blocking", "native")


def pytest_generate_tests(metafunc):
    if "engine" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("engines")
        engines = [each for each in shared.ALL_ENGINES if each.label in (GATED if only is None else only.args)]
        metafunc.parametrize("engine", [shared._parameter(engine, engine.label) for engine in engines])


@pytest.fixture
def opened():
    """Sockets that are closed when the server's block ends."""
    return []


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
    """Connect to a server's first address from an address of 127.0.0.0/8.

    Returns None where the reset of a refusal was faster than the connect.
    """

    def connect(server, source="127.0.0.1"):
        sock = socket.socket()
        opened.append(sock)
        sock.settimeout(PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        sock.bind((source, 0))
        try:
            sock.connect(("127.0.0.1", server.port))
        except ConnectionResetError:
            return None
        return sock

    return connect


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
    if sock is None:
        return None
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
    if sock is None:
        return "reset"
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
