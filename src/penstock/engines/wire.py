"""Facts about sockets that every engine written in Python obeys."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Protocol

from .forked import reset

# One record of a seqpacket connection; a longer one ends the connection.
MAX_RECORD_BYTES: Final = 256 * 1024

# Larger than any UDP datagram (65,507 bytes over IPv4), so that none is cut.
MAX_DATAGRAM_BYTES: Final = 65536

# The most reads, or records, that are taken from one socket before anything else is done: what the kernel keeps of a
# stream by default is less (tcp(7), tcp_rmem), and a peer that sends without pause must not hold whoever reads it.
READS_AT_ONCE: Final = 16

# poll(2) and epoll_wait(2) take their timeout as an int of milliseconds: 24.8 days. A longer wait is several.
MAX_WAIT_S: Final = 24 * 3600.0

_LINGER_RESET: Final = struct.pack("ii", 1, 0)

_numbered = 0


def number_connections_from(count: int) -> None:
    """Number connections from ``count`` + 1 on. Before the first one."""
    global _numbered
    _numbered = count


def _numbers() -> Iterator[Iterator[int]]:
    yield itertools.count(_numbered + 1)


# Numbers connections, of every engine, from 1, or from where `number_connections_from` has it by the first one.
next_connection_id = itertools.chain.from_iterable(_numbers()).__next__


class SocketOptions(Protocol):
    """As much of a socket as is asked here; what asyncio and uvloop give as a transport's ``socket`` has it too."""

    @property
    def family(self) -> int:
        """Its address family."""

    def fileno(self) -> int:
        """Return its descriptor; -1 once it is closed."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None:
        """As setsockopt(2)."""


def reset_on_close(sock: SocketOptions) -> None:
    """Make the kernel forget unsent output and tell the peer with a reset, so that a cut is never taken for an end."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):  # the peer was faster
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            reset(sock.fileno())


def is_connected_to_itself(sock: socket.socket) -> bool:
    """Whether what a socket sends comes back to it, because nobody else is there.

    It happens where a port that is connected to is one that the system gives out, and it gives out this very one: with
    TCP both ends then open at once (RFC 9293 section 3.5, simultaneous open).
    Who has reset the connection already is not itself.
    """
    try:
        return sock.family != socket.AF_UNIX and sock.getsockname() == sock.getpeername()
    except OSError:  # ENOTCONN
        return False


def longest_datagram(family: int, name: Any) -> int | None:
    """Return the most bytes of a datagram to a name, as IP and UDP headers leave them; None where no header says.

    65,507 over IPv4, from an IPv6 socket too, and 65,527 over IPv6, where jumbograms are not counted.
    """
    if family == socket.AF_INET6 and not name[0].startswith("::ffff:"):
        return 0xFFFF - 8
    return 0xFFFF - 20 - 8 if family in (socket.AF_INET, socket.AF_INET6) else None


def receive_record(sock: socket.socket, flags: int = 0) -> bytes:
    """Return the next record; no bytes at the end, from which an empty record cannot be told.

    Args:
        sock: Of the kind seqpacket.
        flags: As of recvmsg(2).

    Raises:
        OSError: As recvmsg(2), and when the record is too long: the kernel threw its rest away.
    """
    data, _, said, _ = sock.recvmsg(MAX_RECORD_BYTES, 0, flags)
    if said & socket.MSG_TRUNC:
        raise OSError(f"a record of more than {MAX_RECORD_BYTES} bytes was cut by the kernel")
    return data
