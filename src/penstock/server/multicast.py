"""Multicast groups: a datagram socket that is bound to one, and hears what is sent to it on one interface."""

from __future__ import annotations

import errno
import os
import socket

from ..address.multicast import join_group, send_groups_through
from ..errors import BindError
from .diagnosis import interfaces, listed
from .targets import Target


def share_group(sock: socket.socket) -> None:
    """Let other processes hear the group on the same port, each of them every datagram. Called before bind(2).

    A socket that is bound to a group's address receives nothing that is sent to an address of the machine: none takes
    another's datagrams.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)


def hear_group(sock: socket.socket, target: Target) -> None:
    """Join the group that ``target`` names, on its interface; the kernel leaves it when the socket is closed.

    What the socket sends to a group leaves on that interface, too.

    Raises:
        BindError: There is no such interface, or it takes no groups.
    """
    address = target.address
    interface = address.interface or address.host.partition("%")[2]
    try:
        join_group(sock, socket.inet_pton(target.family, target.host), interface or None)
        if interface:
            send_groups_through(sock, interface)
    except (OSError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) else errno.ENODEV
        raise BindError(str(address), _not_joined(target, interface, number), number) from error


def _not_joined(target: Target, interface: str, number: int | None) -> str:
    if interface and interface not in interfaces():
        return f"unknown interface {interface}; this machine has {listed(interfaces())}"
    if number == errno.ENODEV:
        return (
            f"no route leads to the group {target.host}; say on which interface it is joined: ?interface=NAME; "
            f"this machine has {listed(interfaces())}"
        )
    where = f" on {interface}" if interface else ""
    words = os.strerror(number).lower() if number else "the system does not say why"
    return f"the group {target.host} cannot be joined{where}: {words}"
