"""Hosts as protocols write them: packed, in network order."""

from __future__ import annotations

import socket
from typing import Final

INET: Final = int(socket.AF_INET)
INET6: Final = int(socket.AF_INET6)
UNIX: Final = int(getattr(socket, "AF_UNIX", -1))


def pack_host(family: int, host: str) -> bytes:
    """Return the bytes of an address.

    Raises:
        OSError, ValueError: It is no address of the family.
    """
    return socket.inet_pton(family, host)


def unpack_host(family: int, packed: bytes) -> str:
    """Return an address in its canonical form."""
    return socket.inet_ntop(family, packed)
