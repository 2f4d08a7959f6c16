"""Links that read and write a socket themselves, on any loop that has ``add_reader``.

The transports of asyncio cost an accepted connection a task, a future and two turns of the loop before its first byte
is read, and one more turn at its end; for seqpacket sockets there are none.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from ...core.interrupts import is_interrupt
from ..forked import end
from ..link import Link, LinkUser
from .rations import Rations, rations_of


class SocketLink(Link):
    """A connected socket: reading that pauses, output that waits, half-close, and an end that is told once.

    The end that asyncio's transports tell in a later turn of the loop is told here as soon as what the loop called has
    returned.

    Args:
        loop: Tells when the socket is ready.
        sock: Connected and non-blocking. It is the link's from now on, which closes it.
        user: Told of everything, from `begin` on.
    """

    __slots__ = (
        "_closing",
        "_entered",
        "_eof",
        "_error",
        "_fd",
        "_loop",
        "_lost",
        "_rations",
        "_read_over",
        "_reading",
        "_sock",
        "_user",
        "_writing",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, user: LinkUser) -> None:
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._user: Any = user  # None once it was told of the end
        self._reading = False
        self._rations: Rations | None = None  # it reads when it is its turn
        self._read_over = False  # the peer's EOF was read
        self._eof = False  # our direction ends after what was sent
        self._writing = False  # the loop is asked when there is room
        self._closing = False
        self._lost = False  # nothing more will be sent; the user was told, or is about to be
        self._error: BaseException | None = None  # that it was lost by
        self._entered = False  # `_enter` is at work

    def begin(self, begun: Callable[[Link], object]) -> None:
        """Call ``begun``, then read. Not to be called by anything that the link has called."""

        def begin() -> None:
            begun(self)
            self.resume_reading()

        self._enter(begin)

    def go_on(self, begun: Callable[[Link], object]) -> None:
        """Call ``begun`` for a connection that was another process's; it says itself when to read."""
        self._enter(lambda: begun(self))

    def _enter(self, step: Callable[[], object]) -> None:
        """Do what the loop calls for; tell the end if it came to that."""
        self._entered = True
        try:
            step()
        except BaseException as error:  # a codec's bug, or ours: handlers' are caught where they are called
            if is_interrupt(error):
                raise
            self._lose(error)
            report = {"message": "a connection failed", "exception": error, "transport": self}
            self._loop.call_exception_handler(report)
        finally:  # for the report may fail too, where memory is out
            self._entered = False
            if self._lost:
                self._tell_lost()

    @property
    def socket(self) -> socket.socket:
        """The socket."""
        return self._sock

    # -- what a subclass does ------------------------------------------------------------------------------------------

    @abstractmethod
    def _read(self) -> None:
        """The socket is readable."""

    @abstractmethod
    def _send_waiting(self) -> None:
        """Send as much of what waits for the kernel as it takes."""

    @abstractmethod
    def _drop_waiting(self) -> None:
        """Forget what waits for the kernel."""

    # -- reading -------------------------------------------------------------------------------------------------------

    def hand_to(self, user: LinkUser) -> None:
        """Tell another user."""
        self._user = user

    def pause_reading(self) -> None:
        """Leave what comes with the kernel."""
        if self._reading:
            self._loop.remove_reader(self._fd)
            self._reading = False  # last, as below: what has failed is done another time

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reading and not self._read_over and not self._closing:
            self._await_input()
            self._reading = True

    def _await_input(self) -> None:
        self._loop.add_reader(self._fd, self._enter, self._read if self._rations is None else self._read_in_turn)

    def take_turns(self, *, wanted: bool) -> None:
        """Read only as often in a turn of the loop as all such links may together, or as often as there is anything."""
        self._rations = rations_of(self._loop) if wanted else None
        if self._reading and not self._read_over and not self._closing:
            self._await_input()  # in the place of what was awaited: should that fail, it still is

    def _read_in_turn(self) -> None:
        if self._rations is None or self._rations.take(self._loop):
            self._read()  # else the loop says in the next turn once more that there is something

    def _read_eof(self) -> None:
        self.pause_reading()
        self._read_over = True
        self._user.eof_received()

    @property
    def acts_now(self) -> bool:
        """True: it reads and writes the socket itself."""
        return True

    def read_now(self) -> None:
        """Read, though nobody said that there is anything; nothing while reading is paused."""
        if self._reading and not self._entered:
            self._enter(self._read)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _send_later(self) -> None:
        """Something waits for the kernel. Called again should this fail, at the limit of recursion say."""
        if not self._writing:
            self._loop.add_writer(self._fd, self._enter, self._send_more)
            self._writing = True

    def _send_more(self) -> None:
        before = self.queued_bytes
        self._send_waiting()
        if self._lost:
            return
        if not self.queued_bytes:
            self._send_no_more()
        elif not self._writing:
            self._send_later()
        if self.queued_bytes < before:
            self._user.output_sank()
        if not self.queued_bytes:  # its user may have sent more
            if self._closing:
                self._finish(None)
            elif self._eof:
                self._shut_down()

    def _send_no_more(self) -> None:
        if self._writing:
            self._loop.remove_writer(self._fd)
            self._writing = False

    def send_now(self) -> None:
        """Send what waits for the kernel, though nobody said that there is room."""
        if self.queued_bytes and not self._entered:
            self._enter(self._send_more)

    def send_eof(self) -> None:
        """End our direction after what was sent."""
        if not self._eof and not self._closing:
            self._eof = True
            if not self.queued_bytes:
                self._shut_down()
            else:
                self._send_later()

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):  # the peer was faster; reading finds out
            self._sock.shutdown(socket.SHUT_WR)

    # -- to another process --------------------------------------------------------------------------------------------

    def take_back(self) -> None:
        """Go on, and do not read yet."""
        if self.queued_bytes:
            self._send_later()

    def depart(self) -> None:
        """Close this copy of the descriptor. Neither shutdown(2) nor a reset: those would end it for all."""
        self._lost = self._closing = True
        self._user = None
        self._drop_waiting()
        self._sock.close()

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what waits, then close."""
        if not self._closing:
            self.pause_reading()
            self._closing = True
            if not self.queued_bytes:
                self._finish(None)
            else:
                self._send_later()

    def abort(self) -> None:
        """Close without sending what waits."""
        self._lose(None)

    def _lose(self, error: BaseException | None) -> None:
        if self._lost:
            return
        self.pause_reading()
        self._closing = True
        self._send_no_more()
        if self.queued_bytes:
            self._drop_waiting()
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        if not self._lost:
            if not self._entered:  # the close may come in the middle of a call of this connection, or of another
                self._loop.call_soon(self._tell_lost)
            self._lost = True
            self._error = error
            if error is not None:
                self._user.connection_broke(error)

    def _tell_lost(self) -> None:
        user, self._user = self._user, None  # and with it the cycle through it
        if user is None:
            return  # told already: a step was called for between the loss and this turn
        error, self._error = self._error, None
        try:
            user.connection_lost(error)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        end(self._fd)
        self._sock.close()
