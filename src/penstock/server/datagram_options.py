"""What the kernel is told about a datagram socket: how much of what is not read yet it may hold."""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

from ..engines.listener import Listener
from ..units import format_size

# From asm-generic/socket.h. It needs CAP_NET_ADMIN, and is not cut to net.core.rmem_max (socket(7)).
_SO_RCVBUFFORCE: Final = 33 if sys.platform == "linux" else None


def set_receive_buffer(listener: Listener, size: int | None) -> list[str]:
    """Have the kernel hold ``size`` bytes of unread datagrams at a listener; None for what it holds by itself.

    Returns:
        What the system refused or gave less of, a sentence.
    """
    if size is None or not listener.is_datagram:
        return []
    sock = listener.sock
    try:
        if not _forced(sock, size):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        given = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    except OSError as error:
        problem = os.strerror(error.errno).lower() if error.errno else str(error)
        return [f"{listener.address}: receive_buffer is not in force: {problem}"]
    if sys.platform == "linux":
        given //= 2  # it counts its own part besides, and says so: socket(7)
    if given >= size:
        return []
    return [
        f"{listener.address}: the kernel gave a receive buffer of {format_size(given)}, not {format_size(size)}; "
        f"raise net.core.rmem_max with sysctl, or lower --receive-buffer"
    ]


def _forced(sock: socket.socket, size: int) -> bool:
    if _SO_RCVBUFFORCE is None:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except OSError:  # without the right to it, or in a kernel without it
        return False
    return True
