"""What a client may ask of a socket, and how long it waits."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from ..address.multicast import interface_of_ipv4
from ..config import Duration, Timeouts
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .proxy import SendProxy

# Unanswered keep-alive probes after which the system gives the peer up.
_KEEPALIVE_PROBES: Final = 3

# The name of a field, and what setsockopt(2) takes for it, or how that is found out.
_Setting = tuple[str, int, int, int | bytes | Callable[[], int | bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTimeouts:
    """How long a client waits, each in seconds, None for ever. All can be told apart by the error's ``phase``.

    Attributes:
        connect_s: For resolving, connecting and the handshake together.
        read_s: For one message: the ``timeout_s`` of `receive` and `request` where none is given.
        write_s: Without the peer taking anything of what it was sent; then the connection is aborted.
        total_s: For everything from the beginning of `connect` to the last message; then the connection is aborted.
        linger_s: After closing: how long what the peer still sends is read and dropped, so that it meets no reset.

    Raises:
        ConfigurationError: One of them is no number, negative, or more than ten years.
    """

    connect_s: float | None = 10.0
    read_s: float | None = None
    write_s: float | None = 30.0
    total_s: float | None = None
    linger_s: float | None = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            # 0 is "not at all" for what is waited for; a peer that may take no time to read could never be sent to.
            kind = Duration(zero=field.name != "write_s")
            kind.check_at(f"ClientTimeouts.{field.name}", getattr(self, field.name))

    def of_connection(self) -> Timeouts:
        """Return the timeouts of the connection itself: a client blames nobody for silence but by `read_s`."""
        return Timeouts(first_message_s=None, idle_s=None, message_s=None, write_s=self.write_s, linger_s=self.linger_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """What is set on a client's socket before it connects, or sent first: as far as its kind has that.

    Attributes:
        local: Source address, ``HOST`` or ``HOST:PORT`` (``[IPV6]:PORT``), and only destinations of its family are then
            tried; for a Unix socket its own path, whose file stays when it closes, or ``@name``. None: the system
            chooses.
        nodelay: TCP_NODELAY: send small writes at once.
        keepalive_s: Seconds of silence after which the system asks whether the peer is still there; a dead one is given
            up about as long after that. None: it never asks.
        receive_buffer_bytes: SO_RCVBUF, which Linux cuts to net.core.rmem_max; None for the system's own, which grows
            as needed.
        send_buffer_bytes: SO_SNDBUF, likewise, with net.core.wmem_max.
        broadcast: SO_BROADCAST: datagrams may be sent to broadcast addresses.
        multicast_interface: Name or address of the interface multicast leaves through; None for the system's choice.
        multicast_hops: How many routers multicast may pass, 0 to 255; 1 keeps it in the local network.
        multicast_loop: Whether this machine hears its own multicast.
        proxy: A PROXY header to begin a stream with, for servers that go by what their proxies say; None for none.
    """

    local: str | None = None
    nodelay: bool = True
    keepalive_s: int | None = None
    receive_buffer_bytes: int | None = None
    send_buffer_bytes: int | None = None
    broadcast: bool = False
    multicast_interface: str | None = None
    multicast_hops: int = 1
    multicast_loop: bool = True
    proxy: SendProxy | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("keepalive_s", 1, 32767),
            ("receive_buffer_bytes", 1, 2**31 - 1),
            ("send_buffer_bytes", 1, 2**31 - 1),
            ("multicast_hops", 0, 255),
        ):
            value = getattr(self, name)
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (is_whole and low <= value <= high):
                raise ConfigurationError(f"{name} must be a whole number from {low} to {high}, not {value!r}")

    def apply(self, sock: socket.socket) -> None:
        """Set them all on a new socket, but for `local`.

        Raises:
            ConfigurationError: The system refuses one; ``where`` names it.
        """
        for field, level, option, value in self._of(sock):
            try:
                sock.setsockopt(level, option, value() if callable(value) else value)
            except OSError as error:
                problem = os.strerror(error.errno).lower() if error.errno else str(error)
                shown = f"the system refuses {getattr(self, field)!r}: {problem}"
                raise ConfigurationError(shown, f"SocketOptions.{field}") from error

    def _of(self, sock: socket.socket) -> Iterator[_Setting]:
        if self.receive_buffer_bytes is not None:
            yield "receive_buffer_bytes", socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer_bytes
        if self.send_buffer_bytes is not None:
            yield "send_buffer_bytes", socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer_bytes
        if sock.family == socket.AF_UNIX:
            return
        if sock.type == socket.SOCK_STREAM:
            yield from self._of_tcp()
        elif sock.type == socket.SOCK_DGRAM:
            if self.broadcast:
                yield "broadcast", socket.SOL_SOCKET, socket.SO_BROADCAST, 1
            yield from self._of_multicast(sock.family)

    def _of_tcp(self) -> Iterator[_Setting]:
        if self.nodelay:
            yield "nodelay", socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        if self.keepalive_s is not None:
            yield "keepalive_s", socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
            # Linux's names; macOS has another for the first. Where they are missing the system's own times hold.
            interval_s = max(1, self.keepalive_s // _KEEPALIVE_PROBES)
            for option, value in (
                ("TCP_KEEPIDLE", self.keepalive_s),
                ("TCP_KEEPINTVL", interval_s),
                ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
            ):
                if hasattr(socket, option):
                    yield "keepalive_s", socket.IPPROTO_TCP, getattr(socket, option), value

    def _of_multicast(self, family: int) -> Iterator[_Setting]:
        interface = self.multicast_interface
        if family == socket.AF_INET6:
            level, hops, loop = socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, socket.IPV6_MULTICAST_LOOP
        else:
            level, hops, loop = socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, socket.IP_MULTICAST_LOOP
        yield "multicast_hops", level, hops, self.multicast_hops
        yield "multicast_loop", level, loop, self.multicast_loop
        if interface is None:
            return
        # Asked for when it is set: whether there is such an interface is the system's to say, too.
        if family == socket.AF_INET6:
            yield "multicast_interface", level, socket.IPV6_MULTICAST_IF, lambda: socket.if_nametoindex(interface)
        else:
            yield "multicast_interface", level, socket.IP_MULTICAST_IF, lambda: interface_of_ipv4(interface)
