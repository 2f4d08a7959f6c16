"""From addresses to open listeners: all of them, or none and one error that says why."""

import errno
import logging
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ..address import Address, Kind, Scheme
from ..engines.listener import Listener
from ..errors import BindError, ConfigurationError
from .bind_errors import network_error, unix_error
from .diagnosis import max_backlog
from .inherited import InheritedSocket, inherited_listeners, inherited_targets, refuse_unused, take_over
from .multicast import hear_group, share_group
from .targets import SOCKET_TYPES, Target, bound_address, network_targets, refuse_overlaps
from .unix_file import bind_unix, remove_file

__all__ = ["InheritedSocket", "close_listeners", "inherited_listeners", "open_listeners"]

DEFAULT_BACKLOG: Final = 1024
DEFAULT_UDS_MODE: Final = 0o600
MAX_BACKLOG: Final = 2**31 - 1

# The system chooses a port that is free at a name's first address, and it may be taken at the second. Each try is a new
# choice among some 28 000 ports: not even half of them taken at the second address makes 16 tries fail once in 65 000.
_SAME_PORT_TRIES: Final = 16

# From linux/in.h and linux/in6.h.
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29

_logger = logging.getLogger("penstock")


def open_listeners(
    addresses: Sequence[Address],
    *,
    backlog: int = DEFAULT_BACKLOG,
    reuse_address: bool = True,
    uds_mode: int = DEFAULT_UDS_MODE,
    uds_owner: tuple[int, int] | None = None,
    inherited: Sequence[InheritedSocket] = (),
) -> list[Listener]:
    """Open every address: resolve, bind, listen. Blocks for as long as the resolver takes.

    A name is bound at every address it resolves to, with the same port if the system chooses it. ``*`` is one
    dual-stack socket, or ``0.0.0.0`` on a machine without IPv6.

    Args:
        addresses: Where to listen. The listeners come in their order.
        backlog: Connections the kernel may hold until they are accepted, 1 to 2**31 - 1. The kernel cuts it to
            net.core.somaxconn; then both numbers are logged as a warning.
        reuse_address: Whether a TCP address may be bound that ended connections hold in TIME_WAIT. Never set for
            UDP, where it would let one server take another's datagrams.
        uds_mode: Permissions of a Unix socket's file whose address does not say.
        uds_owner: User and group of such a file, -1 for as it is; None for both.
        inherited: What `inherited_listeners` found. Every one of them has to be in ``addresses``, by number or name.

    Raises:
        ConfigurationError: Two addresses are one or overlap; an inherited socket is left out, or a name is not
            inherited; the backlog is out of range. Nothing was opened.
        BindError: An address cannot be listened on. What was opened before it is closed, and its files are removed.
    """
    if not 0 < backlog <= MAX_BACKLOG:
        raise ConfigurationError(f"backlog {backlog} is not a number from 1 to {MAX_BACKLOG}")
    groups = [_targets(address, inherited) for address in addresses]
    refuse_overlaps(groups)
    refuse_unused(groups, inherited)
    listeners: list[Listener] = []
    try:
        for group in groups:
            listeners += _open_group(group, backlog, reuse_address, uds_mode, uds_owner)
    except BaseException:
        _undo(listeners)
        raise
    limit = max_backlog()
    if limit is not None and limit < backlog and any(listener.backlog for listener in listeners):
        _logger.warning(
            "backlog %d is limited to %d by net.core.somaxconn; raise it with sysctl or lower --backlog", backlog, limit
        )
    return listeners


def close_listeners(listeners: Iterable[Listener]) -> None:
    """Remove the files of Unix sockets that are still ours, then close the sockets. May be repeated."""
    for listener in listeners:
        # In this order: a file whose socket is closed is stale, and a server that starts now would put its own there.
        if listener.file is not None:
            remove_file(listener.file)
        listener.sock.close()


def _undo(listeners: Iterable[Listener]) -> None:
    """Close what was opened here. What was inherited stays open: it was not ours before, and is not now."""
    for listener in listeners:
        if listener.requested.scheme is Scheme.FD:
            listener.sock.detach()
        else:
            close_listeners([listener])


def _targets(address: Address, inherited: Sequence[InheritedSocket]) -> list[Target]:
    if address.scheme is Scheme.FD:
        return inherited_targets(address, inherited)
    return [Target(address)] if address.is_unix else network_targets(address)


def _open_group(
    group: Sequence[Target], backlog: int, reuse_address: bool, uds_mode: int, uds_owner: tuple[int, int] | None
) -> list[Listener]:
    """Open what one address stands for."""
    address = group[0].address
    if address.is_unix:
        return [_open_unix(address, backlog, uds_mode if address.mode is None else address.mode, uds_owner)]
    tries_left = _SAME_PORT_TRIES if address.port == 0 and len(group) > 1 else 1
    while True:
        tries_left -= 1
        try:
            return _open_once(group, backlog, reuse_address)
        except BindError as error:
            if not tries_left or error.errno != errno.EADDRINUSE:
                raise


def _open_once(group: Sequence[Target], backlog: int, reuse_address: bool) -> list[Listener]:
    listeners: list[Listener] = []
    skipped: list[BindError] = []
    try:
        for target in group:
            if target.fd is not None:
                listeners.append(take_over(target, backlog))
                continue
            # After the first, the port that the system chose for it.
            chosen = target.with_port(listeners[0].address.port or 0) if listeners else target
            try:
                listeners.append(_open_network(chosen, backlog, reuse_address))
            except BindError as error:
                # localhost is ::1 too, also on machines whose loopback has no IPv6 address.
                if len(group) == 1 or error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    raise
                skipped.append(error)
        if not listeners:
            raise skipped[0]
    except BaseException:
        _undo(listeners)
        raise
    for without in skipped:
        _logger.warning("%s: %s; listening without it", without.address, without.problem)
    return listeners


def _open_network(target: Target, backlog: int, reuse_address: bool) -> Listener:
    try:
        return _bind_network(target, backlog, reuse_address)
    except OSError as error:
        raise network_error(target, error, reuse_address=reuse_address) from error


def _bind_network(target: Target, backlog: int, reuse_address: bool) -> Listener:
    address, kind = target.address, target.address.kind
    assert kind is not None
    protocol = 0
    if kind is Kind.RAW:
        protocol = socket.IPPROTO_ICMPV6 if target.family == socket.AF_INET6 else socket.IPPROTO_ICMP
    sock = socket.socket(target.family, SOCKET_TYPES[kind], protocol)
    try:
        if target.family == socket.AF_INET6 and kind is not Kind.RAW:
            # Always said, so that net.ipv6.bindv6only does not decide.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not target.is_dual)
        if kind is Kind.STREAM:
            # Elsewhere than in TCP on POSIX it lets two servers share a port: UDP on Linux, everything on Windows.
            if reuse_address and os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # accepted sockets inherit it on Linux
        elif kind is Kind.DATAGRAM:
            _leave_to_members(sock)
            if address.is_multicast:
                share_group(sock)
        sock.setblocking(False)
        sock.bind(target.sockaddr)
        if kind is Kind.STREAM:
            sock.listen(backlog)
        elif address.is_multicast:
            hear_group(sock, target)
            return Listener(sock, address, replace(address, port=sock.getsockname()[1]))
        return Listener(sock, address, bound_address(sock, address.scheme), backlog if kind is Kind.STREAM else 0)
    except BaseException:
        sock.close()
        raise


def _leave_to_members(sock: socket.socket) -> None:
    """Receive nothing that is sent to a group which this socket has not joined.

    By default Linux gives it to every socket that is bound to every address (ip(7), IP_MULTICAST_ALL), and one datagram
    with a forged sender would be answered by every machine of the network.
    """
    if sys.platform != "linux":
        return
    options = [("IP_MULTICAST_ALL", socket.IPPROTO_IP, _IP_MULTICAST_ALL)]
    if sock.family == socket.AF_INET6:
        options.append(("IPV6_MULTICAST_ALL", socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL))  # since Linux 4.20
    for name, level, option in options:
        try:
            sock.setsockopt(level, option, False)
        except OSError as error:
            problem = os.strerror(error.errno).lower() if error.errno else str(error)
            _logger.warning("messages to multicast groups that others joined may be answered: %s: %s", name, problem)


def _open_unix(address: Address, backlog: int, mode: int, owner: tuple[int, int] | None) -> Listener:
    if not hasattr(socket, "AF_UNIX"):
        raise BindError(str(address), "this system has no Unix sockets")
    try:
        return _bind_unix(address, backlog, mode, owner)
    except OSError as error:
        raise unix_error(address, error) from error


def _bind_unix(address: Address, backlog: int, mode: int, owner: tuple[int, int] | None) -> Listener:
    kind = address.kind
    assert kind is not None
    listens = kind is not Kind.DATAGRAM
    file = None
    sock = socket.socket(socket.AF_UNIX, SOCKET_TYPES[kind])
    try:
        sock.setblocking(False)
        file = bind_unix(sock, address, mode, owner)
        if listens:
            sock.listen(backlog)
        return Listener(sock, address, address, backlog if listens else 0, file=file)
    except BaseException:
        if file is not None:
            remove_file(file)
        sock.close()
        raise
