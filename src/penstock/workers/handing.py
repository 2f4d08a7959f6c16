"""Connections on their way from a worker to its successor: the two ends, and who has them when one of the two dies.

docs/design/handover.md has the steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..core.handover import CannotMoveError
from ..core.handover.snapshot import MOST_BYTES, decoded, encoded
from ..engines.base import Adoption
from ..engines.luggage import Late
from ..server.server import Server
from .channel import Channel
from .messages import Back, FromNewWorker, FromOldWorker, Go, Offer, Over, Rest, Started, Taken

# Connections that are held at a time.
BATCH: Final = 64

# How long a successor may take for its answer to an offer: it may be at work. After that the connections go on here.
ANSWER_S: Final = 5.0

_logger: Final = logging.getLogger("penstock")


class Departure:
    """The old worker's end. It accepts nobody from now on.

    Args:
        sock: To the successor.
        servers: Whose connections move.
        over: Called once, when no further connection moves.

    Attributes:
        moved: How many do so far.
    """

    def __init__(self, sock: socket.socket, servers: Sequence[Server], over: Callable[[], object]) -> None:
        self.moved = 0
        self._loop = asyncio.get_running_loop()
        self._channel: Channel[FromNewWorker] = Channel(sock, FromNewWorker)
        self._over: Callable[[], object] | None = over
        self._timer: asyncio.TimerHandle | None = None
        self._offered: dict[int, tuple[Any, Server]] = {}  # held, and the successor has not begun
        self._gone: list[int] = []  # of them, those that it was told to begin
        self._servers = [server for server in servers if server.mover is not None]
        for server in self._servers:
            server.suspend()
        self._waiting = [(conn, server) for server in self._servers for conn in reversed(list(server.connections))]
        self._channel.attach(self._loop, self._heard, self._ended)
        # Not yet: what was accepted last is served first, and has arrived.
        self._loop.call_soon(self._offer)

    def _offer(self) -> None:
        """Hold as many as go in one message, and tell of them."""
        if self._over is None:
            return
        snapshots: list[bytes] = []
        size = 0
        busy = self._busy()
        while self._waiting and len(snapshots) < BATCH and size < MOST_BYTES:
            conn, server = self._waiting.pop()
            snapshot = None if conn.id in busy or conn.close_reason is not None else conn.hold(server.mover)
            if snapshot is None:
                continue
            data = encoded(snapshot)
            if len(data) > MOST_BYTES:
                conn.stay()
                continue
            self._offered[conn.id] = conn, server
            snapshots.append(data)
            size += len(data)
        if not snapshots:
            self._channel.send(Over())
            self._channel.when_flushed(self._finish)
            return
        descriptors = [conn.fileno() for conn, _ in self._offered.values()]
        self._channel.send(Offer(at=time.monotonic(), snapshots=snapshots), descriptors)
        self._timer = self._loop.call_later(ANSWER_S, self._give_up)

    def _busy(self) -> set[int]:
        """Return the ids of connections that have background tasks, which belong to this process."""
        return set().union(*(server.busy() for server in self._servers))

    def _heard(self, message: FromNewWorker, _descriptors: list[int]) -> None:
        self._stop_timer()
        match message:
            case Taken():
                self._go(set(message.ids))
            case Started():
                self._let_go()
                self._offer()

    def _go(self, taken: set[int]) -> None:
        busy = self._busy()
        for number, (conn, _) in list(self._offered.items()):
            if number not in taken or number in busy or not conn.still_moves():
                del self._offered[number]
                conn.stay()
        self._gone = list(self._offered)
        # Whatever happens from here on, the successor has them, unless it dies before it says that it has begun.
        self._channel.send(Go(ids=self._gone))

    def _let_go(self) -> None:
        self.moved += len(self._gone)
        for number in self._gone:
            late = self._offered.pop(number)[0].move_on()
            if late.data or late.closes:
                self._channel.send(Rest(id=number, data=late.data, closes=late.closes))
        self._gone = []

    def _give_up(self) -> None:
        """The successor does not answer: it was not told to begin, and will not when it reads that."""
        _logger.error("the next worker does not take connections over: those that are left drain")
        self._channel.send(Back())
        self._take_back()
        self._waiting.clear()
        self._channel.when_flushed(self._finish)

    def _take_back(self) -> None:
        offered, self._offered, self._gone = self._offered, {}, []
        for conn, _ in offered.values():
            conn.stay()

    def _ended(self) -> None:
        """The successor is gone. What it has said by then was heard: it has begun nothing that is still offered."""
        self._stop_timer()
        if self._over is not None:
            self._take_back()
            self._finish()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish(self) -> None:
        over, self._over = self._over, None
        self._channel.close()
        if over is not None:
            over()


class Arrivals:
    """The new worker's end.

    Args:
        sock: To the worker before.
        servers: By the names of their services.
        over: Called once, when no further connection comes.
    """

    def __init__(self, sock: socket.socket, servers: Sequence[Server], over: Callable[[], object]) -> None:
        self._servers = {server.service.name: server for server in servers}
        self._over = over
        self._channel: Channel[FromOldWorker] = Channel(sock, FromOldWorker)
        self._held: dict[int, Adoption] = {}
        self._begun: dict[int, Any] = {}  # of the last offer: something may follow
        self._channel.attach(asyncio.get_running_loop(), self._heard, self._ended)

    def _heard(self, message: FromOldWorker, descriptors: list[int]) -> None:
        match message:
            case Offer():
                self._take(message, descriptors)
            case Go():
                self._go(message.ids)
            case Rest():
                conn = self._begun.pop(message.id, None)
                if conn is not None:
                    conn.arrived_late(Late(message.data, message.closes))
            case Back():
                self._give_up(list(self._held))
            case Over():
                self._channel.close()
                self._over()

    def _take(self, offer: Offer, descriptors: list[int]) -> None:
        self._begun.clear()
        passed_s = max(0.0, time.monotonic() - offer.at)
        for data, descriptor in zip(offer.snapshots, descriptors, strict=True):
            self._adopt(data, descriptor, passed_s)
        self._channel.send(Taken(ids=list(self._held)))

    def _adopt(self, data: bytes, descriptor: int, passed_s: float) -> None:
        """Have one connection, if that can be; else its descriptor is closed, and the worker before goes on with it."""
        try:
            snapshot = decoded(data)
            server = self._servers.get(snapshot.service)
            mover = None if server is None else server.mover
            if server is None or mover is None:
                raise CannotMoveError(f"there is no service {snapshot.service} here that takes connections over")
            arrival = mover.arrival(snapshot, passed_s)
        except CannotMoveError as error:
            os.close(descriptor)
            _logger.warning("a connection of the worker before is not taken over: %s", error)
            return
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        with contextlib.suppress(Exception):  # it was reported, and the socket is closed
            self._held[snapshot.id] = server.adopt(sock, arrival)

    def _go(self, ids: Sequence[int]) -> None:
        going = {number: self._held.pop(number) for number in ids if number in self._held}
        self._give_up(list(self._held))
        self._channel.send(Started())
        self._channel.when_flushed(lambda: self._begin(going))

    def _begin(self, going: dict[int, Adoption]) -> None:
        self._begun = {number: adoption.connection for number, adoption in going.items()}
        for adoption in going.values():
            adoption.begin()

    def _give_up(self, ids: Sequence[int]) -> None:
        for number in ids:
            self._held.pop(number).give_up()

    def _ended(self) -> None:
        """The worker before is gone, and has not said that it goes on with what it has offered: nobody else has it."""
        held, self._held = self._held, {}
        self._begin(held)
        self._over()
