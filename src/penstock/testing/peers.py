"""Peers made of plain blocking sockets, which know nothing of this package: what they see is what is on the wire."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import sys
from typing import Any, Final

from ..address import Kind, parse_address
from ..client.network import refuse_itself

# Far more than anything takes to arrive, so that a hang becomes a failure that says where.
PATIENCE_S: Final = 20.0

_READ_BYTES: Final = 65536
_ACKED_AT: Final = 120  # of `tcpi_bytes_acked` in `struct tcp_info`: linux/tcp.h, since Linux 4.1
_KINDS: Final = {
    Kind.STREAM: socket.SOCK_STREAM,
    Kind.DATAGRAM: socket.SOCK_DGRAM,
    Kind.SEQPACKET: socket.SOCK_SEQPACKET,
}


def dial(address: str, *, receive_buffer_bytes: int | None = None) -> socket.socket:
    """Connect to an address as a server shows it: ``tcp://127.0.0.1:43117``, ``unix+dgram:///tmp/x.sock``.

    Args:
        address: Of a TCP, UDP or Unix socket; a wildcard stands for the loopback address.
        receive_buffer_bytes: SO_RCVBUF, for a peer that soon cannot take more; None for the system's own.

    Returns:
        A blocking socket that fails after `PATIENCE_S`. A Unix datagram socket has a name, so that it can be answered.

    Raises:
        OSError: As `connect`.
    """
    where = parse_address(address)
    kind = _KINDS[where.kind or Kind.STREAM]
    if where.is_unix:
        sock = socket.socket(socket.AF_UNIX, kind)
        if kind == socket.SOCK_DGRAM:
            sock.bind("")  # an abstract name of the system's choice: unix(7), autobind
        target: Any = where.unix_name
    else:
        host = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(where.host, where.host)
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        target = (host, where.port)
    if receive_buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    if kind == socket.SOCK_STREAM and not where.is_unix:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    sock.settimeout(PATIENCE_S)
    try:
        connect(sock, target)
        refuse_itself(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def connect(sock: socket.socket, target: Any) -> None:
    """Connect a socket within its own timeout, or `PATIENCE_S`.

    A peer that accepts and resets at once may do so before connect(2) has returned, which then fails with ECONNRESET.
    Here the connection has been made all the same, and the next call on the socket meets the reset: what a test sees
    does not depend on which side was faster.

    Raises:
        OSError: What connect(2) says of a connection that was not made.
    """
    if sock.type != socket.SOCK_STREAM or sock.family == socket.AF_UNIX or not sys.platform.startswith("linux"):
        sock.connect(target)
        return
    timeout = sock.gettimeout()
    sock.setblocking(False)
    try:
        error = sock.connect_ex(target)
        if error == errno.EINPROGRESS:
            error = _outcome(sock, PATIENCE_S if timeout is None else timeout)
    finally:
        sock.settimeout(timeout)
    if error:
        raise OSError(error, os.strerror(error))


def _outcome(sock: socket.socket, timeout_s: float) -> int:
    """Wait for the end of a connect; return its error, and leave that of a connection which was made in the socket."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    if not poll.poll(timeout_s * 1000):
        return errno.ETIMEDOUT
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_AT + 8)
    acked = int.from_bytes(info[_ACKED_AT:], sys.byteorder)
    if acked:  # the peer has acknowledged our SYN; to ask for the error would take it from the socket
        return 0
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def read_to_end(sock: socket.socket, *, stays: bool = False) -> bytes:
    """Read until EOF, then send one, unless it ``stays``: what has closed waits for that, as long as it lingers.

    Raises:
        OSError: The connection was reset, or nothing came for `PATIENCE_S`.
    """
    received = bytearray()
    while data := sock.recv(_READ_BYTES):
        received += data
    if not stays:
        with contextlib.suppress(OSError):  # it was sent before, or the connection is gone
            sock.shutdown(socket.SHUT_WR)
    return bytes(received)


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Read ``size`` bytes, or fewer if EOF comes before."""
    received = bytearray()
    while len(received) < size and (data := sock.recv(size - len(received))):
        received += data
    return bytes(received)


def reset(sock: socket.socket) -> None:
    """Close with a reset instead of EOF, where the transport has one (SO_LINGER with a time of 0: socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
