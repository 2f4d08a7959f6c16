"""The bench is no installed package: it is imported from the root of the repository. And what its tests share."""

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench import build  # noqa: E402 - after the path to it

TIMEOUT_S = 50


@dataclass(frozen=True)
class Outcome:
    """How a run of the load generator ended: its exit status and its one result line."""

    status: int
    result: dict

    @property
    def error(self):
        """What it found wrong; None if nothing."""
        return self.result.get("error")


Load = Callable[..., Outcome]


@pytest.fixture(scope="session")
def load_program() -> Path:
    """The load generator, built; the tests of it are skipped where there is no compiler."""
    try:
        return build.load()
    except build.UnavailableError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def load(load_program: Path) -> Load:
    """Run the load generator to its end: ``load(port, "--depth", 4, ...)``; a path in place of the port is a socket."""
    return _runner(load_program)


@pytest.fixture
def load_tls() -> Load:
    """The same with the one that speaks TLS; skipped where OpenSSL's headers are missing."""
    try:
        return _runner(build.load_tls())
    except build.UnavailableError as reason:
        pytest.skip(str(reason))


def _runner(program: Path) -> Load:
    def run(where: int | Path, *options: object) -> Outcome:
        target = ("--port", where) if isinstance(where, int) else ("--unix", where)
        argv = [str(part) for part in (program, *target, *options)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
        return Outcome(done.returncode, json.loads(done.stdout.splitlines()[-1]))

    return run


class ThreadedServer:
    """A listener whose connections are each given to ``serve(connection, number)`` in a thread."""

    def __init__(self, serve: Callable[[socket.socket, int], None], path: Path | None = None) -> None:
        if path is None:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
            self.port = self.listener.getsockname()[1]
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(path))
            self.listener.listen(256)
        self.serve = serve
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        for number in itertools.count():
            try:
                connection, _ = self.listener.accept()
            except OSError:  # the listener was shut down: the test is over
                return
            thread = threading.Thread(target=self._run, args=(connection, number))
            self.threads.append(thread)
            thread.start()

    def _run(self, connection: socket.socket, number: int) -> None:
        # The load generator leaves at the first wrong byte: what is sent after that meets a reset.
        with connection, contextlib.suppress(ConnectionError):
            self.serve(connection, number)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(TIMEOUT_S)


@pytest.fixture
def threaded() -> Iterator[Callable[..., ThreadedServer]]:
    """Start servers of a test's own making; they end with the test."""
    servers = []

    def start(serve: Callable[[socket.socket, int], None], path: Path | None = None) -> ThreadedServer:
        servers.append(ThreadedServer(serve, path))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
