"""Taking connections from the backlogs of listeners: the gate decides, the acceptor accepts, the same on every engine.

What is an engine's own is how it waits for a listener and what it makes of an accepted descriptor: `Backlog._poll` and
`Backlog._begin`. The native engine accepts in compiled code besides (`native/acceptor.pyx`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from typing import Final

from ..address import Peer
from ..config import Action
from ..core.contract import Clock, TimerHandle
from ..core.events import AcceptFailed, AcceptRecovered, Event, Refused
from ..core.gate import Gate
from ..reasons import Refusal
from .listener import Listener, peer_of
from .wire import reset_on_close

# Connections taken before the established ones get their turn.
ACCEPTS_PER_TURN: Final = 16

# EMFILE: nothing can be accepted until some connection ends, yet the listener stays readable, so a level-triggered
# loop would spin. Stop polling it for a moment; Ranch, trio and Thousand Island all wait 100 ms. See accept(2).
ACCEPT_BACKOFF_S: Final = 0.1

# Linux passes errors of the new connection, which is already gone, through accept(2): take the next one.
GONE_ALREADY: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.ENETDOWN,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.EPERM,  # a firewall rule
    }
)
# So often in a row, without a connection among them, it is no connection's error: a security module forbids accept(2)
# itself, say. Then it is met as EMFILE is.
MOST_GONE: Final = ACCEPTS_PER_TURN

# After so long without a failure of accept(2) the trouble is over.
EPISODE_S: Final = 1.0

_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})


def errno_name(error: OSError) -> str:
    """Return what an ``accept_failed`` event calls an error: ``EMFILE``."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


# An accepted socket, non-blocking, and its peer if that was let in: else the socket is closed.
Taken = tuple[socket.socket, Peer | None]


def turn_away(sock: socket.socket, action: Action, text: bytes = b"") -> None:
    """Close a connection that nobody has spoken on, without waiting.

    Args:
        sock: The accepted socket, non-blocking.
        action: A reset, or anything else for a close. Unix sockets know no reset: they are closed.
        text: Sent before a close.
    """
    with contextlib.suppress(OSError):  # the peer was faster
        if action is Action.RESET:
            reset_on_close(sock)
        else:
            if text:
                sock.send(text)
            sock.shutdown(socket.SHUT_WR)
            # What the peer has sent by now and nobody has read would make the kernel answer with a reset instead, which
            # can destroy the text on its way. A peer that has sent more than this may lose the text.
            sock.recv(65536)
    sock.close()


class Acceptor:
    """Accepts for one server: it asks the gate, and does what that says to sockets.

    It has no lock: an engine with several threads calls it under its own.

    Args:
        gate: Decides.
        clock: Where time comes from.
        emit: Told of refusals and of failures of accept(2).

    Attributes:
        backlogs: In the order in which they wait for the gate: one that has taken a connection goes behind the
            others, so that no backlog is served at the cost of another one.
    """

    def __init__(self, gate: Gate, clock: Clock, emit: Callable[[Event], None]) -> None:
        self.gate = gate
        self.clock = clock
        self.backlogs: list[Backlog] = []
        self._emit = emit
        self._failures = 0
        self._failing_since = self._failed_at = 0.0
        # When no descriptor is left, a peer in the backlog would wait for nothing, and the kernel would take more of
        # them: this one is given up for a moment, to accept it and tell it.
        self._spare: int | None = _spare()

    def start(self) -> None:
        """Accept from now on."""
        for backlog in self.backlogs[:]:
            backlog.start()

    def stop(self) -> None:
        """Leave connections in the backlogs from now on."""
        for backlog in self.backlogs[:]:
            backlog.stop()

    def wake(self) -> None:
        """The gate may be open by now."""
        for backlog in self.backlogs[:]:  # in their order
            backlog.wake()

    def opens_at(self) -> float:
        """Return from when on to accept, on the engine's clock: in the past for now, infinity until somebody leaves."""
        return self.gate.opens_at(self.clock.time())

    def admit(self, sock: socket.socket, name: object, listener: Listener) -> Peer | None:
        """Let an accepted connection in, or turn it away.

        Args:
            sock: Non-blocking. It is closed when its peer is not let in.
            name: The peer's address as accept(2) gave it.
            listener: Where it was accepted.

        Returns:
            The peer, of whom `leave` is to be told; None when it was not let in.
        """
        try:
            peer = peer_of(sock, name)
        except OSError:  # gone already
            sock.close()
            return None
        refusal = self.let_in(peer, listener)
        if refusal is None:
            return peer
        self.refuse(sock, peer, listener, refusal)
        return None

    def let_in(self, peer: Peer, listener: Listener) -> Refusal | None:
        """Let a peer in who was accepted, and count it, or say why not; then `refuse` follows."""
        now = self.clock.time()
        if self._failures and now - self._failed_at >= EPISODE_S:
            self._recovered()
        return self.gate.admit(peer, now, listener.proxies)

    def refuse(self, sock: socket.socket, peer: Peer, listener: Listener, reason: Refusal) -> None:
        """Turn away a connection that was not let in."""
        rules = self.gate.rules
        turn_away(sock, rules.action(reason), rules.text)
        self._emit(Refused(reason, peer, listener))

    def part(self, peer: Peer) -> None:
        """A connection that was let in has lost its transport, not its handler: there may be room for another.

        Raises:
            MemoryError: As of `Gate.part`; nothing has changed.
        """
        gate = self.gate
        gate.part(peer)
        if gate.waits:
            gate.wake()

    def leave(self, peer: Peer, *, orphan: bool = False) -> None:
        """A connection that was let in has ended: there may be room for one who waits.

        Args:
            peer: Whose it was.
            orphan: `part` was called for it before.

        Raises:
            MemoryError: As of `Gate.leave`; nothing has changed.
        """
        gate = self.gate
        gate.leave(peer, orphan=orphan)
        if gate.waits:
            gate.wake()

    def failed(self, error: OSError, listener: Listener) -> None:
        """Take note of a failure of accept(2) that is not the peer's, and tell peers if it is want of descriptors.

        The caller then leaves the listener alone for `ACCEPT_BACKOFF_S`.
        """
        now = self.clock.time()
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        self._failed_at = now
        self._emit(AcceptFailed(errno_name(error), listener, first=self._failures == 1))
        if error.errno in _OUT_OF_DESCRIPTORS:
            self._turn_away_unseen(listener)

    def _turn_away_unseen(self, listener: Listener) -> None:
        action = self.gate.rules.action(Refusal.DESCRIPTORS)
        if action is Action.WAIT or self._spare is None:
            self._spare = self._spare or _spare()
            return
        spare, self._spare = self._spare, None  # its number is the next socket's
        os.close(spare)
        try:
            self._tell_those_who_wait(listener, action)
        finally:
            self._spare = _spare()

    def _tell_those_who_wait(self, listener: Listener, action: Action) -> None:
        text = self.gate.rules.text
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, name = listener.sock.accept()
            except OSError:  # nobody is left, or another thread took the descriptor
                break
            sock.setblocking(False)
            turn_away(sock, action, text)
            self.gate.refuse(Refusal.DESCRIPTORS)
            self._emit(Refused(Refusal.DESCRIPTORS, Peer(name, listener.sock.family), listener))

    def _recovered(self) -> None:
        failures, self._failures = self._failures, 0
        self._emit(AcceptRecovered(failures, self._failed_at - self._failing_since))

    def __del__(self) -> None:
        """Give the spare descriptor back of a server whose loop was dropped without being closed."""
        self.close()

    def close(self) -> None:
        """Give the spare descriptor back. May be repeated."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


def _spare() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


class Backlog(ABC):
    """The connections that wait at one listener: accepted while it is running and the gate is open.

    Args:
        acceptor: The server's. It joins its backlogs.
        listener: Where connections come from.

    Raises:
        TlsMaterialError: As of `Listener.refuse_clear`.
    """

    def __init__(self, acceptor: Acceptor, listener: Listener) -> None:
        listener.refuse_clear()
        self.acceptor = acceptor
        self.listener = listener
        acceptor.backlogs.append(self)
        self._running = False
        self._polling = False
        self._failing = False
        # How many to take at once: as many as there were before, for being told that there is none more costs as much
        # as taking one. Those beyond are met when the listener is looked at the next time.
        self._batch = 1
        self._gone = 0  # failures in a row that may have been of connections
        self._timer: TimerHandle | None = None

    # -- what an engine does -------------------------------------------------------------------------------------------

    @abstractmethod
    def _poll(self, wanted: bool) -> None:
        """Have `accept` called when somebody waits, or no longer. Keeps `_polling`."""

    @abstractmethod
    def _begin(self, sock: socket.socket, peer: Peer) -> None:
        """Serve a connection that was let in."""

    def _take(self) -> Taken | None:
        """Take one connection, and let it in or turn it away; None to ask once more whether to.

        Raises:
            OSError: As accept(2).
        """
        sock, name = self.listener.sock.accept()
        sock.setblocking(False)
        return sock, self.acceptor.admit(sock, name, self.listener)

    # -- when ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Accept from now on."""
        self._running = True
        if not self._failing and not self._polling:
            self._look()

    def stop(self) -> None:
        """Leave connections in the backlog from now on."""
        self._running = self._failing = False
        self._poll(False)
        self._wait_until(inf)

    def wake(self) -> None:
        """The gate may be open by now."""
        # While the listener is polled, the gate is asked about the next connection.
        if self._running and not self._failing and not self._polling:
            try:
                self._look()
            except (MemoryError, RecursionError, OSError):  # and nobody else may come who has it look again
                self._wait_until(self.acceptor.clock.time() + ACCEPT_BACKOFF_S)

    def take_turn(self) -> None:
        """Accept now, if anybody waits and the gate is open."""
        if self._polling:
            self.accept()

    def _has_to_ask(self) -> bool:
        """Say whether something may have come in the way between one connection and the next."""
        return self.acceptor.gate.waits

    def may_accept(self) -> bool:
        """Ask the gate; if it is not open, poll no further until it is."""
        is_open = self._look()
        while is_open and not self._hold_place():  # another process was faster
            is_open = self._look()
        backlogs = self.acceptor.backlogs
        if is_open and backlogs[-1] is not self:
            backlogs.remove(self)
            backlogs.append(self)
        return is_open

    def _hold_place(self) -> bool:
        """Take a place for the next connection: see `Gate.hold_place`."""
        return self.acceptor.gate.hold_place(self.acceptor.clock.time())

    def let_go(self) -> None:
        """Give it back: no connection was accepted."""
        self.acceptor.gate.let_go()

    def _opens_at(self) -> float:
        """Return from when on to accept, as `Acceptor.opens_at`."""
        return self.acceptor.opens_at()

    def _look(self) -> bool:
        """Poll the listener while the gate is open; else set a timer for when it will be."""
        opens_at = self._opens_at()
        is_open = opens_at <= self.acceptor.clock.time()
        # What is to have it look again is there before what has done so is given up: either may find no memory.
        if is_open:
            self._poll(True)
            self._wait_until(inf)
        else:
            self._wait_until(opens_at)
            self._poll(False)
        return is_open

    def _wait_until(self, when: float) -> None:
        """Call `_waited` then; infinity for never. Without memory for that, what was asked for before stays."""
        timer = None if when == inf else self.acceptor.clock.call_at(when, self._waited)
        before, self._timer = self._timer, timer
        if before is not None:
            before.cancel()

    def _waited(self) -> None:
        self._timer = None
        self._failing = False
        self.acceptor.wake()  # the others too: whose timer comes first says nothing about whose turn it is

    # -- accepting -----------------------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Somebody waits: take as many as there were the time before, if the gate lets them in."""
        try:
            self._accept()
        finally:
            if self.acceptor.gate.waits:
                self.let_go()

    def _accept(self) -> None:
        gate = self.acceptor.gate
        for count in range(gate.at_once(self._batch)):
            if self._has_to_ask() and not self.may_accept():
                return
            try:
                taken = self._take()
            except (BlockingIOError, InterruptedError):
                self._batch = max(1, count)
                return
            except OSError as error:
                self._gone += 1
                if error.errno in GONE_ALREADY and self._gone < MOST_GONE:
                    continue
                self.failed(error)
                return
            if taken is None:
                continue
            self._gone = 0
            sock, peer = taken
            if peer is not None:
                self._begin(sock, peer)
            if not self._running:  # an observer stopped the server
                return
        self._batch = min(2 * self._batch, ACCEPTS_PER_TURN)

    def failed(self, error: OSError) -> None:
        """Leave the listener alone for a while: accepting failed, and not for a peer's fault."""
        self.acceptor.failed(error, self.listener)
        self._back_off()

    def _back_off(self) -> None:
        if self._running:
            self._wait_until(self.acceptor.clock.time() + ACCEPT_BACKOFF_S)
            self._failing = True
            self._poll(False)
