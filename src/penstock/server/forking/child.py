"""The process of one connection: a server of its own, with a loop of its own, that accepts nobody."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from ...address import Peer, parse_address
from ...config import EngineName, GateConfig, ProcessConfig, ServerConfig, TlsConfig, WorkersConfig
from ...core.counts import Counts
from ...core.events import Closed, Event, HandlerFailed, HandshakeFailed, Observer
from ...engines import forked
from ...engines.listener import Listener, peer_of
from ...engines.wire import number_connections_from
from ...reasons import CloseReason
from ..choice import choose
from ..server import Server
from ..shared import DEFAULT, Default, Shared
from ..tls import ServerTls, layered
from .messages import Message, Serve, Shakes, Told, WantsEnd, send
from .nursery import DRAIN, STOP, TO_PROCESSES, Brood

_PR_SET_PDEATHSIG: Final = 1  # from linux/prctl.h


class OneServer(Server):
    """The server that the handler of one connection sees: to end it ends that of all."""

    wants: socket.socket | None = None
    came_in: tuple[str, ...] = ()

    @property
    def addresses(self) -> Sequence[str]:
        """Where its connection came in: the process of one knows of no other address."""
        return self.came_in

    def be_secured(self, tls: ServerTls) -> None:
        """Have TLS that begins later be spoken with these certificates."""
        self._setup.tls = tls

    async def obtain(self) -> None:
        """Open nothing: it has its connection already."""

    def begin_drain(self, *, timeout_s: float | Default | None = DEFAULT) -> None:
        """Have the server drain, and this connection with it."""
        if not self._asked(WantsEnd()):
            super().begin_drain(timeout_s=timeout_s)

    def begin_stop(self) -> None:
        """Have the server stop, and this connection with it."""
        if not self._asked(WantsEnd(at_once=True)):
            super().begin_stop()

    def _asked(self, wish: WantsEnd) -> bool:
        """Tell the server, if there is one; say whether it was told."""
        if self.wants is None:
            return False
        try:
            send(self.wants, wish)
        except OSError:  # it is gone: this connection is what there is to end
            return False
        return True


class _ToldCounts(Counts):
    """The handshakes of this one connection, of which the server is told: they take places at its gate.

    Args:
        number: Of the connection.
        report: To the server.
    """

    __slots__ = ("_number", "_report")

    def __init__(self, number: int, report: socket.socket) -> None:
        super().__init__()
        self._number = number
        self._report = report

    def begin_handshake(self) -> None:
        """As every counts."""
        super().begin_handshake()
        if self.handshakes == 1:
            self._tell(Shakes(id=self._number))

    def end_handshake(self) -> None:
        """As every counts."""
        super().end_handshake()
        if not self.handshakes:
            self._tell(Shakes(id=self._number, over=True))

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # the server is gone, and its gate with it
            send(self._report, message)


class _Teller:
    """Takes note of what the server is told of."""

    def __init__(self, number: int) -> None:
        self.told = Told(id=number, reason=CloseReason.HANDLER_ERROR)
        self.is_over = False
        self._errors = 0
        self._problem = ""

    def observe(self, event: Event, /) -> None:
        """As every observer."""
        if type(event) is HandlerFailed:
            self._errors += 1
            self.told = replace_errors(self.told, self._errors)
        elif type(event) is HandshakeFailed:
            self._problem = event.error.problem
        elif type(event) is Closed:
            conn = event.connection
            self.is_over = True
            self.told = Told(
                id=self.told.id,
                reason=str(event.reason),
                detail=event.detail,
                bytes_in=event.bytes_in,
                bytes_out=event.bytes_out,
                messages_in=conn.messages_in,
                messages_out=conn.messages_out,
                handler_errors=self._errors,
                problem=self._problem,
            )


def replace_errors(told: Told, errors: int) -> Told:
    """Return the same with another number of errors."""
    return Told(id=told.id, reason=told.reason, handler_errors=errors)


def config_of_one(config: ServerConfig, engine: EngineName) -> ServerConfig:
    """Return the configuration of the server of one connection: what is of all of them, the server has seen to.

    Args:
        config: How the server is configured.
        engine: The one that was chosen.
    """
    return replace(
        config,
        codec=None,
        bad_messages="service",
        model="loop",
        max_processes=ServerConfig().max_processes,
        engine=engine,
        access_log=False,
        gate=GateConfig(max_connections=None, max_per_peer=None),
        overload=replace(config.overload, memory_bytes=None, stall_s=None),
        process=ProcessConfig(),
        supervisor=WorkersConfig(),
        tls=TlsConfig(),
    )


def prepare(brood: Brood) -> None:
    """Import what each process needs: what is forked has it already."""
    engine = _server(brood).choice.engine
    if engine.name == "blocking":
        from ...engines.blocking import engine as _threads  # noqa: F401, PLC0415 - others import nothing of it
    else:
        from ...engines.pure import server as _loops  # noqa: F401, PLC0415 - likewise


def _server(brood: Brood, *observers: Observer) -> OneServer:
    chosen = choose(brood.service, brood.config).engine
    return OneServer(
        brood.service,
        config_of_one(brood.config, "blocking" if chosen.thread_per_connection else "pure"),
        observers=observers,
        warn=lambda _: None,
        shared=Shared(inherited=(), tells_course=False),
    )


def serve_one(
    brood: Brood, asked: Serve, sock: socket.socket, report: socket.socket, nursery: int, *, tls: ServerTls | None
) -> None:
    """Serve a connection to its end, and report that.

    Args:
        brood: What is served.
        asked: Which connection.
        sock: It, which is closed at the end.
        report: To the server.
        nursery: The process from which this one was forked.
        tls: What TLS is spoken with, where its address says so.
    """
    from ..process import _loop_factory  # noqa: PLC0415 - that module has the nursery, which has this one

    _end_with(nursery)
    forked.note()  # the nursery has a copy of the connection until it has closed that
    number_connections_from(asked.id - 1)  # it has the number that it has in the server
    teller = _Teller(asked.id)
    server = _server(brood, teller)
    with asyncio.Runner(loop_factory=_loop_factory([server.choice.engine])) as runner:
        runner.run(_serve(server, teller, asked, sock, report, tls=tls))


async def _serve(
    server: OneServer,
    teller: _Teller,
    asked: Serve,
    sock: socket.socket,
    report: socket.socket,
    *,
    tls: ServerTls | None,
) -> None:
    loop = asyncio.get_running_loop()
    await server.start()
    address = parse_address(asked.address)
    listener = Listener(sock, parse_address(asked.requested or asked.address), address)
    listener = layered(listener, tls)
    if tls is not None:
        server.be_secured(tls)
    server.gate.counts = _ToldCounts(asked.id, report)
    server.came_in = (asked.address,)
    loop.add_signal_handler(DRAIN, lambda: Server.begin_drain(server))
    loop.add_signal_handler(STOP, lambda: Server.begin_stop(server))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_PROCESSES)
    server.serve_accepted(sock, _peer(sock, asked.peer), listener)
    server.wants = report
    await server.wait_until(lambda _: teller.is_over or server.is_ending)
    server.wants = None
    server.begin_drain()
    await server.wait_stopped()
    with contextlib.suppress(OSError):  # the server is gone
        send(report, teller.told)


def _peer(sock: socket.socket, name: Any) -> Peer:
    if sock.family == socket.AF_UNIX:
        name = sock.getpeername()
    return peer_of(sock, tuple(name) if isinstance(name, list) else name)


def _end_with(nursery: int) -> None:
    """Have the kernel say when the nursery is gone: nobody else could tell this process to end."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, DRAIN, 0, 0, 0)
    if os.getppid() != nursery:  # it was gone before the kernel knew
        os.kill(os.getpid(), DRAIN)
