"""ICMP echo (RFC 792, RFC 4443) as a connection: what is sent comes back."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
from typing import Final

from ..address import Address
from ..engines.datagram_wire import DatagramWire
from ..errors import ConnectError
from .network import Candidate, local_name
from .options import SocketOptions

# type, code, checksum, identifier, sequence number
_HEADER: Final = struct.Struct("!BBHHH")
# Echo request and echo reply of each protocol.
_TYPES: Final = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}

_PERMISSION: Final = (
    "ICMP needs a permission that this process does not have: either its group within net.ipv4.ping_group_range, "
    "or CAP_NET_RAW"
)
_identifiers = itertools.count(os.getpid())


def icmp_socket(target: Address, candidate: Candidate, options: SocketOptions) -> tuple[socket.socket, EchoWire]:
    """Make a non-blocking socket that is connected for ICMP, of the kind this process may have.

    Returns:
        The socket, and what it speaks; a raw one hears the replies to others' requests, too.

    Raises:
        ConnectError: Not permitted (EPERM, EACCES); nothing is left open.
        OSError: Anything else.
    """
    protocol = socket.IPPROTO_ICMPV6 if candidate.family == socket.AF_INET6 else socket.IPPROTO_ICMP
    # A ping socket needs no capability, and the kernel keeps others' replies from it: first choice.
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            sock = socket.socket(candidate.family, kind, protocol)
        except PermissionError as error:
            refused = error
            continue
        try:
            sock.setblocking(False)
            name = local_name(candidate, options.local)
            if name is not None:
                sock.bind(name)
            sock.connect(candidate.sockaddr)
        except BaseException:
            sock.close()
            raise
        return sock, EchoWire(sock, is_raw=kind == socket.SOCK_RAW)
    raise ConnectError(str(target), _PERMISSION, refused.errno or errno.EPERM) from refused


class EchoWire(DatagramWire):
    """Each message is the payload of an echo request; what is received are the payloads of the replies to them."""

    __slots__ = ("_identifier", "_is_raw", "_reply", "_request", "_sequence")

    def __init__(self, sock: socket.socket, *, is_raw: bool) -> None:
        super().__init__(sock)
        self._is_raw = is_raw
        self._request, self._reply = _TYPES[socket.AddressFamily(sock.family)]
        self._sequence = 0
        # The kernel puts its own identifier into what leaves a ping socket: the port it bound the socket to.
        self._identifier = next(_identifiers) & 0xFFFF

    def write(self, data: bytes, flags: int = 0) -> None:
        """Send one echo request."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        packet = _HEADER.pack(self._request, 0, 0, self._identifier, self._sequence) + data
        if self._is_raw and self._sock.family == socket.AF_INET:
            # The kernel fills it in for ping sockets, and for ICMPv6, whose checksum covers addresses too (RFC 3542).
            packet = packet[:2] + checksum(packet).to_bytes(2, "big") + packet[4:]
        self._sock.send(packet, flags)

    def read(self, flags: int = 0) -> bytes:
        """Return the payload of the next reply to one of them."""
        while True:
            packet = super().read(flags)
            if self._is_raw and self._sock.family == socket.AF_INET:
                packet = packet[(packet[0] & 15) * 4 :]  # a raw IPv4 socket is given the IP header, too: raw(7)
            if len(packet) < _HEADER.size:
                continue
            kind, _, _, identifier, _ = _HEADER.unpack_from(packet)
            if kind == self._reply and (not self._is_raw or identifier == self._identifier):
                return packet[_HEADER.size :]


def checksum(packet: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of a packet whose checksum field is zero."""
    padded = packet + bytes(len(packet) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
