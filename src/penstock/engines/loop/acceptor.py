"""Taking connections from the backlog, and not taking them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from math import inf

from ...core.contract import Clock, TimerHandle
from ..accepting import ACCEPT_BACKOFF_S, ACCEPTS_PER_TURN, GONE_ALREADY, MOST_GONE
from ..door import Door
from ..listener import Listener


class Acceptor:
    """Accepts from one listener while it is running and the door is open.

    Args:
        loop: Tells when the listener is readable.
        clock: Where time comes from.
        listener: Where connections come from.
        door: Says when to accept; when it may open earlier than it said, call `wake`.
        queue: Those who share the door, who wait for it to open in this order: whoever has taken a connection stands
            behind the others, so that nobody's backlog is served at the cost of another one. It joins them.
        accepted: Given each new socket, non-blocking, and the peer's name.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        listener: Listener,
        *,
        door: Door,
        queue: list[Acceptor],
        accepted: Callable[[socket.socket, object, Listener], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._listener = listener
        self._door = door
        self._queue = queue
        self._queue.append(self)
        self._accepted = accepted
        self._running = False
        self._polling = False
        self._failing = False
        # How many to take at once: as many as there were before, for being told that there is none more costs as much
        # as taking one. Those beyond are met in the loop's next turn.
        self._batch = 1
        self._gone = 0  # failures in a row that may have been of connections
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._running = True
        self.wake()

    def stop(self) -> None:
        """Leave connections in the backlog from now on."""
        self._running = self._failing = False
        self._poll(False)
        self._wait_until(inf)

    def wake(self) -> None:
        """The door may be open by now."""
        # While the listener is polled, whoever is accepted next is asked about first.
        if self._running and not self._failing and not self._polling:
            self._open()

    def take_turn(self) -> None:
        """Accept now, if anybody waits and the door is open."""
        if self._polling:
            self._accept()

    def may_accept(self) -> bool:
        """Ask the door; if it is not open, poll no further until it is."""
        is_open = self._open()
        if is_open and self._queue[-1] is not self:
            self._queue.remove(self)
            self._queue.append(self)
        return is_open

    def _open(self) -> bool:
        """Poll the listener while the door is open; else set a timer for when it will be."""
        opens_at = self._door.opens_at()
        is_open = opens_at <= self._clock.time()
        self._poll(is_open)
        self._wait_until(inf if is_open else opens_at)
        return is_open

    def _poll(self, wanted: bool) -> None:
        if wanted != self._polling:
            self._polling = wanted
            if wanted:
                self._loop.add_reader(self._listener.sock, self._accept)
            else:
                self._loop.remove_reader(self._listener.sock)

    def _accept(self) -> None:
        gate = self._door.gate
        for taken in range(gate.at_once(self._batch)):
            if gate.waits and not self.may_accept():
                return
            try:
                sock, name = self._listener.sock.accept()
            except (BlockingIOError, InterruptedError):
                self._batch = max(1, taken)
                return
            except OSError as error:
                self._gone += 1
                if error.errno in GONE_ALREADY and self._gone < MOST_GONE:
                    continue
                self._door.failed(error, self._listener)
                self._back_off()
                return
            self._gone = 0
            sock.setblocking(False)
            self._accepted(sock, name, self._listener)
            if not self._running:  # whoever was told stopped the server
                return
        self._batch = min(2 * self._batch, ACCEPTS_PER_TURN)

    def _wait_until(self, when: float) -> None:
        """Call `_waited` then; infinity for never."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if when != inf:
            self._timer = self._clock.call_at(when, self._waited)

    def _back_off(self) -> None:
        if self._running:
            self._failing = True
            self._poll(False)
            self._wait_until(self._clock.time() + ACCEPT_BACKOFF_S)

    def _waited(self) -> None:
        self._timer = None
        self._failing = False
        for acceptor in self._queue:  # in their order, whose timer ever came first
            acceptor.wake()
