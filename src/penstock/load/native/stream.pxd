from libc.stdint cimport int64_t, uint32_t

from .replies cimport Partial

cdef enum State:
    CLOSED
    CONNECTING
    OPEN

cdef struct Entry:
    # Requests that were sent together.
    double due_at
    double sent_at
    int64_t count

cdef struct Stream:
    int fd
    State state
    uint32_t mask
    double since  # when it began to connect
    double retry_at  # when one that failed is opened again; 0: none has failed
    int64_t waiting  # requests on their way
    int64_t unsent  # bytes; of records, their number
    int64_t sent  # bytes of the frame that has gone in part
    Entry* ring  # the requests on their way, in their order
    int64_t ring_size, first, entries
    Partial partial

cdef int push(Stream* stream, double due_at, double sent_at, int64_t count) except -1
cdef void free_stream(Stream* stream) noexcept

cdef inline Entry* oldest(Stream* stream) noexcept:
    return stream.ring + stream.first

cdef inline void drop(Stream* stream) noexcept:
    stream.first = (stream.first + 1) % stream.ring_size
    stream.entries -= 1
