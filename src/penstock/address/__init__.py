"""Where a service listens or a client connects, and who is at the other end. Values alone: nothing is resolved here.

The grammar, which docs/addresses.md explains::

    tcp://HOST:PORT   tls://…   tcp+tls://…   udp://HOST:PORT   raw+icmp://HOST   [?family=ipv4|ipv6|dual] [?tls=start]
    unix:PATH   unix:///PATH   unix://@NAME   unix+dgram:…   unix+seqpacket:…   [?mode=0600]   unix: alone [?tls=on]
    fd://NUMBER   fd://NAME   [?tls=on]
    each of a server with ?proxy=off where --proxy-from is not for it
    HOST:PORT and :PORT, short for tcp://HOST:PORT and tcp://*:PORT

HOST is a name, an IPv4 address, an IPv6 address in brackets, or ``*``: every address of this machine.
"""

from .model import ANY_HOST, Address, Family, Kind, Scheme
from .parse import MAX_PORT, parse_address
from .peer import Peer
from .unix_name import MAX_UNIX_PATH_BYTES, path_of_unix_name

__all__ = [
    "ANY_HOST",
    "MAX_PORT",
    "MAX_UNIX_PATH_BYTES",
    "Address",
    "Family",
    "Kind",
    "Peer",
    "Scheme",
    "parse_address",
    "path_of_unix_name",
]
