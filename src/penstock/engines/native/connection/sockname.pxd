from libc.stdint cimport uint16_t, uint32_t

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    ctypedef unsigned short sa_family_t
    enum:
        AF_UNIX
        AF_INET
        AF_INET6
    struct sockaddr:
        sa_family_t sa_family
    struct sockaddr_storage:
        sa_family_t ss_family

cdef enum:
    MAPPED = 255  # stands for AF_INET6 with an IPv4 address in it

cdef struct Sockname:
    # As accept(2) said it, in network order: of an IPv4 peer, also one of a dual-stack socket.
    uint32_t address
    uint16_t port
    unsigned char family


cdef class Caller:
    cdef readonly object host


cdef object note(Sockname* sockname, const sockaddr_storage* name)
cdef object caller(Sockname* sockname, object rest)
cdef object peer(Sockname* sockname, object rest)
