"""Which of a machine's addresses a datagram came to, so that the answer comes from the same one.

A socket that is bound to every address is told with each datagram (ip(7), IP_PKTINFO; RFC 3542 section 6), and says it
with each answer. Without that the kernel chooses by its routes, and a client that takes answers from whom it asked only
hears nothing. A socket that is bound to one address has no other to answer from, and asks for nothing.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from .own import WILDCARDS

# From linux/in.h; Python names it from 3.14 on. Other systems say it in ways of their own.
IP_PKTINFO: Final = 8 if sys.platform == "linux" else None
_IPV6_RECVPKTINFO: Final = getattr(socket, "IPV6_RECVPKTINFO", None)
IPV6_PKTINFO: Final = getattr(socket, "IPV6_PKTINFO", None)

# struct in_pktinfo: an interface, the local address, where the datagram was sent to. struct in6_pktinfo: that, and the
# interface.
_IN: Final = struct.Struct("=i4s4s")
_IN6: Final = struct.Struct("=16sI")
# Room for both, with their headers.
ANCILLARY_BYTES: Final = 128

_MAPPED_PREFIX: Final = b"\0" * 10 + b"\xff\xff"
_NO_ADDRESS: Final = bytes(4)


class Sourced(NamedTuple):
    """Whom to answer, and from where.

    Attributes:
        name: The peer's, as recvfrom(2) has it.
        source: The ``struct in_pktinfo`` or ``in6_pktinfo`` to send with; their lengths tell which.
    """

    name: Any
    source: bytes


def ask_for_destinations(sock: socket.socket) -> bool:
    """Have the kernel say where each datagram was sent to, if the socket is bound to every address; return whether."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.getsockname()[0] not in WILDCARDS:
        return False
    asked = False
    # A dual-stack socket is told of IPv4 datagrams both ways.
    for level, option in ((socket.IPPROTO_IP, IP_PKTINFO), (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO)):
        if option is not None and (level == socket.IPPROTO_IP or sock.family == socket.AF_INET6):
            with contextlib.suppress(OSError):
                sock.setsockopt(level, option, True)
                asked = True
    return asked


def source_of(ancillary: Iterable[tuple[int, int, bytes]]) -> bytes | None:
    """Return what an answer is to be sent with, by what came with the question; None to leave it to the kernel.

    The interface is left to the routes, but for link-local addresses, which mean nothing without one. To a multicast
    group answers an address of the machine's.
    """
    found = None
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) == _IN.size:
            _, local, sent_to = _IN.unpack(data)
            # The local address is missing where the datagram lay in a socket that was inherited before it was asked.
            address = sent_to if local == _NO_ADDRESS else local
            return None if address[0] >= 224 or address == _NO_ADDRESS else _IN.pack(0, address, _NO_ADDRESS)
        if level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO and len(data) == _IN6.size:
            address, interface = _IN6.unpack(data)
            if address[0] != 0xFF and not address.startswith(_MAPPED_PREFIX):
                is_link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
                found = _IN6.pack(address, interface if is_link_local else 0)
    return found


def send_to(sock: socket.socket, data: bytes, to: Any) -> None:
    """Send a datagram to a name, or to a `Sourced`. Raises what sendmsg(2) says."""
    if type(to) is not Sourced:
        sock.sendto(data, to)
        return
    source = to.source
    if len(source) == _IN.size:
        assert IP_PKTINFO is not None
        ancillary = (socket.IPPROTO_IP, IP_PKTINFO, source)
    else:
        assert IPV6_PKTINFO is not None
        ancillary = (socket.IPPROTO_IPV6, IPV6_PKTINFO, source)
    sock.sendmsg([data], [ancillary], 0, to.name)
