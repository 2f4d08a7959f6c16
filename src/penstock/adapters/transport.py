"""A connection as a transport of asyncio, for protocols and streams that were written for one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from ..core.contract import Connection
from ..core.tls import TlsInfo
from ..errors import ConnectionEndedError, EndOfStreamError
from ..reasons import CloseReason
from .sockets import LostError, TransportSocket

# Ends of which asyncio tells a protocol without an error.
_WITHOUT_ERROR: Final = {
    CloseReason.DONE,
    CloseReason.PEER_CLOSED,
    CloseReason.DRAINED,
    CloseReason.DRAIN_TIMEOUT,
    CloseReason.STOPPED,
    CloseReason.HANDED_OVER,
    CloseReason.ABORTED,
}


def loss_of(conn: Connection[bytes]) -> LostError | None:
    """Return what `asyncio.BaseProtocol.connection_lost` is told of a connection that has ended."""
    reason = conn.close_reason
    return None if reason is None or reason in _WITHOUT_ERROR else LostError(reason)


class TlsObject:
    """What ``get_extra_info("ssl_object")`` gives: the questions of `ssl.SSLObject` that a handshake answers."""

    def __init__(self, tls: TlsInfo) -> None:
        self._tls = tls
        self.server_side = True
        self.server_hostname = None
        self.session_reused = tls.resumed

    def version(self) -> str:
        """Return the version, as ``TLSv1.3``."""
        return self._tls.version

    def cipher(self) -> tuple[str, str, int]:
        """Return the cipher's name, the version, and how many bits are secret."""
        return self._tls.cipher, self._tls.version, self._tls.bits

    def selected_alpn_protocol(self) -> str | None:
        """Return the protocol that both ends speak, if one was agreed."""
        return self._tls.alpn

    def compression(self) -> None:
        """Return None: nothing is compressed."""

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the peer's certificate in DER, or its subject and names; None where it has none."""
        certificate = self._tls.certificate
        if certificate is None:
            return None
        if binary_form:
            return certificate.der
        common = certificate.common_name
        names = [("DNS", name) for name in certificate.dns_names] + [
            ("IP Address", ip) for ip in certificate.ip_addresses
        ]
        found: dict[str, Any] = {"subject": ((("commonName", common),),) if common else ()}
        return found | ({"subjectAltName": tuple(names)} if names else {})


class ConnectionTransport(asyncio.Transport):
    """One connection over `penstock.codecs.Raw`, with the methods of a transport of asyncio.

    The engine sends, holds back and closes: the limits of output, its policy and the timeouts are those of the server.
    What is written behind output that is over its high watermark may meet the hard limit, which aborts the connection.

    Args:
        conn: The connection.
        loop: The loop that runs.
    """

    # asyncio's `start_tls` asks for it: `set_protocol`, `pause_reading` and `resume_reading` do all that it needs.
    _start_tls_compatible = True

    def __init__(self, conn: Connection[bytes], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._conn = conn
        self._loop = loop
        self._protocol: Any = None
        self._gives_buffers = False
        self._left: Any = False  # told to close or to abort; Any, for an await may change it
        self._eof = False
        self._marks: tuple[int, int] | None = None  # of its own
        self._writing_paused = False
        self._resuming: asyncio.Task[None] | None = None
        self._resumed: asyncio.Event | None = None  # reading is paused until it is set
        self._task: asyncio.Task[Any] | None = None  # that carries it
        self._failure: BaseException | None = None
        self._receive_once: Callable[[], Awaitable[bytes]] = conn.receive

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._conn!r}>"

    # -- what it says of itself ----------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known by that name: peername, sockname, socket, and over TLS cipher, peercert, ssl_object.

        ``sslcontext`` is there over TLS, to be asked whether TLS is spoken; it is a `penstock.TlsInfo`.
        """
        found = None
        if name == "peername":
            found = self._conn.peer.sockname
        elif name in ("sockname", "socket"):
            with contextlib.suppress(OSError):
                facts = TransportSocket(self._conn)
                found = facts if name == "socket" else facts.getsockname()
        elif (tls := self._conn.tls) is not None:
            if name == "ssl_object":
                found = TlsObject(tls)
            elif name == "sslcontext":
                found = tls
            elif name in ("cipher", "peercert"):
                known = TlsObject(tls)
                found = known.cipher() if name == "cipher" else known.getpeercert()
        return default if found is None else found

    def is_closing(self) -> bool:
        """Return whether it is closing or closed."""
        return self._left or self._conn.close_reason is not None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell another protocol from now on."""
        self._protocol = protocol
        self._gives_buffers = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> Any:
        """Return whom it tells."""
        return self._protocol

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Queue bytes; never wait. After the end of the connection nothing happens, as asyncio has it.

        Raises:
            TypeError: It is not bytes.
            RuntimeError: `write_eof` was called.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
            data = bytes(data)
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self._left:
            return
        try:
            self._conn.post(data)
        except ConnectionEndedError:
            return  # `connection_lost` tells why
        if self._conn.output_paused:  # type: ignore[attr-defined]  # of every engine
            self.stop_writing()

    def stop_writing(self) -> None:
        """Output is over its high watermark: tell the protocol, once."""
        if not self._writing_paused:
            self._pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Queue several pieces as one."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Return True: the peer may be told that nothing more comes."""
        return True

    def write_eof(self) -> None:
        """End this direction after what was written; the peer may go on."""
        if self._left or self._eof:
            return
        self._eof = True
        with contextlib.suppress(ConnectionEndedError):
            self._conn.send_eof()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the watermarks of output: `pause_writing` is called above ``high``, `resume_writing` at ``low``.

        The server's hard limit holds; a mark above it is as high as that.
        """
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        most = self._conn.server.config.limits.write_max_bytes
        self._marks = min(low, most), max(1, min(high, most))
        self._conn.set_limits(write_low_bytes=self._marks[0], write_high_bytes=self._marks[1])
        if self._conn.output_paused:  # type: ignore[attr-defined]  # of every engine
            self.stop_writing()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high watermark, in bytes."""
        limits = self._conn.server.config.limits
        return self._marks or (limits.write_low_bytes, limits.write_high_bytes)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the kernel has not taken."""
        return self._conn.queued_bytes

    def _pause_writing(self) -> None:
        self._writing_paused = True
        self._tell("pause_writing")
        self._resuming = self._loop.create_task(self._resume_writing())

    async def _resume_writing(self) -> None:
        if await self.wait_sunk():
            self._writing_paused = False
            self._resuming = None
            self._tell("resume_writing")

    async def wait_sunk(self) -> bool:
        """Wait until output is not over its high watermark, also what is left of it after `write_eof` or `close`.

        Returns:
            True; or False where the connection is gone.
        """
        return bool(await self._conn.wait_sunk())  # type: ignore[attr-defined]  # of every engine

    def _tell(self, method: str) -> None:
        protocol = self._protocol
        try:
            getattr(protocol, method)()
        except Exception as error:  # as asyncio: such a failure ends nothing
            self._loop.call_exception_handler(
                {
                    "message": f"protocol.{method}() failed",
                    "exception": error,
                    "transport": self,
                    "protocol": protocol,
                }
            )

    # -- reading -------------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether the protocol is given what comes."""
        return self._resumed is None and not self.is_closing()

    def pause_reading(self) -> None:
        """Give the protocol nothing until `resume_reading`. The engine reads on as far as its limits let it."""
        if self._resumed is None and not self.is_closing():
            self._resumed = asyncio.Event()

    def resume_reading(self) -> None:
        """Give the protocol what has come, and what comes."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close once all was sent; the protocol is given nothing more. May be repeated."""
        if not self._left:
            self._left = True
            self._conn.close()
            self.resume_reading()

    def abort(self) -> None:
        """End the connection now."""
        self._left = True
        self._conn.abort()
        self.resume_reading()

    def _force_close(self, exc: BaseException | None) -> None:
        """As asyncio's own TLS calls it when a record is broken."""
        self.abort()

    # -- a connection's life -------------------------------------------------------------------------------------------

    async def carry(self, protocol: Any) -> None:
        """Be a protocol's transport from `connection_made` to `connection_lost`.

        Raises:
            Exception: What `connection_made`, `data_received` or `eof_received` raised, or what `fail` was given.
                `connection_lost` was called.
        """
        self.set_protocol(protocol)
        self._task = task = asyncio.current_task()
        failure: BaseException | None = None
        try:
            protocol.connection_made(self)
            await self._receive()
            await self._conn.wait_closed()
        except BaseException as error:
            failure = self._failure or error
            if failure is error:
                raise
            assert task is not None
            task.uncancel()
            raise failure from None
        finally:
            self._let_go()
            told = failure if isinstance(failure, Exception) else loss_of(self._conn)
            self._protocol.connection_lost(told)

    def _let_go(self) -> None:
        """Nothing is sent or received any more: end what was begun for the connection."""
        self._task = None
        self._left = True
        if self._resuming is not None:
            self._resuming.cancel()

    def fail(self, error: BaseException) -> None:
        """End the connection for what the protocol's own raised outside of its callbacks."""
        if self._task is not None and self._failure is None:
            self._failure = error
            self._task.cancel()

    async def _receive(self) -> None:
        receive = self._receive_once
        while not self._left:
            try:
                data = await receive()
            except EndOfStreamError:
                await self._wait_resumed()
                if not self._left and not self._protocol.eof_received():
                    self.close()
                return
            except ConnectionEndedError:
                return  # `close_reason` says why
            if self._resumed is not None:
                await self._wait_resumed()
            if self._left or self._resumed is not None:  # told to close meanwhile, or gone: as asyncio, nothing is read
                return
            if self._gives_buffers:
                await self._fill(data)
            else:
                self._protocol.data_received(data)

    async def _wait_resumed(self) -> None:
        """Wait until reading is resumed, or the connection is gone."""
        while self._resumed is not None and self._conn.close_reason is None:
            async with self._conn.while_open(at_eof=False):
                await self._resumed.wait()

    async def _fill(self, data: bytes) -> None:
        """Put what came into the buffers that the protocol gives; after each it may pause, close or be replaced."""
        rest = memoryview(data)
        while rest:
            if self._resumed is not None:
                await self._wait_resumed()
            if self._left or self._resumed is not None:
                return
            if not self._gives_buffers:  # another protocol has taken over
                self._protocol.data_received(bytes(rest))
                return
            buffer = memoryview(self._protocol.get_buffer(len(rest))).cast("B")
            size = min(len(buffer), len(rest))
            if not size:
                raise RuntimeError("get_buffer() returned an empty buffer")
            buffer[:size] = rest[:size]
            self._protocol.buffer_updated(size)
            rest = rest[size:]
