"""A server under observation: every event is kept, and nothing may be left when it has stopped."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..core.events import Accepted, Closed, Event, EventName, HandlerFailed, Observer, TakenOver
from ..server.api import Target
from .ciphered import CipheredSocket
from .engines import LoopFactory
from .peers import PATIENCE_S, dial
from .thread import ServerThread

E = TypeVar("E", bound=Event)


@dataclass
class Record:
    """Every event of one server, as an observer sees them."""

    events: list[Event] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def observe(self, event: Event) -> None:
        """Keep one."""
        with self.lock:
            self.events.append(event)

    def of(self, name: EventName) -> list[Any]:
        """The events of one name, in order."""
        with self.lock:
            return [event for event in self.events if event.name is name]

    def _all(self, kind: type[E]) -> list[E]:
        with self.lock:
            return [event for event in self.events if isinstance(event, kind)]

    @property
    def reasons(self) -> list[str]:
        """Why connections closed, in the order of their ends."""
        return [str(event.reason) for event in self._all(Closed)]

    @property
    def failures(self) -> list[Any]:
        """What handlers raised, in order."""
        return [event.error for event in self._all(HandlerFailed)]

    def check(self, fails: int | None) -> None:
        """Every connection that was accepted has one end and its reason; as many handlers failed as should.

        Laws 2 and 6 of `penstock.engines.base`.
        """
        begun = [event.connection for event in self._all(Accepted)] + [
            event.connection for event in self._all(TakenOver)
        ]
        # One that was handed over may come back, and is another object with the same number.
        accepted = Counter((conn.id, id(conn)) for conn in begun)
        closed = Counter((event.connection.id, id(event.connection)) for event in self._all(Closed))

        assert accepted == closed
        assert all(count == 1 for count in closed.values())
        assert all(event.reason == event.connection.close_reason for event in self._all(Closed))
        assert fails in (None, len(self.failures)), self.failures


class Served(ServerThread):
    """A server in a thread, with a `Record` of its events.

    Attributes:
        record: The events.
        tasks_left: The tasks that its loop still had when the server had stopped.
    """

    def __init__(
        self,
        target: Target,
        *,
        record: Record,
        observers: Sequence[Observer] = (),
        ciphered: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(target, observers=[record, *observers], **options)
        self.record = record
        self._ciphered = ciphered
        self.tasks_left: list[str] = []

    async def _main(self) -> None:
        await super()._main()
        await asyncio.sleep(0)  # a task is done one turn after its coroutine, for the loop
        self.tasks_left = [str(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]

    def dial(self, index: int = 0, **options: Any) -> Any:
        """Connect a plain socket to one of the server's addresses, or one that looks like it where TLS is spoken."""
        return self.speaking(dial(self.addresses[index], **options))

    def speaking(self, sock: socket.socket) -> Any:
        """Return a connected socket, or one that looks like it where TLS is spoken."""
        if not self._ciphered or sock.type != socket.SOCK_STREAM:
            return sock
        return CipheredSocket(sock)

    def shrink_send_buffers(self, size: int) -> None:
        """Have the kernel hold little of what is sent on connections accepted from now on: socket(7), SO_SNDBUF.

        Then output waits after some kilobytes, and not after megabytes.
        """
        for listener in self.server._listeners:  # noqa: SLF001 - what no server has to offer
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def reasons(self, count: int) -> Sequence[str]:
        """Wait until ``count`` connections have closed; return why, in order."""
        self.wait_closed(count)
        # On an engine of threads the server's own count is a moment ahead of the record.
        self.wait_until(lambda _: len(self.record.reasons) >= count)
        return self.record.reasons


@contextlib.contextmanager
def served(target: Target, *, loop_factory: LoopFactory, fails: int | None = 0, **options: Any) -> Iterator[Served]:
    """Serve from ``with`` to the end of its block; then assert that all is over and nothing is left.

    Args:
        target: What `penstock.serve` takes.
        loop_factory: Makes the loop.
        fails: How many handlers are to fail; None when that is not known.
        options: As `penstock.serve`.
    """
    _warm(loop_factory)
    record = Record()
    descriptors, threads = _descriptors(), set(threading.enumerate())
    with Served(target, record=record, loop_factory=loop_factory, **options) as server:
        yield server
    record.check(fails)
    assert server.tasks_left == []
    for thread in set(threading.enumerate()) - threads:
        thread.join(PATIENCE_S)  # an idle one of a pool may still be on its way out
        assert not thread.is_alive(), f"{thread.name} was left running"
    _check_closed(descriptors)


def _check_closed(before: set[str]) -> None:
    """No more descriptors are open than before; the error says what those with new numbers are open on.

    A thread of an earlier test, one that resolves a name say, may have one open for a moment: only what stays is left.
    """
    deadline = time.monotonic() + PATIENCE_S
    while len(after := _descriptors()) > len(before):
        gc.collect()  # what is closed by now was garbage, of which -W error complains by itself
        new = [_opened_on(number) for number in after - before]
        assert time.monotonic() < deadline, f"left open: {new}"
        time.sleep(0.001)


@functools.cache
def _warm(loop_factory: LoopFactory) -> None:
    """Run one loop: libuv keeps the pipe its signals go through when the first loop is closed."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.sleep(0))


def _descriptors() -> set[str]:
    # Without that of the directory itself, which has been closed again.
    return {name for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}


def _opened_on(number: str) -> str:
    try:
        return f"{number}: {os.readlink(f'/proc/self/fd/{number}')}"
    except FileNotFoundError:
        return f"{number}: nothing any more"
