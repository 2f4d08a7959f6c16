"""Protocols of Twisted, each made by its factory, over a transport that has Twisted's methods.

Only what is told to serve one imports this, for it needs Twisted.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet import interfaces
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import BaseProtocol, Factory
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from ..core.contract import Connection
from ..core.handlers import ConnectionHandler
from ..core.interrupts import is_interrupt
from ..core.service import Service
from ..core.signatures import name_of, positional, summary_of
from ..errors import ApplicationError
from .fed import transport_of
from .sockets import CODEC, LostError
from .transport import ConnectionTransport
from .twisted_import import install
from .twisted_reactor import ServersReactor
from .without import OF_BYTES


def of_twisted(target: Any, name: str) -> Service[bytes]:
    """Make a service of a factory of Twisted's, or of the class of a factory or a protocol.

    Raises:
        ApplicationError: It is none, it cannot be called without arguments, or Twisted's reactor has its own loop.
    """
    kind = target if isinstance(target, type) else type(target)
    made = target
    if isinstance(target, type) and (issubclass(target, Factory) or _is_protocol(target)):
        positional(target, f"{name_of(target)} is called without arguments; name a factory that was made", 0)
        made = target() if issubclass(target, Factory) else Factory.forProtocol(target)
    elif not isinstance(target, Factory):
        got = f"the class {name_of(target)}" if isinstance(target, type) else f"a {kind.__name__}"
        raise ApplicationError(f"expected a factory of Twisted, or the class of a protocol of streams, got {got}")
    install()
    of = getattr(made, "protocol", None)
    called = of.__name__ if type(made) is Factory and isinstance(of, type) else kind.__name__
    factories = Factories(made)
    return Service(
        name=name or called,
        handler=ConnectionHandler(partial(_serve, factories), is_async=True),
        codec=CODEC,
        summary=summary_of(kind) if kind is not Factory else "",
        written_for="Twisted",
        without=OF_BYTES,
        at_start=factories.begin,
    )


def _is_protocol(kind: type) -> bool:
    """Whether it is one of streams: a process has protocols, too, and other methods."""
    return issubclass(kind, BaseProtocol) and bool(interfaces.IProtocol.implementedBy(kind))


async def _serve(factories: Factories, conn: Connection[bytes]) -> None:
    factories.begin(conn.server)  # in a process for one connection nobody has done so
    await transport_of(conn, asyncio.get_running_loop()).carry(Bridge(factories.factory))


class Factories:
    """A factory, begun with each server and ended when that stops.

    Args:
        factory: Makes the protocols.
    """

    def __init__(self, factory: Any) -> None:
        self.factory = factory
        self._begun: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()

    def begin(self, server: Any) -> None:
        """Call ``doStart``, once for each server, with the reactor on its loop.

        Raises:
            ApplicationError: It failed, or the reactor is on another loop.
        """
        if server in self._begun:
            return
        reactor = install()
        if isinstance(reactor, ServersReactor) and not reactor.has(server):
            reactor.join(server, asyncio.get_running_loop())
        try:
            self.factory.doStart()
        except Exception as error:
            raise ApplicationError(f"{type(self.factory).__name__}.startFactory raised {error!r}") from error
        server.start_lasting(self._end(server), name="Twisted's factory")
        self._begun[server] = True

    async def _end(self, server: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self._begun.pop(server, None)
            self.factory.doStop()


class Bridge(asyncio.Protocol):
    """Tells a protocol of Twisted what asyncio's transport tells.

    Args:
        factory: Makes the protocol.
    """

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self._protocol: Any = None
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Have the factory make a protocol; one that makes none refuses the peer."""
        self._transport = (TwistedTransport if transport.get_extra_info("sslcontext") is None else TlsTransport)(
            transport
        )
        self._protocol = self._factory.buildProtocol(self._transport.getPeer())
        if self._protocol is None:
            transport.close()
        else:
            self._protocol.makeConnection(self._transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._protocol.dataReceived(data)

    def eof_received(self) -> bool:
        """The peer sends no more: that is the end, but for a protocol that knows half a connection."""
        if not interfaces.IHalfCloseableProtocol.providedBy(self._protocol):
            return False
        self._protocol.readConnectionLost()
        return True

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._transport.pause_producer()

    def resume_writing(self) -> None:
        """The peer has read."""
        self._transport.resume_producer()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._transport.end()
        if self._protocol is None:
            return
        if exc is None:
            reason: Exception = ConnectionDone()
        else:
            reason = ConnectionLost(str(exc)) if isinstance(exc, LostError) else exc
        self._protocol.connectionLost(Failure(reason))  # type: ignore[no-untyped-call]


@implementer(interfaces.ITCPTransport, interfaces.IConsumer, interfaces.IPushProducer)
class TwistedTransport:
    """A transport of asyncio, with the names that Twisted has.

    Args:
        transport: A connection's.

    Attributes:
        connected: Whether it is.
        disconnecting: Whether `loseConnection` was called.
        disconnected: Whether it is over.
    """

    def __init__(self, transport: ConnectionTransport) -> None:
        self._transport = transport
        self.connected = True
        self.disconnecting = self.disconnected = False
        self._producer: Any = None
        self._streams = False  # the producer goes on by itself
        self._paused = False  # the peer does not read
        self._write_ended = False

    # -- out -----------------------------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Send bytes, in order; never wait."""
        if isinstance(data, str):
            raise TypeError("Data must not be string")
        if not self._write_ended:
            self._transport.write(data)

    def writeSequence(self, iovec: Any) -> None:  # noqa: N802
        """Send several pieces."""
        self.write(b"".join(iovec))

    def loseWriteConnection(self) -> None:  # noqa: N802
        """End this direction after what was written."""
        self._write_ended = True
        self._transport.write_eof()

    def loseConnection(self) -> None:  # noqa: N802
        """Close once all was sent and no producer is left, with what is written before this callback returns."""
        if not self.disconnecting:
            self.disconnecting = True
            asyncio.get_running_loop().call_soon(self._close)

    def abortConnection(self) -> None:  # noqa: N802
        """End now."""
        self.disconnecting = True
        self._transport.abort()

    def _close(self) -> None:
        if self.disconnecting and self._producer is None:
            self._transport.close()

    # -- producers -----------------------------------------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        """Have a producer go on while the peer reads; one that does not stream is asked each time.

        Raises:
            RuntimeError: There is one.
        """
        if self._producer is not None:
            raise RuntimeError(
                f"Cannot register producer {producer}, because producer {self._producer} was never unregistered."
            )
        if self.disconnected:
            producer.stopProducing()
            return
        self._producer, self._streams = producer, bool(streaming)
        if not streaming:
            self._ask()
        elif self._paused:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:  # noqa: N802
        """Go on without it; after `loseConnection` close, with what is written before this callback returns."""
        self._producer = None
        if self.disconnecting:
            asyncio.get_running_loop().call_soon(self._close)

    def _ask(self) -> None:
        producer = self._producer
        if producer is None or self._streams or self._paused:
            return
        producer.resumeProducing()
        if self._producer is producer and not self._paused:
            asyncio.get_running_loop().call_soon(self._tell_producer, self._ask)

    def _tell_producer(self, tell: Callable[[], None]) -> None:
        """Tell it something of which no callback of the protocol would get the error: that ends the connection."""
        try:
            tell()
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._transport.fail(error)

    def pause_producer(self) -> None:
        """The peer does not read."""
        self._paused = True
        if self._producer is not None and self._streams:
            self._tell_producer(self._producer.pauseProducing)

    def resume_producer(self) -> None:
        """The peer has read."""
        self._paused = False
        if self._producer is not None:
            self._tell_producer(self._producer.resumeProducing if self._streams else self._ask)

    def end(self) -> None:
        """It is over."""
        self.connected, self.disconnected, self.disconnecting = False, True, False
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()

    # -- in ------------------------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:  # noqa: N802
        """Read no more until `resumeProducing`."""
        self._transport.pause_reading()

    def resumeProducing(self) -> None:  # noqa: N802
        """Read on."""
        self._transport.resume_reading()

    def stopProducing(self) -> None:  # noqa: N802
        """Close."""
        self.loseConnection()

    # -- what it says of itself ----------------------------------------------------------------------------------------

    def getPeer(self) -> Any:  # noqa: N802
        """Return the peer's address."""
        return _address(self._transport.get_extra_info("peername"))

    def getHost(self) -> Any:  # noqa: N802
        """Return this end's address."""
        return _address(self._transport.get_extra_info("sockname"))

    def getHandle(self) -> Any:  # noqa: N802
        """Return what the socket says of itself, and its options."""
        return self._transport.get_extra_info("socket")

    def getTcpNoDelay(self) -> bool:  # noqa: N802
        """Return whether TCP_NODELAY is set."""
        return bool(self.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        """Set TCP_NODELAY."""
        self.getHandle().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:  # noqa: N802
        """Return whether SO_KEEPALIVE is set."""
        return bool(self.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802
        """Set SO_KEEPALIVE."""
        self.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)


@implementer(interfaces.ISSLTransport)
class TlsTransport(TwistedTransport):
    """The same over TLS."""

    def getPeerCertificate(self) -> Any:  # noqa: N802
        """Return the peer's certificate as `penstock.TlsInfo` has it; None where it has shown none."""
        return self._transport.get_extra_info("sslcontext").certificate


def _address(name: Any) -> Any:
    if not isinstance(name, tuple):
        return UNIXAddress(name or None)
    if ":" in name[0]:
        return IPv6Address("TCP", *name)
    return IPv4Address("TCP", *name[:2])
