"""What the system says about a datagram, in words that are about datagrams: there is no connection to be gone."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from ..address import Peer
from ..errors import DatagramError, LocalProtocolError, PenstockError
from .wire import longest_datagram

# Of what it keeps for a datagram, sock_alloc_send_pskb and unix_dgram_sendmsg count this besides its bytes.
_UNIX_OVERHEAD_BYTES = 32


def not_sent(sock: socket.socket, name: Any, size: int, error: OSError) -> PenstockError:
    """Make the error for a datagram that the system did not take.

    Args:
        sock: What it was to be sent by.
        name: Whom to, as connect(2) takes it.
        size: How many bytes it has.
        error: What the system said.
    """
    if error.errno == errno.EMSGSIZE:
        return LocalProtocolError(f"a datagram of {size} bytes is too long: {_longest(sock, name)}")
    return DatagramError(f"a datagram to {Peer(name, sock.family)} could not be sent: {_words(error)}")


def not_received(sock: socket.socket, name: Any, error: OSError) -> DatagramError:
    """Make the error that is met where a datagram is waited for.

    Args:
        sock: What it was waited for by.
        name: Whom from, as connect(2) takes it; None for anybody.
        error: What the system said: of a datagram that came, or of one that was sent before.
    """
    if error.errno == errno.EMSGSIZE:
        return DatagramError(error.strerror or _words(error))
    if name is None:
        return DatagramError(f"a datagram that was sent before could not be delivered: {_words(error)}")
    if error.errno == errno.ECONNREFUSED:
        return DatagramError(f"nothing listens on {Peer(name, sock.family)}: {_words(error)}")
    return DatagramError(f"a datagram to {Peer(name, sock.family)} could not be delivered: {_words(error)}")


def _longest(sock: socket.socket, name: Any) -> str:
    most = longest_datagram(sock.family, name)
    if most is not None:
        return f"over {'IPv6' if sock.family == socket.AF_INET6 else 'IPv4'} it has {most} at most"
    most = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - _UNIX_OVERHEAD_BYTES
    return f"this socket sends {most} at most (SO_SNDBUF, send_buffer_bytes)"


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
