from ..connection.layered cimport Below
from ..connection.transport cimport Bypass, Transport, flag
from .warm cimport Warm, Warmth


cdef extern from *:
    """
    #include <stddef.h>

    struct penstock_wire {
        const char *at;  /* what OpenSSL reads: borrowed from who fed it */
        size_t left;
        char *out;  /* what it has written: owned */
        size_t size;
        size_t capacity;
        int dry;  /* OpenSSL asked for more than there was */
        int begun;  /* it was given some since it gave a record */
        int starved;  /* there was no memory for what it wrote */
    };
    """
    ctypedef struct Wire "struct penstock_wire":
        const char* at
        size_t left
        char* out
        size_t size
        size_t capacity
        bint dry
        bint begun
        bint starved


cdef class OpenSslSession(Bypass):
    cdef readonly object object  # the `ssl.SSLObject`
    cdef object inner  # what that one has of `_ssl`: owns the SSL
    cdef object layer
    cdef Below below
    cdef bytes fed
    cdef void* ssl
    cdef void* bio  # one of our own references
    cdef Wire wire
    cdef Warm warm  # None: records pass the layer
    cdef Warmth warmth
    cdef flag is_over  # nothing more is deciphered
    cdef flag barren  # what was read last had nothing of the user's
    cdef flag notified  # nothing more is enciphered
    cdef int failed  # what enciphering has just failed at, as `write_records` has it

    cdef bint take_over(self, object session) except -1
    cdef int pass_on(self, Transport transport, Py_ssize_t size) except -1
    cdef int read_records(self, char* place, size_t room, size_t* got) noexcept
    cdef int write_records(self, const char* data, size_t size) noexcept
    cdef object problem(self, int kind)
