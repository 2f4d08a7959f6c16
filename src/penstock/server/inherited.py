"""Sockets that somebody else opened: a parent that names a descriptor, or systemd, that names its own."""

import errno
import os
import socket
import stat
from collections.abc import MutableMapping, Sequence
from typing import Final, NamedTuple

from ..address import Address, Family, Kind, Scheme, path_of_unix_name
from ..engines.listener import Listener
from ..errors import BindError, ConfigurationError
from .bind_errors import in_plain_words
from .targets import Target, bound_address
from .unix_file import describe_file

FIRST_INHERITED_FD: Final = 3  # SD_LISTEN_FDS_START: see sd_listen_fds(3)

_UNIX_SCHEMES: Final = {
    socket.SOCK_STREAM: Scheme.UNIX,
    socket.SOCK_DGRAM: Scheme.UNIX_DGRAM,
    socket.SOCK_SEQPACKET: Scheme.UNIX_SEQPACKET,
}
_NETWORK_SCHEMES: Final = {
    socket.SOCK_STREAM: Scheme.TCP,
    socket.SOCK_DGRAM: Scheme.UDP,
    socket.SOCK_RAW: Scheme.RAW_ICMP,
}


class InheritedSocket(NamedTuple):
    """A socket that the service manager opened and handed down.

    Attributes:
        fd: Its descriptor.
        name: What LISTEN_FDNAMES calls it; ``unknown``, as systemd says, where there are no names.
    """

    fd: int
    name: str

    @property
    def address(self) -> Address:
        """Where to listen to serve it."""
        return Address(Scheme.FD, fd=self.fd)


def inherited_listeners(environ: MutableMapping[str, str], pid: int) -> list[InheritedSocket]:
    """Return the sockets that systemd, or what speaks its protocol, opened for this process: see sd_listen_fds(3).

    LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID are taken out of ``environ`` in any case, so that no child takes the
    sockets for its own.

    Args:
        environ: ``os.environ``.
        pid: ``os.getpid()``. What is for another process is ignored.

    Raises:
        ConfigurationError: The variables are for this process and make no sense.
    """
    count_text = environ.pop("LISTEN_FDS", None)
    names_text = environ.pop("LISTEN_FDNAMES", None)
    pid_text = environ.pop("LISTEN_PID", None)
    environ.pop("LISTEN_PIDFDID", None)  # says again, race-free, what LISTEN_PID says: systemd 257
    if count_text is None or pid_text != str(pid):
        return []
    if not (count_text.isascii() and count_text.isdecimal() and len(count_text) <= 6):
        raise ConfigurationError(f"{count_text!r} is not a number of descriptors", "LISTEN_FDS")
    count = int(count_text)
    names = ["unknown"] * count if names_text is None else names_text.split(":") if names_text else []
    if len(names) != count:
        raise ConfigurationError(f"it has {len(names)} names and LISTEN_FDS={count}", "LISTEN_FDNAMES")
    return [InheritedSocket(FIRST_INHERITED_FD + index, name) for index, name in enumerate(names)]


def inherited_targets(address: Address, inherited: Sequence[InheritedSocket]) -> list[Target]:
    """Find what ``fd://NUMBER`` or ``fd://NAME`` means; systemd may give several sockets one name.

    Raises:
        ConfigurationError: No inherited socket has that name.
    """
    if isinstance(address.fd, int):
        name = next((name for fd, name in inherited if fd == address.fd), "")
        return [Target(address, fd=address.fd, name=name)]
    targets = [Target(address, fd=fd, name=name) for fd, name in inherited if name == address.fd]
    if not targets:
        names = ", ".join(dict.fromkeys(name for _, name in inherited))
        have = f"their names are {names}" if names else "none was inherited"
        raise ConfigurationError(f"{address}: no inherited socket (LISTEN_FDS) has that name; {have}")
    return targets


def refuse_unused(groups: Sequence[Sequence[Target]], inherited: Sequence[InheritedSocket]) -> None:
    """Find inherited sockets that would not be served: their clients would connect, and wait for ever.

    Raises:
        ConfigurationError: There are some.
    """
    used = {target.fd for group in groups for target in group}
    unused = [f"fd://{fd} ({name})" for fd, name in inherited if fd not in used]
    if unused:
        raise ConfigurationError(
            f"{len(inherited)} sockets were inherited (LISTEN_FDS), and {', '.join(unused)} would not be served; "
            "listen there too, or take it out of the socket unit"
        )


def take_over(target: Target, backlog: int) -> Listener:
    """Make a listener of a descriptor. Closing the listener closes the descriptor.

    Raises:
        BindError: It is not open, or it is nothing to listen on. It stays as it is, open or not.
    """
    assert target.fd is not None
    try:
        mode = os.fstat(target.fd).st_mode
    except OSError as error:
        problem = "it is not open; the parent process has to open it and hand it down"
        raise BindError(str(target.address), problem, error.errno) from None
    if not stat.S_ISSOCK(mode):
        raise BindError(str(target.address), f"it is {describe_file(mode)}, not a socket", errno.ENOTSOCK)
    sock = socket.socket(fileno=target.fd)
    try:
        return _listener(target, sock, backlog)
    except BaseException as error:
        sock.detach()
        if isinstance(error, OSError):
            raise BindError(str(target.address), in_plain_words(error), error.errno) from error
        raise


def _listener(target: Target, sock: socket.socket, backlog: int) -> Listener:
    scheme = _scheme(target, sock)
    if scheme in _UNIX_SCHEMES.values():
        address = Address(scheme, path=path_of_unix_name(sock.getsockname()), family=Family.UNIX)
        is_bound = bool(address.path)
    else:
        address = bound_address(sock, scheme)
        is_bound = address.port != 0
    if not is_bound:
        raise BindError(str(target.address), f"it is a {address.kind} socket that is bound to no address", errno.EINVAL)
    listens = address.kind in {Kind.STREAM, Kind.SEQPACKET}
    # A parent that made it listen chose its backlog. Some parents bind and leave listen(2) to the child.
    if listens and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.listen(backlog)
    if scheme is Scheme.TCP:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    sock.set_inheritable(False)
    sock.setblocking(False)
    return Listener(sock, target.address, address, backlog if listens else 0, target.name)


def _scheme(target: Target, sock: socket.socket) -> Scheme:
    text = str(target.address)
    is_unix = sock.family == getattr(socket, "AF_UNIX", None)
    if not is_unix and sock.family not in {socket.AF_INET, socket.AF_INET6}:
        raise BindError(
            text, f"it is a socket of another family ({int(sock.family)}), not IPv4, IPv6 or Unix", errno.EAFNOSUPPORT
        )
    schemes = _UNIX_SCHEMES if is_unix else _NETWORK_SCHEMES
    scheme = schemes.get(sock.type)
    icmp = {socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6}
    if scheme is None or (scheme is Scheme.RAW_ICMP and sock.proto not in icmp):
        raise BindError(text, f"it is a socket of a type that is not served ({int(sock.type)})", errno.EPROTONOSUPPORT)
    try:
        sock.getpeername()
    except OSError:
        return scheme
    kind = Address(scheme).kind
    raise BindError(text, f"it is a connected {kind} socket; pass a listening one", errno.EISCONN)
