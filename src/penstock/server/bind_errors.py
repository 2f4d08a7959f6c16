"""From what bind(2) and listen(2) say to what the user can do about it."""

import errno
import os

from ..address import Address, Kind
from ..errors import BindError
from .diagnosis import ENDED_CONNECTIONS, first_unprivileged_port, listed, local_addresses, port_holder
from .targets import Target


def network_error(target: Target, error: OSError, *, reuse_address: bool) -> BindError:
    """Say why a socket on the network could not be opened."""
    address, number = target.address, error.errno
    port: int = target.sockaddr[1]
    if number == errno.EADDRINUSE:
        problem = _port_in_use(target, port, reuse_address)
    elif number == errno.EADDRNOTAVAIL:
        problem = f"{target.host} is not an address of this machine"
        if here := local_addresses():
            problem += f", which has {listed(here)}"
    elif number == errno.EAFNOSUPPORT:
        problem = f"this machine has no {'IPv6' if ':' in target.host else 'IPv4'}"
    elif number == errno.EPERM and address.kind is Kind.RAW:
        problem = "a raw socket needs the right CAP_NET_RAW; give it to the process, or run as root"
    elif number == errno.EACCES and 0 < port < (free := first_unprivileged_port()):
        problem = (
            f"ports below {free} need the right CAP_NET_BIND_SERVICE; give it to the process, let systemd open the "
            f"socket (LISTEN_FDS, fd://3), or use a port from {free}"
        )
    elif number == errno.EINVAL and target.host.startswith("fe80:") and not target.sockaddr[3]:
        problem = f"a link-local address needs its interface; write [{target.host}%eth0]"
    else:
        problem = in_plain_words(error)
    return BindError(str(address), problem, number)


def unix_error(address: Address, error: OSError) -> BindError:
    """Say why a Unix socket could not be opened, when that is not what its path holds."""
    number = error.errno
    directory = os.path.dirname(os.path.abspath(address.path))
    if number == errno.ENOENT:
        problem = f"no such directory: {directory}; create it"
    elif number == errno.EACCES and not address.is_abstract:
        problem = f"this user may not make files in {directory}; allow it, or use another directory"
    else:
        problem = in_plain_words(error)
    return BindError(str(address), problem, number)


def _port_in_use(target: Target, port: int, reuse_address: bool) -> str:
    if port == 0:
        return "no port is free"
    where = f"port {port}" if target.host in {target.address.host, "::"} else f"port {port} of {target.host}"
    transport = "udp" if target.address.kind is Kind.DATAGRAM else "tcp"
    holder = port_holder(transport, target.host, port)
    if holder == ENDED_CONNECTIONS:
        # SO_REUSEADDR shares the port of connections that a server accepted, but not that of one that began here.
        instead = "use another port" if reuse_address else "allow it with reuse_address"
        return f"{where} is held by {holder} for up to a minute; wait, or {instead}"
    return f"{where} is in use{f' by {holder}' if holder else ''}; stop that, or use another port"


def in_plain_words(error: OSError) -> str:
    """Write what the system says of an error number."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
