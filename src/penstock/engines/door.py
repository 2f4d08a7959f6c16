"""The one place where an accepted socket is let in or turned away: the same on every engine, for every transport."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from ..address import Peer
from ..config import Action
from ..core.events import AcceptFailed, AcceptRecovered, Event, Refused
from ..core.gate import Gate
from ..reasons import Refusal
from .accepting import ACCEPTS_PER_TURN, errno_name
from .listener import Listener, peer_of
from .wire import reset_on_close

# After so long without a failure of accept(2) the trouble is over.
EPISODE_S: Final = 1.0

_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})


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
            # can destroy the text on its way. Who sends more than this meets that.
            sock.recv(65536)
    sock.close()


class Door:
    """Asks the gate, and does what it says to sockets.

    It has no lock: an engine with several threads calls it under its own.

    Args:
        gate: Decides.
        now: Tells seconds on the engine's clock.
        emit: Told of refusals and of failures of accept(2).
    """

    def __init__(self, gate: Gate, now: Callable[[], float], emit: Callable[[Event], None]) -> None:
        self.gate = gate
        self._now = now
        self._emit = emit
        self._failures = 0
        self._failing_since = self._failed_at = 0.0
        # When no descriptor is left, a peer in the backlog would wait for nothing, and the kernel would take more of
        # them: this one is given up for a moment, to accept it and tell it.
        self._spare: int | None = _spare()

    def opens_at(self) -> float:
        """Return from when on to accept, on the engine's clock: in the past for now, infinity until somebody leaves."""
        return self.gate.opens_at(self._now())

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
        refusal = self.let_in(peer)
        if refusal is None:
            return peer
        self.refuse(sock, peer, listener, refusal)
        return None

    def let_in(self, peer: Peer) -> Refusal | None:
        """Let a peer in who was accepted, and count it, or say why not; then `refuse` follows."""
        now = self._now()
        if self._failures and now - self._failed_at >= EPISODE_S:
            self._recovered()
        return self.gate.admit(peer, now)

    def refuse(self, sock: socket.socket, peer: Peer, listener: Listener, reason: Refusal) -> None:
        """Turn away a connection that was not let in."""
        rules = self.gate.rules
        turn_away(sock, rules.action(reason), rules.text)
        self._emit(Refused(reason, peer, listener))

    def leave(self, peer: Peer) -> None:
        """A connection that was let in has ended: there may be room for one who waits.

        Raises:
            MemoryError: As of `Gate.leave`; nothing has changed.
        """
        gate = self.gate
        gate.leave(peer)
        if gate.waits:
            gate.wake()

    def failed(self, error: OSError, listener: Listener) -> None:
        """Take note of a failure of accept(2) that is not the peer's, and tell peers if it is want of descriptors.

        The caller then leaves the listener alone for `accepting.ACCEPT_BACKOFF_S`.
        """
        now = self._now()
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
