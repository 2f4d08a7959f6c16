"""Waiting in recv(2) itself, for a moment: what comes within it costs one system call instead of two.

Only the peer can wake a thread there, so it waits no longer than `PARK_S`, and then in poll(2), where the others
can: what they want of it is done that much later at worst. A reply that takes longer pays for one call more, which is
nothing beside the wait.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

# Longer than a request to a server nearby takes, shorter than anybody minds. The kernel rounds up to its ticks: 4 ms.
PARK_S: Final = 0.01

# Elsewhere sockets do not block: SO_RCVTIMEO and MSG_DONTWAIT differ, or are missing.
CAN_PARK: Final = sys.platform == "linux"
DONT_WAIT: Final = socket.MSG_DONTWAIT if CAN_PARK else 0

_TIMEOUT: Final = struct.pack("@ll", 0, int(PARK_S * 1e6))  # struct timeval


def prepare(sock: socket.socket) -> None:
    """Make reads wait for `PARK_S`, and nothing that is called with `DONT_WAIT`."""
    sock.setblocking(CAN_PARK)
    if CAN_PARK:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
