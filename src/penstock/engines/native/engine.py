"""The native engine: connections served in compiled code, the rest of a server as the pure engine has it.

Streams are read, written and watched by the poller; handlers are called, and their tasks resumed, from there. Records
and datagrams go through the loop, as in the pure engine.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from ...address import Kind
from ...core.events import Event, EventName
from ...core.service import ConnectionHandler
from ..base import Engine, Plan
from ..listener import Listener
from ..pure.engine import PureEngine, PureServer
from .connection import Host
from .conversation import ConversationConnection
from .poller import AttachedPoller, NativeSelector, Poller
from .push import PushConnection


class NativeEngine(Engine):
    """Epoll, in the running loop: as its selector where the loop was made with one, else beside it."""

    name = "native"

    def refuses(self, plan: Plan) -> str | None:
        """Refuse what the pure engine refuses."""
        return PureEngine().refuses(plan)

    def server(self, listeners: Sequence[Listener], plan: Plan) -> NativeServer:
        """Prepare to serve on the running loop."""
        return NativeServer(asyncio.get_running_loop(), listeners, plan)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an asyncio loop whose selector serves the engine's sockets itself."""
    selector = NativeSelector()
    loop = asyncio.SelectorEventLoop(selector)
    selector.bind(loop)
    return loop


class NativeServer(PureServer):
    """Everything that serves one plan on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listeners: Sequence[Listener], plan: Plan) -> None:
        super().__init__(loop, listeners, plan)
        self._attached_poller: AttachedPoller | None = None
        self._poller = self._poller_of(loop)
        self._native = Host(self._poller, loop, plan, self._released)

    def _poller_of(self, loop: asyncio.AbstractEventLoop) -> Poller:
        selector = getattr(loop, "_selector", None)
        if isinstance(selector, NativeSelector):
            selector.bind(loop)
            return selector
        self._attached_poller = AttachedPoller(loop)
        return self._attached_poller

    def _check_stopped(self) -> None:
        super()._check_stopped()
        if self._stopped and self._attached_poller is not None:
            # Not at once: the poller may be serving this very moment.
            self._loop.call_soon(self._attached_poller.detach)
            self._attached_poller = None

    def _accepted(self, sock: socket.socket, name: object, listener: Listener) -> None:
        if listener.kind is Kind.SEQPACKET:
            super()._accepted(sock, name, listener)
            return
        peer = self._door.admit(sock, name, listener)
        if peer is None:
            return
        handler = self._handler
        connection: PushConnection | ConversationConnection
        try:
            if isinstance(handler, ConnectionHandler) or handler.is_async:
                connection = ConversationConnection(self._native, peer, listener.address, handler)
            else:
                connection = PushConnection(self._native, peer, listener.address, handler)
        except Exception as error:
            self._unmade(sock, peer, error)
            return
        self._connections[connection.id] = connection
        self._plan.emit(Event(EventName.ACCEPTED, connection, {"listener": listener}))
        connection.begin(sock.detach())
