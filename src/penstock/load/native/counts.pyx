"""Times, counted where ``penstock bench`` keeps its histograms."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport fmax, fmin
from libc.string cimport memset

from ...engines.native.sealed cimport seal

cdef extern from *:
    int clz "__builtin_clzll"(unsigned long long value) nogil

cdef enum:
    # The layout of penstock.load.histogram.
    BITS = 11
    HALF = 1 << 10

cdef double MAX_NS = <double>((<int64_t>1 << 44) - 1)


cdef class Counts:
    """Counts times into a `penstock.load.histogram.Histogram`."""

    def __cinit__(self, histogram):
        PyObject_GetBuffer(histogram.counts, &self.view, PyBUF_WRITABLE)
        self.buckets = <uint64_t*>self.view.buf
        self.histogram = histogram

    def __dealloc__(self):
        if self.buckets != NULL:
            PyBuffer_Release(&self.view)

    cpdef void record(self, double seconds, int64_t count) noexcept:
        """Count a time ``count`` times."""
        cdef uint64_t value
        cdef int shift
        if seconds < 0:
            seconds = 0
        value = <uint64_t>fmin(seconds * 1e9, MAX_NS)
        shift = 64 - BITS - clz(value | 1)
        self.buckets[(value >> shift) + shift * HALF if shift > 0 else value] += count
        self.count += count
        self.total_s += seconds * count
        self.max_s = fmax(self.max_s, seconds)

    cpdef void tell(self):
        """Bring the histogram up to date: all of it but its buckets."""
        self.histogram.count = self.count
        self.histogram.total_s = self.total_s
        self.histogram.max_s = self.max_s

    cpdef void forget(self) noexcept:
        """Begin anew."""
        memset(self.buckets, 0, self.view.len)
        self.count = 0
        self.total_s = self.max_s = 0


seal(globals(), (Counts,))
