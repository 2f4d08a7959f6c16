"""One connection of a compiled load: the requests on their way, in the order in which they were sent and will be answered."""

from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from ...engines.native.census cimport PENSTOCK_DEBUG, living
from .replies cimport forget


cdef int push(Stream* stream, double due_at, double sent_at, int64_t count) except -1:
    """Add requests that are sent now."""
    cdef int64_t size = stream.ring_size
    cdef Entry* entry
    if stream.entries == size:
        entry = <Entry*>realloc(stream.ring, max(4, 2 * size) * sizeof(Entry))
        if entry == NULL:
            raise MemoryError
        if PENSTOCK_DEBUG:
            living.blocks += stream.ring == NULL
        stream.ring = entry
        stream.ring_size = max(4, 2 * size)
        # What lay before the first entry follows the last one now.
        memcpy(entry + size, entry, stream.first * sizeof(Entry))
    entry = stream.ring + (stream.first + stream.entries) % stream.ring_size
    entry.due_at = due_at
    entry.sent_at = sent_at
    entry.count = count
    stream.entries += 1
    return 0


cdef void free_stream(Stream* stream) noexcept:
    """Give back all memory of one that is closed."""
    forget(&stream.partial)
    if PENSTOCK_DEBUG:
        living.blocks -= stream.ring != NULL
    free(stream.ring)
    stream.ring = NULL
