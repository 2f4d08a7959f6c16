"""Ending a connection that somebody else may hold: a child that was forked has a copy of every descriptor.

There are two verbs. To *end* a connection tells its peer, by shutdown(2) or a reset, also if others have copies. To
*release* a descriptor takes it out of the loop's set and closes this copy; the last of them tells the peer, if nothing
did before.
A connection is ended, then released; a listener is only released, for what was inherited or handed down is another's to
end as well. Descriptors that a program is started with by exec(2) are none of ours: they are all closed there.

Another worker has copies too, of connections that are handed over, and the user's code has the duplicates that it asks
for. Where there are none, closing ends: then none of
this costs anything.
"""

from __future__ import annotations

import functools
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

_forked = False
_told: Final[list[Callable[[], object]]] = []


def note() -> None:
    """Take note that another process has copies of what this one has. The parent of a fork does so by itself."""
    global _forked
    _forked = True
    for each in _told:
        each()


def tell_of_copies(told: Callable[[], object]) -> None:
    """Have compiled code told as well, now if there are copies already."""
    _told.append(told)
    if _forked:
        told()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=note)


def duplicate(fd: int) -> int:
    """Return a duplicate of a connection's descriptor for its caller to close, and take note of it; -1 for -1.

    While it is open, to close ours ends the connection no longer.
    """
    if fd < 0:
        return -1
    note()
    return os.dup(fd)


def end(fd: int) -> None:
    """End a connection in both directions, if a child may have a copy of it. Its descriptor is then to be released."""
    if _forked and fd >= 0:
        # Not by a socket over a duplicate: at the limit of recursion that would stay open.
        _libc().shutdown(fd, socket.SHUT_RDWR)


def reset(fd: int) -> None:
    """End a TCP connection with a reset, if a child may have a copy of it: SO_LINGER does so at the last close(2) only.

    connect(2) with AF_UNSPEC breaks the association. Python's own connect knows no such address.
    """
    if _forked and fd >= 0:
        address = struct.pack("=H14x", socket.AF_UNSPEC)
        _libc().connect(fd, address, len(address))


@functools.cache
def _libc() -> Any:  # Any: its functions are looked up by name
    import ctypes  # noqa: PLC0415 - rarely needed

    return ctypes.CDLL(None)
