"""A told clock, a network that is told too, servers beside the test, and the books of what is left open."""

import asyncio
import contextlib
import gc
import importlib
import socket
import threading
import time

import pytest

import penstock
from penstock.client.network import Candidate
from penstock.testing.clock import ManualClock
from penstock.testing.thread import ServerThread

from ..descriptors import descriptors

PATIENCE_S = 20


def pytest_asyncio_loop_factories():
    """Run every coroutine in both: what a client promises does not depend on whose connection it has."""
    loops = {"asyncio": asyncio.SelectorEventLoop}
    with contextlib.suppress(ImportError):
        loops["native"] = importlib.import_module("penstock.engines.native.engine").new_event_loop
    return loops


async def until(fact):
    """Let the loop turn until the fact is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not fact():
            await asyncio.sleep(0)


async def turns(count=20):
    """Let the loop turn, for what must not happen to have its chance."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return ManualClock()


class ToldNetwork:
    """Names resolve to what the test says, and addresses answer as it says, when the clock says so.

    ``hosts`` maps an address to None (answers at once), an OSError (refuses), or a number of seconds on the clock after
    which it answers; ``inf`` is a black hole.
    """

    def __init__(self, clock, hosts, resolve_s=0.0):
        self.clock = clock
        self.hosts = hosts
        self.resolve_s = resolve_s
        self.dialled = []
        self.open = set()
        self.far_ends = []

    async def resolve(self, address, kind):
        await self._wait(self.resolve_s)
        return [
            Candidate(socket.AF_INET6, kind, (host, address.port, 0, 0))
            if ":" in host
            else Candidate(socket.AF_INET, kind, (host, address.port))
            for host in self.hosts
        ]

    async def dial(self, candidate, options):
        host = candidate.sockaddr[0]
        self.dialled.append((host, self.clock.time()))
        answer = self.hosts[host]
        near, far = socket.socketpair()
        near.setblocking(False)
        try:
            if isinstance(answer, OSError):
                raise answer
            await self._wait(answer or 0.0)
        except BaseException:
            near.close()
            far.close()
            raise
        self.far_ends.append(far)
        return near

    async def _wait(self, seconds):
        if seconds:
            over = asyncio.get_running_loop().create_future()
            if seconds != float("inf"):
                timer = self.clock.call_at(self.clock.time() + seconds, lambda: over.done() or over.set_result(None))
            try:
                await over
            finally:
                if seconds != float("inf"):
                    timer.cancel()

    def close(self):
        for far in self.far_ends:
            far.close()


@pytest.fixture
def network(clock):
    """Make a told network; close what it opened."""
    made = []

    def make(hosts, **options):
        made.append(ToldNetwork(clock, hosts, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def serve():
    """Serve in a thread until the test ends."""
    with contextlib.ExitStack() as servers:

        def start(target, bind="tcp://127.0.0.1:0", **options):
            return servers.enter_context(ServerThread(target, bind=bind, **options))

        yield start


@pytest.fixture
def shout(serve):
    """A server whose reply is what was said, in capitals."""
    return serve(penstock.on_message(codec="lines")(lambda message: message.upper()))


def books(clock=None):
    """Count what may leak: descriptors, tasks, threads and timers on the told clock."""
    gc.collect()
    return (
        descriptors(),
        len(asyncio.all_tasks()),
        threading.active_count(),
        0 if clock is None else clock.pending,
    )


async def books_again(before, clock=None):
    """Count once more, when there are no more descriptors and threads than before: of those, return as many as before.

    A thread of an earlier test, one that resolves a name say, may end or close something only now.
    """
    until = time.monotonic() + PATIENCE_S
    while (after := books(clock))[0] > before[0] or after[2] > before[2]:
        assert time.monotonic() < until, f"{before} was before, and {after} is now"
        await asyncio.sleep(0.001)
    return before[0], after[1], before[2], after[3]


class Peer:
    """A listening plain socket; a connection to it is accepted by hand."""

    def __init__(self, backlog=16):
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.address = f"tcp://127.0.0.1:{self.sock.getsockname()[1]}"
        self.sock.setblocking(False)
        self.taken = []

    async def accept(self):
        sock, _ = await asyncio.get_running_loop().sock_accept(self.sock)
        self.taken.append(sock)
        return sock

    def close(self):
        self.sock.close()
        for sock in self.taken:
            sock.close()


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def tools():
    """What tests share as functions: test directories are no packages."""
    functions = (until, turns, books, books_again)
    return type("Tools", (), {each.__name__: staticmethod(each) for each in functions})
