"""Where a connection came from, as accept(2) said it: a `Peer` is made of it when somebody asks.

An IPv4 address takes eight bytes of the connection's own. Of an IPv6 peer the ``struct sockaddr_in6`` is kept as `bytes`;
a Unix peer, who may have a name, is a `Peer` from the beginning. What does not fit into `Sockname` is called the rest.
"""

import socket

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcmp, memcpy

from ..sealed cimport seal

from ....address import Peer

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        unsigned char s6_addr[16]
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    uint16_t ntohs(uint16_t value)
    uint32_t ntohl(uint32_t value)

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* address, char* text, socklen_t size)

cdef extern from "Python.h":
    str PyUnicode_FromString(const char* text)

cdef char[12] PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1]  # of an IPv4 address in an IPv6 one: RFC 4291, section 2.5.5.2


cdef class Caller:
    """As much of a `Peer` as the gate asks of one who has an IPv4 address."""

    uid = gid = None


cdef object note(Sockname* sockname, const sockaddr_storage* name):
    """Keep what accept(2) said of an IPv4 or IPv6 peer; return the rest, or None."""
    cdef const sockaddr_in* name_4
    cdef const sockaddr_in6* name_6
    sockname.family = <unsigned char>name.ss_family
    if name.ss_family == AF_INET:
        name_4 = <const sockaddr_in*>name
        sockname.address = name_4.sin_addr.s_addr
        sockname.port = name_4.sin_port
        return None
    name_6 = <const sockaddr_in6*>name
    if memcmp(name_6.sin6_addr.s6_addr, PREFIX, sizeof(PREFIX)) == 0 and not name_6.sin6_flowinfo:
        sockname.family = MAPPED
        memcpy(&sockname.address, <const char*>name_6.sin6_addr.s6_addr + sizeof(PREFIX), sizeof(sockname.address))
        sockname.port = name_6.sin6_port
        return None
    return PyBytes_FromStringAndSize(<const char*>name_6, sizeof(sockaddr_in6))


cdef object caller(Sockname* sockname, object rest):
    """Return who is asking to be let in, for the gate."""
    cdef Caller it
    if rest is not None:
        return peer(sockname, rest)
    it = Caller.__new__(Caller)
    it.host = dotted(sockname)
    return it


cdef object peer(Sockname* sockname, object rest):
    """Make the `Peer`."""
    cdef const sockaddr_in6* name
    cdef char[64] text
    if isinstance(rest, Peer):
        return rest
    if rest is not None:
        name = <const sockaddr_in6*>PyBytes_AS_STRING(rest)
        inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof(text))
        host = PyUnicode_FromString(text)
        return Peer((host, ntohs(name.sin6_port), ntohl(name.sin6_flowinfo), name.sin6_scope_id), socket.AF_INET6)
    if sockname.family == MAPPED:
        return Peer((f"::ffff:{dotted(sockname)}", ntohs(sockname.port), 0, 0), socket.AF_INET6)
    return Peer((dotted(sockname), ntohs(sockname.port)), socket.AF_INET)


cdef str dotted(Sockname* sockname):
    cdef char[64] text
    inet_ntop(AF_INET, &sockname.address, text, sizeof(text))
    return PyUnicode_FromString(text)


seal(globals())
