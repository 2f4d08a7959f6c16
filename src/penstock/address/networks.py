"""Who may connect at all: networks, and on Unix sockets users and groups."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Network, ip_address, ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from ..errors import ConfigurationError

ENTRY_GRAMMAR: Final = "a network (192.0.2.0/24, 2001:db8::/32), an address, uid:NUMBER or gid:NUMBER"

_USER: Final = re.compile(r"(uid|gid):([0-9]{1,10})", re.ASCII)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_MAPPED_PREFIX: Final = _MAPPED.network_address.packed[:12]
_WIDTHS: Final = {4: 32, 6: 128}


class AccessList:
    """Networks and users that are let in, and others that are not. Immutable.

    Of all networks that hold a peer the longest prefix decides; for the same prefix, ``deny``. A peer in none of them
    is let in unless ``allow`` names any network at all. Unix peers are judged by ``uid:`` and ``gid:`` alone, in the
    same way, a user being longer than a group; peers of the network never are.

    An IPv4-mapped network or peer (``::ffff:192.0.2.1``) is the IPv4 one.

    Args:
        allow: Entries: a network, an address, ``uid:1000`` or ``gid:33``.
        deny: The same.

    Raises:
        ConfigurationError: An entry is none of these.
    """

    __slots__ = ("_entries", "_only", "_prefixes", "_users", "_users_only")

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        # By version and prefix length, the networks' own bits: one look-up per length that is in use.
        self._entries: dict[tuple[int, int], dict[bytes, bool]] = {}
        self._users: dict[tuple[str, int], bool] = {}
        self._only = self._users_only = False
        for entry in allow:
            self._add(entry, True)
        for entry in deny:  # after `allow`: of two equal entries this one stays
            self._add(entry, False)
        self._prefixes = {
            version: sorted((length for of, length in self._entries if of == version), reverse=True)
            for version in (4, 6)
        }

    def __bool__(self) -> bool:
        return bool(self._entries or self._users)

    def _add(self, entry: str, permitted: bool) -> None:
        user = _USER.fullmatch(entry)
        if user is not None:
            self._users[user[1], int(user[2])] = permitted
            self._users_only |= permitted
            return
        version, number, length = _network(entry)
        self._entries.setdefault((version, length), {})[network_key(version, number, length)] = permitted
        self._only |= permitted

    def permits(self, host: str) -> bool:
        """Say whether a peer of the network may connect.

        Args:
            host: Its address as text, with or without a zone.
        """
        if not self._entries:
            return True
        version, number = host_number(host)
        for length in self._prefixes[version]:
            found = self._entries[version, length].get(network_key(version, number, length))
            if found is not None:
                return found
        return not self._only

    def names(self, host: str, uid: int | None, gid: int | None) -> bool:
        """Say whether a peer is let in by an entry, and not only because nothing was said about it.

        Args:
            host: Its address as text; empty for a Unix peer, who is judged by the other two.
            uid: Of a Unix peer.
            gid: Of a Unix peer.
        """
        if host:
            return self._only and self.permits(host)
        return self._users_only and self.permits_user(uid, gid)

    def permits_user(self, uid: int | None, gid: int | None) -> bool:
        """Say whether a Unix peer may connect; None where the system does not say who it is."""
        for kind, number in (("uid", uid), ("gid", gid)):
            if number is not None and (found := self._users.get((kind, number))) is not None:
                return found
        return not self._users_only


def check_entry(entry: str) -> None:
    """Refuse what an `AccessList` would refuse.

    Raises:
        ConfigurationError: It is no entry.
    """
    AccessList((entry,))


def host_number(host: str) -> tuple[int, int]:
    """Read a peer's address: return its version and its bits as one number.

    A zone is left out, and an IPv4-mapped address is the IPv4 one. Asked for each connection, so it does without
    `ipaddress`.

    Raises:
        OSError: It is no address.
    """
    if ":" not in host:
        return 4, int.from_bytes(inet_pton(AF_INET, host), "big")
    packed = inet_pton(AF_INET6, host.partition("%")[0])
    if packed.startswith(_MAPPED_PREFIX):
        return 4, int.from_bytes(packed[len(_MAPPED_PREFIX) :], "big")
    return 6, int.from_bytes(packed, "big")


def network_key(version: int, number: int, length: int) -> bytes:
    """Return what a network is looked up by.

    Bytes: the hash of an int has no secret in it, and a peer that chooses its address would choose that, too.

    Args:
        version: 4 or 6.
        number: An address of the network, as one number.
        length: How many leading bits the addresses of the network share.
    """
    width = _WIDTHS[version]
    return (number >> (width - length)).to_bytes(width // 8, "big")


def _network(entry: str) -> tuple[int, int, int]:
    """Return version, address and prefix length."""
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        raise ConfigurationError(f"{entry[:60]!r} is not {ENTRY_GRAMMAR}") from None
    length = network.prefixlen
    if "/" in entry and network.network_address != ip_address(entry.partition("/")[0]):
        raise ConfigurationError(f"{entry[:60]!r} has bits beyond its prefix: write {network}")
    address = network.network_address
    if isinstance(network, IPv6Network) and length >= _MAPPED.prefixlen and network.subnet_of(_MAPPED):
        length -= _MAPPED.prefixlen
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    return address.version, int(address), length
