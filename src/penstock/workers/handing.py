"""Connections on their way from a worker to its successor: the two ends, and who has them when one of the two dies.

docs/design/handover.md has the steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from ..core.handover import CannotMoveError
from ..core.handover.snapshot import MOST_BYTES, decoded, encoded
from ..core.interrupts import is_interrupt
from ..engines import forked
from ..engines.base import Adoption
from ..engines.luggage import Late
from ..server.server import Server
from .channel import Channel
from .messages import HANDOVER_S, Back, FromNewWorker, FromOldWorker, Go, Offer, Over, Rest, Started, Taken

# Connections that are held at a time.
BATCH: Final = 64

# A conversation that is at work may have come to its next checkpoint a little later: it is looked at again after the
# first of these, then after twice as long each time up to the second, and for so long in all.
AGAIN_S: Final = 0.02
RARELY_S: Final = 0.64
AT_WORK_S: Final = 5.0

# For so long no garbage is collected: what handlers leave meanwhile stays, of connections that were served before too.
UNCOLLECTED_S: Final = 5.0

# Connections that are looked at before the loop turns: those that stay are at work, and need it.
LOOKED_AT: Final = 256

# How long a successor may take for its answer to an offer: it may be at work. After that the connections go on here.
ANSWER_S: Final = 5.0

# How long it may take to say that it has begun, having been told to. It may have by then, so that the connections
# cannot go on here: it is ended, and the end of the channel says which of the two has them.
BEGIN_S: Final = 15.0

# What was sent while a connection moved follows it in pieces of that size: in JSON a piece is a third longer.
PIECE_BYTES: Final = 1024 * 1024

_logger: Final = logging.getLogger("penstock")


def _end_process(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _stay(conn: Any, server: Server) -> None:
    """Have a connection that was held go on here: first as before, then with what came for it meanwhile."""
    try:
        conn.stay()
    finally:
        server.stays(conn)


class CollectorPause:
    """No garbage is collected while connections move, for a while at most.

    Ten thousand connections are half a million objects. The collector would look at all of them whenever there are a
    quarter more, and find nothing: half of what a move costs.
    """

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._is_spent = False  # one has lasted as long as it may

    def begin(self) -> None:
        """Pause, unless that was done for long enough, the collector is off, or there is no memory for its end."""
        if self._timer is None and not self._is_spent and gc.isenabled():
            with contextlib.suppress(MemoryError):
                self._timer = asyncio.get_running_loop().call_later(UNCOLLECTED_S, self._spend)
                gc.disable()

    def _spend(self) -> None:
        self._is_spent = True
        self.end()

    def end(self) -> None:
        """Collect again, unless it does already: what the program has said since then holds. May be repeated."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            gc.enable()


class Departure:
    """The old worker's end. It accepts nobody from now on where the successor does.

    Args:
        sock: To the successor.
        servers: Whose connections move.
        over: Called once, when no further connection moves.
        end_process: Ends the successor, which has a number, at once.
        accepting: Those of them that go on accepting: the successor does not listen where they do. Whom they accept
            stays.

    Attributes:
        moved: How many do so far.
    """

    def __init__(
        self,
        sock: socket.socket,
        servers: Sequence[Server],
        over: Callable[[], object],
        end_process: Callable[[int], object] = _end_process,
        *,
        accepting: Collection[Server] = (),
    ) -> None:
        self.moved = 0
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + HANDOVER_S
        self._waits_until = self._loop.time() + AT_WORK_S
        self._pause = CollectorPause()
        self._at_work: list[tuple[Any, Server]] = []
        self._again_s = AGAIN_S
        self._looks_again = False
        self._channel: Channel[FromNewWorker] = Channel(sock, FromNewWorker)
        self._over: Callable[[], object] | None = over
        self._end_process = end_process
        self._successor = 0  # its number, once it has told that
        self._timer: asyncio.TimerHandle | None = None
        self._offered: dict[int, tuple[Any, Server]] = {}  # held, and the successor has not begun
        self._gone: list[int] = []  # of them, those that it was told to begin
        self._servers = [server for server in servers if server.mover is not None]
        for server in self._servers:
            if server not in accepting:
                server.suspend()
        self._waiting = [(conn, server) for server in self._servers for conn in reversed(list(server.connections))]
        self._channel.attach(self._loop, self._heard, self._ended)
        # Not yet: what was accepted last is served first, and has arrived.
        self._loop.call_soon(self._offer)

    def _offer(self) -> None:
        """Hold as many as go in one message, and tell of them; or say that it is over."""
        if self._over is None:
            return
        try:
            self._pause.begin()
            if self._offer_next():
                self._timer = self._loop.call_later(ANSWER_S, self._give_up)
                return
            if self._waiting:
                self._timer = self._loop.call_later(0, self._offer)
                return
            if self._at_work and self._loop.time() < self._waits_until:
                self._waiting, self._at_work = self._at_work, []
                self._looks_again = True
                self._pause.end()  # nothing moves until then, and this worker serves
                self._timer = self._loop.call_later(self._again_s, self._offer)
                self._again_s = min(2 * self._again_s, RARELY_S)
                return
            self._channel.send(Over())
            self._channel.when_flushed(self._finish)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Go on with all that the successor has not begun: something here does not work."""
        if not is_interrupt(error):
            _logger.error("the handover ends early, and connections that are left drain", exc_info=error)
        self._stop_timer()
        self._take_back()
        self._finish()  # the end of the stream says it: the successor is told to begin nothing
        if is_interrupt(error):
            raise error

    def _offer_next(self) -> bool:
        snapshots: list[bytes] = []
        size = looked_at = 0
        busy = self._busy()
        if self._waiting and self._loop.time() > self._until:
            _logger.error("the handover has taken %.0f s: connections that are left drain", HANDOVER_S)
            self._waiting.clear()
        while self._waiting and len(snapshots) < BATCH and size < MOST_BYTES and looked_at < LOOKED_AT:
            conn, server = self._waiting.pop()
            looked_at += 1
            if conn.id in busy or conn.close_reason is not None:
                continue
            if self._looks_again and conn.why_it_stays():  # groups were told that it stays when it was held first
                self._note_work(conn, server)
                continue
            # At once, and not when its snapshot is there: whatever fails in between, it is taken back.
            self._offered[conn.id] = conn, server
            data = self._held(conn, server)
            if data is None:
                del self._offered[conn.id]
                continue
            snapshots.append(data)
            size += len(data)
        if not snapshots:
            return False
        forked.note()
        descriptors = [conn.fileno() for conn, _ in self._offered.values()]
        self._channel.send(Offer(at=time.monotonic(), snapshots=snapshots), descriptors)
        return True

    def _held(self, conn: Any, server: Server) -> bytes | None:
        """Hold a connection; return what there is to know of it, or None where it stays."""
        try:
            snapshot = conn.hold(server.mover)
            if snapshot is None:
                server.stays(conn)
                self._note_work(conn, server)
                return None
            data = encoded(snapshot)
            if len(data) <= MOST_BYTES:
                return data
        except Exception:
            _logger.exception("connection %d is not handed over", conn.id)
        _stay(conn, server)
        return None

    def _note_work(self, conn: Any, server: Server) -> None:
        """Look at a connection again later if it may move then."""
        if conn.is_at_work():
            self._at_work.append((conn, server))

    def _busy(self) -> set[int]:
        """Return the ids of connections that have background tasks, which belong to this process."""
        return set().union(*(server.busy() for server in self._servers))

    def _heard(self, message: FromNewWorker, _descriptors: list[int]) -> None:
        self._stop_timer()
        match message:
            case Taken():
                self._successor = message.pid
                try:
                    self._go(set(message.ids))
                except BaseException as error:
                    self._fail(error)
            case Started():
                try:
                    self._let_go()
                except BaseException as error:
                    self._fail(error)
                else:
                    self._offer()

    def _go(self, taken: set[int]) -> None:
        busy = self._busy()
        for number, (conn, server) in list(self._offered.items()):
            if number not in taken or number in busy or not conn.still_moves():
                del self._offered[number]
                _stay(conn, server)
        gone = list(self._offered)
        # Whatever happens from here on, the successor has them, unless it dies before it says that it has begun.
        self._channel.send(Go(ids=gone))
        self._gone = gone
        self._timer = self._loop.call_later(BEGIN_S, self._end_successor)

    def _let_go(self) -> None:
        gone, self._gone = self._gone, []
        self.moved += len(gone)
        lates: list[tuple[int, Late]] = []
        for number in gone:
            try:
                lates.append((number, self._offered.pop(number)[0].move_on()))
            except Exception:
                _logger.exception("connection %d has moved, and is not let go", number)
        for number, late in lates:
            self._send_rest(number, late)

    def _send_rest(self, number: int, late: Late) -> None:
        pieces = [late.data[at : at + PIECE_BYTES] for at in range(0, len(late.data), PIECE_BYTES)]
        last = pieces.pop() if pieces else b""
        for piece in pieces:
            self._channel.send(Rest(id=number, data=piece, more=True))
        if last or late.closes or late.lost:
            self._channel.send(Rest(id=number, data=last, closes=late.closes, lost=late.lost))

    def _give_up(self) -> None:
        """The successor does not answer: it was not told to begin, and will not when it reads that."""
        _logger.error("the next worker does not take connections over: those that are left drain")
        self._waiting.clear()
        try:
            self._channel.send(Back())
        except OSError as error:
            self._fail(error)
            return
        self._take_back()
        self._channel.when_flushed(self._finish)

    def _end_successor(self) -> None:
        """The successor was told to begin, and does not say whether it has."""
        if self._successor:
            _logger.error(
                "process %d has not gone on with connections for %.0f s, and is killed", self._successor, BEGIN_S
            )
            self._end_process(self._successor)

    def _take_back(self) -> None:
        offered, self._offered, self._gone = self._offered, {}, []
        for conn, server in offered.values():
            try:
                _stay(conn, server)
            except Exception:
                _logger.exception("connection %d is not taken back", conn.id)

    def _ended(self) -> None:
        """The successor is gone. What it has said by then was heard: it has begun nothing that is still offered."""
        self._stop_timer()
        if self._over is not None:
            _logger.warning("the next worker takes no further connections over: those that are left drain")
            self._take_back()
            self._finish()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish(self) -> None:
        over, self._over = self._over, None
        self._pause.end()
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
        self._rests: dict[int, bytearray] = {}  # what has come of it, while it is not whole
        self._refused: Counter[str] = Counter()
        self._pause = CollectorPause()
        self._channel.attach(asyncio.get_running_loop(), self._heard, self._ended)

    def _heard(self, message: FromOldWorker, descriptors: list[int]) -> None:
        match message:
            case Offer():
                self._pause.begin()
                self._take(message, descriptors)
            case Go():
                self._go(message.ids)
            case Rest():
                self._follows(message)
            case Back():
                self._give_up(list(self._held))
            case Over():
                self._close()

    def _take(self, offer: Offer, descriptors: list[int]) -> None:
        forked.note()
        self._begun.clear()
        self._rests.clear()
        passed_s = max(0.0, time.monotonic() - offer.at)
        left = list(descriptors)
        try:
            if len(left) == len(offer.snapshots):
                for data in offer.snapshots:
                    self._adopt(data, left.pop(0), passed_s)
        finally:
            for descriptor in left:
                os.close(descriptor)
        for why, count in self._refused.items():
            _logger.warning("of the worker before, connections are not taken over: %d, %s", count, why)
        self._refused.clear()
        self._answer(Taken(ids=list(self._held), pid=os.getpid()))

    def _adopt(self, data: bytes, descriptor: int, passed_s: float) -> None:
        """Have one connection, if that can be; else its descriptor is closed, and the worker before goes on with it."""
        sock: socket.socket | None = None
        try:
            snapshot = decoded(data)
            server = self._servers.get(snapshot.service)
            mover = None if server is None else server.mover
            if server is None or mover is None:
                raise CannotMoveError(f"there is no service {snapshot.service} here that takes connections over")
            arrival = mover.arrival(snapshot, passed_s)
            sock = socket.socket(fileno=descriptor)
            sock.setblocking(False)
            self._held[snapshot.id] = server.adopt(sock, arrival)
        except BaseException as error:
            if sock is None:
                os.close(descriptor)
            else:
                sock.close()
            if is_interrupt(error):
                raise
            self._refused[str(error) if isinstance(error, CannotMoveError) else repr(error)] += 1

    def _answer(self, message: Taken | Started) -> bool:
        try:
            self._channel.send(message)
        except OSError as error:
            _logger.error("no further connections are taken over: %s", error)
            self._close()
            return False
        return True

    def _go(self, ids: Sequence[int]) -> None:
        going = {number: self._held.pop(number) for number in ids if number in self._held}
        self._give_up(list(self._held))
        if any(adoption.is_over for adoption in going.values()):
            # A server that cuts what is left has given them up. Without an answer the worker before has them all.
            self._held = going
            self._close()
            return
        self._held = going
        if self._answer(Started()):
            self._channel.when_flushed(self._begin_held)

    def _begin_held(self) -> None:
        held, self._held = self._held, {}
        self._begin(held)

    def _begin(self, going: dict[int, Adoption]) -> None:
        self._begun = {number: adoption.connection for number, adoption in going.items() if not adoption.is_over}
        for adoption in going.values():
            try:
                adoption.begin()
            except Exception:
                _logger.exception("connection %d does not go on", adoption.connection.id)

    def _follows(self, rest: Rest) -> None:
        """Have a connection do what it was asked for while it moved, once all of that is here: whole frames."""
        if rest.more:
            self._rests.setdefault(rest.id, bytearray()).extend(rest.data)
            return
        conn = self._begun.pop(rest.id, None)
        data = bytes(self._rests.pop(rest.id, b"")) + rest.data
        if conn is not None:
            with contextlib.suppress(Exception):  # a peer is owed too much by now: the connection tells why it ends
                conn.arrived_late(Late(data, rest.closes, rest.lost))

    def _give_up(self, ids: Sequence[int]) -> None:
        for number in ids:
            self._held.pop(number).give_up()

    def _close(self) -> None:
        self._give_up(list(self._held))
        self._channel.close()
        self._pause.end()
        self._over()

    def _ended(self) -> None:
        """The worker before is gone, and has not said that it goes on with what it has offered: nobody else has it."""
        if self._channel.failure is not None:  # or it is there, and finds that this end is closed
            self._close()
            return
        _logger.warning("the worker before has ended in the middle of its handover")
        if self._rests:
            _logger.error("what the worker before has sent late was cut: %d connections miss it", len(self._rests))
        self._begin_held()
        self._pause.end()
        self._over()
