"""What the system can tell about an address that could not be listened on. Read from /proc; elsewhere nothing is known.

Nothing here raises because a file is missing, unreadable or odd: these are words for an error that is on its way. The
work is bounded, so that the error comes at once on a machine with a million sockets too.
"""

import itertools
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

MAX_TABLE_LINES: Final = 50_000  # of each of /proc/net/tcp and its like: 30 ms. Listening sockets come first.
MAX_DESCRIPTORS: Final = 20_000  # of all processes: 130 ms
MAX_ADDRESSES_SHOWN: Final = 16

_LISTEN: Final = "0A"  # of the states in /proc/net/tcp: include/net/tcp_states.h
_ACCEPTING: Final = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix
_SOCK_DGRAM: Final = 2

DEFAULT_UNPRIVILEGED_PORT: Final = 1024
ENDED_CONNECTIONS: Final = "ended connections (TIME_WAIT)"


def port_holder(transport: str, host: str, port: int) -> str | None:
    """Say who has ``port``: ``pid 812 (nginx)``, ``a process of user www-data``, ``ended connections (TIME_WAIT)``.

    Args:
        transport: ``tcp`` or ``udp``.
        host: The IPv4 or IPv6 address that could not be bound, without a zone.
        port: 1 to 65535.

    Returns:
        The words, or None when nothing is known.
    """
    ours = _pack(host)
    ended = False
    other: tuple[int, int] | None = None
    for line in itertools.chain(_lines(f"/proc/net/{transport}"), _lines(f"/proc/net/{transport}6")):
        fields = line.split()
        with suppress(ValueError, IndexError):
            theirs, their_port = fields[1].split(":")
            if int(their_port, 16) != port or not _overlap(ours, _unhex(theirs)):
                continue
            state, uid, inode = fields[3], int(fields[7]), int(fields[9])
            if state == _LISTEN:
                return _socket_holder(inode, uid)
            if not inode:  # no process has it any more
                ended = True
            elif other is None:
                other = inode, uid
    if other is not None:
        return _socket_holder(*other)
    return ENDED_CONNECTIONS if ended else None


def unix_holder(path: str) -> str | None:
    """Say who has a Unix socket: ``pid 812 (nginx)``, or None when that is not known.

    Args:
        path: Absolute path, or ``@name`` for an abstract name.
    """
    for line in _lines("/proc/net/unix"):
        fields = line.rstrip("\n").split(maxsplit=7)
        with suppress(ValueError, IndexError):
            # Connections that the holder accepted have its path too, and may outlive it.
            holds = int(fields[3], 16) & _ACCEPTING or int(fields[4], 16) == _SOCK_DGRAM
            if holds and fields[7] == path:
                return _socket_holder(int(fields[6]))
    return None


def local_addresses() -> list[str]:
    """Return the IPv4 and IPv6 addresses of this machine, link-local ones with their zone."""
    found: dict[str, None] = {}
    candidate = ""
    for line in _lines("/proc/net/fib_trie"):
        words = line.split()
        if words[:1] == ["|--"]:
            candidate = words[-1]
        elif words[:3] == ["/32", "host", "LOCAL"]:
            found[candidate] = None
    for line in _lines("/proc/net/if_inet6"):
        with suppress(ValueError, IndexError):
            packed, _, _, scope, _, interface = line.split()
            text = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(packed))
            found[f"{text}%{interface}" if int(scope, 16) == 0x20 else text] = None
    return list(found)


def interfaces() -> list[str]:
    """Return the names of the network interfaces."""
    return [name for _, name in socket.if_nameindex()]


def first_unprivileged_port() -> int:
    """Return the lowest port that needs no right: net.ipv4.ip_unprivileged_port_start, which is for IPv6 as well."""
    start = _number("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    return DEFAULT_UNPRIVILEGED_PORT if start is None else start


def max_backlog() -> int | None:
    """Return net.core.somaxconn, to which listen(2) cuts every backlog, or None when it is not known."""
    return _number("/proc/sys/net/core/somaxconn")


def listed(items: list[str]) -> str:
    """Write a list for a sentence, and only how many more there are when it is long."""
    more = len(items) - MAX_ADDRESSES_SHOWN
    return ", ".join(items[:MAX_ADDRESSES_SHOWN]) + (f" and {more} more" if more > 0 else "")


# -- /proc ------------------------------------------------------------------------------------------------------------


def _lines(path: str) -> Iterator[str]:
    with suppress(OSError), open(path, encoding="utf-8", errors="surrogateescape") as file:
        yield from itertools.islice(file, MAX_TABLE_LINES)


def _number(path: str) -> int | None:
    with suppress(ValueError):
        return int("".join(_lines(path)))
    return None


def _pack(host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


def _unhex(text: str) -> bytes:
    """Read an address of /proc/net/tcp: words of 32 bits, in network order, printed as the machine's own integers."""
    words = [int(text[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(text), 8)]
    packed = b"".join(words)
    return packed[12:] if packed.startswith(bytes(10) + b"\xff\xff") else packed


def _overlap(ours: bytes, theirs: bytes) -> bool:
    # Whether an IPv6 wildcard takes IPv4 as well is not in the table. We are here because something was in the way.
    return ours == theirs or not any(ours) or not any(theirs)


def _socket_holder(inode: int, uid: int | None = None) -> str | None:
    pid = _process_with(f"socket:[{inode}]")
    if pid is None:
        return None if uid is None else f"a process of user {_user(uid)}"
    if pid == os.getpid():
        return "this process itself"
    name = "".join(_lines(f"/proc/{pid}/comm")).strip()
    # A process chooses its name: it may hold anything.
    return f"pid {pid} ({''.join(char if char.isprintable() else '?' for char in name)})"


def _process_with(link: str) -> int | None:
    """Find the oldest process that has a descriptor to ``link``, among those whose descriptors this user may see."""
    left = MAX_DESCRIPTORS
    with suppress(OSError):
        for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
            # PermissionError: another user's. FileNotFoundError: it ended meanwhile, or the descriptor was closed.
            with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
                for entry in descriptors:
                    left -= 1
                    if left < 0:
                        return None
                    with suppress(FileNotFoundError):
                        if os.readlink(entry.path) == link:
                            return pid
    return None


def _user(uid: int) -> str:
    import pwd  # noqa: PLC0415  # missing where there is no /proc, and then this is not reached

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
