"""Sessions on a loop: of one sender's datagrams a connection, over a link that shares its socket with the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from ...address import Peer
from ...codecs.base import Codec
from ...core.contract import Clock
from ...core.events import Event
from ...core.gate import Gate
from ...core.sessions import Credit, Sessions
from ...reasons import CloseReason, Refusal
from ..destination import Sourced
from ..endpoint import READS_PER_TURN
from ..link import LinkUser
from ..listener import Listener
from ..own import OwnAddresses
from ..session import CREDIT_SPENT, MOST_READS, NOT_READ, SUSPENDED, UNNAMED, key_of
from .datagrams import LoopEndpoint
from .link import SocketLink

# Makes a connection of a peer that the gate has let in, with the link that is made for it. Should that fail, the peer
# has left the gate, and it raises.
BeginSession = Callable[[Peer, Listener, Callable[[LinkUser], "SessionLink"]], "SessionLink"]


class SessionLink(SocketLink):
    """One sender's datagrams: each ``data_received`` is one, each ``send`` sends one. The socket is its endpoint's.

    What comes while it is not read is dropped. Nothing waits for the kernel here: what it does not take, the endpoint
    keeps, or drops. A sender has no EOF: it has come as soon as this side has ended.
    """

    __slots__ = ("_credit", "_endpoint", "_to", "is_new", "key")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoint: SessionEndpoint,
        user: LinkUser,
        *,
        key: Any,
        to: Any,
        peer: Peer,
    ) -> None:
        super().__init__(loop, endpoint.socket, user)
        self._endpoint = endpoint
        self._to = to
        self._credit = Credit(trusts=endpoint.gate.is_local(peer))
        self.key = key
        self.is_new = True  # heard from once

    def received(self, data: bytes) -> None:
        """Tell of a datagram."""
        if not self._reading:
            if not self._closing:
                self._endpoint.drop(NOT_READ)
            return
        self._credit.received(len(data))
        self._enter(partial(self._user.data_received, data))

    @property
    def user(self) -> Any:
        """The connection; None once it was told of the end."""
        return self._user

    @property
    def queued_bytes(self) -> int:
        """0: what the socket keeps is no single peer's."""
        return 0

    @property
    def socket(self) -> None:  # type: ignore[override]
        """None: it is everybody's."""
        return

    def send(self, data: bytes) -> int:
        """Send one datagram, now or when the kernel takes it; drop it, counted, if it is too much for a stranger."""
        if not self._closing and not self._eof:
            if self._credit.takes(len(data), self._endpoint.gate.rules.datagram_amplification):
                self._endpoint.send(data, self._to)
            else:
                self._endpoint.drop(CREDIT_SPENT)
        return 0

    def trust(self) -> None:
        """The peer has shown who it is: it may be sent as much as its handler likes."""
        self._credit.trusts = True

    def pause_reading(self) -> None:
        """Drop what comes."""
        self._reading = False

    def resume_reading(self) -> None:
        """Tell of what comes."""
        if not self._read_over and not self._closing:
            self._reading = True

    def read_now(self) -> None:
        """Read the socket, for everybody, though nobody said that there is anything."""
        if not self._entered:
            self._endpoint.read_all()

    def _read(self) -> None:
        """Leave that to the endpoint."""

    def _send_waiting(self) -> None:
        """Nothing waits."""

    def _drop_waiting(self) -> None:
        """Nothing waits."""

    def _shut_down(self) -> None:
        self._endpoint.forget(self)  # what comes next begins another session
        self._loop.call_soon(self._over)

    def _over(self) -> None:
        if not self._lost and self._user is not None:
            self._enter(self._read_eof)

    def _finish(self, error: BaseException | None) -> None:
        self._endpoint.forget(self)
        super()._finish(error)

    def _let_go(self) -> None:
        """Leave the socket to the others."""


class SessionEndpoint(LoopEndpoint):
    """One datagram listener at work, whose datagrams belong to sessions.

    Args:
        sessions: Those of the server.
        begin: Makes a connection.
        loop, listener, codec, gate, clock, emit, own, idle: As of every endpoint.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        codec: Codec[Any],
        *,
        sessions: Sessions[SessionLink],
        begin: BeginSession,
        gate: Gate,
        clock: Clock,
        emit: Callable[[Event], None],
        own: OwnAddresses,
        idle: Callable[[], None],
    ) -> None:
        super().__init__(loop, listener, None, codec, gate=gate, clock=clock, emit=emit, own=own, idle=idle)
        self._sessions = sessions
        self._begin = begin
        self._links: dict[Any, SessionLink] = {}
        self._is_read = False  # this very moment
        self._is_over = False  # the server drains or stops: nothing more is read

    def drain(self) -> None:
        """Leave datagrams with the kernel, and have every session come to its end."""
        self._is_over = True
        self.stop()
        for link in list(self._links.values()):
            if link.user is not None:
                link.user.drain()

    def cut(self) -> None:
        """Forget what waits to be sent."""
        self._is_over = True
        super().cut()

    def _is_wanted(self) -> bool:
        """Say whether to read: sessions go on while the server is suspended, as connections do."""
        return (self._running or bool(self._links)) and not self._is_over

    # -- in ------------------------------------------------------------------------------------------------------------

    def read(self) -> int:
        """Read and serve what is there; nothing in the middle of that, for a datagram has its turn."""
        if self._is_read:
            return 0
        self._is_read = True
        try:
            return super().read()
        finally:
            self._is_read = False

    def read_all(self) -> None:
        """Read what has come by now."""
        for _ in range(MOST_READS):
            if self.read() < READS_PER_TURN:
                return

    def _received(self, data: bytes, name: Any, source: bytes | None) -> None:
        key = key_of(name, source)
        link = self._links.get(key)
        if link is None:
            if not name:
                self.drop(UNNAMED)
                return
            link = self._new(key, name, source)
            if link is None:
                return
        elif link.is_new:
            link.is_new = False
            self._sessions.heard_again(link)
        link.received(data)

    def _new(self, key: Any, name: Any, source: bytes | None) -> SessionLink | None:
        """Begin a session, if the gate lets one more in."""
        if not self._running:
            self.drop(SUSPENDED)
            return None
        peer, sessions = Peer(name, self._socket.family), self._sessions
        displaced = None
        if sessions.is_full(self.gate.rules.max_sessions):
            displaced = sessions.to_be_displaced()
            if displaced is None:
                self.gate.refuse(Refusal.SESSIONS)
                self.drop(Refusal.SESSIONS)
                return None
        to = name if source is None else Sourced(name, source)
        link_to = partial(self._link, displaced, key, to, peer)
        refusal = self.gate.admit(peer, self._clock.time())
        if refusal is not None:
            self.drop(refusal)
            return None
        return self._begin(peer, self._listener, link_to)  # and nothing else: what fails from here on leaves the gate

    def _link(self, displaced: SessionLink | None, key: Any, to: Any, peer: Peer, user: LinkUser) -> SessionLink:
        if displaced is not None:
            displaced.user.cut(CloseReason.OVERLOAD)
        link = SessionLink(self._loop, self, user, key=key, to=to, peer=peer)
        self._links[key] = link
        try:
            self._sessions.begins(link)
        except BaseException:
            del self._links[key]
            raise
        return link

    def forget(self, link: SessionLink) -> None:
        """A session ends: the next datagram of its sender begins another one. May be repeated."""
        if self._links.get(link.key) is link:
            del self._links[link.key]
            self._sessions.ends(link)
            if not self._links:
                self._read_if_allowed()  # while it is suspended for want of any other use
